package auth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// TestKeysOfTokens gives each key that tokens go by two values, in both
// sections.
func TestKeysOfTokens(t *testing.T) {
	t.Parallel()
	liveness.Covers(
		t, "orchestration.system.web.auth.jwt_issuer", "orchestration.system.web.auth.jwt_audience", "orchestration.system.web.auth.jwt_public_key",
		"orchestration.system.web.auth.jwt_clock_skew_seconds", "orchestration.system.web.auth.permissions_claim",
		"orchestration.system.web.auth.roles_claim", "orchestration.system.web.auth.roles", "orchestration.system.web.auth.strict_validation",
		"worker.system.web.auth.jwt_issuer", "worker.system.web.auth.jwt_audience", "worker.system.web.auth.jwt_public_key",
		"worker.system.web.auth.jwt_clock_skew_seconds", "worker.system.web.auth.permissions_claim",
		"worker.system.web.auth.roles_claim", "worker.system.web.auth.roles", "worker.system.web.auth.strict_validation",
	)
	p, other := newPair(t, signingkey.EdDSA), newPair(t, signingkey.EdDSA)
	for _, section := range sections {
		for _, tt := range []struct {
			one, two         string
			change           func(jwt.MapClaims)
			wantOne, wantTwo string
		}{
			{p.line(), other.line(), nil, "ok ann", "bad_signature"},
			{p.line(), p.line() + "jwt_issuer = 'else'", nil, "ok ann", "wrong_issuer"},
			{p.line(), p.line() + "jwt_audience = 'else'", nil, "ok ann", "wrong_audience"},
			{p.line(), p.line() + "jwt_clock_skew_seconds = 0", func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-15 * time.Second).Unix() }, "ok ann", "expired"},
			{p.line(), p.line() + "permissions_claim = 'scope'", func(c jwt.MapClaims) { c["scope"] = "dlq:read" }, "ok ann", "permission"},
			{p.line(), p.line() + "strict_validation = false", func(c jwt.MapClaims) { c["permissions"] = "tasks:read of:others" }, "unknown_permission", "ok ann"},
			{
				p.line() + "roles = [{name = 'r', permissions = ['tasks:read']}]", p.line() + "roles = [{name = 'r', permissions = []}]",
				func(c jwt.MapClaims) { c["permissions"] = ""; c["roles"] = "r" }, "ok ann", "permission",
			},
			{
				p.line() + "roles = [{name = 'r', permissions = ['tasks:read']}]", p.line() + "roles_claim = 'groups'\nroles = [{name = 'r', permissions = ['tasks:read']}]",
				func(c jwt.MapClaims) { c["permissions"] = ""; c["roles"] = "r" }, "ok ann", "permission",
			},
		} {
			token := "Bearer " + p.sign(t, claims(tt.change))
			one, two := newAuth(t, section, tt.one+"\nprotected_routes = []"), newAuth(t, section, tt.two+"\nprotected_routes = []")
			if got, gotTwo := admit(t, one, "Authorization", token), admit(t, two, "Authorization", token); got != tt.wantOne || gotTwo != tt.wantTwo {
				t.Errorf("%s: %s and %s, want %s and %s, with\n%s", section, got, gotTwo, tt.wantOne, tt.wantTwo, tt.two)
			}
		}
	}
}

// TestKeysOfCallers does the same for API keys and rules.
func TestKeysOfCallers(t *testing.T) {
	t.Parallel()
	liveness.Covers(
		t, "orchestration.system.web.auth.api_key", "orchestration.system.web.auth.api_keys", "orchestration.system.web.auth.api_key_header",
		"orchestration.system.web.auth.protected_routes",
		"worker.system.web.auth.api_key", "worker.system.web.auth.api_keys", "worker.system.web.auth.api_key_header", "worker.system.web.auth.protected_routes",
	)
	for _, section := range sections {
		list := "api_keys = [{description = 'alice', key_hash = '" + hash(t, alice) + "', permissions = ['%s']}]\nprotected_routes = []\n"
		for _, tt := range []struct {
			lines, header string
			want          string
		}{
			{"protected_routes = []\napi_key = '" + alice + "'", "X-API-Key", "ok api_key"},
			{"protected_routes = []\napi_key = '" + bob + "'", "X-API-Key", "unknown_key"},
			{fmt.Sprintf(list, "tasks:read"), "X-API-Key", "ok api_key:alice"},
			{fmt.Sprintf(list, "tasks:list"), "X-API-Key", "permission"},
			{fmt.Sprintf(list, "tasks:read") + "api_key_header = 'X-Gate'", "X-API-Key", "missing"},
			{fmt.Sprintf(list, "tasks:read") + "api_key_header = 'X-Gate'", "X-Gate", "ok api_key:alice"},
			{"api_key = 'k'\nprotected_routes = [{method = 'GET', path = '/v1/tasks/{t}', auth_type = 'bearer', required = false}]", "X-Other", "anybody"},
			{"api_key = 'k'\nprotected_routes = [{method = 'GET', path = '/v1/tasks/{t}', auth_type = 'api_key', required = true}]", "X-Other", "missing"},
		} {
			if got := admit(t, newAuth(t, section, tt.lines), tt.header, alice); got != tt.want {
				t.Errorf("%s: %s, want %s, with\n%s", section, got, tt.want, tt.lines)
			}
		}
	}
}

// TestKeysOfFetching does the same for where keys are fetched.
func TestKeysOfFetching(t *testing.T) {
	t.Parallel()
	liveness.Covers(
		t, "orchestration.system.web.auth.jwks_url", "orchestration.system.web.auth.jwks_allow_private_addresses",
		"worker.system.web.auth.jwks_url", "worker.system.web.auth.jwks_allow_private_addresses",
	)
	p, other := newPair(t, signingkey.EdDSA), newPair(t, signingkey.EdDSA)
	token := "Bearer " + p.sign(t, claims(nil), "kid", "k")
	one, two := provider(t, p), provider(t, other)
	const allow = "\njwks_allow_private_addresses = true\nprotected_routes = []"
	for _, section := range sections {
		for lines, want := range map[string]string{
			"jwks_url = '" + one + "'" + allow:                   "ok ann",
			"jwks_url = '" + two + "'" + allow:                   "bad_signature",
			"jwks_url = '" + one + "'\nprotected_routes = []":    "keys_unavailable",
			p.line() + "jwks_url = '" + two + "'" + allow:        "ok ann", // both count
			p.line() + "jwks_url = 'http://127.0.0.1:1'" + allow: "ok ann",
		} {
			if got := admit(t, newAuth(t, section, lines), "Authorization", token); got != want {
				t.Errorf("%s: %s, want %s, with\n%s", section, got, want, lines)
			}
		}
	}
}

// provider serves the key of p as k.
func provider(t *testing.T, p pair) (url string) {
	t.Helper()
	public, ok := p.key.Public.(ed25519.PublicKey)
	if !ok {
		t.Fatal("no Ed25519 key")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "use": "sig", "alg": "EdDSA", "x": %q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	t.Cleanup(server.Close)
	return server.URL
}
