package web_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// configHandler serves /config of what the options load.
func configHandler(t *testing.T, c config.Context, environment, overlay string, vars map[string]string) (http.Handler, *config.Live) {
	t.Helper()
	live, err := config.LoadLive(c, config.Options{
		Environment: environment, Overlay: []byte(overlay),
		LookupEnv: func(name string) (string, bool) { value, set := vars[name]; return value, set },
	})
	if err != nil {
		t.Fatal(err)
	}
	api := web.New(guarded(io.Discard, live))
	web.HandleConfig(api, permission.SystemConfigRead, live)
	h, err := api.Handler()
	if err != nil {
		t.Fatal(err)
	}
	return h, live
}

// TestConfig plants secrets in every place that may have one and asks what is in
// effect (T43).
func TestConfig(t *testing.T) {
	t.Parallel()
	private, public, err := signingkey.Generate(signingkey.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	h, live := configHandler(t, config.ContextOrchestration, "test",
		"[orchestration.system.web.auth]\njwt_private_key = '${TASKER_JWT_PRIVATE_KEY}'\njwt_public_key = '${TASKER_JWT_PUBLIC_KEY}'\n"+
			"[common.telemetry.metrics]\nexport_endpoint = 'http://u:hunter2@h:1/x'\n",
		map[string]string{
			"DATABASE_URL": "postgres://u:hunter2@db/x", "TASKER_JWT_PRIVATE_KEY": string(private), "TASKER_JWT_PUBLIC_KEY": string(public),
			"TRACING_ENDPOINT": "https://hunter2@h/",
		})
	w := ask(t, h, "GET /config", "", "")
	for _, secret := range []string{"hunter2", strings.Split(string(private), "\n")[1], strings.Split(string(public), "\n")[1]} {
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), secret) {
			t.Fatalf("status %d, or %s shows\n%s", w.Code, secret, w.Body)
		}
	}
	var got struct {
		Environment string
		Common      struct {
			Database  struct{ URL string }
			Telemetry struct {
				Metrics struct {
					ExportEndpoint string `json:"export_endpoint"`
				}
			}
		}
		Orchestration struct {
			System struct{ Web struct{ Auth map[string]any } }
		}
		Worker   any
		Metadata struct {
			Source, Context, Hash string
			Sources               []string
			Redacted              []string `json:"redacted_fields"`
			Pending               []string `json:"pending_restart"`
			Values                map[string]struct{ Origin, Hash string }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	auth := got.Orchestration.System.Web.Auth
	for key, want := range map[string]any{
		"jwt_private_key": "***", "jwt_public_key": "***", "api_key": "", "jwt_token_expiry_hours": 24.0, "api_key_header": "X-API-Key", "enabled": false,
	} {
		if auth[key] != want {
			t.Errorf("%s is %v, want %v", key, auth[key], want)
		}
	}
	if got.Environment != "test" || got.Common.Database.URL != "***" || got.Common.Telemetry.Metrics.ExportEndpoint != "http://***@h:1/x" || got.Worker != nil {
		t.Errorf("got %s", w.Body)
	}
	m := got.Metadata
	wantRedacted := []string{
		"common.database.url", "common.queues.rabbitmq.url", "common.telemetry.metrics.export_endpoint", "common.telemetry.tracing.export_endpoint",
		"orchestration.system.web.auth.jwt_private_key", "orchestration.system.web.auth.jwt_public_key",
	}
	slices.Sort(m.Redacted)
	if !slices.Equal(m.Redacted, wantRedacted) || m.Source != "runtime" || m.Context != "orchestration" || m.Hash != live.Loaded().Hash() || len(m.Pending) != 0 {
		t.Errorf("got %+v", m)
	}
	if want := live.Loaded().Sources; !slices.Equal(m.Sources, want) || len(want) != 5 {
		t.Errorf("sources are %q, want %q", m.Sources, want)
	}
	pool := m.Values["common.database.pool.max_connections"]
	if !strings.HasPrefix(pool.Origin, "10 at built-in/environments/test/common.toml:10:19 ← 30 at built-in/base/") || !strings.HasPrefix(pool.Hash, "sha256:") {
		t.Errorf("the pool has %+v", pool)
	}
	if url := m.Values["common.database.url"]; !strings.Contains(url.Origin, "DATABASE_URL is set") || !strings.HasPrefix(url.Hash, "pbkdf2:") {
		t.Errorf("the URL has %+v", url)
	}
	if want := len(live.Loaded().Settings()); len(m.Values) != want {
		t.Errorf("%d values have an origin, want %d", len(m.Values), want)
	}
}

// TestConfigHasWhatIsThere: a context that a process does not have is absent.
func TestConfigHasWhatIsThere(t *testing.T) {
	t.Parallel()
	for c, want := range map[config.Context]string{
		config.ContextCommon: "common", config.ContextOrchestration: "common orchestration",
		config.ContextWorker: "common worker", config.ContextComplete: "common orchestration worker",
	} {
		h, _ := configHandler(t, c, "development", "", nil)
		var doc map[string]any
		if err := json.Unmarshal(ask(t, h, "GET /config", "", "").Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, section := range []string{"common", "orchestration", "worker"} {
			if doc[section] != nil {
				got = append(got, section)
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s has %s, want %s", c, text, want)
		}
	}
}

// TestConfigFollowsReloads: the answer is that of the last load.
func TestConfigFollowsReloads(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"TASKER_WORKER_ID": "20"}
	h, live := configHandler(t, config.ContextOrchestration, "test",
		"[common.database.pool]\nmax_connections = '${TASKER_WORKER_ID}'\n[orchestration.backoff]\nmax_backoff_seconds = '${TASKER_WORKER_ID}'", vars)
	for id, want := range map[string][]string{
		"20": {`"max_backoff_seconds":20`, `"pending_restart":[]`},
		"25": {`"max_backoff_seconds":25`, `"max_connections":20`, `"pending_restart":["common.database.pool.max_connections"]`},
	} {
		vars["TASKER_WORKER_ID"] = id
		if _, err := live.Reload(); err != nil {
			t.Fatal(err)
		}
		body := ask(t, h, "GET /config", "", "").Body.String()
		for _, part := range want {
			if !strings.Contains(body, part) {
				t.Errorf("%s: no %s in %s", id, part, body)
			}
		}
	}
}

// TestConfigIsGuarded: in production known callers alone are told, and a program
// that gives values has nothing to tell.
func TestConfigIsGuarded(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"DATABASE_URL": "postgres://u:hunter2@db/x", "TASKER_API_KEY": "hunter3"}
	h, live := configHandler(t, config.ContextOrchestration, "production", "", vars)
	w := ask(t, h, "GET /config", "", "")
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"code":"FORBIDDEN"`) || !strings.Contains(w.Body.String(), "not ask who calls") {
		t.Errorf("got %d, %s", w.Code, w.Body)
	}
	for _, rule := range []string{"[]", "[{method = 'GET', path = '/config', auth_type = 'bearer', required = false}]"} {
		asks, _ := configHandler(t, config.ContextOrchestration, "production",
			"[orchestration.system.web.auth]\nenabled = true\napi_key = '${TASKER_API_KEY}'\nprotected_routes = "+rule, vars)
		if w := ask(t, asks, "GET /config", "", ""); w.Code == http.StatusOK {
			t.Errorf("with protected_routes = %s anybody is told: %s", rule, w.Body)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/config", http.NoBody)
		r.Header.Set("X-API-Key", "hunter3")
		w := httptest.NewRecorder()
		asks.ServeHTTP(w, r)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "hunter") {
			t.Errorf("with protected_routes = %s: got %d, %s", rule, w.Code, w.Body)
		}
	}
	api := web.New(settings(io.Discard))
	web.HandleConfig(api, permission.SystemConfigRead, live.Current())
	h, err := api.Handler()
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(t, h, "GET /config", "", ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "config.LoadLive") {
		t.Errorf("got %d, %s", w.Code, w.Body)
	}
}

// TestMetricsOfRequests: requests are counted by route, and what counts them is
// served.
func TestMetricsOfRequests(t *testing.T) {
	t.Parallel()
	metrics, err := telemetry.New(config.Telemetry{Enabled: true, Metrics: config.Metrics{Enabled: true}}, telemetry.Process{})
	if err != nil {
		t.Fatal(err)
	}
	s := settings(io.Discard)
	s.Metrics = metrics
	api := newAPI(s)
	web.HandleMetrics(api)
	h, err := api.Handler()
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range []string{"GET /fail/missing", "GET /fail/several", "GET /fail/busy", "GET /nowhere/1", "GET /nowhere/2", "POST /metrics"} {
		ask(t, h, route, "", "")
	}
	w := ask(t, h, "GET /metrics", "", "")
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(got, "text/plain") {
		t.Errorf("got %d, %s", w.Code, got)
	}
	for _, line := range []string{
		`{method="GET",route="/fail/{how}",server="worker",status="404"} 2`, `{method="GET",route="/fail/{how}",server="worker",status="503"} 1`,
		`{method="",route="none",server="worker",status="404"} 2`, `{method="",route="none",server="worker",status="405"} 1`,
	} {
		if !strings.Contains(w.Body.String(), "tasker_api_request_duration_seconds_count"+line+"\n") {
			t.Errorf("there is no %s in\n%s", line, w.Body)
		}
	}
	off := newAPI(settings(io.Discard))
	web.HandleMetrics(off)
	if h, err = off.Handler(); err != nil {
		t.Fatal(err)
	}
	if w := ask(t, h, "GET /metrics", "", ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "common.telemetry.metrics.enabled") {
		t.Errorf("got %d, %s", w.Code, w.Body)
	}
}
