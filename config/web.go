package config

// Web is an HTTP server.
type Web struct {
	// Enabled says whether the process serves HTTP. Turn it off for a process
	// that nobody asks.
	Enabled bool `toml:"enabled"`

	// BindAddress is where it listens, as host:port; the host may be empty or an
	// IPv6 address in brackets, and port 0 picks a free one. Change it to share a
	// machine.
	BindAddress string `toml:"bind_address" len:"1.." format:"address"`

	// RequestTimeout is the deadline of one request. Raise it when tasks are
	// created in large batches.
	RequestTimeout Milliseconds `toml:"request_timeout_ms" range:"100..300000"`
}

// OrchestrationWeb is the public API of an orchestrator.
type OrchestrationWeb struct {
	Web

	// MaxConcurrentRequests is how many requests may be in hand at once; one more is
	// answered with 503 and Retry-After. Those to health and metrics do not count.
	// Raise it where many clients wait for tasks, lower it to spare memory.
	MaxConcurrentRequests int `toml:"max_concurrent_requests" range:"1..100000" default:"1000"`

	// Auth is who may call.
	Auth Auth `toml:"auth"`

	// CORS is which pages in a browser may call.
	CORS CORS `toml:"cors"`

	// TLS is whether it is served encrypted. The table extends the proposal and may
	// be left out.
	TLS TLS `toml:"tls"`
}

// WorkerWeb is the server of a worker.
type WorkerWeb struct {
	Web

	// Auth is who may call. The table extends the proposal and may be left out.
	Auth WorkerAuth `toml:"auth"`

	// TLS is whether it is served encrypted. The table extends the proposal and may
	// be left out.
	TLS TLS `toml:"tls"`
}

// TLS is whether a server encrypts.
type TLS struct {
	// Enabled says whether it does. Turn it on where no proxy does it.
	Enabled bool `toml:"enabled" default:"false"`

	// CertPath is the PEM file of the certificate, those of its issuers after it.
	// The file is read again when it has changed.
	CertPath string `toml:"cert_path" default:"''" reload:"live"`

	// KeyPath is the PEM file of its private key. It is read again together with
	// the certificate.
	KeyPath string `toml:"key_path" default:"''" reload:"live"`
}

// Auth is who may call the API. Keys beyond enabled and api_key_header extend
// the proposal and may be left out.
type Auth struct {
	// Enabled says whether callers must show who they are. Turn it on
	// wherever the network is not trusted.
	Enabled bool `toml:"enabled" reload:"live"`

	// APIKeyHeader is the request header that carries the API key. Change it to
	// fit a gateway.
	APIKeyHeader string `toml:"api_key_header" len:"1.." format:"header" secret:"false" reload:"live"`

	Credentials

	// ProtectedRoutes are the routes with a rule of their own; all others ask for
	// what their permission asks for. Add the ones that only tokens may call, and
	// those that need no credentials.
	ProtectedRoutes []ProtectedRoute `toml:"protected_routes" default:"[{method = 'DELETE', path = '/v1/tasks/{task_uuid}', auth_type = 'bearer', required = true}, {method = 'PATCH', path = '/v1/tasks/{task_uuid}/workflow_steps/{step_uuid}', auth_type = 'bearer', required = true}, {method = 'POST', path = '/v1/tasks', auth_type = 'bearer', required = false}, {method = 'GET', path = '/v1/analytics/performance', auth_type = 'bearer', required = false}, {method = 'GET', path = '/v1/analytics/bottlenecks', auth_type = 'bearer', required = false}]" reload:"live"`
}

// WorkerAuth is who may call the server of a worker, in the words of [Auth].
type WorkerAuth struct {
	// Enabled says whether callers must show who they are. Turn it on
	// wherever the network is not trusted.
	Enabled bool `toml:"enabled" default:"false" reload:"live"`

	// APIKeyHeader is the request header that carries the API key. Change it to
	// fit a gateway.
	APIKeyHeader string `toml:"api_key_header" len:"1.." format:"header" secret:"false" default:"'X-API-Key'" reload:"live"`

	Credentials

	// ProtectedRoutes are the routes with a rule of their own; all others ask for
	// what their permission asks for. Add the ones that only tokens may call, and
	// those that need no credentials.
	ProtectedRoutes []ProtectedRoute `toml:"protected_routes" default:"[]" reload:"live"`
}

// Credentials are what a server takes as proof of who calls. All keys extend the
// proposal.
type Credentials struct {
	// JWTIssuer is the issuer a token must name. Change it to the issuer you
	// trust.
	JWTIssuer string `toml:"jwt_issuer" len:"1.." default:"'tasker-core'" reload:"live"`

	// JWTAudience is the audience a token must name. Change it to tell
	// installations apart.
	JWTAudience string `toml:"jwt_audience" len:"1.." default:"'tasker-api'" reload:"live"`

	// JWTTokenExpiry is how long a token made by auth generate-token is good. Lower
	// it where tokens travel far.
	JWTTokenExpiry Hours `toml:"jwt_token_expiry_hours" range:"1..168" default:"24" reload:"live"`

	// JWTPrivateKey is the PEM key that signs tokens, RSA or Ed25519. Servers do
	// not need it. Set it through TASKER_JWT_PRIVATE_KEY, never in a file under
	// version control.
	JWTPrivateKey string `toml:"jwt_private_key" secret:"true" default:"''" format:"pem" reload:"live"`

	// JWTPublicKey is the PEM key that checks tokens, RSA (RS256) or Ed25519
	// (EdDSA). Set several, one after the other, while keys are exchanged.
	JWTPublicKey string `toml:"jwt_public_key" secret:"true" default:"''" format:"pem" reload:"live"`

	// JWKSURL is where the keys that check tokens are fetched from, as a JSON Web
	// Key Set. Set it to use an identity provider. It is https outside development
	// and test.
	JWKSURL string `toml:"jwks_url" default:"''" format:"http-url" reload:"live"`

	// JWKSRefreshInterval is how often they are fetched. Lower it to follow a
	// withdrawn key sooner; a new one is noticed at once.
	JWKSRefreshInterval Seconds `toml:"jwks_refresh_interval_seconds" range:"10..86400" default:"3600" reload:"live"`

	// JWKSMaxStale is how long beyond that keys are good that could not be fetched
	// again. Raise it to outlast longer outages of the identity provider.
	JWKSMaxStale Seconds `toml:"jwks_max_stale_seconds" range:"0..86400" default:"300" reload:"live"`

	// JWKSAllowPrivateAddresses says whether jwks_url may lead to an address that
	// is not public. Turn it on for an identity provider in your own network.
	JWKSAllowPrivateAddresses bool `toml:"jwks_allow_private_addresses" default:"false" reload:"live"`

	// JWTClockSkew is how far the clock of the issuer may be off. Raise it where
	// clocks are not kept.
	JWTClockSkew Seconds `toml:"jwt_clock_skew_seconds" range:"0..300" default:"30" reload:"live"`

	// PermissionsClaim is the claim with the permissions of the caller, a list or a
	// string with spaces between. Change it to scope for tokens of OAuth.
	PermissionsClaim string `toml:"permissions_claim" len:"1.." default:"'permissions'" reload:"live"`

	// RolesClaim is the claim with the roles of the caller, written likewise. Change
	// it to what the issuer calls them.
	RolesClaim string `toml:"roles_claim" len:"1.." default:"'roles'" reload:"live"`

	// StrictValidation says whether a token with an unknown permission or role is
	// refused. Turn it off for an issuer that serves other systems too; what is
	// unknown then counts for nothing.
	StrictValidation bool `toml:"strict_validation" default:"true" reload:"live"`

	// Roles are names for sets of permissions. Add one for each kind of caller.
	Roles []Role `toml:"roles" default:"[]" reload:"live"`

	// APIKey is a key that callers without a token present; who has it may do
	// everything. Set it through TASKER_API_KEY.
	APIKey string `toml:"api_key" secret:"true" default:"''" reload:"live"`

	// APIKeys are more keys, which may do less. Add one for each caller;
	// auth generate-api-key makes them.
	APIKeys []APIKey `toml:"api_keys" default:"[]" reload:"live"`
}

// A Role is a name for a set of permissions.
type Role struct {
	// Name is what tokens and API keys call it.
	Name string `toml:"name" len:"1.."`

	// Permissions are what those who have it may do; resource:* is everything with
	// a resource.
	Permissions []string `toml:"permissions"`
}

// An APIKey is a key with what its holder may do.
type APIKey struct {
	// Description says whose key it is. It stands in logs, and with what the
	// holder changes.
	Description string `toml:"description" len:"1..100"`

	// KeyHash is sha256: and the hash of the key in hexadecimal, as
	// auth generate-api-key prints it.
	KeyHash string `toml:"key_hash" default:"''" format:"key-hash"`

	// KeyFile is a file that holds the key, in place of the hash. It is read again
	// when the configuration is.
	KeyFile string `toml:"key_file" default:"''"`

	// Permissions are what the holder may do; resource:* is everything with a
	// resource.
	Permissions []string `toml:"permissions" default:"[]"`

	// Roles are the roles of the holder.
	Roles []string `toml:"roles" default:"[]"`
}

// ProtectedRoute is the rule of one route.
type ProtectedRoute struct {
	// Method is the HTTP method of the route.
	Method string `toml:"method" enum:"GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS"`

	// Path is the path of the route; a segment in braces matches any one.
	Path string `toml:"path" len:"1.."`

	// AuthType is what a caller must present where it is required.
	AuthType AuthType `toml:"auth_type" enum:"bearer|api_key"`

	// Required says whether a call without credentials is refused. If false, anybody
	// may call; credentials that are shown must be good all the same.
	Required bool `toml:"required"`
}

// An AuthType is a kind of credential.
type AuthType string

// The kinds of credentials.
const (
	AuthBearer AuthType = "bearer"  // a JWT in the Authorization header
	AuthAPIKey AuthType = "api_key" // an API key in its own header
)

// CORS is which pages in a browser may call the API.
type CORS struct {
	// Enabled says whether CORS headers are sent. Turn it off when no browser
	// calls.
	Enabled bool `toml:"enabled" reload:"live"`

	// AllowedOrigins are the origins of these pages; "*" alone allows all. Name
	// them in production.
	AllowedOrigins []string `toml:"allowed_origins" reload:"live"`

	// AllowedMethods are the methods they may use; "*" alone allows all.
	AllowedMethods []string `toml:"allowed_methods" reload:"live"`

	// AllowedHeaders are the headers they may send; "*" alone allows all.
	AllowedHeaders []string `toml:"allowed_headers" reload:"live"`
}
