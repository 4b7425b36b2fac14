package tasker

import "testing"

func TestTaskStates(t *testing.T) {
	t.Parallel()
	terminal := map[TaskState]bool{
		TaskPending: false, TaskInitializing: false, TaskEnqueuingSteps: false, TaskStepsInProcess: false,
		TaskEvaluatingResults: false, TaskWaitingForDependencies: false, TaskWaitingForRetry: false,
		TaskBlockedByFailures: false,
		TaskComplete:          true, TaskError: true, TaskCancelled: true, TaskResolvedManually: true,
	}
	if len(terminal) != 12 {
		t.Errorf("%d states, or two with one name", len(terminal))
	}
	for state, want := range terminal {
		if state.Terminal() != want {
			t.Errorf("%s: terminal %t", state, !want)
		}
	}
}

func TestStepStates(t *testing.T) {
	t.Parallel()
	states := map[StepState]struct{ terminal, satisfies bool }{
		StepPending: {}, StepEnqueued: {}, StepInProgress: {}, StepReported: {}, StepReportedError: {}, StepWaitingForRetry: {},
		StepComplete: {true, true}, StepResolvedManually: {true, true},
		StepError: {true, false}, StepCancelled: {true, false},
	}
	if len(states) != 10 {
		t.Errorf("%d states, or two with one name", len(states))
	}
	for state, want := range states {
		if state.Terminal() != want.terminal || state.Satisfies() != want.satisfies {
			t.Errorf("%s: terminal %t, satisfies %t", state, state.Terminal(), state.Satisfies())
		}
	}
}
