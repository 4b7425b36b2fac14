package operate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/common/state"
)

// refused stands for an action that the state does not allow.
const refused = "refused"

// A taskAction is an action on a task.
type taskAction struct {
	name string
	act  func(context.Context, string, client.By) error
}

func (b *bench) actions() []taskAction {
	return []taskAction{
		{"cancel", b.e.Client.Cancel},
		{"pause", b.e.Client.Pause},
		{"resume", b.e.Client.Resume},
		{"retry", b.e.Client.RetryTask},
		{"resolve", b.e.Client.ResolveTask},
	}
}

// TestTaskActions tries each action in each state. Where an action is refused
// nothing changes; where it is not, the task comes to the state given here.
func TestTaskActions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	actions := b.actions()
	for _, tt := range []struct {
		state                                 tasker.TaskState
		cancel, pause, resume, retry, resolve string
	}{
		{tasker.TaskPending, "cancelled", "pending", refused, refused, refused},
		{tasker.TaskInitializing, "cancelled", refused, refused, refused, refused},
		{tasker.TaskEnqueuingSteps, "cancelled", "waiting_for_dependencies", refused, refused, refused},
		{tasker.TaskStepsInProcess, "cancelled", "waiting_for_dependencies", refused, refused, refused},
		{tasker.TaskEvaluatingResults, "cancelled", "evaluating_results", refused, refused, refused},
		{tasker.TaskWaitingForDependencies, "cancelled", "waiting_for_dependencies", refused, refused, "resolved_manually"},
		{tasker.TaskWaitingForRetry, "cancelled", "waiting_for_dependencies", refused, refused, "resolved_manually"},
		{tasker.TaskBlockedByFailures, "cancelled", "blocked_by_failures", refused, "steps_in_process", "resolved_manually"},
		{tasker.TaskComplete, refused, refused, refused, refused, refused},
		{tasker.TaskError, refused, refused, refused, "steps_in_process", "resolved_manually"},
		{tasker.TaskCancelled, refused, refused, refused, refused, refused},
		{tasker.TaskResolvedManually, refused, refused, refused, refused, refused},
	} {
		for i, want := range []string{tt.cancel, tt.pause, tt.resume, tt.retry, tt.resolve} {
			id := b.task(tt.state)
			before := b.read(id)
			b.act(fmt.Sprintf("%s, %s", tt.state, actions[i].name), before, want, func() error {
				return actions[i].act(t.Context(), id, by)
			})
		}
	}
	b.e.Check()
	sawMoves(b, "task", state.Tasks, state.TaskCancel, state.TaskRetry, state.TaskResolve)
	sawMoves(b, "step", state.Steps, state.StepHold)
}

// act does something to a task and looks at what became of it.
func (b *bench) act(what string, before *client.Task, want string, do func() error) {
	b.t.Helper()
	events := len(b.events(before.ID))
	err := do()
	after := b.read(before.ID)
	recorded := len(b.events(before.ID)) - events
	if want == refused {
		if !errors.Is(err, client.ErrState) || !strings.Contains(err.Error(), "is not possible") {
			b.t.Errorf("%s: %v", what, err)
		}
		if fmt.Sprint(after) != fmt.Sprint(before) || recorded != 0 {
			b.t.Errorf("%s was refused and changed something:\n%v\n%v", what, before, after)
		}
		return
	}
	if err != nil || string(after.State) != want {
		b.t.Errorf("%s: the task is %s; want %s (%v)", what, after.State, want, err)
	}
	if recorded != 1 {
		b.t.Errorf("%s: %d events recorded", what, recorded)
	}
}

func (b *bench) events(id string) []client.Event {
	b.t.Helper()
	events, err := b.e.Client.Events(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return events
}

// TestPausedTaskActions does the same to paused tasks.
func TestPausedTaskActions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, tt := range []struct {
		state                                 tasker.TaskState
		cancel, pause, resume, retry, resolve string
	}{
		{tasker.TaskPending, "cancelled", refused, "pending", refused, refused},
		{tasker.TaskEnqueuingSteps, "cancelled", refused, "enqueuing_steps", refused, "resolved_manually"},
		{tasker.TaskStepsInProcess, "cancelled", refused, "steps_in_process", refused, "resolved_manually"},
		{tasker.TaskEvaluatingResults, "cancelled", refused, "evaluating_results", refused, refused},
		{tasker.TaskWaitingForDependencies, "cancelled", refused, "waiting_for_dependencies", refused, "resolved_manually"},
		{tasker.TaskWaitingForRetry, "cancelled", refused, "waiting_for_retry", refused, "resolved_manually"},
		{tasker.TaskBlockedByFailures, "cancelled", refused, "blocked_by_failures", "waiting_for_dependencies", "resolved_manually"},
	} {
		for i, want := range []string{tt.cancel, tt.pause, tt.resume, tt.retry, tt.resolve} {
			id := b.task(tt.state)
			b.must(b.e.Client.Pause(t.Context(), id, by))
			action := b.actions()[i]
			b.act(fmt.Sprintf("%s and paused, %s", tt.state, action.name), b.read(id), want, func() error {
				return action.act(t.Context(), id, by)
			})
		}
	}
}

// TestStepActions tries each action on a step in each state: what becomes of the
// step, or that it is refused.
func TestStepActions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	complete := func(ctx context.Context, task, step string, by client.By) error {
		return b.e.Client.CompleteStep(ctx, task, step, map[string]int{"by_hand": 1}, by)
	}
	actions := []func(context.Context, string, string, client.By) error{b.e.Client.RetryStep, b.e.Client.ResolveStep, complete}
	const resolved, completed = "resolved_manually", "complete"
	for _, tt := range []struct {
		state                    tasker.StepState
		retry, resolve, complete string
	}{
		{tasker.StepPending, refused, resolved, completed},
		{tasker.StepEnqueued, refused, resolved, completed},
		{tasker.StepInProgress, refused, resolved, completed},
		{tasker.StepReported, refused, resolved, completed},
		{tasker.StepReportedError, refused, resolved, completed},
		{tasker.StepWaitingForRetry, "enqueued", resolved, completed},
		{tasker.StepComplete, refused, refused, refused},
		{tasker.StepError, "enqueued", resolved, completed},
		{tasker.StepCancelled, "enqueued", resolved, completed},
		{tasker.StepResolvedManually, refused, refused, refused},
	} {
		for i, want := range []string{tt.retry, tt.resolve, tt.complete} {
			id, name := b.step(tt.state)
			before := b.read(id)
			err := actions[i](t.Context(), id, name, by)
			after := b.read(id)
			step := after.Step(name)
			if want == refused {
				if !errors.Is(err, client.ErrState) || fmt.Sprint(after) != fmt.Sprint(before) {
					t.Errorf("%s, action %d: %v; %v", tt.state, i, err, after)
				}
				continue
			}
			if err != nil || string(step.State) != want {
				t.Errorf("%s, action %d: step is %s; want %s (%v)", tt.state, i, step.State, want, err)
			}
			last := b.events(id)[len(b.events(id))-1]
			if last.Step != name || last.By != by || !strings.HasPrefix(last.Kind, "step.") {
				t.Errorf("%s, action %d: recorded %v", tt.state, i, last)
			}
			if name == "a" && i > 0 && after.Step("b").State != tasker.StepEnqueued {
				t.Errorf("%s, action %d: the step that depends on it is %s", tt.state, i, after.Step("b").State)
			}
			if i == 2 && string(step.Result) != `{"by_hand": 1}` {
				t.Errorf("%s: result is %s", tt.state, step.Result)
			}
			if i == 0 && (step.Attempt != 0 || step.Error != nil) {
				t.Errorf("%s: after the retry %d attempts, error %s", tt.state, step.Attempt, step.Error)
			}
		}
	}
	sawMoves(b, "step", state.Steps, state.StepRetry, state.StepResolve, state.StepComplete)
}

// TestStepActionsByTask: what is over is left alone, but for a task in error,
// which opens again.
func TestStepActionsByTask(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, s := range []tasker.TaskState{tasker.TaskComplete, tasker.TaskCancelled, tasker.TaskResolvedManually} {
		id := b.task(s)
		err := b.e.Client.ResolveStep(t.Context(), id, "b", by)
		if !errors.Is(err, client.ErrState) || !strings.Contains(err.Error(), "and its task "+string(s)) {
			t.Errorf("%s: %v", s, err)
		}
	}
	for want, act := range map[tasker.TaskState]func(context.Context, string, string, client.By) error{
		tasker.TaskStepsInProcess: b.e.Client.RetryStep,
		tasker.TaskComplete:       b.e.Client.ResolveStep,
	} {
		id := b.task(tasker.TaskError)
		b.must(act(t.Context(), id, "b", by))
		if task := b.read(id); task.State != want || (task.FinishedAt == nil) == task.State.Terminal() {
			t.Errorf("task in error is %s, ended %v; want %s", task.State, task.FinishedAt, want)
		}
	}
}

// TestNotFound names what does not exist, by id and by name.
func TestNotFound(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id, other := b.e.Create("pair", nil), b.e.Create("pair", nil)
	stepOfOther := b.read(other).Step("a").ID
	for what, err := range map[string]error{
		"task":          b.e.Client.Cancel(t.Context(), "019a0000-0000-7000-8000-000000000000", by),
		"step":          b.e.Client.RetryStep(t.Context(), id, "c", by),
		"step of other": b.e.Client.RetryStep(t.Context(), id, stepOfOther, by),
		"step of none":  b.e.Client.ResolveStep(t.Context(), "019a0000-0000-7000-8000-000000000000", "a", by),
	} {
		if !errors.Is(err, client.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.must(b.e.Client.ResolveStep(t.Context(), id, b.read(id).Step("a").ID, by))
	for what, err := range map[string]error{
		"no id":         b.e.Client.Cancel(t.Context(), "x", by),
		"not encodable": b.e.Client.CompleteStep(t.Context(), id, "b", func() {}, by),
		"too large":     b.e.Client.CompleteStep(t.Context(), id, "b", strings.Repeat("x", 4<<20), by),
		"not storable":  b.e.Client.CompleteStep(t.Context(), id, "b", "\x00", by),
	} {
		if !errors.Is(err, client.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
