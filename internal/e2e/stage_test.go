package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// namespace is that of the templates below.
const namespace = "e2e"

// templates are those that the own programs register. All steps of traced and
// flaky go through by themselves, those of held wait for the test. A step of
// held has one attempt: it would fail if a lost lease, or a worker that stops,
// consumed it.
func templates() fs.FS {
	return taskertest.YAML(
		diamond("traced", "{callable: trace}", ""),
		diamond("flaky", "{callable: flaky}", "max_attempts: 2, backoff_base_ms: 1500"),
		diamond("held", "{callable: hold}", "max_attempts: 1"),
		diamond("stubborn", "{callable: stubborn}", "max_attempts: 1"),
		chain, branches, batches, line,
	)
}

// diamond is a template whose two branches have the handler.
func diamond(name, handler, retry string) string {
	return fmt.Sprintf(`
name: %s
identity_strategy: always_unique
namespace: %s
steps:
  - {name: start, handler: {callable: trace}}
  - {name: left, handler: %[3]s, dependencies: [start], retry: {%[4]s}}
  - {name: right, handler: %[3]s, dependencies: [start], retry: {%[4]s}}
  - {name: end, handler: {callable: trace}, dependencies: [left, right]}
`, name, namespace, handler, retry)
}

// chain is four steps in a row; the third fails once.
const chain = `
name: chain
identity_strategy: always_unique
namespace: ` + namespace + `
steps:
  - {name: a, handler: {callable: trace}}
  - {name: b, handler: {callable: trace}, dependencies: [a]}
  - {name: c, handler: {callable: flaky}, dependencies: [b], retry: {max_attempts: 2, backoff_base_ms: 200}}
  - {name: d, handler: {callable: trace}, dependencies: [c]}
`

// line is three steps in a row.
const line = `
name: line
identity_strategy: always_unique
namespace: ` + namespace + `
steps:
  - {name: a, handler: {callable: trace}}
  - {name: b, handler: {callable: trace}, dependencies: [a]}
  - {name: c, handler: {callable: trace}, dependencies: [b]}
`

// branches decides for two of three branches.
const branches = `
name: branches
identity_strategy: always_unique
namespace: ` + namespace + `
steps:
  - {name: decide, type: decision, handler: {callable: decide}}
  - {name: left, handler: {callable: trace}, dependencies: [decide]}
  - {name: middle, handler: {callable: trace}, dependencies: [decide]}
  - {name: right, handler: {callable: trace}, dependencies: [decide]}
  - {name: join, type: deferred_convergence, handler: {callable: trace}, dependencies: [left, middle, right]}
`

// batches works on five shares, two at a time.
const batches = `
name: batches
identity_strategy: always_unique
namespace: ` + namespace + `
steps:
  - {name: split, type: batchable, handler: {callable: split}}
  - {name: work, type: batch_worker, handler: {callable: trace}, dependencies: [split], batch_config: {parallelism: 2}}
  - {name: sum, type: deferred_convergence, handler: {callable: trace}, dependencies: [work]}
`

// handlers are those of the templates.
func handlers() *tasker.Handlers {
	h := tasker.NewHandlers()
	h.Add("trace", tasker.HandlerFunc(trace))
	h.Add("flaky", tasker.HandlerFunc(func(ctx context.Context, s *tasker.Step) (any, error) {
		if s.Attempt == 1 {
			return nil, errors.New("the first attempt fails")
		}
		return trace(ctx, s)
	}))
	h.Add("decide", tasker.HandlerFunc(func(ctx context.Context, s *tasker.Step) (any, error) {
		m, err := trace(ctx, s)
		return tasker.Decision{Steps: []string{"left", "right"}, Result: m}, err
	}))
	h.Add("split", tasker.HandlerFunc(func(ctx context.Context, s *tasker.Step) (any, error) {
		m, err := trace(ctx, s)
		return tasker.Batches{Cursors: tasker.Range(0, 5, 1), Result: m}, err
	}))
	h.Add("hold", tasker.HandlerFunc(hold))
	h.Add("stubborn", tasker.HandlerFunc(func(ctx context.Context, s *tasker.Step) (any, error) {
		return hold(context.WithoutCancel(ctx), s)
	}))
	return h
}

// A mark is the result of every step. No two executions leave the same, so it
// tells which one counted, and which ones those that depend on it have seen.
type mark struct {
	Token string            `json:"token"`
	PID   int               `json:"pid"`
	From  map[string]string `json:"from"` // the tokens of the dependencies
}

func trace(_ context.Context, s *tasker.Step) (any, error) {
	m := mark{Token: rand.Text(), PID: os.Getpid(), From: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(s.Results)) {
		var dependency mark
		if err := s.Result(name, &dependency); err != nil {
			return nil, err
		}
		m.From[name] = dependency.Token
	}
	return m, nil
}

// stageVar names the variable with the URL of the stage.
const stageVar = "TASKER_E2E_STAGE"

// A call is word from a handler that it has begun.
type call struct {
	Task, Step string
	Attempt    int
	PID        int

	at      time.Time
	release chan<- struct{} // close it to let the handler go on
	gone    <-chan struct{} // closed when the handler does not wait any more
}

// hold calls the stage and waits until the test lets it go on.
func hold(ctx context.Context, s *tasker.Step) (any, error) {
	body, err := json.Marshal(call{Task: s.Task, Step: s.Name, Attempt: s.Attempt, PID: os.Getpid()})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv(stageVar), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if err := response.Body.Close(); err != nil {
		return nil, err
	}
	return trace(ctx, s)
}

// newStage serves a stage and returns its URL and what handlers say there.
func newStage(t testing.TB) (url string, calls <-chan call) {
	t.Helper()
	begun := make(chan call, 10_000)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var c call
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			t.Errorf("a handler called with %v", err)
			return
		}
		release := make(chan struct{})
		c.at, c.release, c.gone = time.Now(), release, r.Context().Done()
		begun <- c
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL, begun
}
