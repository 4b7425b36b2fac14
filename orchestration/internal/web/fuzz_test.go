package web_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/contract"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

// fuzzVariable says how many requests TestFuzzedRequests makes in place of a few.
const fuzzVariable = "TASKER_FUZZ_REQUESTS"

// TestFuzzedRequests makes requests out of the OpenAPI document: whatever they
// say, the server does not fail, and it answers as the document says.
func TestFuzzedRequests(t *testing.T) {
	t.Parallel()
	total, err := strconv.Atoi(os.Getenv(fuzzVariable))
	if err != nil {
		total = 1500
	}
	s := startServer(t, "")
	names := s.deps.Names
	if err := postgres.CreateLoggedQueues(t.Context(), s.db, []string{names.Requests(), names.Finalizations(), names.Results()}); err != nil {
		t.Fatal(err)
	}
	for range 20 { // something to be about
		s.create()
	}
	cfg := s.cfg.Orchestration.System.Web
	cfg.RequestTimeout = 1000
	deps := s.deps
	deps.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})) // the reasons of failures
	deps.Webhooks.AllowPrivateAddresses = true                                                         // else names are looked up
	handler, watch, err := web.HandlerOf(s.cfg.Common, cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { watch(ctx) })
	meaningful := map[string][]string{
		"namespace": {"shapes"}, "name": {"diamond", "other", "nightly"}, "template": {"diamond"}, "version": {"1.2.0"}, "step": {"start", "left"},
		"cron": {"0 3 * * *"}, "time_zone": {"Europe/Berlin"}, "url": {"https://example.com/hook"}, "signal": {"go"}, "idempotency_key": {"a", "b", "c"},
		"action_type": {"reset_for_retry", "resolve_manually", "complete_manually"}, "kind": {"cancel", "retry", "resolve"},
	}
	var made atomic.Int64
	var statuses [600]atomic.Int64
	var requests sync.WaitGroup
	seed := rand.Uint64()
	for worker := range uint64(4) {
		requests.Go(func() {
			g := &contract.Generator{Contract: promised(), Rand: rand.New(rand.NewPCG(seed, worker)), Known: meaningful}
			for made.Add(1) <= int64(total) && !t.Failed() {
				statuses[fuzzOne(ctx, t, handler, g)].Add(1)
			}
		})
	}
	requests.Wait()
	if t.Failed() {
		t.Logf("the seed was %d", seed)
	}
	for status := range statuses {
		if n := statuses[status].Load(); n > 0 {
			t.Logf("%d %s: %d", status, http.StatusText(status), n)
		}
	}
	if statuses[200].Load() == 0 || statuses[201].Load() == 0 || statuses[400].Load() == 0 || statuses[404].Load() == 0 {
		t.Error("the requests are all of one kind")
	}
}

// fuzzOne makes a request and returns its status.
func fuzzOne(ctx context.Context, t *testing.T, handler http.Handler, g *contract.Generator) int {
	r, err := g.Request()
	if err != nil {
		t.Error(err)
		return 0
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r.WithContext(ctx))
	g.Learn(w.Body.Bytes())
	if w.Code == http.StatusInternalServerError {
		t.Errorf("%s %s: got %s\n%.2000s", r.Method, r.URL, w.Body, r.Body)
	}
	if err := g.Check(r.Method, r.URL.EscapedPath(), w.Code, w.Header(), w.Body.Bytes()); err != nil {
		t.Errorf("%s %s: %v\n%.2000s", r.Method, r.URL, err, r.Body)
	}
	if w.Header().Get("X-Evil") != "" || strings.Contains(w.Body.String(), "SQLSTATE") {
		t.Errorf("%s %s: got %v %s", r.Method, r.URL, w.Header(), w.Body)
	}
	return w.Code
}
