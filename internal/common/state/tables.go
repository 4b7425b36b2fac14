package state

import tasker "github.com/tasker-systems/tasker-go"

// A TaskEvent is what can happen to a task.
type TaskEvent string

// The events of tasks.
const (
	TaskAccept   TaskEvent = "accept"
	TaskDelay    TaskEvent = "delay"
	TaskRequest  TaskEvent = "request"
	TaskAwait    TaskEvent = "await"
	TaskExpand   TaskEvent = "expand"
	TaskRefuse   TaskEvent = "refuse"
	TaskStart    TaskEvent = "start"
	TaskLimit    TaskEvent = "limit"
	TaskEvaluate TaskEvent = "evaluate"
	TaskBackOff  TaskEvent = "back_off"
	TaskWait     TaskEvent = "wait"
	TaskBlock    TaskEvent = "block"
	TaskComplete TaskEvent = "complete"
	TaskFail     TaskEvent = "fail"
	TaskGiveUp   TaskEvent = "give_up"

	TaskCancel  TaskEvent = "cancel"
	TaskPause   TaskEvent = "pause"
	TaskResume  TaskEvent = "resume"
	TaskRetry   TaskEvent = "retry"
	TaskResolve TaskEvent = "resolve"
)

// Tasks is the whole life of a task. What its steps look like decides, when
// nobody else does, which of the orchestrator's events happens: it settles a
// task whenever a step has moved.
var Tasks = Table[tasker.TaskState, TaskEvent]{
	{nil, TaskAccept, tasker.TaskStepsInProcess, Intake, "its first steps are enqueued in the same transaction"},
	{nil, TaskDelay, tasker.TaskPending, Intake, "run_at has not come"},
	{nil, TaskRequest, tasker.TaskInitializing, Intake, "it came through the request queue"},
	{nil, TaskAwait, tasker.TaskWaitingForDependencies, Intake, "each of its first steps waits for a signal"},
	{nil, TaskLimit, tasker.TaskEnqueuingSteps, Intake, "each of its first steps waits, one of them at a limit"},

	{openBut(tasker.TaskStepsInProcess), TaskStart, tasker.TaskStepsInProcess, Orchestrator, "a step is enqueued or runs"},
	{openBut(tasker.TaskEnqueuingSteps), TaskLimit, tasker.TaskEnqueuingSteps, Orchestrator, "none is enqueued or runs, and a limit holds one back"},
	{openBut(tasker.TaskEvaluatingResults), TaskEvaluate, tasker.TaskEvaluatingResults, Orchestrator, "none is enqueued or runs, and one has reported and is not applied"},
	{openBut(tasker.TaskWaitingForRetry), TaskBackOff, tasker.TaskWaitingForRetry, Orchestrator, "none of these, and one waits for its retry"},
	{openBut(tasker.TaskWaitingForDependencies), TaskWait, tasker.TaskWaitingForDependencies, Orchestrator, "none of these, and one waits for a signal or for the task to be resumed"},
	{openBut(tasker.TaskBlockedByFailures), TaskBlock, tasker.TaskBlockedByFailures, Orchestrator, "nothing can move, one has failed for good and some wait for it"},
	{openBut(), TaskComplete, tasker.TaskComplete, Orchestrator, "every step is complete or resolved"},
	{openBut(), TaskFail, tasker.TaskError, Orchestrator, "every step is over and one has failed for good"},
	{openBut(), TaskGiveUp, tasker.TaskError, Orchestrator, "it is stale, or its steps wait for each other; its steps that are not over end with it"},

	{openBut(), TaskCancel, tasker.TaskCancelled, Operator, "its steps that are not over are cancelled with it"},
	{openBut(tasker.TaskInitializing), TaskPause, "", Operator, "it is not paused; its steps that wait are held, those that run finish"},
	{openBut(tasker.TaskInitializing), TaskResume, "", Operator, "it is paused; its steps are held no more"},
	{[]tasker.TaskState{tasker.TaskError, tasker.TaskBlockedByFailures}, TaskRetry, tasker.TaskEvaluatingResults, Operator, "its failed and cancelled steps are pending again; what finished is kept"},
	{
		[]tasker.TaskState{tasker.TaskError, tasker.TaskBlockedByFailures, tasker.TaskWaitingForDependencies, tasker.TaskWaitingForRetry},
		TaskResolve, tasker.TaskResolvedManually, Operator, "none of its steps runs; those that are not over are cancelled",
	},
}

// A StepEvent is what can happen to a step.
type StepEvent string

// The events of steps.
const (
	StepCreate      StepEvent = "create"
	StepCreateReady StepEvent = "create_ready"
	StepEnqueue     StepEvent = "enqueue"
	StepHandOver    StepEvent = "hand_over"
	StepClaim       StepEvent = "claim"
	StepReclaim     StepEvent = "reclaim"
	StepGiveBack    StepEvent = "give_back"
	StepReport      StepEvent = "report"
	StepReportError StepEvent = "report_error"
	StepSucceed     StepEvent = "succeed"
	StepFailForNow  StepEvent = "fail_for_now"
	StepFailForGood StepEvent = "fail_for_good"
	StepIsolate     StepEvent = "isolate"
	StepStandIn     StepEvent = "stand_in"
	StepReceive     StepEvent = "receive"
	StepTimeOut     StepEvent = "time_out"
	StepBackOff     StepEvent = "back_off"
	StepSetAside    StepEvent = "set_aside"
	StepGiveUp      StepEvent = "give_up"
	StepAbandon     StepEvent = "abandon"

	StepCancel   StepEvent = "cancel"
	StepHold     StepEvent = "hold"
	StepRetry    StepEvent = "retry"
	StepResolve  StepEvent = "resolve"
	StepComplete StepEvent = "complete"
	StepSubmit   StepEvent = "submit"
)

// Steps is the whole life of a step.
var Steps = Table[tasker.StepState, StepEvent]{
	{nil, StepCreate, tasker.StepPending, Intake, "it depends on another step, or waits for a signal or a limit"},
	{nil, StepCreateReady, tasker.StepEnqueued, Intake, "it depends on nothing"},
	{nil, StepStandIn, tasker.StepComplete, Orchestrator, "it stands for a batch that has no shares"},

	{
		[]tasker.StepState{tasker.StepPending, tasker.StepWaitingForRetry},
		StepEnqueue, tasker.StepEnqueued, Orchestrator, "what it depends on is satisfied, its gates are passed, its task is not paused; a retry that is due has passed its limits anew",
	},
	{[]tasker.StepState{tasker.StepPending}, StepHandOver, tasker.StepInProgress, Orchestrator, "the same, and the worker in the same process has a free slot"},
	{[]tasker.StepState{tasker.StepPending}, StepBackOff, tasker.StepWaitingForRetry, Orchestrator, "its task was resumed before its retry was due"},
	{[]tasker.StepState{tasker.StepEnqueued, tasker.StepWaitingForRetry}, StepClaim, tasker.StepInProgress, Worker, "its message is due"},
	{[]tasker.StepState{tasker.StepInProgress}, StepReclaim, tasker.StepInProgress, Worker, "the lease of its last claim has run out"},
	{[]tasker.StepState{tasker.StepInProgress}, StepGiveBack, tasker.StepEnqueued, Worker, "the worker shuts down, or has no template for it"},
	{[]tasker.StepState{tasker.StepInProgress}, StepReport, tasker.StepReported, Worker, "the handler returned a result, and the orchestrator is another process"},
	{[]tasker.StepState{tasker.StepInProgress}, StepReportError, tasker.StepReportedError, Worker, "the attempt failed, and the orchestrator is another process"},
	{[]tasker.StepState{tasker.StepInProgress, tasker.StepReported}, StepSucceed, tasker.StepComplete, Orchestrator, "the claim number is that of the result"},
	{
		[]tasker.StepState{tasker.StepInProgress, tasker.StepReported, tasker.StepReportedError},
		StepFailForNow, tasker.StepWaitingForRetry, Orchestrator, "the claim number is that of the error, which is not permanent, and attempts are left",
	},
	{
		[]tasker.StepState{tasker.StepInProgress, tasker.StepReported, tasker.StepReportedError},
		StepSetAside, tasker.StepPending, Orchestrator, "the same, and its task is paused",
	},
	{
		[]tasker.StepState{tasker.StepInProgress, tasker.StepReported, tasker.StepReportedError},
		StepFailForGood, tasker.StepError, Orchestrator, "the error is permanent or the last attempt's",
	},
	{
		[]tasker.StepState{tasker.StepInProgress, tasker.StepReported, tasker.StepReportedError},
		StepIsolate, tasker.StepCancelled, Orchestrator, "the same, and it works on a batch that isolates failures",
	},
	{[]tasker.StepState{tasker.StepPending}, StepReceive, tasker.StepReported, Orchestrator, "the signal it waits for has come"},
	{[]tasker.StepState{tasker.StepPending}, StepTimeOut, tasker.StepReportedError, Orchestrator, "the signal it waits for did not come in time"},
	{
		[]tasker.StepState{tasker.StepEnqueued, tasker.StepInProgress, tasker.StepReported, tasker.StepReportedError, tasker.StepWaitingForRetry},
		StepGiveUp, tasker.StepError, Orchestrator, "its task is given up, and it was on its way",
	},
	{[]tasker.StepState{tasker.StepPending}, StepAbandon, tasker.StepCancelled, Orchestrator, "its task is given up before it was ready"},

	{Movable(), StepCancel, tasker.StepCancelled, Operator, "its task is cancelled or resolved, or a worker of its batch has failed and none of the others is to begin"},
	{[]tasker.StepState{tasker.StepEnqueued, tasker.StepWaitingForRetry}, StepHold, tasker.StepPending, Operator, "its task is paused; what runs finishes"},
	{
		[]tasker.StepState{tasker.StepError, tasker.StepWaitingForRetry, tasker.StepCancelled},
		StepRetry, tasker.StepPending, Operator, "its task is open, or in error and opened again; attempts are counted anew",
	},
	{
		append(Movable(), tasker.StepError, tasker.StepCancelled),
		StepResolve, tasker.StepResolvedManually, Operator, "its task is open, or in error and opened again; no result",
	},
	{
		append(Movable(), tasker.StepError, tasker.StepCancelled),
		StepComplete, tasker.StepComplete, Operator, "the same, with a result for those that depend on it",
	},
	{
		[]tasker.StepState{
			tasker.StepEnqueued, tasker.StepInProgress, tasker.StepReported, tasker.StepReportedError, tasker.StepWaitingForRetry,
			tasker.StepError, tasker.StepCancelled,
		},
		StepSubmit, tasker.StepReported, Operator, "the same, and the result says which steps follow: an orchestrator applies it",
	},
}
