package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/contract"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

func TestMain(m *testing.M) {
	// The private server of the test process lives as long as the process.
	goleak.VerifyTestMain(held{m}, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"))
}

// A server is a running API on a database of its own.
type server struct {
	t    *testing.T
	db   *pgxpool.Pool
	says *contract.Contract // each answer is held to it
	deps web.Deps
	cfg  *config.Config
	base string
	http *http.Client
	stop func() // and wait
}

const diamond = `
name: diamond
namespace_name: shapes
version: 1.2.0
steps:
  - {name: start, handler: {callable: h}}
  - {name: left, handler: {callable: h}, dependencies: [start]}
  - {name: right, handler: {callable: h}, dependencies: [start]}
  - {name: end, handler: {callable: h}, dependencies: [left, right]}
`

// startServer serves the API with the settings of environment test and those of
// the overlay.
func startServer(t *testing.T, overlay string) *server {
	t.Helper()
	return startServerWith(t, overlay, func(*web.Deps, *config.OrchestrationWeb) {})
}

// startServerWith lets a test change what the server stands on.
func startServerWith(t *testing.T, overlay string, change func(*web.Deps, *config.OrchestrationWeb)) *server {
	t.Helper()
	live, err := config.LoadLive(config.ContextComplete, config.Options{
		Environment: "test",
		Overlay:     fmt.Appendf(nil, "[common.database]\nurl = %q\n[orchestration.system.web]\nbind_address = '127.0.0.1:0'\n%s", testdb.New(t), overlay),
		LookupEnv:   func(string) (string, bool) { return "", false },
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := live.Current()
	pool, err := postgres.Open(t.Context(), cfg.Common.Database, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	log := slog.New(slog.DiscardHandler)
	names := messaging.NewNames(cfg.Common.Queues)
	deps := web.Deps{
		DB: pool, Catalog: catalog.New(pool, names, config.Test, cfg.Common.TaskTemplates), Names: names, Notifier: eventsystem.NewNotifier(pool, log), Log: log,
		DLQ:          cfg.Orchestration.DLQ,
		Config:       live,
		DeadLettered: func(context.Context, []postgres.Entered) {},
		Resting: func(context.Context, int) ([]web.RestingTask, error) {
			return []web.RestingTask{{Name: "diamond", Minutes: 51, Limit: 60, Cause: "rest", Health: "warning"}}, nil
		},
		Door: intake.Door{Catalog: catalog.New(pool, names, config.Test, cfg.Common.TaskTemplates)},
		ArchiveNow: func(ctx context.Context) (bool, error) {
			return cfg.Orchestration.Archive.Enabled, postgres.AskForJob(ctx, pool, "archive")
		},
		Webhooks: web.Webhooks{AllowPrivateAddresses: cfg.Orchestration.Webhooks.AllowPrivateAddresses},
	}
	register(t, deps.Catalog, diamond, strings.NewReplacer("diamond", "other", "1.2.0", "2.0.0").Replace(diamond))

	change(&deps, &cfg.Orchestration.System.Web)
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- web.Serve(ctx, cfg.Common, cfg.Orchestration.System.Web, deps, func(address string) { ready <- address })
	}()
	transport := &http.Transport{}
	s := &server{t: t, db: pool, says: promised(), cfg: cfg, deps: deps, base: "http://" + <-ready, http: &http.Client{Transport: transport}}
	s.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil // stop may be called again
	}
	t.Cleanup(func() { s.stop(); transport.CloseIdleConnections() })
	return s
}

func register(t *testing.T, c *catalog.Catalog, documents ...string) {
	t.Helper()
	var all []*templates.Template
	for _, document := range documents {
		parsed, err := templates.Parse("test.yaml", []byte(document))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parsed)
	}
	if err := c.Register(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// An answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; headers come in pairs of name and value. It may run in
// any goroutine: what goes wrong gives an empty answer.
func (s *server) ask(method, path, body string, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return answer{}
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.http.Do(r)
	if err != nil {
		s.t.Error(err)
		return answer{}
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Error(err)
	}
	if err := s.says.Check(method, r.URL.EscapedPath(), response.StatusCode, response.Header, raw); err != nil {
		s.t.Errorf("the answer breaks the OpenAPI document: %v", err)
	}
	return answer{response.StatusCode, response.Header, string(raw)}
}

// read decodes an answer, which must have the status.
func read[T any](s *server, a answer, status int) (out T) {
	s.t.Helper()
	if a.status != status {
		s.t.Fatalf("got %d, %s; want %d", a.status, a.body, status)
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		s.t.Fatalf("%v in %s", err, a.body)
	}
	return out
}

// create creates a task of the template diamond and returns its id.
func (s *server) create() uuid.UUID {
	s.t.Helper()
	a := s.ask(http.MethodPost, "/v1/tasks", `{"name": "diamond", "namespace": "shapes"}`, "Idempotency-Key", uuid.NewString()) // a new task each time
	return read[web.Task](s, a, http.StatusCreated).ID
}

// exec runs a statement on the server's database.
func (s *server) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

// tasks counts the tasks in the database.
func (s *server) tasks() (n int) {
	s.t.Helper()
	if err := s.db.QueryRow(s.t.Context(), "select count(*) from tasker.tasks").Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// TestRefusals goes through what each route refuses. Nothing is created.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	const (
		valid   = `{"name": "diamond", "namespace": "shapes"}`
		unknown = `{"name": "square", "namespace": "shapes"}`
		nobody  = "/v1/tasks/019a0000-0000-7000-8000-000000000000"
	)
	large := `"context": {"k": "` + strings.Repeat("x", intake.MaxContext) + `"}`
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		says                     []string
	}{
		{"invalid JSON", "POST", "/v1/tasks", `{"name": diamond}`, 400, []string{"JSON_ERROR", "invalid character"}},
		{"no names", "POST", "/v1/tasks", `{}`, 400, []string{"BAD_REQUEST", "property name", "property namespace"}},
		{"unknown field", "POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "contxt": {}}`, 400, []string{"BAD_REQUEST", "body.contxt"}},
		{"context is no object", "POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "context": [1]}`, 400, []string{"body.context"}},
		{"context is null", "POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "context": null}`, 400, []string{"must be a JSON object"}},
		{
			"context with U+0000", "POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "context": {"a": "\u0000"}}`, 400,
			[]string{"JSON_ERROR", "cannot store"},
		},
		{"context too large", "POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", ` + large + `}`, 413, []string{"PAYLOAD_TOO_LARGE"}},
		{"body too large", "POST", "/v1/tasks", strings.Repeat(" ", 2<<20) + valid, 413, []string{"PAYLOAD_TOO_LARGE"}},
		{"correlation id", "POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "correlation_id": "7"}`, 400, []string{"body.correlation_id"}},
		{"unknown template", "POST", "/v1/tasks", unknown, 404, []string{"UNKNOWN_TEMPLATE", "shapes/square"}},
		{"unknown version", "POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "version": "9.9.9"}`, 404, []string{"shapes/diamond/9.9.9"}},
		{"not JSON", "PUT", "/v1/tasks", valid, 405, []string{"METHOD_NOT_ALLOWED"}},

		{"empty batch", "POST", "/v1/tasks/batch", `{"tasks": []}`, 400, []string{"BAD_REQUEST", "body.tasks"}},
		{
			"batch with an unknown template", "POST", "/v1/tasks/batch", `{"tasks": [` + valid + `,` + unknown + `]}`, 404,
			[]string{"UNKNOWN_TEMPLATE", "shapes/square"},
		},
		{
			"batch with two problems", "POST", "/v1/tasks/batch",
			`{"tasks": [` + valid + `, {"name": "", "namespace": "shapes"}, {"name": "diamond", "namespace": "shapes", "context": 1}]}`, 400,
			[]string{"body.tasks[1].name", "body.tasks[2].context"},
		},
		{
			"batch with two unfit contexts", "POST", "/v1/tasks/batch",
			`{"tasks": [` + valid + `, {"name": "a", "namespace": "b", "context": null}, {"name": "a", "namespace": "b", "context": null}]}`, 400,
			[]string{"2 problems", "task 2: the context must", "task 3: the context must"},
		},
		{"context too large in a batch", "POST", "/v1/tasks/batch", `{"tasks": [` + valid + `, {"name": "diamond", "namespace": "shapes", ` + large + `}]}`, 413, []string{"task 2"}},

		{"id is no UUID", "GET", "/v1/tasks/7", "", 400, []string{"BAD_REQUEST", "path.task_uuid"}},
		{"no such task", "GET", nobody, "", 404, []string{"NOT_FOUND", "019a0000"}},
		{"no such task to wait for", "GET", nobody + "?wait=1s", "", 404, []string{"NOT_FOUND"}},
		{"wait is no time", "GET", nobody + "?wait=soon", "", 400, []string{"query.wait", "write 30s"}},
		{"negative wait", "GET", nobody + "?wait=-1s", "", 400, []string{"query.wait"}},
		{"steps of no such task", "GET", nobody + "/workflow_steps", "", 404, []string{"NOT_FOUND"}},
		{"steps, id is no UUID", "GET", "/v1/tasks/7/workflow_steps", "", 400, []string{"path.task_uuid"}},

		{"limit too high", "GET", "/v1/tasks?limit=101", "", 400, []string{"query.limit"}},
		{"limit too low", "GET", "/v1/tasks?limit=0", "", 400, []string{"query.limit"}},
		{"limit is no number", "GET", "/v1/tasks?limit=x", "", 400, []string{"query.limit"}},
		{"unknown state", "GET", "/v1/tasks?state=done", "", 400, []string{"query.state"}},
		{"cursor is no UUID", "GET", "/v1/tasks?after=x", "", 400, []string{"query.after"}},
		{"unknown parameter", "GET", "/v1/tasks?status=complete", "", 400, []string{"query.status"}},

		{"no route", "GET", "/v2/tasks", "", 404, []string{"NOT_FOUND"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.ask(test.method, test.path, test.body)
			if got.status != test.status || got.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %d, %s; want %d", got.status, got.body, test.status)
			}
			for _, want := range test.says {
				if !strings.Contains(got.body, want) {
					t.Errorf("%s does not say %q", got.body, want)
				}
			}
			if strings.Contains(got.body, "SQLSTATE") {
				t.Errorf("%s speaks of SQL", got.body)
			}
		})
	}
	if n := s.tasks(); n != 0 {
		t.Errorf("%d tasks were created", n)
	}
}

// TestDatabaseAway asks every route while nobody can reach the database.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	name := s.closeDatabase()
	for _, test := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes"}`, 503, "SERVICE_UNAVAILABLE"},
		{"GET", "/v1/tasks", "", 503, "SERVICE_UNAVAILABLE"},
		{"GET", "/v1/tasks/019a0000-0000-7000-8000-000000000000", "", 503, "SERVICE_UNAVAILABLE"},
		{"GET", "/v1/templates", "", 503, "SERVICE_UNAVAILABLE"},
		{"GET", "/health", "", 200, "healthy"},
		{"GET", "/health/live", "", 200, "healthy"},
		{"GET", "/health/ready", "", 503, `"location":"orchestration_database"`},
		{"GET", "/health/detailed", "", 200, `"orchestration_database":{"status":"unhealthy"`},
	} {
		got := s.ask(test.method, test.path, test.body)
		if got.status != test.status || !strings.Contains(got.body, test.says) || strings.Contains(got.body, name) {
			t.Errorf("%s %s: got %d, %s; want %d, %s", test.method, test.path, got.status, got.body, test.status, test.says)
		}
	}
}

// closeDatabase has the server's database refuse connections, and returns its
// name.
func (s *server) closeDatabase() string {
	s.t.Helper()
	cfg := s.db.Config().ConnConfig
	name := cfg.Database
	cfg.Database = "postgres" // nobody closes the database he is connected to
	admin, err := pgx.ConnectConfig(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	defer admin.Close(s.t.Context())
	if _, err := admin.Exec(s.t.Context(), "alter database "+name+" allow_connections false"); err != nil {
		s.t.Fatal(err)
	}
	s.db.Reset()
	return name
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	if got := s.ask("GET", "/health/ready", ""); got.status != http.StatusOK {
		t.Errorf("got %d, %s", got.status, got.body)
	}
	s.exec("delete from tasker.queue_sentinel")
	if got := s.ask("GET", "/health/ready", ""); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "step_queues") {
		t.Errorf("without the sentinel: got %d, %s", got.status, got.body)
	}
	for _, want := range []string{`"step_queues":{"status":"unhealthy"`, `"orchestration_database":{"status":"healthy"`, `"role":"orchestration"`} {
		if got := s.ask("GET", "/health/detailed", ""); !strings.Contains(got.body, want) {
			t.Errorf("%s does not say %s", got.body, want)
		}
	}
}
