package operate_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/state"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

func TestMain(m *testing.M) {
	// The private server of the test process lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"))
}

const pair = `
name: pair
namespace: test
steps:
  - {name: a, handler: {callable: ok}}
  - {name: b, handler: {callable: ok}, dependencies: [a]}`

func ok(context.Context, *tasker.Step) (any, error) { return "ok", nil }

var by = client.By{Actor: "ann", Reason: "test"}

// A bench is a database in which nothing moves but what the test moves.
type bench struct {
	t *testing.T
	e *enginetest.Engine
}

func newBench(t *testing.T) *bench {
	t.Helper()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(pair), Record: true})
	e.StartCombined(enginetest.Handlers{"ok": ok}).Stop() // registers the template
	return &bench{t: t, e: e}
}

// claim claims the step of a task that waits for a worker.
func (b *bench) claim(id string) postgres.ClaimedStep {
	b.t.Helper()
	queue := b.e.Queue(enginetest.Namespace)
	b.e.Exec(`update pgmq.q_`+queue+` set vt = case when message->>'task' = $1 then now() else now() + interval '1 day' end`, id)
	steps, err := postgres.ClaimSteps(b.t.Context(), b.e.Pool, postgres.Claim{Queue: queue, Process: uuid.New(), Limit: 5, Lease: time.Hour}) // with stale ones
	if err != nil || len(steps) != 1 || steps[0].Task.String() != id {
		b.t.Fatalf("claimed %v: %v", steps, err)
	}
	return steps[0]
}

// apply applies what became of a claimed step.
func (b *bench) apply(s postgres.ClaimedStep, batch postgres.Batch) postgres.Applied {
	b.t.Helper()
	batch.Queue = b.e.Queue(enginetest.Namespace)
	batch.Settle = []uuid.UUID{s.Task}
	batch.Consumed = []postgres.Consumed{{Queue: batch.Queue, Messages: []postgres.Message{s.Message}}}
	applied, err := postgres.Apply(b.t.Context(), b.e.Pool, batch)
	if err != nil {
		b.t.Fatal(err)
	}
	return applied
}

func (b *bench) complete(s postgres.ClaimedStep) postgres.Applied {
	b.t.Helper()
	return b.apply(s, postgres.Batch{Completed: []postgres.Completed{{StepRef: s.StepRef, Result: json.RawMessage(`"done"`)}}})
}

func (b *bench) fail(s postgres.ClaimedStep, final bool) postgres.Applied {
	b.t.Helper()
	return b.apply(s, postgres.Batch{Failed: []postgres.Failed{{
		StepRef: s.StepRef, Error: json.RawMessage(`{"kind": "handler_error", "message": "away"}`), Delay: time.Hour, Final: final,
	}}})
}

// report reports a result or an error, as a worker of another process does.
func (b *bench) report(s postgres.ClaimedStep, result, failure json.RawMessage) {
	b.t.Helper()
	r := postgres.Report{Message: s.Message, Template: s.Template, Result: result, Error: failure}
	queue := b.e.Queue(enginetest.Namespace)
	stored, err := postgres.ReportSteps(b.t.Context(), b.e.Pool, queue, b.e.Names.Results(), []postgres.Report{r})
	if err != nil || len(stored) != 1 {
		b.t.Fatalf("reported %v: %v", stored, err)
	}
	if err := postgres.Settle(b.t.Context(), b.e.Pool, queue, []uuid.UUID{s.Task}); err != nil {
		b.t.Fatal(err)
	}
}

// gate has the first step of a task wait at a gate.
func (b *bench) gate(gate string) string {
	b.t.Helper()
	id := b.e.Create("pair", nil)
	b.e.Exec(`delete from pgmq.q_`+b.e.Queue(enginetest.Namespace)+` where message->>'task' = $1`, id)
	b.e.Exec(`update tasker.steps set state = 'pending', gates = array[$2] where task_id = $1 and ordinal = 1`, id, gate)
	b.e.Exec(`insert into tasker.gated_steps (task_id, ordinal, gates, priority, ready_at) values ($1, 1, array[$2], 0, now())`, id, gate)
	if err := postgres.Settle(b.t.Context(), b.e.Pool, b.e.Queue(enginetest.Namespace), []uuid.UUID{uuid.MustParse(id)}); err != nil {
		b.t.Fatal(err)
	}
	return id
}

// task makes a task in the given state.
func (b *bench) task(s tasker.TaskState) string {
	b.t.Helper()
	var id string
	switch s {
	case tasker.TaskInitializing:
		id = uuid.NewString()
		b.e.Exec(`insert into tasker.tasks (task_id, template_id, state, context) select $1, template_id, 'initializing', '{}' from tasker.templates`, id)
		return id
	case tasker.TaskEnqueuingSteps:
		return b.expect(b.gate("limit:l"), s)
	case tasker.TaskWaitingForDependencies:
		return b.expect(b.gate("signal:s"), s)
	case tasker.TaskPending:
		var err error
		id, err = b.e.Client.CreateTask(b.t.Context(), client.Request{
			Namespace: enginetest.Namespace, Template: "pair", RunAt: time.Now().Add(time.Hour),
		})
		if err != nil {
			b.t.Fatal(err)
		}
		return b.expect(id, s)
	default:
		id = b.e.Create("pair", nil)
	}
	switch s {
	case tasker.TaskEvaluatingResults:
		b.report(b.claim(id), json.RawMessage(`"done"`), nil)
	case tasker.TaskWaitingForRetry:
		b.fail(b.claim(id), false)
	case tasker.TaskBlockedByFailures:
		b.fail(b.claim(id), true)
	case tasker.TaskComplete:
		b.complete(b.claim(id))
		b.complete(b.claim(id))
	case tasker.TaskError:
		b.complete(b.claim(id))
		b.fail(b.claim(id), true)
	case tasker.TaskCancelled:
		b.must(b.e.Client.Cancel(b.t.Context(), id, by))
	case tasker.TaskResolvedManually:
		b.fail(b.claim(id), true)
		b.must(b.e.Client.ResolveTask(b.t.Context(), id, by))
	default:
	}
	return b.expect(id, s)
}

// step makes a task whose named step is in the given state.
func (b *bench) step(s tasker.StepState) (id, name string) {
	b.t.Helper()
	id = b.e.Create("pair", nil)
	name = "a"
	switch s {
	case tasker.StepPending:
		name = "b"
	case tasker.StepInProgress:
		b.claim(id)
	case tasker.StepReported:
		b.report(b.claim(id), json.RawMessage(`"done"`), nil)
	case tasker.StepReportedError:
		b.report(b.claim(id), nil, json.RawMessage(`{"kind": "handler_error", "message": "away"}`))
	case tasker.StepWaitingForRetry:
		b.fail(b.claim(id), false)
	case tasker.StepComplete:
		b.complete(b.claim(id))
	case tasker.StepError:
		b.fail(b.claim(id), true)
	case tasker.StepCancelled: // of an open task, as a batch leaves it that fails fast
		b.fail(b.claim(id), true)
		b.e.Exec(`update tasker.steps set state = 'cancelled' where task_id = $1 and ordinal = 1`, id)
	case tasker.StepResolvedManually:
		b.must(b.e.Client.ResolveStep(b.t.Context(), id, name, by))
	default:
	}
	if got := b.read(id).Step(name); got.State != s {
		b.t.Fatalf("step %s is %s, not %s", name, got.State, s)
	}
	return id, name
}

func (b *bench) read(id string) *client.Task {
	b.t.Helper()
	task, err := b.e.Client.Task(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return task
}

func (b *bench) expect(id string, s tasker.TaskState) string {
	b.t.Helper()
	if got := b.read(id).State; got != s {
		b.t.Fatalf("the task is %s, not %s", got, s)
	}
	return id
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// sawMoves fails the test for moves of the events that the table has and that
// have not happened.
func sawMoves[S, E ~string](b *bench, what string, table state.Table[S, E], events ...E) {
	b.t.Helper()
	seen := b.e.Moves()
	for _, m := range table {
		if !slices.Contains(events, m.Event) {
			continue
		}
		for _, from := range m.From {
			move := what + ": " + state.Pair{From: string(from), To: string(m.To)}.String()
			if !slices.Contains(seen, move) {
				b.t.Errorf("the table has %s (%s), which never happened", move, m.Event)
			}
		}
	}
}
