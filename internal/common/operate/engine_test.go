package operate_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// waiting is a handler that says that it runs, and returns when it is told to or
// its context ends.
type waiting struct {
	began chan string
	end   chan error // what to return
	ended chan error // why it returned
}

func newWaiting() *waiting {
	return &waiting{began: make(chan string, 10), end: make(chan error, 10), ended: make(chan error, 10)}
}

func (w *waiting) handle(ctx context.Context, s *tasker.Step) (any, error) {
	w.began <- s.Name
	select {
	case err := <-w.end:
		w.ended <- err
		return "mine", err
	case <-ctx.Done():
		w.ended <- ctx.Err()
		return nil, ctx.Err()
	}
}

const slowPair = `
name: pair
namespace: test
steps:
  - {name: a, handler: {callable: wait}}
  - {name: b, handler: {callable: ok}, dependencies: [a]}`

// leaseOf is short where a test waits for a heartbeat, and long where it
// must not matter.
func leaseOf(seconds, mode string) enginetest.Settings {
	return enginetest.Settings{
		"worker.event_system.timing.visibility_timeout_seconds":                       seconds,
		"orchestration.event_systems.orchestration.timing.visibility_timeout_seconds": seconds,
		"worker.event_system.deployment_mode":                                         strconv.Quote(mode),
		"worker.system.event_driven.deployment_mode":                                  strconv.Quote(mode),
	}
}

// TestCancelReachesHandlers cancels a task whose handler runs. By notification
// it is told at once, long before a heartbeat; without, at the next one.
func TestCancelReachesHandlers(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]enginetest.Settings{
		"listening": leaseOf("3600", "Hybrid"),
		"polling":   leaseOf("1", "PollingOnly"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
				w := newWaiting()
				e := enginetest.Start(t, enginetest.Options{
					Deployment: d, Templates: taskertest.YAML(slowPair), Settings: settings,
					Handlers: enginetest.Handlers{"wait": w.handle, "ok": ok},
				})
				id := e.Create("pair", nil)
				enginetest.Receive(t, w.began)
				if name == "listening" { // whoever notifies before the worker listens is heard by nobody
					e.Await(`select count(*) > 0 from pg_stat_activity where datname = current_database() and query ilike 'listen%recalls%'`)
				}
				if err := e.Client.Cancel(t.Context(), id, by); err != nil {
					t.Fatal(err)
				}
				if err := enginetest.Receive(t, w.ended); !errors.Is(err, context.Canceled) {
					t.Errorf("the handler ended with %v", err)
				}
				task := e.Wait(id)
				if task.State != tasker.TaskCancelled || task.Step("a").State != tasker.StepCancelled || task.Step("b").State != tasker.StepCancelled {
					t.Errorf("%+v", task)
				}
				attempts, err := e.Client.Attempts(t.Context(), id, "a")
				if err != nil || len(attempts) != 1 || attempts[0].Outcome != "cancelled" || attempts[0].WorkerID == "" {
					t.Errorf("attempts %+v (%v)", attempts, err)
				}
			})
		})
	}
}

// TestLateResult: a handler that does not listen returns after its task was
// cancelled, or its step completed by hand; nobody takes its result.
func TestLateResult(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		proceed := make(chan struct{})
		began := make(chan struct{}, 2)
		returned := make(chan struct{}, 2)
		deaf := func(context.Context, *tasker.Step) (any, error) {
			began <- struct{}{}
			<-proceed
			defer func() { returned <- struct{}{} }()
			return "late", nil
		}
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(slowPair), Handlers: enginetest.Handlers{"wait": deaf, "ok": ok},
		})
		cancelled, completed := e.Create("pair", nil), e.Create("pair", nil)
		for range 2 {
			enginetest.Receive(t, began)
		}
		if err := errors.Join(
			e.Client.Cancel(t.Context(), cancelled, by),
			e.Client.CompleteStep(t.Context(), completed, "a", "by hand", by),
		); err != nil {
			t.Fatal(err)
		}
		e.Check()
		close(proceed)
		for range 2 {
			enginetest.Receive(t, returned)
		}
		e.Wait(completed)
		e.Stop() // whatever was reported is applied
		task := e.Wait(cancelled)
		if task.State != tasker.TaskCancelled || task.Step("a").Result != nil {
			t.Errorf("%+v", task)
		}
		task = e.Wait(completed)
		if task.State != tasker.TaskComplete || string(task.Step("a").Result) != `"by hand"` {
			t.Errorf("%+v", task)
		}
	})
}

// TestLateResultAfterRetry: the claim number outlives a reset (invariant I2). A
// result of the claim before it changes nothing, however late it comes.
func TestLateResultAfterRetry(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.e.Create("pair", nil)
	first := b.claim(id)
	b.fail(first, false)
	b.must(b.e.Client.RetryStep(t.Context(), id, "a", by))
	again := b.claim(id)
	if again.Attempt != 1 || again.Claim <= first.Claim {
		t.Errorf("attempt %d under claim %d after claim %d", again.Attempt, again.Claim, first.Claim)
	}
	for what, applied := range map[string]int{
		"success":       b.complete(first).Completed,
		"failure":       b.fail(first, true).Failed,
		"success again": b.complete(first).Completed,
	} {
		if applied != 0 {
			t.Errorf("a late %s counted", what)
		}
	}
	if step := b.read(id).Step("a"); step.State != tasker.StepInProgress {
		t.Errorf("after late results the step is %s", step.State)
	}
	if applied := b.complete(again); applied.Completed != 1 {
		t.Errorf("the result that counts did not: %+v", applied)
	}
	attempts, err := b.e.Client.Attempts(t.Context(), id, "a")
	if err != nil || len(attempts) != 2 || attempts[0].Outcome != "handler_error" || attempts[1].Outcome != "complete" {
		t.Errorf("attempts %+v (%v)", attempts, err)
	}
}

// TestPause: what runs finishes, what it sets free waits, and a retry keeps its
// time.
func TestPause(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		good, bad := newWaiting(), newWaiting()
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Handlers: enginetest.Handlers{"wait": good.handle, "fail": bad.handle, "ok": ok},
			Settings: enginetest.Settings{"orchestration.backoff.max_backoff_seconds": "3600"},
			Templates: taskertest.YAML(slowPair, `
name: flaky
namespace: test
steps:
  - {name: a, handler: {callable: fail}, retry: {max_attempts: 3, backoff_base_ms: 3600000, max_backoff_ms: 3600000}}`),
		})
		id, flaky := e.Create("pair", nil), e.Create("flaky", nil)
		enginetest.Receive(t, good.began)
		enginetest.Receive(t, bad.began)
		for _, task := range []string{id, flaky} {
			if err := e.Client.Pause(t.Context(), task, by); err != nil {
				t.Fatal(err)
			}
		}
		good.end <- nil
		bad.end <- errors.New("away")
		const stands = `select count(*) = 1 from tasker.steps s join tasker.tasks t on t.task_id = s.task_id
			where s.task_id = $1 and s.name = $2 and s.state = $3 and t.state = $4 and (t.paused_at is null) = $5`
		e.Await(stands, id, "a", "complete", "waiting_for_dependencies", false)
		e.Await(stands, id, "b", "pending", "waiting_for_dependencies", false)
		e.Await(stands, flaky, "a", "pending", "waiting_for_dependencies", false)
		e.Check()
		for _, task := range []string{id, flaky} {
			if err := e.Client.Resume(t.Context(), task, by); err != nil {
				t.Fatal(err)
			}
		}
		e.Await(stands, id, "b", "complete", "complete", true)
		e.Await(stands, flaky, "a", "waiting_for_retry", "waiting_for_retry", true)
		if n := enginetest.Query[int](e, `select count(*) from tasker.steps where next_attempt_at > now() + interval '30 minutes'`); n != 1 {
			t.Errorf("%d steps wait for a retry in its time", n)
		}
		if err := e.Client.RetryStep(t.Context(), flaky, "a", by); err != nil { // now
			t.Fatal(err)
		}
		enginetest.Receive(t, bad.began)
		bad.end <- nil
		if task := e.Wait(flaky); task.State != tasker.TaskComplete || task.Step("a").Attempt != 1 {
			t.Errorf("%+v", task)
		}
	})
}

// TestPauseUnderLoad pauses and resumes tasks while workers race through them:
// every step runs exactly once, and everything ends.
func TestPauseUnderLoad(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var runs atomic.Int64
		count := func(context.Context, *tasker.Step) (any, error) { return runs.Add(1), nil }
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Handlers: enginetest.Handlers{"count": count},
			Templates: taskertest.YAML(`
name: chain
namespace: test
steps:
  - {name: a, handler: {callable: count}}
  - {name: b, handler: {callable: count}, dependencies: [a]}
  - {name: c, handler: {callable: count}, dependencies: [b]}
  - {name: d, handler: {callable: count}, dependencies: [a, c]}`),
		})
		const tasks, steps = 200, 4
		requests := make([]client.Request, tasks)
		for i := range requests {
			requests[i] = client.Request{Namespace: enginetest.Namespace, Template: "chain"}
		}
		ids, err := e.Client.CreateTasks(t.Context(), requests)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var paused atomic.Int64
		for part := range 4 {
			wg.Go(func() {
				for i := part; i < tasks; i += 4 {
					err := e.Client.Pause(t.Context(), ids[i], by)
					if err == nil {
						paused.Add(1)
						err = e.Client.Resume(t.Context(), ids[i], by)
					}
					if err != nil && !errors.Is(err, client.ErrState) { // it was over already
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		e.Await(`select count(*) = 0 from tasker.tasks where state <> 'complete'`)
		if n := runs.Load(); n != tasks*steps {
			t.Errorf("%d runs of %d steps", n, tasks*steps)
		}
		if paused.Load() == 0 {
			t.Error("every task was over before it could be paused")
		}
	})
}

// TestBlockedTaskGoesOn: however an operator deals with the failed step, the task
// moves on at once, and what finished before is kept.
func TestBlockedTaskGoesOn(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var broken atomic.Bool
		var before atomic.Int64
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d,
			Handlers: enginetest.Handlers{
				"count": func(context.Context, *tasker.Step) (any, error) { return before.Add(1), nil },
				"fragile": func(context.Context, *tasker.Step) (any, error) {
					if broken.Load() {
						return nil, tasker.Permanent(errors.New("broken"))
					}
					return "mended", nil
				},
				"see": func(_ context.Context, s *tasker.Step) (any, error) {
					var saw string
					if _, ok := s.Results["fragile"]; !ok {
						return "nothing", nil
					}
					err := s.Result("fragile", &saw)
					return saw, err
				},
			},
			Templates: taskertest.YAML(`
name: fragile
namespace: test
steps:
  - {name: first, handler: {callable: count}}
  - {name: fragile, handler: {callable: fragile}, dependencies: [first]}
  - {name: last, handler: {callable: see}, dependencies: [fragile]}`),
		})
		for _, tt := range []struct {
			name string
			act  func(id string) error
			step tasker.StepState
			last string
		}{
			{"retry the task", func(id string) error { return e.Client.RetryTask(t.Context(), id, by) }, tasker.StepComplete, `"mended"`},
			{"retry the step", func(id string) error { return e.Client.RetryStep(t.Context(), id, "fragile", by) }, tasker.StepComplete, `"mended"`},
			{"resolve the step", func(id string) error { return e.Client.ResolveStep(t.Context(), id, "fragile", by) }, tasker.StepResolvedManually, `"nothing"`},
			{"complete the step", func(id string) error { return e.Client.CompleteStep(t.Context(), id, "fragile", "by hand", by) }, tasker.StepComplete, `"by hand"`},
		} {
			before.Store(0)
			broken.Store(true)
			id := e.Create("fragile", nil)
			if task := e.Wait(id); task.State != tasker.TaskBlockedByFailures {
				t.Fatalf("%s: the task is %s", tt.name, task.State)
			}
			e.Check()
			broken.Store(false)
			if err := tt.act(id); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			e.Await(`select state = 'complete' from tasker.tasks where task_id = $1`, id)
			task := e.Wait(id)
			if task.Step("fragile").State != tt.step || string(task.Step("last").Result) != tt.last || before.Load() != 1 {
				t.Errorf("%s: step is %s, the last one saw %s, the first one ran %d times",
					tt.name, task.Step("fragile").State, task.Step("last").Result, before.Load())
			}
			e.Check()
		}
	})
}

// TestCompleteByHandIsJSON: any JSON value can be a result.
func TestCompleteByHandIsJSON(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, result := range []string{`null`, `0`, `""`, `[]`, `{"a": {"b": [1, 2]}}`} {
		id := b.e.Create("pair", nil)
		b.must(b.e.Client.CompleteStep(t.Context(), id, "a", json.RawMessage(result), by))
		if claimed := b.claim(id); string(claimed.Results["a"]) != result {
			t.Errorf("the step that depends on it got %s; want %s", claimed.Results["a"], result)
		}
	}
}

// TestResolveTheLastStepFirst: with the leaf resolved by hand, the end of a step
// that others depend on is the end of the task.
func TestResolveTheLastStepFirst(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		w := newWaiting()
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(slowPair), Handlers: enginetest.Handlers{"wait": w.handle, "ok": ok},
		})
		id := e.Create("pair", nil)
		enginetest.Receive(t, w.began)
		if err := e.Client.ResolveStep(t.Context(), id, "b", by); err != nil {
			t.Fatal(err)
		}
		w.end <- nil
		if task := e.Wait(id); task.State != tasker.TaskComplete || string(task.Step("a").Result) != `"mine"` {
			t.Errorf("%+v", task)
		}
	})
}

// TestCompleteDecisionByHand: the result of a decision brings about what it says,
// whoever gives it, and one that makes no sense fails the step with the reason.
func TestCompleteDecisionByHand(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d,
			Handlers: enginetest.Handlers{"ok": ok, "undecided": func(context.Context, *tasker.Step) (any, error) {
				return nil, tasker.Permanent(errors.New("undecided"))
			}},
			Templates: taskertest.YAML(`
name: fork
namespace: test
steps:
  - {name: first, handler: {callable: ok}}
  - {name: route, type: decision, handler: {callable: undecided}, dependencies: [first], retry: {max_attempts: 1}}
  - {name: left, handler: {callable: ok}, dependencies: [route]}
  - {name: right, handler: {callable: ok}, dependencies: [route]}`),
		})
		id := e.Create("fork", nil)
		const routed = `select count(*) = 1 from tasker.steps where task_id = $1 and name = 'route' and state = $2 and claim = $3`
		e.Await(routed, id, "error", 1)
		for i, result := range []string{
			`{"decision_point_outcome": {"type": "create_steps", "step_names": ["nowhere"]}}`,
			`{"decision_point_outcome": {"type": "create_steps", "step_names": ["left"]}}`,
		} {
			if err := e.Client.CompleteStep(t.Context(), id, "route", json.RawMessage(result), by); err != nil {
				t.Fatal(err)
			}
			e.Await(routed, id, []string{"error", "complete"}[i], 2+i)
			e.Check()
		}
		e.Await(`select state = 'complete' from tasker.tasks where task_id = $1`, id)
		task := e.Wait(id)
		if left := task.Step("left"); left == nil || left.State != tasker.StepComplete || task.Step("right") != nil {
			t.Errorf("%+v", task)
		}
		if err := e.Client.CompleteStep(t.Context(), id, "route", 1, by); !errors.Is(err, client.ErrState) {
			t.Errorf("got %v", err)
		}
	})
}
