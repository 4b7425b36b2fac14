package combined_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// runs count how often each step has run.
type runs struct {
	mu    sync.Mutex
	count map[string]int
}

func (r *runs) handle(_ context.Context, s *tasker.Step) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count[s.Task+"/"+s.Name]++
	if s.Name == "b" && s.Attempt == 1 {
		return nil, errors.New("once")
	}
	return s.Name, nil
}

const threeSteps = `
name: three
namespace: test
steps:
  - {name: a, handler: {callable: work}}
  - {name: b, handler: {callable: work}, dependencies: [a], retry: {max_attempts: 2, backoff_base_ms: 20}}
  - {name: c, handler: {callable: work}, dependencies: [b]}`

// exactlyOnce fails the test unless each step of n tasks ran as often as it had
// to.
func (r *runs) exactlyOnce(t *testing.T, n int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.count) != 3*n {
		t.Errorf("%d steps ran, want %d", len(r.count), 3*n)
	}
	for step, times := range r.count {
		if want := 1 + strings.Count(step, "/b"); times != want {
			t.Errorf("%s ran %d times, want %d", step, times, want)
		}
	}
}

// TestRollingRestart: two orchestrators and two workers are replaced one after
// the other under load; no task fails, and no result is lost.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	for backend, settings := range map[string]func(testing.TB) enginetest.Settings{
		"pgmq":     func(testing.TB) enginetest.Settings { return enginetest.Settings{"common.queues.backend": `"pgmq"`} },
		"rabbitmq": enginetest.RabbitMQ,
	} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			e := enginetest.Start(t, enginetest.Options{
				Deployment: enginetest.None, Templates: taskertest.YAML(threeSteps), Settings: settings(t),
			})
			restartInTurn(t, e)
		})
	}
}

func restartInTurn(t *testing.T, e *enginetest.Engine) {
	t.Helper()
	ran := &runs{count: map[string]int{}}
	handlers := enginetest.Handlers{"work": ran.handle}
	var old []func() *enginetest.Process // each stops one and starts another
	for range 2 {
		orchestrator, worker := e.StartOrchestrator(), e.StartWorker(handlers)
		old = append(old,
			func() *enginetest.Process { orchestrator.Stop(); return e.StartOrchestrator() },
			func() *enginetest.Process { worker.Stop(); return e.StartWorker(handlers) })
	}
	const each = 30
	for _, replace := range old {
		for range each {
			e.Create("three", nil)
		}
		replace()
	}
	e.Await(`select count(*) = $1 from tasker.tasks where state = 'complete'`, each*len(old))
	ran.exactlyOnce(t, each*len(old))
	e.Await(`select not exists (select from tasker.steps where lost > 0)`)
}
