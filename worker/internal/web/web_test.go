package web_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/worker/internal/web"
)

func TestMain(m *testing.M) {
	// The private server of the test process lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"))
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
	deps := web.Deps{
		DB: pool, Log: slog.New(slog.DiscardHandler),
		Slots: func() (inUse, capacity int) { return 3, 10 },
	}
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
