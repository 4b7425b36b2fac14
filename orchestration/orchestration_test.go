package orchestration_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/orchestration"
	"github.com/tasker-systems/tasker-go/taskertest"
)

const pair = `
name: pair
namespace: test
steps:
  - {name: a, handler: {callable: ok}}
  - {name: b, handler: {callable: ok}, dependencies: [a]}`

func ok(context.Context, *tasker.Step) (any, error) { return "ok", nil }

var handlers = enginetest.Handlers{"ok": ok}

// standalone makes a lease of a second.
var standalone = enginetest.Settings{
	"orchestration.system.mode": `"standalone"`,
	"orchestration.event_systems.orchestration.timing.visibility_timeout_seconds": "1",
	"orchestration.event_systems.orchestration.timing.processing_timeout_seconds": "1",
}

const leaseTaken = `select count(*) = 1 from tasker.leases where expires_at > clock_timestamp()`

// TestStandaloneIsAlone: a second orchestrator is refused while the first one
// lives, and takes over when it has stopped.
func TestStandaloneIsAlone(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.system.mode")
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(pair), Settings: standalone})
	first := e.StartOrchestrator()
	e.Await(leaseTaken)
	second := e.StartOrchestrator()
	if err := second.Wait(); err == nil || !strings.Contains(err.Error(), `another orchestrator runs on this database`) {
		t.Errorf("the second orchestrator ended with %v", err)
	}
	first.Stop()
	e.StartCombined(handlers)
	if task := e.Run("pair", nil); task.State != tasker.TaskComplete {
		t.Errorf("task is %s", task.State)
	}
}

// TestStandaloneAfterCrash: the lease of an orchestrator that was killed runs
// out.
func TestStandaloneAfterCrash(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(pair), Settings: standalone})
	if _, err := postgres.TakeLease(t.Context(), e.Pool, "orchestration", uuid.New(), time.Second); err != nil {
		t.Fatal(err)
	}
	e.StartCombined(handlers)
	if task := e.Run("pair", nil); task.State != tasker.TaskComplete {
		t.Errorf("task is %s", task.State)
	}
}

// TestDistributed runs two of each role on one database.
func TestDistributed(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.Split, Templates: taskertest.YAML(pair), Handlers: handlers})
	e.StartOrchestrator()
	e.StartWorker(handlers)
	e.StartCombined(handlers)
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = e.Create("pair", nil)
	}
	for _, id := range ids {
		if task := e.Wait(id); task.State != tasker.TaskComplete {
			t.Errorf("task %s is %s", id, task.State)
		}
	}
}

func TestRunRefusesWithoutSection(t *testing.T) {
	t.Parallel()
	if err := orchestration.Run(t.Context(), &config.Config{}, nil); !errors.Is(err, orchestration.ErrNoSection) {
		t.Errorf("got %v", err)
	}
}

// TestNothingIsStuck loses the message, or the decision, of a step in each state
// it can rest in. The reconciler makes it good.
func TestNothingIsStuck(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.None, Templates: taskertest.YAML(pair),
		Settings: enginetest.Settings{
			"orchestration.backoff.reenqueue_delays.steps_in_process":                             "0",
			"orchestration.backoff.reenqueue_delays.waiting_for_retry":                            "0",
			"orchestration.backoff.reenqueue_delays.evaluating_results":                           "0",
			"orchestration.backoff.reenqueue_delays.waiting_for_dependencies":                     "0",
			"orchestration.event_systems.task_readiness.timing.fallback_polling_interval_seconds": "1",
			"orchestration.event_systems.task_readiness.timing.visibility_timeout_seconds":        "1",
			"orchestration.event_systems.task_readiness.timing.processing_timeout_seconds":        "1",
			"worker.system.step_processing.max_concurrent_steps":                                  "50",
			"orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds":  "1",
		},
	})
	e.StartCombined(handlers).Stop() // registers the template
	queue, results := e.Queue(enginetest.Namespace), e.Names.Results()
	claim := func(id string) postgres.ClaimedStep {
		t.Helper()
		steps, err := postgres.ClaimSteps(t.Context(), e.Pool, postgres.Claim{Queue: queue, Process: uuid.New(), Limit: 1, Lease: time.Hour})
		if err != nil || len(steps) != 1 || steps[0].Task.String() != id {
			t.Fatalf("claimed %v: %v", steps, err)
		}
		return steps[0]
	}
	lose := func(id string) {
		t.Helper()
		if n := e.Exec(`delete from pgmq.q_`+queue+` where message->>'task' = $1`, id); n != 1 {
			t.Fatalf("%d messages of task %s lost", n, id)
		}
	}
	tests := map[string]func(id string){
		"enqueued":    lose,
		"in progress": func(id string) { claim(id); lose(id) },
		"waiting for retry": func(id string) {
			s := claim(id)
			applied, err := postgres.Apply(t.Context(), e.Pool, postgres.Batch{
				Queue:    queue,
				Failed:   []postgres.Failed{{StepRef: s.StepRef, Error: json.RawMessage(`{}`)}},
				Settle:   []uuid.UUID{s.Task},
				Consumed: []postgres.Consumed{{Queue: queue, Messages: []postgres.Message{s.Message}}},
			})
			if applied.Failed != 1 || err != nil {
				t.Fatalf("failed %d: %v", applied.Failed, err)
			}
			lose(id)
		},
		"reported": func(id string) {
			s := claim(id)
			report := postgres.Report{Message: s.Message, Template: s.Template, Result: json.RawMessage(`"ok"`)}
			if stored, err := postgres.ReportSteps(t.Context(), e.Pool, queue, results, []postgres.Report{report}); len(stored) != 1 || err != nil {
				t.Fatalf("reported %v: %v", stored, err)
			}
			e.Exec(`delete from pgmq.q_` + results)
		},
		"pending, nobody counted down": func(id string) {
			s := claim(id)
			e.Exec(`update tasker.steps set state = 'complete', result = '"ok"', finished_at = now() where task_id = $1 and ordinal = 1`, s.Task)
			lose(id)
		},
		"complete, nobody settled": func(id string) {
			lose(id)
			e.Exec(`update tasker.steps set state = 'complete', waiting_on = 0, result = '"ok"', finished_at = now() where task_id = $1`, id)
		},
	}
	ids := map[string]string{}
	for name, breakIt := range tests {
		ids[name] = e.Create("pair", nil)
		breakIt(ids[name])
	}
	e.StartCombined(handlers)
	for name, id := range ids {
		if task := e.Wait(id); task.State != tasker.TaskComplete {
			t.Errorf("%s: task is %s", name, task.State)
		}
	}
}

// TestBacklogIsNotLost: steps that wait in a long queue have their messages, so
// the reconciler sends them none.
func TestBacklogIsNotLost(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.None, Templates: taskertest.YAML(pair),
		Settings: enginetest.Settings{"orchestration.backoff.reenqueue_delays.steps_in_process": "0"},
	})
	e.StartCombined(handlers).Stop() // registers the template
	for range 50 {
		e.Create("pair", nil)
	}
	lost := e.Create("pair", nil)
	of := `from pgmq.q_` + e.Queue(enginetest.Namespace) + ` where message->>'task' = $1`
	e.Exec(`delete `+of, lost)
	e.StartOrchestrator()
	e.Await(`select count(*) = 1 `+of, lost) // one statement looks at all steps
	e.Check()
}
