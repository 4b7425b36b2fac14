package web_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/web"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/testcert"
)

// guarded are settings whose access is that of an orchestrator.
func guarded(out io.Writer, p config.Provider) web.Settings {
	s := settings(out)
	s.Section, s.Config = "orchestration.system.web", p
	s.Access = func(c *config.Config) web.Access {
		if c.Orchestration == nil {
			return web.Access{}
		}
		now := c.Orchestration.System.Web
		return web.Access{Auth: now.Auth, CORS: now.CORS, TLS: now.TLS}
	}
	return s
}

// liveConfig loads what an orchestrator is configured with; vars may be changed
// before a reload.
func liveConfig(t *testing.T, overlay string, vars map[string]string) *config.Live {
	t.Helper()
	live, err := config.LoadLive(config.ContextOrchestration, config.Options{
		Environment: "test", Overlay: []byte(overlay),
		LookupEnv: func(name string) (string, bool) { value, set := vars[name]; return value, set },
	})
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// A logBuffer takes what several goroutines log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// whoami returns an API with a route that answers with its caller.
func whoami(t *testing.T, s web.Settings) http.Handler {
	t.Helper()
	api := newAPI(s)
	web.Handle(api, web.Route{ID: "whoami", Method: http.MethodGet, Path: "/v1/whoami/{anything}", Permission: permission.TasksRead},
		func(ctx context.Context, _ *struct {
			Anything string `path:"anything"`
		},
		) (*struct{ Body string }, error) {
			return &struct{ Body string }{auth.Actor(ctx, "nobody")}, nil
		})
	h, err := api.Handler()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// send sends "METHOD path" with headers in pairs of name and value.
func send(t *testing.T, h http.Handler, route string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const (
	firstKey  = "first-0123456789abcdef"
	secondKey = "second-0123456789abcdef"
)

func hash(t *testing.T, key string) string {
	t.Helper()
	h, err := auth.HashAPIKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestRefusals looks at the answers to who is refused, and at the log of it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	var log logBuffer
	h := whoami(t, guarded(&log, liveConfig(t, "[orchestration.system.web.auth]\nenabled = true\nprotected_routes = []\n"+
		"api_keys = [{description = 'shop', key_hash = '"+hash(t, firstKey)+"', permissions = ['tasks:create']},"+
		"{description = 'desk', key_hash = '"+hash(t, secondKey)+"', permissions = ['tasks:*']}]", nil)))
	for _, tt := range []struct {
		headers      []string
		status       int
		body, logged string
	}{
		{nil, 401, `"code":"UNAUTHORIZED"`, "reason=missing credential=none"},
		{[]string{"X-API-Key", "wrong-key-hunter2"}, 401, `"code":"AUTHENTICATION_FAILED"`, "reason=unknown_key credential=api_key"},
		{[]string{"Authorization", "Bearer hunter2"}, 401, `"code":"AUTHENTICATION_FAILED"`, "reason=no_tokens credential=bearer"},
		{[]string{"X-API-Key", firstKey}, 403, `"code":"FORBIDDEN","detail":"the caller may not do this: it needs the permission tasks:read"`, "reason=permission credential=api_key caller=api_key:shop needs=tasks:read"},
		{[]string{"X-API-Key", secondKey}, 200, "api_key:desk", ""},
	} {
		before := len(log.String())
		w := send(t, h, "GET /v1/whoami/x", append(tt.headers, "X-Request-ID", "r-1")...)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) {
			t.Errorf("%q: got %d, %s; want %d, %s", tt.headers, w.Code, w.Body, tt.status, tt.body)
		}
		if challenged := w.Header().Get("WWW-Authenticate") != ""; challenged != (tt.status == 401) {
			t.Errorf("%q: %d has WWW-Authenticate %q", tt.headers, tt.status, w.Header().Values("WWW-Authenticate"))
		}
		logged := log.String()[before:]
		if tt.logged != "" && (!strings.Contains(logged, tt.logged) || !strings.Contains(logged, `request_id=r-1 route="GET /v1/whoami/{anything}"`)) {
			t.Errorf("%q: logged %s, want %s", tt.headers, logged, tt.logged)
		}
		if tt.logged == "" && strings.Contains(logged, "refused") {
			t.Errorf("%q: logged %s", tt.headers, logged)
		}
	}
	for _, secret := range []string{firstKey, secondKey, "hunter2"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
	if w := send(t, h, "GET /nowhere"); w.Code != http.StatusNotFound {
		t.Errorf("no route: %d", w.Code)
	}
}

// TestHeaders: every answer has the headers that keep browsers from making more
// of it, refusals and errors too.
func TestHeaders(t *testing.T) {
	t.Parallel()
	h := whoami(t, guarded(io.Discard, liveConfig(t, "[orchestration.system.web.auth]\nenabled = true\napi_key = 'k'\nprotected_routes = []", nil)))
	for route, status := range map[string]int{"GET /v1/whoami/x": 401, "GET /nowhere": 404, "PUT /v1/whoami/x": 405, "GET /openapi.json": 200, "GET /fail/fault": 500} {
		w := send(t, h, route)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Strict-Transport-Security": "",
		} {
			if got := w.Header().Get(name); got != want || w.Code != status {
				t.Errorf("%s: %d with %s: %q, want %d with %q", route, w.Code, name, got, status, want)
			}
		}
	}
}

// TestPathTricks writes the path of a guarded route in other ways. None gets past
// the question who calls.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	address, stop := start(t, func() *web.API {
		api := newAPI(guarded(io.Discard, liveConfig(t, "[orchestration.system.web.auth]\nenabled = true\napi_key = 'k'\n"+
			"protected_routes = [{method = 'GET', path = '/open/{x}', auth_type = 'bearer', required = false}]", nil)))
		for _, path := range []string{"/open/{x}", "/v1/tasks/{x}"} {
			web.Handle(api, web.Route{ID: path, Method: http.MethodGet, Path: path, Permission: permission.TasksRead},
				func(context.Context, *struct {
					X string `path:"x"`
				},
				) (*struct{ Body string }, error) {
					return &struct{ Body string }{path}, nil
				})
		}
		return api
	}())
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	raw := func(line string, headers string) string {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", line, headers)
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	for _, line := range []string{
		"GET /v1/tasks/1", "HEAD /v1/tasks/1", "GET //v1//tasks/1", "GET /v1/./tasks/1", "GET /open/../v1/tasks/1", "GET /open/%2e%2e/v1/tasks/1", "GET /open/x/../../v1/tasks/1",
		"GET /%76%31/tasks/1", "GET /v1/tasks/1/", "GET /v1/tasks/1;/open/x", "GET /v1/tasks/1?path=/open/x", "GET /v1/tasks/1#/open/x", "GET /v1/tasks/%2e", "GET /V1/tasks/1",
		"GET /v1/tasks/..%2f..%2fopen%2fx", "GET /v1/tasks/%00", "GET /open/x%2f..%2f..%2fv1%2ftasks%2f1", "GET http://x/v1/tasks/1", "GET http://x/open/../v1/tasks/1",
		"GET \\v1\\tasks\\1", "POST /v1/tasks/1", "OPTIONS /v1/tasks/1", "TRACE /v1/tasks/1", "CONNECT /v1/tasks/1", "CONNECT x:1", "get /v1/tasks/1",
	} {
		for _, headers := range []string{
			"", "X-HTTP-Method-Override: GET\r\n", "X-Original-URL: /open/x\r\nX-Rewrite-URL: /open/x\r\n", "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n",
			"Authorization:\r\n", "X-API-Key:\r\n", "X-API-Key: k\r\nAuthorization: Bearer x\r\n", "X_API_Key: k\r\n", "Cookie: X-API-Key=k\r\n",
		} {
			answer := raw(line, headers)
			if status := strings.SplitN(answer, " ", 3)[1]; strings.Contains(answer, `"/v1/tasks/{x}"`) || status[0] == '5' {
				t.Errorf("%s with %q: %s", line, headers, answer)
			}
		}
	}
	if answer := raw("GET /v1/tasks/1", "X-API-Key: k\r\n"); !strings.Contains(answer, `"/v1/tasks/{x}"`) {
		t.Errorf("with the key: %s", answer)
	}
	if answer := raw("GET /open/1", ""); !strings.Contains(answer, `"/open/{x}"`) {
		t.Errorf("the open route: %s", answer)
	}
	if answer := raw("GET /v1/tasks/1", "X-API-Key: k\r\nX-Request-ID: a\r\n Set-Cookie: b=c\r\n"); strings.Contains(answer, "\r\nSet-Cookie") {
		t.Errorf("a header is let through: %s", answer)
	}
}

// TestRulesFollowReloads: keys are exchanged in a running server, and one whose
// rules cannot be made keeps those of before.
func TestRulesFollowReloads(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	write := func(key string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(firstKey)
	vars := map[string]string{"TASKER_API_KEY": "one"}
	live := liveConfig(t, "[orchestration.system.web]\ncors.allowed_origins = ['${TASKER_WORKER_ID:-https://a}']\n[orchestration.system.web.auth]\nenabled = '${TASKER_WORKER_WEB_BIND_ADDRESS:-true}'\n"+
		"protected_routes = []\napi_key = '${TASKER_API_KEY}'\napi_keys = [{description = 'shop', key_file = '"+file+"', permissions = ['tasks:*']}]", vars)
	var log logBuffer
	h := whoami(t, guarded(&log, live))
	look := func(what string, want ...int) {
		t.Helper()
		for i, key := range []string{"one", "two", firstKey, secondKey} {
			if w := send(t, h, "GET /v1/whoami/x", "X-API-Key", key); w.Code != want[i] {
				t.Errorf("%s: %s gets %d, want %d", what, key, w.Code, want[i])
			}
		}
	}
	reload := func() {
		t.Helper()
		if _, err := live.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	look("at the start", 200, 401, 200, 401)
	vars["TASKER_API_KEY"] = "two"
	write(secondKey)
	look("before the reload", 200, 401, 200, 401)
	reload()
	look("after the reload", 401, 200, 401, 200)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	vars["TASKER_API_KEY"] = "one"
	reload()
	look("without the file", 401, 200, 401, 200)
	if !strings.Contains(log.String(), "rules of access not reloaded") || strings.Contains(log.String(), secondKey) {
		t.Errorf("logged %s", log.String())
	}
	write(firstKey)
	vars["TASKER_WORKER_WEB_BIND_ADDRESS"], vars["TASKER_WORKER_ID"] = "false", "https://b"
	reload()
	look("turned off", 200, 200, 200, 200)
	if got := send(t, h, "GET /v1/whoami/x", "Origin", "https://b").Header().Get("Access-Control-Allow-Origin"); got != "https://b" {
		t.Errorf("the origin of now gets %q", got)
	}
	broken := newAPI(guarded(io.Discard, liveConfig(t, "[orchestration.system.web.auth]\nenabled = true\nprotected_routes = []\n"+
		"api_keys = [{description = 'shop', key_file = '"+file+".none', permissions = ['tasks:*']}]", nil)))
	if _, err := broken.Handler(); err == nil || !strings.Contains(err.Error(), "orchestration.system.web.auth: api_keys: the key of shop") {
		t.Errorf("a server starts without its keys: %v", err)
	}
}

// TestTLS serves encrypted, and exchanges the certificate meanwhile.
func TestTLS(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.system.web.tls.enabled", "orchestration.system.web.tls.cert_path", "orchestration.system.web.tls.key_path")
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool := testcert.Write(t, certPath, keyPath, 1)
	live := liveConfig(t, fmt.Sprintf("[orchestration.system.web.tls]\nenabled = true\ncert_path = '%s'\nkey_path = '%s'", certPath, keyPath), nil)
	var log logBuffer
	address, stop := start(t, newAPI(guarded(&log, live)))
	type answered struct {
		status int
		strict string // Strict-Transport-Security
		serial int64  // of the certificate
	}
	get := func(scheme string, trust *x509.CertPool, most uint16) (got answered, err error) {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, MaxVersion: most}, DisableKeepAlives: true}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+address+"/openapi.json", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			return got, err
		}
		response.Body.Close()
		got.status, got.strict = response.StatusCode, response.Header.Get("Strict-Transport-Security")
		if response.TLS != nil {
			got.serial = response.TLS.PeerCertificates[0].SerialNumber.Int64()
		}
		return got, nil
	}
	if got, err := get("https", pool, 0); err != nil || got.status != http.StatusOK || got.strict == "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got, err := get("http", nil, 0); err == nil && got.status == http.StatusOK {
		t.Error("it answers without encryption")
	}
	if _, err := get("https", pool, tls.VersionTLS11); err == nil {
		t.Error("it speaks TLS 1.1")
	}
	next := testcert.Write(t, certPath, keyPath, 2)
	if got, err := get("https", next, 0); err != nil || got.serial != 2 {
		t.Errorf("the new certificate: %v", err)
	}
	if _, err := get("https", pool, 0); err == nil {
		t.Error("the old certificate is still shown")
	}
	if err := os.WriteFile(keyPath, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get("https", next, 0); err != nil || !strings.Contains(log.String(), "the one of before stays in use") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("with a broken key: %v, logged %s", err, log.String())
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := newAPI(guarded(io.Discard, live)).Serve(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "orchestration.system.web.tls: read the certificate") {
		t.Errorf("it starts with a broken key: %v", err)
	}
}

// TestSlowClients: who sends a request byte by byte, or stops in the middle, is
// cut off; others are served meanwhile.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	s := guarded(io.Discard, liveConfig(t, "", nil))
	s.Web.RequestTimeout = 2000 // enough for a client that is not slow, on a busy machine
	s.Log = slog.New(slog.DiscardHandler)
	address, stop := start(t, newAPI(s))
	var wg sync.WaitGroup
	for _, begun := range []string{
		"", "GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-A", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
	} {
		for range 20 {
			wg.Go(func() {
				conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprint(conn, begun)
				// The server ends the connection: reading goes on to its end.
				answer, _ := io.ReadAll(bufio.NewReader(conn))
				if text := string(answer); text != "" && !strings.HasPrefix(text, "HTTP/1.1 40") {
					t.Errorf("%q is answered with %s", begun, text)
				}
			})
		}
	}
	if status, _ := read(t, client(t), "http://"+address+"/openapi.json"); status != http.StatusOK {
		t.Errorf("another client gets %d", status)
	}
	wg.Wait()
	if err := stop(); err != nil {
		t.Error(err)
	}
}
