package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/taskertest"
	"github.com/tasker-systems/tasker-go/worker"
)

const (
	single = `{name: single, namespace: test, steps: [{name: only, handler: {callable: work}, retry: {backoff: none}}]}`
	chain  = `
name: chain
namespace: test
steps:
  - {name: a, handler: {callable: work}}
  - {name: b, handler: {callable: work}, dependencies: [a]}
  - {name: c, handler: {callable: work}, dependencies: [b]}
  - {name: d, handler: {callable: work}, dependencies: [c]}`
	brief = `
name: brief
namespace: test
steps: [{name: only, handler: {callable: work}, timeout_seconds: 1, retry: {backoff: none}}]`
)

func ok(context.Context, *tasker.Step) (any, error) { return "ok", nil }

// TestHandlerThatIgnoresItsDeadline: the attempt is over, the slot is not; what
// the handler returns in the end changes nothing.
func TestHandlerThatIgnoresItsDeadline(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.step_processing.max_concurrent_steps")
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		release := make(chan struct{})
		var returned atomic.Bool
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(brief),
			Handlers: enginetest.Handlers{"work": func(_ context.Context, s *tasker.Step) (any, error) {
				if s.Attempt == 1 {
					<-release
					returned.Store(true)
					return "late", nil
				}
				if !returned.Load() {
					return nil, tasker.Permanent(errors.New("the slot was given away"))
				}
				return "in time", nil
			}},
			Settings: enginetest.Settings{"worker.system.step_processing.max_concurrent_steps": "1"},
		})
		id := e.Create("brief", nil)
		e.Await(`select state = 'waiting_for_retry' and error->>'kind' = 'handler_timeout' from tasker.steps`)
		e.Check()
		close(release)
		step := e.Wait(id).Step("only")
		if step.State != tasker.StepComplete || string(step.Result) != `"in time"` || step.Attempt != 2 {
			t.Errorf("step is %s with %s, %s after %d attempts", step.State, step.Result, step.Error, step.Attempt)
		}
	})
}

// TestLostLease lets the lease of a running step run out, as if its worker had
// died: the step is claimed again, no attempt is used up, and what the first
// claim still reports changes nothing.
func TestLostLease(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		started, release := make(chan struct{}, 2), make(chan struct{})
		var calls atomic.Int32
		var cancelled atomic.Bool
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(single),
			Handlers: enginetest.Handlers{"work": func(ctx context.Context, _ *tasker.Step) (any, error) {
				call := calls.Add(1)
				started <- struct{}{}
				if call == 1 {
					<-release
					cancelled.Store(ctx.Err() != nil)
				}
				return call, nil
			}},
		})
		id := e.Create("single", nil)
		enginetest.Receive(t, started)
		expire(e)
		step := e.Wait(id).Step("only")
		if string(step.Result) != "2" || step.Attempt != 1 {
			t.Errorf("result %s after %d attempts, want that of the second claim after one", step.Result, step.Attempt)
		}
		close(release)
		e.Stop() // the first call has returned and its result is dealt with
		if step := e.Wait(id).Step("only"); string(step.Result) != "2" {
			t.Errorf("the late result %s was taken", step.Result)
		}
		lost := enginetest.Query[string](e, `
			select lost || ' ' || claim || ' ' || (select error->>'kind' from tasker.step_attempts) from tasker.steps`)
		if lost != "1 2 lease_lost" {
			t.Errorf("got %q, want one lost lease, two claims, and an attempt that says so", lost)
		}
	})
}

// expire ends the leases of all steps in progress.
func expire(e *enginetest.Engine) {
	e.Exec(`
		update pgmq.q_worker_test_queue q
		set vt = clock_timestamp() - interval '1 minute' -- long enough ago for a poll to take it
		from tasker.steps s
		where s.task_id = (q.message->>'task')::uuid and s.state = 'in_progress'`)
}

// TestLosingAgainAndAgain: a step that kills its workers is given up.
func TestLosingAgainAndAgain(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.event_system.processing.max_retries")
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		started := make(chan struct{}, 100)
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(single),
			Handlers: enginetest.Handlers{"work": func(ctx context.Context, _ *tasker.Step) (any, error) {
				started <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			}},
			Settings: enginetest.Settings{
				"worker.event_system.processing.max_retries": "1", "common.queues.pgmq.shutdown_timeout_seconds": "1",
			},
		})
		id := e.Create("single", nil)
		for range 6 { // four attempts and max_retries, and the first claim
			enginetest.Receive(t, started)
			expire(e)
		}
		task := e.Wait(id)
		step := task.Step("only")
		if task.State != tasker.TaskError || !strings.Contains(string(step.Error), `"worker_unavailable"`) || step.Attempt != 1 {
			t.Errorf("task %s, error %s after %d attempts", task.State, step.Error, step.Attempt)
		}
	})
}

// TestShutdownGivesStepsBack stops a worker in the middle of a step: the handler
// is told, the step waits for another worker, and the attempt does not count.
func TestShutdownGivesStepsBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(ctx context.Context) (any, error) // how the handler ends once told
	}{
		{"with its error", func(ctx context.Context) (any, error) { return nil, ctx.Err() }},
		{"with another error", func(context.Context) (any, error) { return nil, errors.New("connection closed") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
				started := make(chan struct{}, 1)
				e := enginetest.Start(t, enginetest.Options{
					Deployment: d, Templates: taskertest.YAML(single),
					Handlers: enginetest.Handlers{"work": func(ctx context.Context, _ *tasker.Step) (any, error) {
						started <- struct{}{}
						<-ctx.Done()
						return tt.end(ctx)
					}},
					Settings: enginetest.Settings{"common.queues.pgmq.shutdown_timeout_seconds": "1"},
				})
				id := e.Create("single", nil)
				enginetest.Receive(t, started)
				e.Stop()
				e.Check()
				if got := enginetest.Query[string](e, `select state || ' ' || attempt from tasker.steps`); got != "enqueued 0" {
					t.Errorf("after the shutdown the step is %q", got)
				}
				e.StartCombined(enginetest.Handlers{"work": ok})
				step := e.Wait(id).Step("only")
				if step.State != tasker.StepComplete || step.Attempt != 1 || step.Error != nil {
					t.Errorf("step %s after %d attempts, error %s", step.State, step.Attempt, step.Error)
				}
			})
		})
	}
}

// TestShutdownLetsHandlersFinish: what ends within the time of a shutdown counts.
func TestShutdownLetsHandlersFinish(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		started, release := make(chan struct{}, 4), make(chan struct{})
		e := enginetest.Start(t, enginetest.Options{
			Templates: taskertest.YAML(chain), Deployment: enginetest.None,
			Settings: enginetest.Settings{"common.queues.pgmq.shutdown_timeout_seconds": "60"},
		})
		handlers := enginetest.Handlers{"work": func(ctx context.Context, _ *tasker.Step) (any, error) {
			started <- struct{}{}
			<-release
			return "done", ctx.Err()
		}}
		var process *enginetest.Process
		if d == enginetest.Combined {
			process = e.StartCombined(handlers)
		} else {
			e.StartOrchestrator()
			process = e.StartWorker(handlers)
		}
		id := e.Create("chain", nil)
		enginetest.Receive(t, started)
		process.Cancel()
		close(release)
		process.Stop()
		e.Check()
		task, err := e.Client.Task(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if s := task.Step("a"); string(s.Result) != `"done"` {
			t.Errorf("step a is %s with %s", s.State, s.Result)
		}
		for _, s := range task.Steps { // how far it got before it noticed is its own business
			if s.State == tasker.StepInProgress || s.Error != nil {
				t.Errorf("step %s is %s with error %s", s.Name, s.State, s.Error)
			}
		}
	})
}

// TestShutdownUnderLoad stops an engine at full speed, again and again: nothing
// stays behind claimed, and in the end every step has run once.
func TestShutdownUnderLoad(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		const tasks = 500
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(chain), Handlers: enginetest.Handlers{"work": ok},
			Settings: enginetest.Settings{"worker.system.step_processing.max_concurrent_steps": "100"},
		})
		requests := make([]client.Request, tasks)
		for i := range requests {
			requests[i] = client.Request{Namespace: enginetest.Namespace, Template: "chain"}
		}
		if _, err := e.Client.CreateTasks(t.Context(), requests); err != nil {
			t.Fatal(err)
		}
		for stop := 1; stop <= 4; stop++ {
			e.Await(`select count(*) >= $1 from tasker.steps where state = 'complete'`, stop*tasks*4/5)
			e.Stop()
			e.Check()
			if n := enginetest.Query[int](e, `select count(*) from tasker.steps where state = 'in_progress'`); n != 0 {
				t.Errorf("stop %d left %d steps in progress", stop, n)
			}
			e.Play(d, enginetest.Handlers{"work": ok})
		}
		e.Await(`select count(*) = 0 from tasker.tasks where finished_at is null`)
		if n := enginetest.Query[int](e, `select count(*) from tasker.steps where state <> 'complete' or attempt <> 1 or lost <> 0`); n != 0 {
			t.Errorf("%d steps did not run exactly once", n)
		}
	})
}

// TestRunRefuses lists what keeps a worker from starting.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.task_templates.template_path")
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None})
	tests := []struct {
		name   string
		change func(cfg *config.Config)
		opts   []worker.Option
		want   string
	}{
		{"no section", func(cfg *config.Config) { cfg.Worker = nil }, nil, worker.ErrNoSection.Error()},
		{"cyclic template", func(*config.Config) {}, []worker.Option{worker.WithTemplates(taskertest.YAML(`
name: loop
namespace: test
steps:
  - {name: a, handler: {callable: work}, dependencies: [b]}
  - {name: b, handler: {callable: work}, dependencies: [a]}`))}, "a → b → a"},
		{"no templates", func(cfg *config.Config) { cfg.Common.TaskTemplates.TemplatePath = t.TempDir() }, nil, "has no *.yaml or *.yml"},
		{"no folder", func(cfg *config.Config) { cfg.Common.TaskTemplates.TemplatePath = t.TempDir() + "/none" }, nil, "none"},
		{"no broker", func(cfg *config.Config) {
			cfg.Common.Queues.Backend = config.BackendRabbitMQ
			cfg.Common.Queues.RabbitMQ.URL = "amqp://nobody:secret@127.0.0.1:1/"
		}, nil, "connect to RabbitMQ at 127.0.0.1:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := enginetest.Load(t, e.Config.Common.Database.URL, nil)
			tt.change(cfg)
			err := worker.Run(t.Context(), cfg, tasker.NewHandlers(), e.Log, tt.opts...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
