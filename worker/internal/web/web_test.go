package web_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/common/events"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/publisher"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/contract"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/worker/internal/web"
)

func TestMain(m *testing.M) {
	// The private server of the test process lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"))
}

// depsOf are those of a worker of one namespace that has one handler.
func depsOf(pool *pgxpool.Pool, cfg *config.Config) web.Deps {
	log, names := slog.New(slog.DiscardHandler), messaging.NewNames(cfg.Common.Queues)
	bus := publisher.New(cfg.Common.Channels, 0, channels.NewMonitor(cfg.Common.Channels.OverflowPolicy, log), log)
	return web.Deps{
		DB: pool, Log: log, Catalog: catalog.New(pool, names, config.Test, cfg.Common.TaskTemplates),
		Slots:      func() (inUse, capacity int) { return 3, 10 },
		Attempts:   func() (ended, failed int64) { return 70, 7 },
		Levels:     func() []channels.Level { return []channels.Level{{Name: "outcomes", Used: 1, Capacity: 5}} },
		Namespaces: func() []string { return []string{"shapes"} }, HandlerNames: []string{"known"},
		WorkerID: "w1", WorkerType: "general", Bus: bus, Events: events.NewRouter(nil, bus, uuid.Nil, log),
	}
}

const shapes = `
name: line
namespace_name: NAMESPACE
version: 1.0.0
input_schema: {type: object, required: [n]}
steps:
  - {name: a, handler: {callable: known}}
  - {name: b, handler: {callable: other}, dependencies: [a]}
`

// TestTelling asks a worker what it is and does.
func TestTelling(t *testing.T) {
	t.Parallel()
	cfg, err := config.LoadForWorker(config.Options{
		Environment: "test", Overlay: []byte("[common.database]\nurl = '" + testdb.New(t) + "'"),
		LookupEnv: func(string) (string, bool) { return "", false },
	})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Open(t.Context(), cfg.Common.Database, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	deps := depsOf(pool, cfg)
	var all []*templates.Template
	for _, namespace := range []string{"shapes", "elsewhere"} {
		parsed, err := templates.Parse("test.yaml", []byte(strings.Replace(shapes, "NAMESPACE", namespace, 1)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parsed)
	}
	if err := deps.Catalog.Register(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	api := web.APIOf(deps)
	document, err := api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	promised, err := contract.New(document)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := api.Handler()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		says               []string
	}{
		{"GET", "/status", "", 200, []string{`"worker_id":"w1"`, `"namespaces":["shapes"]`, `"slots_in_use":3`, `"failed_attempts":7`}},
		{"GET", "/handlers", "", 200, []string{`{"handlers":["known"]}`}},
		{"GET", "/metrics/worker", "", 200, []string{`"attempts":70`, `{"name":"outcomes","used":1,"capacity":5}`}},
		{"GET", "/metrics/events", "", 200, []string{`"router":{"durable":0`, `"in_process":{"subscribers":0`}},
		{"GET", "/v1/templates", "", 200, []string{`{"templates":[{"namespace":"shapes","name":"line","version":"1.0.0"}]}`}},
		{"GET", "/v1/templates/elsewhere/line/1.0.0", "", 200, []string{`"handler":"other"`, `"dependencies":["a"]`, `"input_schema"`}},
		{"GET", "/v1/templates/shapes/line/9.9.9", "", 404, []string{"UNKNOWN_TEMPLATE"}},
		{"POST", "/v1/templates/shapes/line/1.0.0/validate", "", 200, []string{`"valid":false`, "no handler other", `"location":"step b"`}},
		{"POST", "/v1/templates/elsewhere/line/1.0.0/validate", `{"context": {}}`, 200, []string{"does not serve", "missing property 'n'", `"body.context"`}},
		{"POST", "/v1/templates/shapes/square/1.0.0/validate", "", 404, []string{"UNKNOWN_TEMPLATE"}},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body)))
		if err := promised.Check(tt.method, tt.path, w.Code, w.Header(), w.Body.Bytes()); err != nil {
			t.Errorf("the answer breaks the OpenAPI document: %v", err)
		}
		for _, want := range tt.says {
			if w.Code != tt.status || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s %s: got %d, %s; want %d, %s", tt.method, tt.path, w.Code, w.Body, tt.status, want)
			}
		}
	}
}

// TestHealth asks a worker how it is, first with its database, then without.
func TestHealth(t *testing.T) {
	t.Parallel()
	cfg, err := config.LoadForWorker(config.Options{
		Environment: "test",
		Overlay:     []byte("[common.database]\nurl = '" + testdb.New(t) + "'\n[worker.system.web]\nbind_address = '127.0.0.1:0'"),
		LookupEnv:   func(string) (string, bool) { return "", false },
	})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Open(t.Context(), cfg.Common.Database, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	deps := depsOf(pool, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- web.Serve(ctx, cfg.Common, cfg.Worker.System.Web, deps, func(address string) { ready <- address })
	}()
	base := "http://" + <-ready

	check := func(path string, status int, says string) {
		t.Helper()
		if gotStatus, body := ask(t, base+path); gotStatus != status || !strings.Contains(body, says) {
			t.Errorf("%s: got %d, %s; want %d, %s", path, gotStatus, body, status, says)
		}
	}
	check("/health", 200, `"role":"worker"`)
	check("/health/live", 200, `"status":"healthy"`)
	check("/health/ready", 200, `"database":{"status":"healthy"`)
	check("/health/detailed", 200, "3 of 10 steps in hand")
	check("/v1/tasks", 404, "NOT_FOUND")
	check("/openapi.json", 200, "/health/ready")
	pool.Close()
	check("/health/live", 200, `"status":"healthy"`)
	check("/health/ready", 503, "the database does not answer")

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func ask(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true // leaves no idle connection behind
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(raw)
}
