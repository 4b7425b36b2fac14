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
}

// Auth is who may call the API. Keys beyond enabled and api_key_header extend
// the proposal and may be left out.
type Auth struct {
	// Enabled says whether protected routes ask for credentials. Turn it on
	// wherever the network is not trusted.
	Enabled bool `toml:"enabled"`

	// APIKeyHeader is the request header that carries the API key. Change it to
	// fit a gateway.
	APIKeyHeader string `toml:"api_key_header" len:"1.." format:"header" secret:"false"`

	// JWTIssuer is the issuer a token must name. Change it to the issuer you
	// trust.
	JWTIssuer string `toml:"jwt_issuer" len:"1.." default:"'tasker-core'"`

	// JWTAudience is the audience a token must name. Change it to tell
	// installations apart.
	JWTAudience string `toml:"jwt_audience" len:"1.." default:"'tasker-api'"`

	// JWTTokenExpiry is how long a token made here is good. Lower it where
	// tokens travel far.
	JWTTokenExpiry Hours `toml:"jwt_token_expiry_hours" range:"1..168" default:"24"`

	// JWTPrivateKey is the PEM key that signs tokens. Set it through
	// TASKER_JWT_PRIVATE_KEY, never in a file under version control.
	JWTPrivateKey string `toml:"jwt_private_key" secret:"true" default:"''" format:"pem"`

	// JWTPublicKey is the PEM key that checks tokens. Set it together with the
	// private key.
	JWTPublicKey string `toml:"jwt_public_key" secret:"true" default:"''" format:"pem"`

	// APIKey is the key that callers without a token present. Set it through
	// TASKER_API_KEY.
	APIKey string `toml:"api_key" secret:"true" default:"''"`

	// ProtectedRoutes are the routes with a rule of their own. Add the ones that
	// must not be open.
	ProtectedRoutes []ProtectedRoute `toml:"protected_routes" default:"[{method = 'DELETE', path = '/v1/tasks/{task_uuid}', auth_type = 'bearer', required = true}, {method = 'PATCH', path = '/v1/tasks/{task_uuid}/workflow_steps/{step_uuid}', auth_type = 'bearer', required = true}, {method = 'POST', path = '/v1/tasks', auth_type = 'bearer', required = false}, {method = 'GET', path = '/v1/analytics/performance', auth_type = 'bearer', required = false}, {method = 'GET', path = '/v1/analytics/bottlenecks', auth_type = 'bearer', required = false}]"`
}

// ProtectedRoute is the rule of one route.
type ProtectedRoute struct {
	// Method is the HTTP method of the route.
	Method string `toml:"method" enum:"GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS"`

	// Path is the path of the route; a segment in braces matches any one.
	Path string `toml:"path" len:"1.."`

	// AuthType is what a caller must present.
	AuthType AuthType `toml:"auth_type" enum:"bearer|api_key"`

	// Required says whether a call without credentials is refused.
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
	Enabled bool `toml:"enabled"`

	// AllowedOrigins are the origins of these pages; "*" alone allows all. Name
	// them in production.
	AllowedOrigins []string `toml:"allowed_origins"`

	// AllowedMethods are the methods they may use; "*" alone allows all.
	AllowedMethods []string `toml:"allowed_methods"`

	// AllowedHeaders are the headers they may send; "*" alone allows all.
	AllowedHeaders []string `toml:"allowed_headers"`
}
