package auth

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// A provider is an identity provider whose answers a test sets.
type provider struct {
	*httptest.Server

	mu     sync.Mutex
	answer http.HandlerFunc
	asked  int
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		answer := p.answer
		p.asked++
		p.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// serve sets the answer, and returns how often it was asked for the one before.
func (p *provider) serve(answer http.HandlerFunc) (asked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, p.asked, p.answer = p.asked, 0, answer
	return asked
}

// keys is an answer with an Ed25519 key for each id.
func keys(t *testing.T, ids ...string) http.HandlerFunc {
	t.Helper()
	var list []string
	for _, id := range ids {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf(`{"kty": "OKP", "crv": "Ed25519", "kid": %q, "x": %q}`, id, base64.RawURLEncoding.EncodeToString(public)))
	}
	return answer(`{"keys": [` + strings.Join(list, ",") + `]}`)
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func fails(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

// A clock is moved by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// TestKeySet follows a provider through a day: new keys, outages, withdrawn
// keys.
func TestKeySet(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := &clock{at: time.Now()}
	s := newKeySet(source{p.URL, time.Hour, 5 * time.Minute, true}, slog.New(slog.DiscardHandler))
	s.now = c.now
	look := func(what, id string, want int) {
		t.Helper()
		found, err := s.find(t.Context(), id)
		if err != nil && want >= 0 || err == nil && len(found) != want {
			t.Errorf("%s: found %d keys called %q, want %d: %v", what, len(found), id, want, err)
		}
	}
	asked := func(what string, next http.HandlerFunc, want int) {
		t.Helper()
		if got := p.serve(next); got != want {
			t.Errorf("%s: asked %d times, want %d", what, got, want)
		}
	}
	const none = -1

	p.serve(fails)
	look("down from the start", "a", none)
	look("again at once", "a", none)
	asked("down from the start", keys(t, "a"), 1)
	c.move(fetchPause)
	look("up", "a", 1)
	look("up", "", 1)
	for i := range 5 {
		look("no such key", fmt.Sprint(i), 0)
	}
	asked("made up names", keys(t, "a", "b"), 1)
	c.move(fetchPause)
	look("a new key", "b", 1)
	look("all", "", 2)
	asked("a new key", keys(t, "b"), 1)
	c.move(time.Hour - time.Second)
	look("still fresh", "a", 1)
	c.move(2 * time.Second)
	look("withdrawn", "a", 0)
	look("kept", "b", 1)
	asked("after the refresh interval", fails, 1)
	c.move(time.Hour + 4*time.Minute)
	look("down for a while", "b", 1)
	look("down for a while", "b", 1)
	asked("down for a while", fails, 1)
	c.move(2 * time.Minute)
	look("down for too long", "b", none)
	asked("down for too long", keys(t, "c"), 1)
	c.move(fetchPause)
	look("up again", "c", 1)
}

// TestKeySetAges: how long keys are good is configured, for both servers.
func TestKeySetAges(t *testing.T) {
	t.Parallel()
	liveness.Covers(
		t, "orchestration.system.web.auth.jwks_refresh_interval_seconds", "orchestration.system.web.auth.jwks_max_stale_seconds",
		"worker.system.web.auth.jwks_refresh_interval_seconds", "worker.system.web.auth.jwks_max_stale_seconds",
	)
	for _, role := range []string{"orchestration", "worker"} {
		for _, tt := range []struct {
			lines         string
			askedAgain    int  // when the keys are 100 seconds old
			goodInTheLong bool // when they are 200
		}{
			{"jwks_refresh_interval_seconds = 110\njwks_max_stale_seconds = 100", 0, true},
			{"jwks_refresh_interval_seconds = 90\njwks_max_stale_seconds = 120", 1, true},
			{"jwks_refresh_interval_seconds = 90\njwks_max_stale_seconds = 100", 1, false},
		} {
			p := newProvider(t)
			cfg, err := config.LoadCombined(config.Options{
				Environment: "test", LookupEnv: func(string) (string, bool) { return "", false },
				Overlay: fmt.Appendf(nil, "[%s.system.web.auth]\njwks_url = %q\njwks_allow_private_addresses = true\n%s", role, p.URL, tt.lines),
			})
			if err != nil {
				t.Fatal(err)
			}
			credentials := &cfg.Orchestration.System.Web.Auth.Credentials
			if role == "worker" {
				credentials = &cfg.Worker.System.Web.Auth.Credentials
			}
			c := &clock{at: time.Now()}
			s := newKeySet(sourceOf(credentials), slog.New(slog.DiscardHandler))
			s.now = c.now
			p.serve(keys(t, "a"))
			if _, err := s.find(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			p.serve(fails)
			c.move(100 * time.Second)
			if _, err := s.find(t.Context(), "a"); err != nil {
				t.Errorf("%s, %s: after 100 s: %v", role, tt.lines, err)
			}
			if got := p.serve(fails); got != tt.askedAgain {
				t.Errorf("%s, %s: asked %d times again, want %d", role, tt.lines, got, tt.askedAgain)
			}
			c.move(100 * time.Second)
			if _, err := s.find(t.Context(), "a"); (err == nil) != tt.goodInTheLong {
				t.Errorf("%s, %s: after 200 s: %v", role, tt.lines, err)
			}
		}
	}
}

// TestKeySetFetchesOnce: many tokens at once are one fetch, and who gives up does
// not end it.
func TestKeySetFetchesOnce(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	good := keys(t, "a")
	p.serve(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		good(w, r)
	})
	s := newKeySet(source{p.URL, time.Hour, 0, true}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = s.find(ctx, "a") })
	<-arrived
	cancel()
	if _, err := s.find(ctx, "a"); err == nil {
		t.Error("there is a key before the provider has answered")
	}
	for range 20 {
		wg.Go(func() {
			if found, err := s.find(t.Context(), "a"); err != nil || len(found) != 1 {
				t.Errorf("found %d keys, %v", len(found), err)
			}
		})
	}
	close(release)
	wg.Wait()
	if got := p.serve(nil); got != 1 {
		t.Errorf("asked %d times", got)
	}
}

// TestKeySetIsGuarded: keys come from where they are to come from, in a form that
// is to be expected.
func TestKeySetIsGuarded(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	other := httptest.NewServer(keys(t, "a"))
	defer other.Close()
	for what, tt := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"a redirect":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, "302"},
		"a long body":  {answer(`{"keys": [` + strings.Repeat(" ", maxKeySet) + `]}`), "longer"},
		"no JSON":      {answer("<html>"), "invalid character"},
		"no keys":      {answer("{}"), "no RSA or Ed25519 key"},
		"no good keys": {answer(`{"keys": [{"kty": "oct", "k": "AAAA"}, {"kty": "EC", "crv": "P-256"}]}`), "no RSA or Ed25519 key"},
		"many headers": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("A", strings.Repeat("x", 40<<10)) }, "fetch keys"},
	} {
		p.serve(tt.answer)
		var log bytes.Buffer
		s := newKeySet(source{p.URL, time.Hour, 0, true}, slog.New(slog.NewTextHandler(&log, nil)))
		if _, err := s.find(t.Context(), ""); err == nil || !strings.Contains(log.String(), tt.says) {
			t.Errorf("%s: %v, %s", what, err, log.String())
		}
	}
	p.serve(keys(t, "a"))
	_, port, _ := strings.Cut(strings.TrimPrefix(p.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "127.1.2.3", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		var log bytes.Buffer
		s := newKeySet(source{"http://u:hunter2@" + host + ":" + port, time.Hour, 0, false}, slog.New(slog.NewTextHandler(&log, nil)))
		if _, err := s.find(t.Context(), ""); err == nil || !strings.Contains(log.String(), "is not public") || strings.Contains(log.String(), "hunter2") {
			t.Errorf("%s: %v, %s", host, err, log.String())
		}
	}
	if got := p.serve(nil); got != 0 {
		t.Errorf("a private address was called %d times", got)
	}
}

// TestKeyOfASet takes keys as they are and with one thing wrong.
func TestKeyOfASet(t *testing.T) {
	t.Parallel()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	x, n, e := text(public), text(private.N.Bytes()), text(big.NewInt(int64(private.E)).Bytes())
	for _, tt := range []struct {
		key  jwk
		want string // algorithm
	}{
		{jwk{Type: "OKP", Curve: "Ed25519", X: x}, signingkey.EdDSA},
		{jwk{Type: "OKP", Curve: "Ed25519", X: x, Use: "sig", Algorithm: "EdDSA", Operations: []string{"sign", "verify"}}, signingkey.EdDSA},
		{jwk{Type: "RSA", N: n, E: e}, signingkey.RS256},
		{jwk{Type: "RSA", N: n, E: e, Algorithm: "RS256"}, signingkey.RS256},
		{jwk{Type: "RSA", N: n, E: e, Algorithm: "RS512"}, ""},
		{jwk{Type: "RSA", N: n, E: e, Algorithm: "HS256"}, ""},
		{jwk{Type: "RSA", N: n, E: e, Algorithm: "EdDSA"}, ""},
		{jwk{Type: "RSA", N: n, E: e, Use: "enc"}, ""},
		{jwk{Type: "RSA", N: n, E: text([]byte{1})}, ""},
		{jwk{Type: "RSA", N: n, E: text([]byte{1, 2, 3, 4, 5})}, ""},
		{jwk{Type: "RSA", N: text(private.N.Bytes()[:100]), E: e}, ""},
		{jwk{Type: "RSA", N: "!", E: e}, ""},
		{jwk{Type: "OKP", Curve: "Ed25519", X: x, Operations: []string{"sign"}}, ""},
		{jwk{Type: "OKP", Curve: "X25519", X: x}, ""},
		{jwk{Type: "OKP", Curve: "Ed25519", X: x[:10]}, ""},
		{jwk{Type: "OKP", Curve: "Ed25519", X: "!"}, ""},
		{jwk{Type: "oct", X: x}, ""},
		{jwk{}, ""},
	} {
		got, err := tt.key.key()
		if got.Algorithm != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%+v: %q, %v", tt.key, got.Algorithm, err)
		}
	}
}
