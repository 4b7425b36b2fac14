package auth_test

import (
	"crypto"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sections are the two tables that say who may call.
var sections = []string{"orchestration.system.web.auth", "worker.system.web.auth"}

// load returns what a section comes to with the given lines in it.
func load(t testing.TB, section, lines string) config.Auth {
	t.Helper()
	cfg, err := config.LoadCombined(config.Options{
		Environment: "test", Overlay: []byte("[" + section + "]\nenabled = true\n" + lines),
		LookupEnv: func(string) (string, bool) { return "", false },
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(section, "worker.") {
		return config.Auth(cfg.Worker.System.Web.Auth)
	}
	return cfg.Orchestration.System.Web.Auth
}

func newAuth(t testing.TB, section, lines string) *auth.Authenticator {
	t.Helper()
	cfg := load(t, section, lines)
	a, err := auth.New(&cfg, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A pair is a key with its public half.
type pair struct {
	private, public string
	signer          crypto.Signer
	key             signingkey.Key
}

func newPair(t *testing.T, algorithm string) pair {
	t.Helper()
	private, public, err := signingkey.Generate(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	signer, key, err := signingkey.ParsePrivate(string(private))
	if err != nil {
		t.Fatal(err)
	}
	return pair{string(private), string(public), signer, key}
}

// line is the setting of its public half.
func (p pair) line() string { return "jwt_public_key = '''\n" + p.public + "'''\n" }

// claims are those of a good token, changed by change.
func claims(change func(jwt.MapClaims)) jwt.MapClaims {
	now := time.Now()
	c := jwt.MapClaims{
		"iss": "tasker-core", "aud": "tasker-api", "sub": "ann", "permissions": []string{"tasks:read"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if change != nil {
		change(c)
	}
	return c
}

func (p pair) sign(t *testing.T, c jwt.MapClaims, header ...string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(p.key.Algorithm), c)
	for i := 0; i < len(header); i += 2 {
		token.Header[header[i]] = header[i+1]
	}
	signed, err := token.SignedString(p.signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// request sends "METHOD path" with headers in pairs of name and value.
func request(t *testing.T, route string, headers ...string) *http.Request {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// admit returns why a request for a task is refused, or else who sent it.
func admit(t *testing.T, a *auth.Authenticator, headers ...string) string {
	t.Helper()
	return judged(a.Admit(request(t, "GET /v1/tasks/1", headers...), permission.TasksRead))
}

func judged(caller *auth.Caller, refusal *auth.Refusal) string {
	switch {
	case refusal != nil:
		return string(refusal.Reason)
	case caller == nil:
		return "anybody"
	}
	return "ok " + caller.Subject
}

const (
	alice = "alice-0123456789abcdef"
	bob   = "bob-0123456789abcdef"
)

func hash(t testing.TB, key string) string {
	t.Helper()
	h, err := auth.HashAPIKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestAdmit tries what may be shown against what may be asked for.
func TestAdmit(t *testing.T) {
	t.Parallel()
	p := newPair(t, signingkey.EdDSA)
	a := newAuth(t, sections[0], p.line()+`api_key = 'the one key'
		api_keys = [{description = 'alice', key_hash = '`+hash(t, alice)+`', permissions = ['tasks:read']}]
		protected_routes = [
			{method = 'GET', path = '/token/{id}', auth_type = 'bearer', required = true},
			{method = 'GET', path = '/key/{id}', auth_type = 'api_key', required = true},
			{method = 'GET', path = '/open/{id}', auth_type = 'bearer', required = false},
			{method = 'GET', path = '/open/closed', auth_type = 'bearer', required = true},
			{method = 'GET', path = '/health', auth_type = 'api_key', required = true},
		]`)
	good := "Bearer " + p.sign(t, claims(nil))
	poor := "Bearer " + p.sign(t, claims(func(c jwt.MapClaims) { c["permissions"] = []string{"dlq:read"} }))
	for _, tt := range []struct {
		route   string
		needs   permission.Permission
		headers []string
		want    string
	}{
		{"GET /v1/tasks/1", "tasks:read", nil, "missing"},
		{"GET /v1/tasks/1", "tasks:read", []string{"Authorization", good}, "ok ann"},
		{"GET /v1/tasks/1", "tasks:read", []string{"authorization", strings.Replace(good, "Bearer ", "bEARER   ", 1)}, "ok ann"},
		{"GET /v1/tasks/1", "tasks:read", []string{"Authorization", poor}, "permission"},
		{"GET /v1/tasks/1", "tasks:create", []string{"Authorization", good}, "permission"},
		{"GET /v1/tasks/1", "", []string{"X-API-Key", "the one key"}, "permission"},
		{"GET /v1/tasks/1", "", nil, "missing"},
		{"GET /v1/tasks/1", "tasks:read", []string{"X-API-Key", alice}, "ok api_key:alice"},
		{"GET /v1/tasks/1", "tasks:create", []string{"X-API-Key", alice}, "permission"},
		{"GET /v1/tasks/1", "tasks:create", []string{"x-api-key", "the one key"}, "ok api_key"},
		{"GET /v1/tasks/1", "tasks:read", []string{"X-API-Key", "the one ke"}, "unknown_key"},
		{"GET /v1/tasks/1", "tasks:read", []string{"X-API-Key", "the one key "}, "unknown_key"},
		{"GET /v1/tasks/1", "tasks:read", []string{"X-API-Key", hash(t, alice)}, "unknown_key"},
		{"GET /v1/tasks/1", "tasks:read", []string{"X-API-Key", ""}, "malformed"},
		{"GET /v1/tasks/1", "tasks:read", []string{"X-API-Key", strings.Repeat("k", 513)}, "malformed"},
		{"GET /v1/tasks/1", "tasks:read", []string{"X-API-Key", alice, "Authorization", good}, "several_credentials"},
		{"GET /v1/tasks/1", "tasks:read", []string{"X-API-Key", alice, "X-API-Key", bob}, "several_credentials"},
		{"GET /v1/tasks/1", "tasks:read", []string{"Authorization", good, "Authorization", poor}, "several_credentials"},
		{"GET /v1/tasks/1", "tasks:read", []string{"Authorization", "Bearer"}, "malformed"},
		{"GET /v1/tasks/1", "tasks:read", []string{"Authorization", "Bearer "}, "malformed"},
		{"GET /v1/tasks/1", "tasks:read", []string{"Authorization", "Basic dTpw"}, "malformed"},
		{"GET /v1/tasks/1", "tasks:read", []string{"Authorization", alice}, "malformed"},
		{"GET /v1/tasks/1", "tasks:read", []string{"Authorization", good + ",x"}, "malformed"},
		{"GET /v1/tasks/1?api_key=" + alice, "tasks:read", nil, "missing"},

		{"GET /metrics", permission.Public, nil, "anybody"},
		{"GET /metrics", permission.Public, []string{"Authorization", "Bearer stale"}, "anybody"},
		{"GET /health", permission.Public, nil, "missing"},
		{"GET /health", permission.Public, []string{"X-API-Key", alice}, "ok api_key:alice"},
		{"HEAD /health", permission.Public, nil, "missing"},

		{"GET /token/1", "tasks:read", nil, "missing"},
		{"GET /token/1", "tasks:read", []string{"Authorization", good}, "ok ann"},
		{"GET /token/1", "tasks:read", []string{"Authorization", poor}, "permission"},
		{"GET /token/1", "tasks:read", []string{"X-API-Key", alice}, "wrong_kind"},
		{"GET /key/1", "tasks:read", []string{"X-API-Key", alice}, "ok api_key:alice"},
		{"GET /key/1", "tasks:read", []string{"Authorization", good}, "wrong_kind"},

		{"GET /open/1", "tasks:read", nil, "anybody"},
		{"HEAD /open/1", "tasks:read", nil, "anybody"},
		{"POST /open/1", "tasks:read", nil, "missing"},
		{"GET /open/1", "tasks:read", []string{"Authorization", good}, "ok ann"},
		{"GET /open/1", "tasks:read", []string{"X-API-Key", alice}, "ok api_key:alice"},
		{"GET /open/1", "tasks:read", []string{"Authorization", poor}, "permission"},
		{"GET /open/1", "tasks:read", []string{"X-API-Key", "no"}, "unknown_key"},
		{"GET /open/1/more", "tasks:read", nil, "missing"},
		{"GET /open/", "tasks:read", nil, "missing"},
		{"GET /open/closed", "tasks:read", nil, "missing"},
		{"GET /open/%63losed", "tasks:read", nil, "missing"},
		{"GET /open/closed%2F", "tasks:read", nil, "anybody"}, // a segment of another name, for the router too
	} {
		if got := judged(a.Admit(request(t, tt.route, tt.headers...), tt.needs)); got != tt.want {
			t.Errorf("%s for %q with %.60q: %s, want %s", tt.route, tt.needs, tt.headers, got, tt.want)
		}
	}
}

// TestChallenges looks at what a refused caller is told to show.
func TestChallenges(t *testing.T) {
	t.Parallel()
	p := newPair(t, signingkey.EdDSA)
	key := "api_keys = [{description = 'alice', key_hash = '" + hash(t, alice) + "', permissions = ['dlq:*']}]\n"
	routes := "protected_routes = [{method = 'DELETE', path = '/v1/tasks/1', auth_type = 'bearer', required = true}]\n"
	good := "Bearer " + p.sign(t, claims(nil))
	const bearer, apiKey = `Bearer realm="tasker"`, `ApiKey realm="tasker", header="X-API-Key"`
	for _, tt := range []struct {
		lines, route string
		headers      []string
		want         []string
		status       int
	}{
		{p.line() + key + routes, "GET /v1/tasks/1", nil, []string{bearer, apiKey}, 401},
		{p.line() + key + routes, "DELETE /v1/tasks/1", nil, []string{bearer}, 401},
		{p.line() + key + routes, "GET /v1/tasks/1", []string{"Authorization", "Bearer x"}, []string{bearer + `, error="invalid_token"`, apiKey}, 401},
		{p.line() + key + routes, "GET /v1/tasks/1", []string{"Authorization", good}, []string{bearer + `, error="insufficient_scope", scope="tasks:cancel"`}, 403},
		{p.line() + key + routes, "GET /v1/tasks/1", []string{"X-API-Key", alice}, nil, 403},
		{key + "protected_routes = []\n", "GET /v1/tasks/1", []string{"Authorization", good}, []string{apiKey}, 401},
		{key + routes, "DELETE /v1/tasks/1", nil, []string{bearer}, 401},
	} {
		_, refusal := newAuth(t, sections[0], tt.lines).Admit(request(t, tt.route, tt.headers...), permission.TasksCancel)
		if refusal == nil || refusal.Status() != tt.status || !slices.Equal(refusal.Challenges(), tt.want) {
			t.Errorf("%s with %.40q: got %+v, %q; want %q", tt.route, tt.headers, refusal, refusal.Challenges(), tt.want)
		}
	}
}

// TestAPIKeys takes keys from hashes and files, and looks what they grant.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines := fmt.Sprintf(`protected_routes = []
		roles = [{name = 'reader', permissions = ['tasks:read']}]
		api_keys = [
			{description = 'alice', key_hash = '%s', roles = ['reader']},
			{description = 'bob', key_file = '%s', permissions = ['tasks:*']},
		]`, hash(t, alice), file)
	cfg := load(t, sections[0], lines)
	made := func() (*auth.Authenticator, error) { return auth.New(&cfg, nil, slog.New(slog.DiscardHandler)) }
	if _, err := made(); err == nil || !strings.Contains(err.Error(), "key of bob: read key_file") {
		t.Errorf("without the file: %v", err)
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", 513), alice} {
		write(bad)
		if _, err := made(); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("with %q: %v", bad, err)
		}
	}
	write(bob + "\n")
	a, err := made()
	if err != nil {
		t.Fatal(err)
	}
	if got := admit(t, a, "X-API-Key", alice) + ", " + admit(t, a, "X-API-Key", bob); got != "ok api_key:alice, ok api_key:bob" {
		t.Error(got)
	}
	caller, refusal := a.Admit(request(t, "GET /", "X-API-Key", alice), permission.DLQRead)
	if got := judged(caller, refusal); got != "permission" || caller.Subject != "api_key:alice" {
		t.Errorf("alice reads dead letters: %s", got)
	}
	one := newAuth(t, sections[0], "api_key = 'k'\nprotected_routes = []")
	for _, p := range permission.All() {
		if got := judged(one.Admit(request(t, "GET /", "X-API-Key", "k"), p)); got != "ok api_key" {
			t.Errorf("the one key lacks %s: %s", p, got)
		}
	}
	key := auth.GenerateAPIKey()
	if other := auth.GenerateAPIKey(); key == other || len(key) < 40 || hash(t, key) == hash(t, other) {
		t.Errorf("made %d characters, twice the same: %t", len(key), key == other)
	}
	if _, err := auth.HashAPIKey("short"); err == nil {
		t.Error("a short key has a hash")
	}
}

// TestActor: who calls counts, whatever a request says.
func TestActor(t *testing.T) {
	t.Parallel()
	if got := auth.Actor(t.Context(), "stated"); got != "stated" {
		t.Errorf("got %q", got)
	}
	if got := auth.Actor(auth.WithCaller(t.Context(), &auth.Caller{Subject: "ann"}), "stated"); got != "ann" {
		t.Errorf("got %q", got)
	}
}
