package combined_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// ok is a handler that succeeds.
func ok(context.Context, *tasker.Step) (any, error) { return "ok", nil }

// single is a template of one step, with the given keys besides its name.
func single(name, keys string) string {
	return fmt.Sprintf("{name: %s, namespace: test, steps: [{name: only, %s}]}", name, keys)
}

// failureOf decodes the error of a step.
func failureOf(t *testing.T, s *client.Step) outcome.Failure {
	t.Helper()
	var f outcome.Failure
	if err := json.Unmarshal(s.Error, &f); err != nil {
		t.Fatalf("step %s is %s with error %q: %v", s.Name, s.State, s.Error, err)
	}
	return f
}

// TestFailures runs a step that goes wrong in each way there is. What may pass
// is tried again.
func TestFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		handler  tasker.HandlerFunc
		attempts int // of two
		want     outcome.Failure
	}{
		{
			"error", func(context.Context, *tasker.Step) (any, error) { return nil, errors.New("boom") }, 2,
			outcome.Failure{Kind: outcome.HandlerError, Message: "boom"},
		},
		{
			"permanent", func(context.Context, *tasker.Step) (any, error) { return nil, tasker.Permanent(errors.New("never")) }, 1,
			outcome.Failure{Kind: outcome.HandlerError, Message: "never", Permanent: true},
		},
		{
			"panic", func(context.Context, *tasker.Step) (any, error) { panic("aaah") }, 2,
			outcome.Failure{Kind: outcome.HandlerPanic, Message: "panic: aaah"},
		},
		{
			"no_handler", nil, 1,
			outcome.Failure{Kind: outcome.HandlerNotFound, Message: `no handler "no_handler" in this worker; it has `, Permanent: true},
		},
		{
			"not_encodable", func(context.Context, *tasker.Step) (any, error) { return make(chan int), nil }, 1,
			outcome.Failure{Kind: outcome.ResultNotEncoded, Message: "encode the result as JSON: json: unsupported type: chan int", Permanent: true},
		},
		{
			"nul_result", func(context.Context, *tasker.Step) (any, error) { return "a\x00b", nil }, 1,
			outcome.Failure{Kind: outcome.ResultRefused, Message: "PostgreSQL cannot store the result: unsupported Unicode escape sequence", Permanent: true},
		},
		{
			"nul_error", func(context.Context, *tasker.Step) (any, error) { return nil, errors.New("a\x00b") }, 2,
			outcome.Failure{Kind: outcome.HandlerError, Message: "a\ufffdb"},
		},
		{
			"timeout", func(ctx context.Context, _ *tasker.Step) (any, error) { <-ctx.Done(); return nil, ctx.Err() }, 2,
			outcome.Failure{Kind: outcome.HandlerTimeout, Message: "the handler did not finish within 1s"},
		},
	}
	handlers := enginetest.Handlers{"ok": ok}
	var templates []string
	for _, tt := range tests {
		if tt.handler != nil {
			handlers[tt.name] = tt.handler
		}
		templates = append(templates, single(tt.name,
			"handler: {callable: "+tt.name+"}, timeout_seconds: 1, retry: {max_attempts: 2, backoff_base_ms: 1}"))
	}
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: taskertest.YAML(templates...), Handlers: handlers})
		ids := make([]string, len(tests))
		for i, tt := range tests {
			ids[i] = e.Create(tt.name, nil)
		}
		for i, tt := range tests {
			task := e.Wait(ids[i])
			step := task.Step("only")
			if task.State != tasker.TaskError || step.State != tasker.StepError || step.Attempt != tt.attempts {
				t.Errorf("%s: task %s, step %s after %d attempts, want %d", tt.name, task.State, step.State, step.Attempt, tt.attempts)
				continue
			}
			got := failureOf(t, step)
			if got.Kind != tt.want.Kind || got.Permanent != tt.want.Permanent || !strings.HasPrefix(got.Message, tt.want.Message) {
				t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
			}
			logged := enginetest.Query[int](e, `select count(*) from tasker.step_attempts where task_id = $1`, ids[i])
			if logged != tt.attempts {
				t.Errorf("%s: %d attempts kept, want %d", tt.name, logged, tt.attempts)
			}
		}
	})
}

// TestRetryThenSuccess keeps the failed attempts, and only these.
func TestRetryThenSuccess(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d,
			Templates:  taskertest.YAML(single("flaky", "handler: {callable: flaky}, retry: {max_attempts: 5, backoff: none}")),
			Handlers: enginetest.Handlers{"flaky": func(_ context.Context, s *tasker.Step) (any, error) {
				if s.Attempt < 3 {
					return nil, fmt.Errorf("attempt %d", s.Attempt)
				}
				return s.Attempt, nil
			}},
		})
		task := e.Run("flaky", nil)
		step := task.Step("only")
		if task.State != tasker.TaskComplete || step.Attempt != 3 || string(step.Result) != "3" || step.Error != nil {
			t.Errorf("task %s, step %+v", task.State, step)
		}
		attempts := enginetest.Query[[]string](e, `
			select array_agg(attempt || ': ' || (error->>'message') order by attempt) from tasker.step_attempts`)
		if got, want := fmt.Sprint(attempts), "[1: attempt 1 2: attempt 2]"; got != want {
			t.Errorf("attempts kept: %s, want %s", got, want)
		}
	})
}

// TestRetryTimes measures the waits between attempts on the clock of the
// database.
func TestRetryTimes(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.backoff.max_backoff_seconds")
	tests := []struct {
		name, retry string
		err         error
		atLeast     time.Duration
	}{
		{"asked", "{}", tasker.RetryAfter(time.Second, errors.New("busy")), time.Second},
		{"capped", "{}", tasker.RetryAfter(time.Hour, errors.New("busy")), 2 * time.Second}, // max_backoff_seconds
		{"base", "{backoff: linear, backoff_base_ms: 500}", errors.New("boom"), 500 * time.Millisecond},
		{"none", "{backoff: none}", errors.New("boom"), 0},
	}
	var templates []string
	handlers := enginetest.Handlers{}
	for _, tt := range tests {
		templates = append(templates, single(tt.name, "handler: {callable: "+tt.name+"}, retry: "+tt.retry))
		handlers[tt.name] = func(_ context.Context, s *tasker.Step) (any, error) {
			if s.Attempt == 1 {
				return nil, tt.err
			}
			return nil, nil
		}
	}
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(templates...), Handlers: handlers,
			Settings: enginetest.Settings{
				"orchestration.backoff.jitter_enabled":          "false",
				"orchestration.backoff.max_backoff_seconds":     "2",
				"orchestration.backoff.default_backoff_seconds": "[1]",
				// So rare that a poll cannot be what brings the retry.
				"worker.event_system.metadata.fallback_poller.polling_interval_ms": "60000",
			},
		})
		ids := map[string]string{}
		for _, tt := range tests {
			ids[tt.name] = e.Create(tt.name, nil)
		}
		for _, tt := range tests {
			e.Wait(ids[tt.name])
			seconds := enginetest.Query[float64](e, `
				select extract(epoch from s.started_at - a.finished_at)::float8
				from tasker.steps s
				join tasker.step_attempts a using (task_id, ordinal)
				where s.task_id = $1`, ids[tt.name])
			waited := time.Duration(seconds * float64(time.Second))
			if waited < tt.atLeast || waited > tt.atLeast+20*time.Second {
				t.Errorf("%s: waited %s, want %s", tt.name, waited, tt.atLeast)
			}
		}
	})
}

// TestOneBadResultAmongMany has the steps of many tasks report at once; the one
// whose result PostgreSQL refuses fails alone.
func TestOneBadResultAmongMany(t *testing.T) {
	t.Parallel()
	const n, bad = 40, 17
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		started, release := make(chan struct{}, n), make(chan struct{})
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d,
			Templates:  taskertest.YAML(single("echo", "handler: {callable: echo}")),
			Handlers: enginetest.Handlers{"echo": func(_ context.Context, s *tasker.Step) (any, error) {
				var in struct{ N int }
				err := json.Unmarshal(s.Context, &in)
				started <- struct{}{}
				<-release
				if in.N == bad {
					return "\x00", err
				}
				return in.N, err
			}},
			Settings: enginetest.Settings{"worker.system.step_processing.max_concurrent_steps": "100"},
		})
		requests := make([]client.Request, n)
		for i := range requests {
			requests[i] = client.Request{Namespace: enginetest.Namespace, Template: "echo", Context: map[string]int{"n": i}}
		}
		ids, err := e.Client.CreateTasks(t.Context(), requests)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			enginetest.Receive(t, started)
		}
		close(release)
		for i, id := range ids {
			task := e.Wait(id)
			step := task.Step("only")
			switch {
			case i != bad && (task.State != tasker.TaskComplete || string(step.Result) != fmt.Sprint(i)):
				t.Errorf("task %d is %s with result %s", i, task.State, step.Result)
			case i == bad && (task.State != tasker.TaskError || failureOf(t, step).Kind != outcome.ResultRefused):
				t.Errorf("the bad task is %s with error %s", task.State, step.Error)
			}
		}
	})
}

// TestBranchesGoOn fails one branch of a task while the other runs.
func TestBranchesGoOn(t *testing.T) {
	t.Parallel()
	const steps = `
  - {name: start, handler: {callable: ok}}
  - {name: bad, handler: {callable: bad}, dependencies: [start]}
  - {name: good, handler: {callable: good}, dependencies: [start]}
  - {name: after_good, handler: {callable: ok}, dependencies: [good]}`
	const (
		blocked = "name: blocked\nnamespace: test\nsteps:" + steps + `
  - {name: end, handler: {callable: ok}, dependencies: [bad, good]}`
		failed = "name: failed\nnamespace: test\nsteps:" + steps
		lone   = `
name: lone
namespace: test
steps:
  - {name: start, handler: {callable: ok}}
  - {name: bad, handler: {callable: bad}, dependencies: [start]}
  - {name: good, handler: {callable: good}, dependencies: [start]}
  - {name: end, handler: {callable: ok}, dependencies: [bad, good]}`
	)
	tests := []struct {
		template string
		want     tasker.TaskState
	}{
		{"blocked", tasker.TaskBlockedByFailures}, // end waits on bad
		{"failed", tasker.TaskError},              // nothing does
		{"lone", tasker.TaskBlockedByFailures},    // the last to end has no successor that can run
	}
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		release := make(chan struct{})
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(blocked, failed, lone),
			Handlers: enginetest.Handlers{
				"ok":   ok,
				"bad":  func(context.Context, *tasker.Step) (any, error) { return nil, tasker.Permanent(errors.New("bad")) },
				"good": func(context.Context, *tasker.Step) (any, error) { <-release; return nil, nil },
			},
		})
		ids := map[string]string{}
		for _, tt := range tests {
			ids[tt.template] = e.Create(tt.template, nil)
		}
		e.Await(`select count(*) = $1 from tasker.steps where state = 'error'`, len(tests))
		e.Check()
		if n := enginetest.Query[int](e, `select count(*) from tasker.tasks where state = 'steps_in_process'`); n != len(tests) {
			t.Errorf("%d tasks go on while a branch runs, want %d", n, len(tests))
		}
		close(release)
		for _, tt := range tests {
			task := e.Wait(ids[tt.template])
			if task.State != tt.want || (task.FinishedAt != nil) != tt.want.Terminal() {
				t.Errorf("%s: %s, finished at %v, want %s", tt.template, task.State, task.FinishedAt, tt.want)
			}
			for name, want := range map[string]tasker.StepState{
				"bad": tasker.StepError, "good": tasker.StepComplete, "after_good": tasker.StepComplete, "end": tasker.StepPending,
			} {
				if s := task.Step(name); s != nil && s.State != want {
					t.Errorf("%s: step %s is %s, want %s", tt.template, name, s.State, want)
				}
			}
		}
	})
}
