package combined_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

const signalTemplate = `
name: approval
namespace: test
identity_strategy: always_unique
steps:
  - {name: ask, handler: {callable: ok}}
  - {name: approval, type: wait_for_signal, dependencies: [ask], timeout_seconds: 3600}
  - {name: pay, handler: {callable: see}, dependencies: [approval]}
`

// see returns the result of the step that waited.
func see(_ context.Context, s *tasker.Step) (any, error) {
	var payload any
	err := s.Result("approval", &payload)
	return payload, err
}

func startSignals(t *testing.T, d enginetest.Deployment, template string) *enginetest.Engine {
	t.Helper()
	return enginetest.Start(t, enginetest.Options{
		Deployment: d, Templates: taskertest.YAML(template), Handlers: enginetest.Handlers{"ok": ok, "see": see},
	})
}

func signal(t *testing.T, e *enginetest.Engine, task string, payload any) (received bool) {
	t.Helper()
	received, err := e.Client.Signal(t.Context(), task, "approval", payload)
	if err != nil {
		t.Fatal(err)
	}
	return received
}

func TestSignals(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := startSignals(t, d, signalTemplate)
		waits := e.Create("approval", nil)
		e.Await(`select state = 'waiting_for_dependencies' from tasker.tasks where task_id = $1`, waits)
		e.Check()
		signal(t, e, waits, map[string]string{"by": "ann"})
		early := e.Create("approval", nil)
		signal(t, e, early, "early")
		for id, want := range map[string]string{waits: `{"by": "ann"}`, early: `"early"`} {
			task := e.Wait(id)
			if task.State != tasker.TaskComplete || string(task.Step("pay").Result) != want {
				t.Errorf("the task is %s, paid on %s, want %s", task.State, task.Step("pay").Result, want)
			}
		}
		if _, err := e.Client.Signal(t.Context(), waits, "approval", nil); !errors.Is(err, client.ErrTaskOver) {
			t.Errorf("a signal to a task that is over: %v", err)
		}
		if n := enginetest.Query[int](e, `select count(*) from tasker.signals`); n != 0 {
			t.Errorf("%d signals are left", n)
		}
	})
}

// TestSignalTwice: the first signal of a name counts.
func TestSignalTwice(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(signalTemplate)})
	e.Register()
	task := e.Create("approval", nil)
	if !signal(t, e, task, 1) || signal(t, e, task, 2) {
		t.Error("the first signal was not received, or the second was")
	}
	e.StartCombined(enginetest.Handlers{"ok": ok, "see": see})
	if got := e.Wait(task).Step("pay").Result; string(got) != "1" {
		t.Errorf("the task went on with %s", got)
	}
	if _, err := e.Client.Signal(t.Context(), "01a20dd1-fd1b-7470-88b2-000000000000", "x", nil); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("a signal to no task: %v", err)
	}
}

// TestSignalTimeout: a step whose signal does not come in time fails.
func TestSignalTimeout(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := startSignals(t, d, strings.Replace(signalTemplate, "3600", "1", 1))
		task := e.Run("approval", nil)
		if task.State != tasker.TaskBlockedByFailures || !strings.Contains(string(task.Step("approval").Error), "signal_timeout") {
			t.Errorf("the task is %s, the step says %s", task.State, task.Step("approval").Error)
		}
	})
}

// TestSignalFirst: a task whose first step waits.
func TestSignalFirst(t *testing.T) {
	t.Parallel()
	e := startSignals(t, enginetest.Split, `
name: approval
namespace: test
steps:
  - {name: first, type: wait_for_signal, signal: approval}
`)
	task := e.Create("approval", nil)
	if state := enginetest.Query[string](e, `select state from tasker.tasks`); state != "waiting_for_dependencies" {
		t.Errorf("the task is %s", state)
	}
	signal(t, e, task, nil)
	if got := e.Wait(task); got.State != tasker.TaskComplete || string(got.Step("first").Result) != "null" {
		t.Errorf("the task is %s with %s", got.State, got.Step("first").Result)
	}
}
