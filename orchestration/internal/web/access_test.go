package web_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

// An issuer makes tokens for a server that trusts it.
type issuer struct {
	t       *testing.T
	overlay string // what its server is configured with
	private string
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	private, public, err := signingkey.Generate(signingkey.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t, "[orchestration.system.web.auth]\nenabled = true\nprotected_routes = []\njwt_public_key = '''\n" + string(public) + "'''\n", string(private)}
}

// header is what ann sends who may do what is granted.
func (i *issuer) header(granted ...permission.Permission) []string {
	i.t.Helper()
	names := make([]string, len(granted))
	for n, p := range granted {
		names[n] = string(p)
	}
	token, err := auth.Issue(&config.Credentials{
		JWTPrivateKey: i.private, JWTIssuer: "tasker-core", JWTAudience: "tasker-api", PermissionsClaim: "permissions",
	}, auth.Grant{Subject: "ann", Permissions: names, Expiry: time.Hour})
	if err != nil {
		i.t.Fatal(err)
	}
	return []string{"Authorization", "Bearer " + token}
}

// status sends a request and returns the status of the answer, whose body may
// have no end.
func (s *server) status(method, path string, headers ...string) int {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.base+path, strings.NewReader("{}"))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.http.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// TestEveryRouteAsksWhoCalls calls every route without credentials, with all
// permissions but its own, and with its own alone.
func TestEveryRouteAsksWhoCalls(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.system.web.auth.enabled")
	i := newIssuer(t)
	s, open := startServer(t, i.overlay), startServer(t, "")
	parameter := regexp.MustCompile(`\{[a-z_]+\}`)
	for _, r := range web.API().Routes() {
		path := parameter.ReplaceAllStringFunc(r.Path, func(name string) string {
			if strings.HasSuffix(name, "uuid}") {
				return uuid.NewString()
			}
			return "x"
		})
		others := slices.DeleteFunc(permission.All(), func(p permission.Permission) bool { return p == r.Permission })
		allowed := func(headers ...string) bool {
			status := s.status(r.Method, path, headers...)
			return status != http.StatusUnauthorized && status != http.StatusForbidden
		}
		if r.Permission == permission.Public {
			if !allowed() || !allowed("Authorization", "Bearer stale") {
				t.Errorf("%s %s is public, and asks who calls", r.Method, r.Path)
			}
			continue
		}
		if got := s.status(r.Method, path); got != http.StatusUnauthorized {
			t.Errorf("%s %s without credentials: %d", r.Method, r.Path, got)
		}
		if got := s.status(r.Method, path, i.header(others...)...); got != http.StatusForbidden {
			t.Errorf("%s %s without %s: %d", r.Method, r.Path, r.Permission, got)
		}
		resource, _, _ := strings.Cut(string(r.Permission), ":")
		for _, right := range []permission.Permission{r.Permission, permission.Permission(resource + ":*")} {
			if !allowed(i.header(right)...) {
				t.Errorf("%s %s is refused with %s", r.Method, r.Path, right)
			}
		}
		if got := open.status(r.Method, path); got == http.StatusUnauthorized || got == http.StatusForbidden {
			t.Errorf("%s %s of a server that asks nobody: %d", r.Method, r.Path, got)
		}
	}
	if s.tasks() != 0 {
		t.Error("a task was created")
	}
}

// TestSearchingContexts: what a search finds in contexts is for those who may read
// them.
func TestSearchingContexts(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	s := startServer(t, i.overlay)
	for right, want := range map[permission.Permission]int{
		permission.TasksContextRead: http.StatusOK, permission.TasksRead: http.StatusOK, permission.StepsRead: http.StatusForbidden,
	} {
		header := i.header(permission.TasksList, right)
		if got := s.status("GET", "/v1/tasks?context=%24.a", header...); got != want {
			t.Errorf("with %s: %d, want %d", right, got, want)
		}
		if got := s.status("GET", "/v1/tasks", header...); got != http.StatusOK {
			t.Errorf("with %s, no context asked for: %d", right, got)
		}
	}
}

// TestShippedRules: the rules that are there without being written hold.
func TestShippedRules(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	s := startServer(t, strings.Replace(i.overlay, "protected_routes = []\n", "api_key = 'k'\n", 1))
	const create = `{"name": "diamond", "namespace": "shapes"}`
	first := s.ask("POST", "/v1/tasks", create)
	id := read[web.Task](s, first, http.StatusCreated).ID.String()
	for _, tt := range []struct {
		method, path, body string
		headers            []string
		want               int
	}{
		{"POST", "/v1/tasks", `{"name": "other", "namespace": "shapes"}`, i.header(permission.TasksCreate), 201},
		{"POST", "/v1/tasks", create, i.header(permission.TasksRead), 403},
		{"POST", "/v1/tasks", create, []string{"X-API-Key", "wrong"}, 401},
		{"POST", "/v1/tasks/batch", `{"tasks": []}`, nil, 401},
		{"GET", "/v1/tasks/" + id, "", nil, 401},
		{"GET", "/v1/tasks/" + id, "", []string{"X-API-Key", "k"}, 200},
		{"DELETE", "/v1/tasks/" + id, "", nil, 401},
		{"DELETE", "/v1/tasks/" + id, "", []string{"X-API-Key", "k"}, 401},
		{"DELETE", "/v1/tasks/" + id, "", i.header(permission.TasksRead), 403},
		{"DELETE", "/v1/tasks/" + id, "", i.header(permission.TasksCancel), 200},
		{"PATCH", "/v1/tasks/" + id + "/workflow_steps/start", `{"action_type": "reset_for_retry"}`, []string{"X-API-Key", "k"}, 401},
		{"PATCH", "/v1/tasks/" + id + "/workflow_steps/start", `{"action_type": "reset_for_retry"}`, i.header(permission.StepsResolve), 409},
	} {
		if got := s.ask(tt.method, tt.path, tt.body, tt.headers...); got.status != tt.want {
			t.Errorf("%s %s with %.20q: %d, %s; want %d", tt.method, tt.path, tt.headers, got.status, got.body, tt.want)
		}
	}
}

// TestActorIsTheCaller: what operators do is kept under the name that they
// showed, not under one that they say.
func TestActorIsTheCaller(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	s := startServer(t, i.overlay)
	all := i.header("tasks:*", "steps:*", "dlq:*", "operations:*")
	created := s.ask("POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes"}`, all...)
	path := "/v1/tasks/" + read[web.Task](s, created, http.StatusCreated).ID.String()
	id := strings.TrimPrefix(path, "/v1/tasks/")
	for _, do := range [][3]string{
		{"POST", path + "/pause", `{"actor": "mallory"}`},
		{"POST", path + "/resume", ``},
		{"PATCH", path + "/workflow_steps/start", `{"action_type": "resolve_manually", "resolved_by": "mallory"}`},
		{"PATCH", path + "/workflow_steps/left", `{"action_type": "complete_manually", "completed_by": "mallory", "completion_data": {"result": 1}}`},
		{"POST", "/v1/dlq", `{"task_uuid": "` + id + `", "requested_by": "mallory"}`},
		{"POST", "/v1/operations", `{"kind": "cancel", "filter": {"namespace": "shapes"}, "actor": "mallory"}`},
		{"DELETE", path + "?actor=mallory", ""},
	} {
		if got := s.ask(do[0], do[1], do[2], all...); got.status >= 300 || strings.Contains(got.body, "mallory") {
			t.Errorf("%s %s: %d, %s", do[0], do[1], got.status, got.body)
		}
	}
	events := read[[]web.Event](s, s.ask("GET", path+"/events", "", all...), http.StatusOK)
	if len(events) != 5 {
		t.Errorf("%d events, want 5", len(events))
	}
	for _, e := range events {
		if e.Actor == nil || *e.Actor != "ann" {
			t.Errorf("%s is by %v", e.Kind, e.Actor)
		}
	}
	for _, path := range []string{"/v1/dlq/task/" + id, "/v1/operations"} {
		if got := s.ask("GET", path, "", all...); !strings.Contains(got.body, `"ann"`) || strings.Contains(got.body, "mallory") {
			t.Errorf("%s: %s", path, got.body)
		}
	}
}

// TestCORS asks as a browser does, under several settings.
func TestCORS(t *testing.T) {
	t.Parallel()
	liveness.Covers(
		t, "orchestration.system.web.cors.enabled", "orchestration.system.web.cors.allowed_origins",
		"orchestration.system.web.cors.allowed_methods", "orchestration.system.web.cors.allowed_headers",
	)
	all := []string{"*"}
	for _, tt := range []struct {
		cors                    config.CORS
		origin, method, headers string
		want                    string // origin, methods and headers allowed
	}{
		{config.CORS{Enabled: false, AllowedOrigins: all, AllowedMethods: all, AllowedHeaders: all}, "https://a", "GET", "", "||"},
		{config.CORS{Enabled: true, AllowedOrigins: all, AllowedMethods: all, AllowedHeaders: all}, "https://a", "DELETE", "authorization,x-api-key", "*|DELETE|authorization,x-api-key"},
		{config.CORS{Enabled: true, AllowedOrigins: all, AllowedMethods: []string{"GET"}, AllowedHeaders: all}, "https://a", "DELETE", "", "||"},
		{config.CORS{Enabled: true, AllowedOrigins: all, AllowedMethods: []string{"GET"}, AllowedHeaders: all}, "https://a", "GET", "", "*|GET|"},
		{config.CORS{Enabled: true, AllowedOrigins: []string{"https://a"}, AllowedMethods: all, AllowedHeaders: all}, "https://a", "PATCH", "", "https://a|PATCH|"},
		{config.CORS{Enabled: true, AllowedOrigins: []string{"https://a"}, AllowedMethods: all, AllowedHeaders: all}, "https://b", "PATCH", "", "||"},
		{config.CORS{Enabled: true, AllowedOrigins: []string{"https://a"}, AllowedMethods: all, AllowedHeaders: all}, "https://a.evil", "PATCH", "", "||"},
		{config.CORS{Enabled: true, AllowedOrigins: []string{"https://a"}, AllowedMethods: all, AllowedHeaders: all}, "null", "PATCH", "", "||"},
		{config.CORS{Enabled: true, AllowedOrigins: all, AllowedMethods: all, AllowedHeaders: []string{"Authorization"}}, "https://a", "PUT", "authorization", "*|PUT|authorization"},
		{config.CORS{Enabled: true, AllowedOrigins: all, AllowedMethods: all, AllowedHeaders: []string{"Authorization"}}, "https://a", "PUT", "x-api-key", "||"},
	} {
		cfg := config.OrchestrationWeb{Web: config.Web{RequestTimeout: 5000}, CORS: tt.cors}
		cfg.Auth.Enabled, cfg.Auth.APIKey, cfg.Auth.APIKeyHeader = true, "k", "X-API-Key" // a preflight has no credentials
		h, err := web.APIWith(cfg).Handler()
		if err != nil {
			t.Fatal(err)
		}
		send := func(method string, headers ...string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), method, "/v1/templates", http.NoBody)
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		asked := []string{"Origin", tt.origin, "Access-Control-Request-Method", tt.method}
		if tt.headers != "" {
			asked = append(asked, "Access-Control-Request-Headers", tt.headers)
		}
		pre := send("OPTIONS", asked...)
		got := pre.Header().Get("Access-Control-Allow-Origin") + "|" + pre.Header().Get("Access-Control-Allow-Methods") + "|" + pre.Header().Get("Access-Control-Allow-Headers")
		if got != tt.want || pre.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%+v: %s asks for %s with %q: %s, want %s; %v", tt.cors, tt.origin, tt.method, tt.headers, got, tt.want, pre.Header())
		}
		if tt.cors.Enabled != (pre.Code == http.StatusNoContent) || tt.cors.Enabled != strings.Contains(pre.Header().Get("Vary"), "Origin") {
			t.Errorf("%+v: the preflight gets %d, Vary %q", tt.cors, pre.Code, pre.Header().Get("Vary"))
		}
		// The request itself is refused for want of a key, and the page may read why.
		origin, _, _ := strings.Cut(tt.want, "|")
		w := send("GET", "Origin", tt.origin)
		if allowed := w.Header().Get("Access-Control-Allow-Origin"); w.Code != http.StatusUnauthorized || origin != "" && allowed != origin ||
			(allowed != "") != strings.Contains(w.Header().Get("Access-Control-Expose-Headers"), "Www-Authenticate") {
			t.Errorf("%+v: a request of %s gets %d, %v", tt.cors, tt.origin, w.Code, w.Header())
		}
	}
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

// TestNoSecretShows plants secrets in the configuration of a server in production
// and in requests, and looks for them in answers, errors, metrics and the log.
func TestNoSecretShows(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("planted-in-a-file-0001"), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{
		"DATABASE_URL": "postgres://planted-user:planted-password@127.0.0.1:1/x", "TASKER_API_KEY": "planted-api-key-0002",
		"TRACING_ENDPOINT": "https://planted-trace:x@h/", "TASKER_JWT_PRIVATE_KEY": i.private,
	}
	live, err := config.LoadLive(config.ContextOrchestration, config.Options{
		Environment: "production", LookupEnv: func(name string) (string, bool) { value, set := vars[name]; return value, set },
		Overlay: []byte(i.overlay + "api_key = '${TASKER_API_KEY}'\njwt_private_key = '${TASKER_JWT_PRIVATE_KEY}'\n" +
			"api_keys = [{description = 'file', key_file = '" + file + "', permissions = ['tasks:read']}]\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := telemetry.New(config.Telemetry{Enabled: true, Metrics: config.Metrics{Enabled: true}}, telemetry.Process{})
	if err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	s := startServerWith(t, "", func(deps *web.Deps, cfg *config.OrchestrationWeb) {
		deps.Config, deps.Metrics = live, metrics
		deps.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	token := i.header("tasks:*", "system:*")
	secrets := []string{"planted", strings.Split(i.private, "\n")[1], strings.TrimPrefix(token[1], "Bearer ")}
	answers := ""
	for _, headers := range [][]string{
		nil, token,
		{"X-API-Key", "planted-api-key-0002"},
		{"X-API-Key", "planted-in-a-file-0001"},
		{"X-API-Key", "planted-wrong"},
		{"Authorization", "Bearer planted"},
		{"Authorization", "Basic planted"},
		{"Authorization", token[1] + "x"},
		{"X-API-Key", "planted-api-key-0002", "Authorization", token[1]},
	} {
		for _, r := range [][3]string{
			{"GET", "/config", ""},
			{"GET", "/v1/tasks", ""},
			{"GET", "/v1/tasks/x", ""},
			{"POST", "/v1/tasks", "{"},
			{"GET", "/nowhere", ""},
			{"PUT", "/config", ""},
			{"GET", "/metrics", ""},
			{"GET", "/health/detailed", ""},
			{"GET", "/openapi.json", ""},
		} {
			got := s.ask(r[0], r[1], r[2], headers...)
			answers += fmt.Sprint(got.status, got.header, got.body, "\n")
			if r[1] == "/config" && r[0] == "GET" && slices.Equal(headers, token) && got.status != http.StatusOK {
				t.Errorf("/config: %d, %s", got.status, got.body)
			}
		}
	}
	metered := s.ask("GET", "/metrics", "").body
	for _, line := range []string{
		`tasker_auth_requests_total{credential="bearer",outcome="admitted",server="orchestration"} `,
		`tasker_auth_requests_total{credential="none",outcome="refused",server="orchestration"} `,
		`tasker_auth_failures_total{credential="api_key",reason="unknown_key",server="orchestration"} `,
		`tasker_permission_denials_total{permission="system:config_read",server="orchestration"} `,
	} {
		if !strings.Contains(metered, line) {
			t.Errorf("there is no %s in the metrics", line)
		}
	}
	for where, text := range map[string]string{"answers": answers, "metrics": metered, "log": log.String()} {
		for _, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 || len(text) < 1000 {
				t.Errorf("%s of %d bytes have %.10s: %s", where, len(text), secret, text[max(0, at-200):min(len(text), max(0, at)+50)])
			}
		}
	}
}

// TestInjection puts SQL, lines of headers and large things where they do not
// belong. The server refuses or takes them as text.
func TestInjection(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	id := s.create()
	before := s.tasks()
	for _, evil := range []string{
		"'; drop table tasker.tasks; --", "' or '1'='1", "1) union select null --", "$1", "a%0d%0aSet-Cookie:%20b=c", "\u202e", "{{7*7}}", "${jndi:ldap://x}", "%27%20or%201=1",
	} {
		query := strings.ReplaceAll(strings.ReplaceAll(evil, " ", "%20"), "\u202e", "%e2%80%ae")
		for _, path := range []string{
			"/v1/tasks?namespace=" + query, "/v1/tasks?name=" + query, "/v1/tasks?state=" + query, "/v1/tasks?after=" + query, "/v1/tasks?limit=" + query,
			"/v1/tasks/" + query, "/v1/tasks/" + id.String() + "/workflow_steps/" + query, "/v1/schedules/" + query, "/v1/dlq?resolution_status=" + query, "/v1/limits?after=" + query,
		} {
			got := s.ask("GET", path, "")
			if got.status >= 500 || got.header.Get("Set-Cookie") != "" || strings.Contains(got.body, "SQLSTATE") || strings.Contains(got.body, "syntax error") {
				t.Errorf("GET %s: %d, %v, %s", path, got.status, got.header, got.body)
			}
		}
		if strings.Contains(evil, "%") {
			continue // it is meant for paths
		}
		for _, body := range []string{
			fmt.Sprintf(`{"name": %q, "namespace": "shapes"}`, evil), fmt.Sprintf(`{"name": "diamond", "namespace": %q}`, evil),
		} {
			if got := s.ask("POST", "/v1/tasks", body); got.status != http.StatusNotFound && got.status != http.StatusBadRequest {
				t.Errorf("%s: %d, %s", body, got.status, got.body)
			}
		}
		got := s.ask("POST", "/v1/tasks", fmt.Sprintf(`{"name": "diamond", "namespace": "shapes", "reason": %q, "idempotency_key": %q}`, evil, evil))
		before++
		if task := read[web.Task](s, got, http.StatusCreated); task.Reason == nil || *task.Reason != evil {
			t.Errorf("the reason %q is kept as %v", evil, task.Reason)
		}
	}
	if got := s.tasks(); got != before {
		t.Errorf("there are %d tasks, want %d", got, before)
	}
	if got := s.status("GET", "/v1/tasks", "X-Pad", strings.Repeat("x", 200<<10)); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("large headers: %d", got)
	}
}
