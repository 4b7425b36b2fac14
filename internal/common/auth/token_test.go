package auth_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
)

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// TestConfusion makes tokens as attackers do. A good one of each key is among
// them, so that it is not everything that is refused.
func TestConfusion(t *testing.T) {
	t.Parallel()
	called := make(chan string, 10)
	lure := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { called <- r.URL.Path }))
	defer lure.Close()
	ed, rs, foreign := newPair(t, signingkey.EdDSA), newPair(t, signingkey.RS256), newPair(t, signingkey.EdDSA)
	a := newAuth(t, sections[0], "protected_routes = []\njwt_public_key = '''\n"+ed.public+rs.public+"'''")
	signed := ed.sign(t, claims(nil))
	head, body, _ := strings.Cut(signed, ".")
	body, signature, _ := strings.Cut(body, ".")
	text, err := json.Marshal(claims(nil))
	if err != nil {
		t.Fatal(err)
	}

	mac := func(secret []byte, header string) string {
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(segment(header) + "." + body))
		return segment(header) + "." + body + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	der := func(p pair) []byte {
		raw, err := x509.MarshalPKIXPublicKey(p.key.Public)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	raw := func(header, payload string) string {
		private, ok := ed.signer.(ed25519.PrivateKey)
		if !ok {
			t.Fatal("no Ed25519 key")
		}
		whole := segment(header) + "." + segment(payload)
		return whole + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(whole)))
	}
	const edHeader = `{"alg":"EdDSA","typ":"JWT"}`
	tokens := map[string]string{
		signed:                              "ok ann",
		rs.sign(t, claims(nil)):             "ok ann",
		raw(edHeader, string(text)):         "ok ann",
		ed.sign(t, claims(nil), "kid", "x"): "ok ann", // kid names keys of other places

		segment(`{"alg":"none"}`) + "." + body + ".":                                                           "bad_signature",
		segment(`{"alg":"nOnE"}`) + "." + body + ".":                                                           "bad_signature",
		segment(`{"alg":"none"}`) + "." + body + "." + signature:                                               "bad_signature",
		segment(`{"alg":""}`) + "." + body + "." + signature:                                                   "bad_signature",
		segment(`{}`) + "." + body + "." + signature:                                                           "bad_signature",
		segment(`{"alg":["EdDSA"]}`) + "." + body + "." + signature:                                            "bad_signature",
		head + "." + body + ".":                                                                                "bad_signature",
		mac([]byte(rs.public), `{"alg":"HS256"}`):                                                              "bad_signature",
		mac([]byte(ed.public), `{"alg":"HS256"}`):                                                              "bad_signature",
		mac(der(rs), `{"alg":"HS256"}`):                                                                        "bad_signature",
		mac(der(ed), `{"alg":"HS512"}`):                                                                        "bad_signature",
		mac(nil, `{"alg":"HS256"}`):                                                                            "bad_signature",
		mac([]byte(rs.public), `{"alg":"RS256"}`):                                                              "bad_signature",
		segment(`{"alg":"RS256"}`) + "." + body + "." + signature:                                              "bad_signature",
		segment(`{"alg":"PS256"}`) + "." + body + "." + signature:                                              "bad_signature",
		segment(`{"alg":"ES256"}`) + "." + body + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)): "bad_signature",
		foreign.sign(t, claims(nil)):                                                                           "bad_signature",
		foreign.sign(t, claims(nil), "kid", ed.key.ID):                                                         "bad_signature",
		foreign.sign(t, claims(nil), "kid", "../../../../dev/null"):                                            "bad_signature",
		foreign.sign(t, claims(nil), "kid", "' or 1=1 --"):                                                     "bad_signature",
		foreign.sign(t, claims(nil), "kid", lure.URL+"/kid"):                                                   "bad_signature",
		foreign.sign(t, claims(nil), "jku", lure.URL+"/jku"):                                                   "bad_signature",
		foreign.sign(t, claims(nil), "x5u", lure.URL+"/x5u"):                                                   "bad_signature",
		foreign.sign(t, claims(nil), "x5c", base64.StdEncoding.EncodeToString(der(foreign))):                   "bad_signature",
		ed.sign(t, claims(nil), "crit", "exp"):                                                                 "malformed",
		ed.sign(t, claims(nil), "kid", strings.Repeat("k", 201)):                                               "malformed",
		raw(`{"alg":"EdDSA","kid":7}`, string(text)):                                                           "malformed",
		raw(`{"alg":"EdDSA","kid":null}`, string(text)):                                                        "malformed",
		raw(`{"alg":"EdDSA","crit":["b64"],"b64":false}`, string(text)):                                        "malformed",
		raw(`{"alg":"none","alg":"EdDSA"}`, string(text)):                                                      "malformed",
		raw(edHeader, `{"sub":"root",`+string(text[1:])):                                                       "malformed",
		raw(edHeader, strings.Replace(string(text), `"ann"`, `{"a":1,"a":2}`, 1)):                              "malformed",
		raw(edHeader, string(text)+"{}"):                                                                       "malformed",
		raw(edHeader, `[`+string(text)+`]`):                                                                    "malformed",
		raw(edHeader, `"`+"x"+`"`):                                                                             "malformed",
		raw(edHeader, string(text[:len(text)-1])):                                                              "malformed",
		raw(edHeader, strings.Repeat(`{"a":`, 900)+"1"+strings.Repeat("}", 900)):                               "bad_claims",
		signed + ".":              "malformed",
		signed + "=":              "malformed",
		signed[:len(signed)-2]:    "bad_signature",
		"..":                      "malformed",
		"a.b.c":                   "malformed",
		"é.é.é":                   "malformed",
		strings.Repeat("a", 8193): "malformed",
		ed.sign(t, claims(func(c jwt.MapClaims) { c["pad"] = strings.Repeat("x", 9000) })): "malformed",
	}
	// A key inside the token.
	own := jwt.NewWithClaims(jwt.GetSigningMethod(signingkey.EdDSA), claims(nil))
	public, ok := foreign.key.Public.(ed25519.PublicKey)
	if !ok {
		t.Fatal("no Ed25519 key")
	}
	own.Header["jwk"] = map[string]string{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)}
	carried, err := own.SignedString(foreign.signer)
	if err != nil {
		t.Fatal(err)
	}
	tokens[carried] = "bad_signature"
	for token, want := range tokens {
		if got := admit(t, a, "Authorization", "Bearer "+token); got != want && (want != "bad_signature" || got != "malformed") {
			t.Errorf("%.200s: %s, want %s", token, got, want)
		}
	}
	select {
	case path := <-called:
		t.Errorf("a token had %s fetched", path)
	default:
	}
}

// TestClaims changes one claim at a time.
func TestClaims(t *testing.T) {
	t.Parallel()
	p := newPair(t, signingkey.EdDSA)
	a := newAuth(t, sections[0], p.line()+"protected_routes = []\nroles = [{name = 'reader', permissions = ['tasks:read']}]")
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for want, changes := range map[string][]func(jwt.MapClaims){
		"ok ann": {
			func(jwt.MapClaims) {},
			func(c jwt.MapClaims) { c["exp"] = in(-10 * time.Second) }, // clocks differ
			func(c jwt.MapClaims) { c["nbf"] = in(10 * time.Second) },
			func(c jwt.MapClaims) { c["aud"] = []string{"other", "tasker-api"} },
			func(c jwt.MapClaims) { delete(c, "iat"); delete(c, "nbf") },
			func(c jwt.MapClaims) { c["permissions"] = "dlq:read tasks:read" },
			func(c jwt.MapClaims) { c["permissions"] = []string{"tasks:*"} },
			func(c jwt.MapClaims) { delete(c, "permissions"); c["roles"] = []string{"reader"} },
			func(c jwt.MapClaims) { c["permissions"] = nil; c["roles"] = "reader" },
			func(c jwt.MapClaims) { c["Permissions"] = []string{"none"} },
		},
		"expired": {
			func(c jwt.MapClaims) { c["exp"] = in(-time.Minute) },
			func(c jwt.MapClaims) { c["exp"] = -1e300 },
		},
		"not_yet_valid": {
			func(c jwt.MapClaims) { c["nbf"] = in(time.Minute) },
			func(c jwt.MapClaims) { c["iat"] = in(time.Minute) },
		},
		"wrong_issuer": {
			func(c jwt.MapClaims) { c["iss"] = "tasker-cor" },
			func(c jwt.MapClaims) { c["iss"] = "Tasker-core" },
		},
		"wrong_audience": {
			func(c jwt.MapClaims) { c["aud"] = "worker-api" },
			func(c jwt.MapClaims) { c["aud"] = []string{"tasker-api-2"} },
		},
		"bad_claims": {
			func(c jwt.MapClaims) { delete(c, "exp") },
			func(c jwt.MapClaims) { c["exp"] = 0 },
			func(c jwt.MapClaims) { c["iss"] = "" },
			func(c jwt.MapClaims) { c["exp"] = "tomorrow" },
			func(c jwt.MapClaims) { delete(c, "sub") },
			func(c jwt.MapClaims) { c["sub"] = "" },
			func(c jwt.MapClaims) { c["sub"] = 7 },
			func(c jwt.MapClaims) { c["sub"] = "a\nlevel=ERROR" },
			func(c jwt.MapClaims) { c["sub"] = strings.Repeat("s", 201) },
			func(c jwt.MapClaims) { c["permissions"] = 7 },
			func(c jwt.MapClaims) { c["permissions"] = map[string]bool{"tasks:read": true} },
			func(c jwt.MapClaims) { c["permissions"] = []any{"tasks:read", 7} },
			func(c jwt.MapClaims) { c["roles"] = true },
			func(c jwt.MapClaims) { c["aud"] = 7 },
			func(c jwt.MapClaims) { c["iss"] = 7 },
			func(c jwt.MapClaims) { delete(c, "iss") },
			func(c jwt.MapClaims) { delete(c, "aud") },
		},
		"unknown_permission": {
			func(c jwt.MapClaims) { c["permissions"] = []string{"*"} },
			func(c jwt.MapClaims) { c["permissions"] = []string{"tasks:read", "tasks:fly"} },
			func(c jwt.MapClaims) { c["roles"] = []string{"reader", "writer"} },
		},
		"permission": {
			func(c jwt.MapClaims) { c["permissions"] = []string{} },
			func(c jwt.MapClaims) { delete(c, "permissions") },
			func(c jwt.MapClaims) { c["permissions"] = []string{"tasks:list", "steps:*"} },
			func(c jwt.MapClaims) { delete(c, "permissions"); c["scope"] = "tasks:read" },
		},
	} {
		for i, change := range changes {
			if got := admit(t, a, "Authorization", "Bearer "+p.sign(t, claims(change))); got != want {
				t.Errorf("%s %d: %s", want, i, got)
			}
		}
	}
}

// TestIssue makes tokens as the command does, with both kinds of keys.
func TestIssue(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{signingkey.EdDSA, signingkey.RS256} {
		p := newPair(t, algorithm)
		cfg := load(t, sections[0], p.line()+"protected_routes = []\nroles = [{name = 'reader', permissions = ['dlq:read']}]\njwt_private_key = '''\n"+p.private+"'''")
		grant := auth.Grant{Subject: "ann", Permissions: []string{"tasks:*"}, Roles: []string{"reader"}, Expiry: time.Hour}
		token, err := auth.Issue(&cfg.Credentials, grant)
		if err != nil {
			t.Fatal(err)
		}
		a := newAuth(t, sections[0], p.line()+"protected_routes = []\nroles = [{name = 'reader', permissions = ['dlq:read']}]")
		caller, err := a.CheckToken(t.Context(), token)
		if err != nil || caller.Subject != "ann" || !slices.Equal(caller.Granted, []permission.Permission{"tasks:*", "dlq:read"}) {
			t.Errorf("got %+v, %v", caller, err)
		}
		if _, err := a.CheckToken(t.Context(), token+"x"); err == nil {
			t.Error("a changed token is good")
		}
		for _, bad := range []auth.Grant{{Subject: ""}, {Subject: "a\n"}, {Subject: "a", Permissions: []string{"*"}}} {
			if _, err := auth.Issue(&cfg.Credentials, bad); err == nil {
				t.Errorf("a token for %+v was made", bad)
			}
		}
	}
	keyless := load(t, sections[0], "api_key = 'k'\nprotected_routes = []")
	if _, err := auth.Issue(&keyless.Credentials, auth.Grant{Subject: "a"}); err == nil {
		t.Error("a token was made without a key")
	}
}

// FuzzAuthorization shows anything. Nobody gets in by it, nothing panics, and no
// refusal repeats it.
func FuzzAuthorization(f *testing.F) {
	private, public, err := signingkey.Generate(signingkey.EdDSA)
	if err != nil {
		f.Fatal(err)
	}
	_, key, err := signingkey.ParsePrivate(string(private))
	if err != nil {
		f.Fatal(err)
	}
	point, ok := key.Public.(ed25519.PublicKey)
	if !ok {
		f.Fatal("no Ed25519 key")
	}
	for _, seed := range []string{
		"", "Bearer", "Bearer a.b.c", "Bearer " + segment(`{"alg":"EdDSA"}`) + "." + segment(`{"sub":"a","exp":9e9}`) + "." + segment(string(point)),
		"Bearer " + segment(`{"alg":"none"}`) + "." + segment(`{}`) + ".", "Basic eDp5", "bearer \x00", "Bearer " + strings.Repeat(".", 99),
		"Bearer " + segment(`{"alg":"RS256","kid":"\u0000","crit":[]}`) + "." + segment(`{"aud":[[]],"permissions":{"a":1}}`) + ".AA",
	} {
		f.Add(seed, seed)
	}
	a := newAuth(f, sections[1], "api_keys = [{description = 'alice', key_hash = '"+hash(f, alice)+"', permissions = ['tasks:*']}]\njwt_public_key = '''\n"+string(public)+"'''")
	f.Fuzz(func(t *testing.T, authorization, apiKey string) {
		for _, headers := range [][]string{{"Authorization", authorization}, {"X-API-Key", apiKey}, {"Authorization", authorization, "X-API-Key", apiKey}} {
			_, refusal := a.Admit(request(t, "GET /v1/tasks/1", headers...), permission.TasksRead)
			if refusal == nil {
				t.Fatalf("%q lets in", headers)
			}
			said := fmt.Sprint(refusal, refusal.Challenges(), refusal.Status())
			if len(apiKey) > 20 && strings.Contains(said, apiKey) || len(authorization) > 20 && bytes.Contains([]byte(said), []byte(authorization)) {
				t.Fatalf("%q is repeated: %s", headers, said)
			}
		}
	})
}
