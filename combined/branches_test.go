package combined_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// states are the steps of a task, each with its state.
func states(task *client.Task) map[string]tasker.StepState {
	all := map[string]tasker.StepState{}
	for _, s := range task.Steps {
		all[s.Name] = s.State
	}
	return all
}

func wantSteps(t *testing.T, task *client.Task, want string) {
	t.Helper()
	var got []string
	for name, state := range states(task) {
		got = append(got, fmt.Sprintf("%s:%s", name, state))
	}
	slices.Sort(got)
	if all := strings.Join(got, " "); all != want {
		t.Errorf("the task is %s with\n%s, want\n%s", task.State, all, want)
	}
}

const approvalTemplate = `
name: approval
namespace: test
identity_strategy: always_unique
steps:
  - {name: validate, handler: {callable: ok}}
  - {name: route, type: decision, handler: {callable: route}, dependencies: [validate], retry: {max_attempts: 1}}
  - {name: auto, handler: {callable: ok}, dependencies: [route]}
  - {name: manager, handler: {callable: ok}, dependencies: [route]}
  - {name: finance, handler: {callable: ok}, dependencies: [route]}
  - {name: finalize, type: deferred_convergence, handler: {callable: gather}, dependencies: [auto, manager, finance]}
`

// route decides by the amount.
func route(_ context.Context, s *tasker.Step) (any, error) {
	var in struct{ Amount float64 }
	if err := json.Unmarshal(s.Context, &in); err != nil {
		return nil, err
	}
	switch {
	case in.Amount < 0:
		return tasker.Branches("nobody"), nil
	case in.Amount == 0:
		return tasker.Branches(), nil
	case in.Amount < 1000:
		return tasker.Branches("auto"), nil
	case in.Amount < 5000:
		return tasker.Branches("manager"), nil
	}
	return tasker.Decision{Steps: []string{"manager", "finance"}, Result: map[string]float64{"amount": in.Amount}}, nil
}

// gather returns the names of the results it sees.
func gather(_ context.Context, s *tasker.Step) (any, error) {
	var names []string
	for name := range s.Results {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		amount float64
		state  tasker.TaskState
		want   string
		seen   string
	}{
		{500, tasker.TaskComplete, "auto:complete finalize:complete route:complete validate:complete", `["auto"]`},
		{0.01, tasker.TaskComplete, "auto:complete finalize:complete route:complete validate:complete", `["auto"]`},
		{1000, tasker.TaskComplete, "finalize:complete manager:complete route:complete validate:complete", `["manager"]`},
		{5000, tasker.TaskComplete, "finalize:complete finance:complete manager:complete route:complete validate:complete", `["finance", "manager"]`},
		{0, tasker.TaskComplete, "route:complete validate:complete", ""},
		{-1, tasker.TaskError, "route:error validate:complete", ""},
	}
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(approvalTemplate),
			Handlers: enginetest.Handlers{"ok": ok, "route": route, "gather": gather},
		})
		for _, tt := range tests {
			task := e.Run("approval", map[string]float64{"amount": tt.amount})
			if task.State != tt.state {
				t.Errorf("%v: the task is %s, want %s", tt.amount, task.State, tt.state)
			}
			wantSteps(t, task, tt.want)
			for _, s := range task.Steps {
				if s.Name == "finalize" && string(s.Result) != tt.seen {
					t.Errorf("%v: the convergence step saw %s, want %s", tt.amount, s.Result, tt.seen)
				}
				if s.Name == "route" && tt.state == tasker.TaskError && !strings.Contains(string(s.Error), `no step \"nobody\"`) {
					t.Errorf("%v: the decision failed with %s", tt.amount, s.Error)
				}
			}
		}
	})
}

const batchTemplate = `
name: batch
namespace: test
identity_strategy: always_unique
steps:
  - {name: analyze, type: batchable, handler: {callable: analyze}}
  - {name: work, type: batch_worker, handler: {callable: work}, dependencies: [analyze], retry: {max_attempts: 1}, batch_config: {parallelism: 100, failure_strategy: %s}}
  - {name: sum, type: deferred_convergence, handler: {callable: sum}, dependencies: [work]}
`

type batchInput struct{ Items, Size, Bad int }

func batchHandlers() enginetest.Handlers {
	return enginetest.Handlers{
		"analyze": func(_ context.Context, s *tasker.Step) (any, error) {
			var in batchInput
			err := json.Unmarshal(s.Context, &in)
			return tasker.Batches{Cursors: tasker.Range(0, in.Items, in.Size), TotalItems: in.Items}, err
		},
		"work": func(_ context.Context, s *tasker.Step) (any, error) {
			var in batchInput
			var from, to int
			if err := errors.Join(json.Unmarshal(s.Context, &in), s.Batch.Bounds(&from, &to)); err != nil {
				return nil, err
			}
			total := 0
			for i := from; i < to; i++ {
				if i == in.Bad {
					return nil, errors.New("bad item")
				}
				total += i
			}
			return total, nil
		},
		"sum": func(_ context.Context, s *tasker.Step) (any, error) {
			parts, err := tasker.BatchResults[int](s, "work")
			total := 0
			for _, part := range parts {
				total += part
			}
			return total, err
		},
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, strategy string
		in             batchInput
		state          tasker.TaskState
		want, sum      string
	}{
		{
			"all", "continue_on_failure",
			batchInput{25, 10, -1},
			tasker.TaskComplete,
			"analyze:complete sum:complete work_001:complete work_002:complete work_003:complete", "300",
		},
		{"exact boundary", "continue_on_failure", batchInput{20, 10, -1}, tasker.TaskComplete, "analyze:complete sum:complete work_001:complete work_002:complete", "190"},
		{"nothing to do", "continue_on_failure", batchInput{0, 10, -1}, tasker.TaskComplete, "analyze:complete sum:complete work_000:complete", "0"},
		{
			"a failure that others survive", "continue_on_failure",
			batchInput{30, 10, 5},
			tasker.TaskError,
			"analyze:complete sum:complete work_001:error work_002:complete work_003:complete", "390",
		},
		{
			"a failure set aside", "isolate",
			batchInput{30, 10, 5},
			tasker.TaskComplete,
			"analyze:complete sum:complete work_001:cancelled work_002:complete work_003:complete", "390",
		},
	}
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				e := enginetest.Start(t, enginetest.Options{
					Deployment: d, Templates: taskertest.YAML(fmt.Sprintf(batchTemplate, tt.strategy)), Handlers: batchHandlers(),
				})
				task := e.Run("batch", map[string]int{"items": tt.in.Items, "size": tt.in.Size, "bad": tt.in.Bad})
				if task.State != tt.state {
					t.Errorf("the task is %s, want %s", task.State, tt.state)
				}
				wantSteps(t, task, tt.want)
				for _, s := range task.Steps {
					if s.Name == "sum" && string(s.Result) != tt.sum {
						t.Errorf("the sum is %s, want %s", s.Result, tt.sum)
					}
				}
			})
		}
	})
}

// TestFailFast: no further batch starts after a failure, and the convergence
// step waits for an operator.
func TestFailFast(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.Split, Templates: taskertest.YAML(fmt.Sprintf(batchTemplate, "fail_fast")), Handlers: batchHandlers(),
		Settings: enginetest.Settings{"worker.system.step_processing.max_concurrent_steps": "1"},
	})
	task := e.Run("batch", map[string]int{"items": 200, "size": 10, "bad": 5})
	if task.State != tasker.TaskBlockedByFailures {
		t.Errorf("the task is %s", task.State)
	}
	got := states(task)
	cancelled := 0
	for _, state := range got {
		if state == tasker.StepCancelled {
			cancelled++
		}
	}
	if got["work_001"] != tasker.StepError || got["sum"] != tasker.StepPending || cancelled == 0 {
		t.Errorf("got %v", got)
	}
}

// TestCheckpoints: an attempt that fails leaves its checkpoint to the next, and
// one that has lost its claim saves nothing.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var seen []int
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d,
			Templates:  taskertest.YAML(`{name: one, namespace: test, steps: [{name: only, handler: {callable: count}, retry: {backoff_base_ms: 1}}]}`),
			Handlers: enginetest.Handlers{"count": func(ctx context.Context, s *tasker.Step) (any, error) {
				done := 0
				if _, err := s.LoadCheckpoint(&done); err != nil {
					return nil, err
				}
				for i := done; i < 100; i++ {
					seen = append(seen, i)
					if (i+1)%25 == 0 {
						if err := s.SaveCheckpoint(ctx, i+1); err != nil {
							return nil, err
						}
					}
					if i == 60 && s.Attempt == 1 {
						return nil, errors.New("once")
					}
				}
				return len(seen), nil
			}},
		})
		task := e.Run("one", nil)
		if task.State != tasker.TaskComplete {
			t.Fatalf("the task is %s", task.State)
		}
		if len(seen) != 61+50 || seen[61] != 50 {
			t.Errorf("the second attempt began with %d; %d items in all", seen[min(61, len(seen)-1)], len(seen))
		}
		if saves := enginetest.Query[string](e, `select checkpoint->>'saves' || ' ' || jsonb_array_length(checkpoint->'history') from tasker.steps`); saves != "4 4" {
			t.Errorf("saved and noted %s times, want 4 4", saves)
		}
	})
}

// TestParallelism: no more workers of a batch run at once than it says, however
// many slots are free, and all of them run.
func TestParallelism(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var running, most atomic.Int32
		handlers := batchHandlers()
		work := handlers["work"]
		handlers["work"] = func(ctx context.Context, s *tasker.Step) (any, error) {
			now := running.Add(1)
			defer running.Add(-1)
			for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			return work(ctx, s)
		}
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Handlers: handlers,
			Templates: taskertest.YAML(strings.Replace(fmt.Sprintf(batchTemplate, "continue_on_failure"), "parallelism: 100", "parallelism: 3", 1)),
		})
		task := e.Run("batch", map[string]int{"items": 400, "size": 10, "bad": -1})
		if task.State != tasker.TaskComplete || string(task.Step("sum").Result) != "79800" {
			t.Errorf("the task is %s, the sum %s", task.State, task.Step("sum").Result)
		}
		if most.Load() > 3 {
			t.Errorf("%d workers ran at once, want at most 3", most.Load())
		}
	})
}
