package tasker

// TaskState is where a task stands (spec: 12 states).
type TaskState string

// The states of a task. The last four are final.
const (
	TaskPending                TaskState = "pending"                  // accepted, nothing done
	TaskInitializing           TaskState = "initializing"             // accepted from the request queue, its steps not created yet
	TaskEnqueuingSteps         TaskState = "enqueuing_steps"          // steps are ready and held by a limit or a broker
	TaskStepsInProcess         TaskState = "steps_in_process"         // steps wait on queues or run
	TaskEvaluatingResults      TaskState = "evaluating_results"       // results are reported and not applied yet
	TaskWaitingForDependencies TaskState = "waiting_for_dependencies" // nothing can run until something outside happens
	TaskWaitingForRetry        TaskState = "waiting_for_retry"        // every step that could run waits for its next attempt
	TaskBlockedByFailures      TaskState = "blocked_by_failures"      // steps wait on one that failed for good: an operator decides
	TaskComplete               TaskState = "complete"                 // every step is complete or resolved
	TaskError                  TaskState = "error"                    // a step failed for good and none waits on it
	TaskCancelled              TaskState = "cancelled"                // cancelled by an operator
	TaskResolvedManually       TaskState = "resolved_manually"        // declared done by an operator
)

// Terminal reports whether s is final.
func (s TaskState) Terminal() bool {
	switch s {
	case TaskComplete, TaskError, TaskCancelled, TaskResolvedManually:
		return true
	default:
		return false
	}
}

// StepState is where a step stands (spec: 10 states).
type StepState string

// The states of a step.
const (
	StepPending          StepState = "pending"                             // waits for its dependencies
	StepEnqueued         StepState = "enqueued"                            // waits on a queue for a worker
	StepInProgress       StepState = "in_progress"                         // claimed by a worker
	StepReported         StepState = "enqueued_for_orchestration"          // has a result that is not applied yet
	StepReportedError    StepState = "enqueued_as_error_for_orchestration" // has an error that is not applied yet
	StepWaitingForRetry  StepState = "waiting_for_retry"                   // failed and waits for its next attempt
	StepComplete         StepState = "complete"                            // has a result; dependents may run
	StepError            StepState = "error"                               // failed for good; an operator may reset it
	StepCancelled        StepState = "cancelled"                           // its task was cancelled
	StepResolvedManually StepState = "resolved_manually"                   // declared done by an operator; dependents may run
)

// Terminal reports whether s is final, short of an operator's decision.
func (s StepState) Terminal() bool {
	switch s {
	case StepComplete, StepError, StepCancelled, StepResolvedManually:
		return true
	default:
		return false
	}
}

// Satisfies reports whether steps that depend on one in state s may run.
func (s StepState) Satisfies() bool { return s == StepComplete || s == StepResolvedManually }
