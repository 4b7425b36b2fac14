package config

// Orchestration mirrors tasker/base/orchestration.toml: the settings of a
// process that decides.
type Orchestration struct {
	// Backoff is when a failed step is tried again and a resting task looked at.
	Backoff Backoff `toml:"backoff"`

	// System is how the orchestrator runs and is reached.
	System OrchestrationSystem `toml:"system"`

	// Channels bounds the orchestrator's in-process channels.
	Channels OrchestrationChannels `toml:"mpsc_channels"`

	// EventSystems are the orchestrator's two sources of work.
	EventSystems EventSystems `toml:"event_systems"`

	// StalenessDetection finds tasks that stopped moving.
	StalenessDetection StalenessDetection `toml:"staleness_detection"`

	// DLQ sets aside what cannot go on.
	DLQ DLQ `toml:"dlq"`

	// Archive moves old finished tasks out of the way.
	Archive Archive `toml:"archive"`

	// DecisionPoints bounds results that create steps. The table extends the
	// proposal and may be left out.
	DecisionPoints DecisionPoints `toml:"decision_points"`

	// Webhooks is how word of tasks is sent to other systems. The table extends
	// the proposal and may be left out.
	Webhooks Webhooks `toml:"webhooks"`
}

// Backoff is when a failed step is tried again and a resting task looked at.
type Backoff struct {
	// BackoffMultiplier is how much longer each wait is than the one before,
	// beyond the end of DefaultBackoff. Raise it to back off faster.
	BackoffMultiplier float64 `toml:"backoff_multiplier" range:"1..10" reload:"live"`

	// JitterEnabled says whether waits are varied at random. Turn it off only
	// for tests.
	JitterEnabled bool `toml:"jitter_enabled" reload:"live"`

	// JitterMax is the largest share by which a wait is varied. Raise it when
	// many steps fail together.
	JitterMax Fraction `toml:"jitter_max_percentage" range:"0..1" reload:"live"`

	// MaxBackoff is the longest wait, jitter included. Lower it to try again
	// sooner after long outages.
	MaxBackoff Seconds `toml:"max_backoff_seconds" range:"1..3600" reload:"live"`

	// DefaultBackoff are the waits after the first, second, … failed attempt.
	// In TOML it is an array, or a table with the keys 0, 1, 2, … which an
	// overlay can change entry by entry. Fit it to what the handlers call.
	DefaultBackoff []Seconds `toml:"default_backoff_seconds" len:"1..20" range:"0..3600" reload:"live"`

	// ReenqueueDelays is how long a task may rest in a state.
	ReenqueueDelays ReenqueueDelays `toml:"reenqueue_delays"`
}

// ReenqueueDelays is how long a task may rest in each state before the
// orchestrator looks at it again, in seconds. Lower one to recover faster from
// lost messages, raise it to spare the database.
type ReenqueueDelays struct {
	// WaitingForDependencies is the rest of a task none of whose steps can run.
	WaitingForDependencies Seconds `toml:"waiting_for_dependencies" range:"0..3600" reload:"live"`

	// WaitingForRetry is the rest of a task that waits for its next attempt.
	WaitingForRetry Seconds `toml:"waiting_for_retry" range:"0..3600" reload:"live"`

	// BlockedByFailures is the rest of a task that waits for an operator.
	BlockedByFailures Seconds `toml:"blocked_by_failures" range:"0..3600"`

	// EnqueuingSteps is the rest of a task whose ready steps are held back.
	EnqueuingSteps Seconds `toml:"enqueuing_steps" range:"0..300"`

	// StepsInProcess is the rest of a task whose steps are with workers.
	StepsInProcess Seconds `toml:"steps_in_process" range:"0..300" reload:"live"`

	// EvaluatingResults is the rest of a task with results not yet applied.
	EvaluatingResults Seconds `toml:"evaluating_results" range:"0..300" reload:"live"`

	// Initializing is the rest of a task whose steps are not created yet.
	Initializing Seconds `toml:"initializing" range:"0..300"`
}

// OrchestrationSystem is how an orchestrator runs and is reached.
type OrchestrationSystem struct {
	// Mode is whether other orchestrators may run beside this one. Choose
	// distributed for high availability.
	Mode Mode `toml:"mode" enum:"standalone|distributed"`

	// EnablePerformanceLogging says whether the duration of each operation is
	// logged. Turn it off to keep logs short.
	EnablePerformanceLogging bool `toml:"enable_performance_logging"`

	// Web is the API server.
	Web OrchestrationWeb `toml:"web"`
}

// A Mode is whether an orchestrator shares its work.
type Mode string

// The modes.
const (
	Standalone  Mode = "standalone"  // the only one; a second refuses to start
	Distributed Mode = "distributed" // any number, side by side
)

// OrchestrationChannels bounds the orchestrator's in-process channels.
type OrchestrationChannels struct {
	// CommandProcessor is the channel of commands.
	CommandProcessor CommandChannel `toml:"command_processor"`

	// EventListeners is the channel of notifications.
	EventListeners ListenerChannel `toml:"event_listeners"`

	// EventSystems is the channel of events.
	EventSystems EventChannel `toml:"event_systems"`

	// TaskReadiness holds the channel of tasks to look at.
	TaskReadiness ReadinessChannels `toml:"task_readiness"`
}

// CommandChannel bounds a channel of commands.
type CommandChannel struct {
	// CommandBufferSize is how many commands may wait. Raise it when senders
	// block in bursts.
	CommandBufferSize int `toml:"command_buffer_size" range:"10..1000000"`
}

// ListenerChannel bounds a channel of notifications.
type ListenerChannel struct {
	// PGMQEventBufferSize is how many notifications may wait. Raise it when bursts
	// of messages outrun the reader.
	PGMQEventBufferSize int `toml:"pgmq_event_buffer_size" range:"10..1000000"`
}

// EventChannel bounds a channel of events.
type EventChannel struct {
	// EventChannelBufferSize is how many events may wait. Raise it when the
	// channel saturates.
	EventChannelBufferSize int `toml:"event_channel_buffer_size" range:"10..1000000"`
}

// ReadinessChannels holds the channel of tasks to look at.
type ReadinessChannels struct {
	// EventChannel is that channel.
	EventChannel ReadinessChannel `toml:"event_channel"`
}

// ReadinessChannel bounds the channel of tasks to look at.
type ReadinessChannel struct {
	// BufferSize is how many hints may wait: each names results that could not be
	// applied and are to be read again. Raise it when the channel saturates.
	BufferSize int `toml:"buffer_size" range:"10..1000000"`

	// SendTimeout is how long a sender waits for room before the hint is dropped,
	// which costs a visibility timeout. Raise it to lose fewer hints.
	SendTimeout Milliseconds `toml:"send_timeout_ms" range:"1..60000"`
}

// EventSystems are the orchestrator's sources of work.
type EventSystems struct {
	// Orchestration brings task requests, finalizations and step results.
	Orchestration EventSystem `toml:"orchestration"`

	// TaskReadiness finds tasks whose steps may run and what was lost.
	TaskReadiness EventSystem `toml:"task_readiness"`
}

// StalenessDetection finds tasks that stopped moving.
type StalenessDetection struct {
	// Enabled says whether the detector runs. Turn it off to let tasks rest for
	// any time.
	Enabled bool `toml:"enabled"`

	// DetectionInterval is how often it runs. Lower it to hear of stale tasks
	// earlier.
	DetectionInterval Seconds `toml:"detection_interval_seconds" range:"30..3600"`

	// BatchSize is the most tasks one run takes. Raise it after an outage.
	BatchSize int `toml:"batch_size" range:"1..10000" reload:"live"`

	// DryRun says whether stale tasks are only reported. Turn it on to try new
	// thresholds.
	DryRun bool `toml:"dry_run" reload:"live"`

	// Thresholds are the ages at which a task is stale.
	Thresholds StalenessThresholds `toml:"thresholds"`

	// Actions are what happens to a stale task.
	Actions StalenessActions `toml:"actions"`
}

// StalenessThresholds are the ages at which a task is stale. A template's own
// lifecycle wins.
type StalenessThresholds struct {
	// StepsInProcess is the longest a task may have steps with workers. Raise it
	// for long steps.
	StepsInProcess Minutes `toml:"steps_in_process_minutes" range:"1..1440" reload:"live"`

	// WaitingForDependencies is the longest a task may have nothing to run.
	// Raise it for tasks that wait for people.
	WaitingForDependencies Minutes `toml:"waiting_for_dependencies_minutes" range:"1..1440" reload:"live"`

	// WaitingForRetry is the longest a task may wait for its next attempt. Raise
	// it together with the backoff.
	WaitingForRetry Minutes `toml:"waiting_for_retry_minutes" range:"1..1440" reload:"live"`

	// TaskMaxLifetime is the longest a task may live unfinished. Raise it for
	// tasks that take days.
	TaskMaxLifetime Hours `toml:"task_max_lifetime_hours" range:"1..168" reload:"live"`
}

// StalenessActions are what happens to a stale task.
type StalenessActions struct {
	// AutoTransitionToError says whether it ends in error. Turn it off to leave
	// the decision to an operator.
	AutoTransitionToError bool `toml:"auto_transition_to_error" reload:"live"`

	// AutoMoveToDLQ says whether it gets an entry in the dead letter queue. Turn
	// it off where nobody reads that queue.
	AutoMoveToDLQ bool `toml:"auto_move_to_dlq" reload:"live"`

	// EmitEvents says whether an event is published. Turn it off where nobody
	// listens.
	EmitEvents bool `toml:"emit_events"`

	// EventChannel is the notification channel of that event. Change it to fit
	// the listener.
	EventChannel string `toml:"event_channel" len:"1..63"`
}

// DLQ sets aside tasks that cannot go on.
type DLQ struct {
	// Enabled says whether there is a dead letter queue. Turn it off to leave
	// failed tasks where they are.
	Enabled bool `toml:"enabled"`

	// AutoDLQOnStaleness says whether the staleness detector may make entries.
	// Turn it off to make them by hand only.
	AutoDLQOnStaleness bool `toml:"auto_dlq_on_staleness"`

	// IncludeFullTaskSnapshot says whether an entry keeps the whole task and not
	// just its ids. Turn it off to save space or to keep data in one place.
	IncludeFullTaskSnapshot bool `toml:"include_full_task_snapshot"`

	// MaxPendingAge is the age at which an open entry is flagged. Lower it to be
	// reminded earlier.
	MaxPendingAge Hours `toml:"max_pending_age_hours" range:"1..720"`

	// Reasons are the reasons for which entries are made.
	Reasons DLQReasons `toml:"reasons"`
}

// DLQReasons switches the reasons for which dead letter entries are made. Turn
// one off when its entries are noise.
type DLQReasons struct {
	// MaxRetriesExceeded is a step out of attempts.
	MaxRetriesExceeded bool `toml:"max_retries_exceeded"`

	// StalenessTimeout is a task that stopped moving.
	StalenessTimeout bool `toml:"staleness_timeout"`

	// DependencyCycleDetected is a task whose steps wait for each other.
	DependencyCycleDetected bool `toml:"dependency_cycle_detected"`

	// WorkerUnavailable is a step that lost its worker again and again.
	WorkerUnavailable bool `toml:"worker_unavailable"`

	// ManualDLQ is an operator's wish.
	ManualDLQ bool `toml:"manual_dlq"`
}

// Archive moves old finished tasks out of the way.
type Archive struct {
	// Enabled says whether tasks are archived. Turn it off to keep all of them
	// in the live tables.
	Enabled bool `toml:"enabled"`

	// Retention is the age at which a finished task is archived. Lower it when
	// the live tables grow too large.
	Retention Days `toml:"retention_days" range:"1..3650"`

	// ArchiveInterval is how often the archiver runs. Lower it to move fewer
	// tasks at a time.
	ArchiveInterval Hours `toml:"archive_interval_hours" range:"1..720"`

	// ArchiveBatchSize is the most tasks one run moves. Raise it when the
	// archiver falls behind.
	ArchiveBatchSize int `toml:"archive_batch_size" range:"1..100000"`

	// Policies say which tasks are archived.
	Policies ArchivePolicies `toml:"policies"`
}

// ArchivePolicies say which finished tasks are archived. Turn one off to keep
// these tasks at hand.
type ArchivePolicies struct {
	// ArchiveCompleted takes tasks in state complete.
	ArchiveCompleted bool `toml:"archive_completed"`

	// ArchiveFailed takes tasks in state error.
	ArchiveFailed bool `toml:"archive_failed"`

	// ArchiveCancelled takes tasks in state cancelled.
	ArchiveCancelled bool `toml:"archive_cancelled"`

	// ArchiveDLQResolved takes tasks whose dead letter entry is resolved.
	ArchiveDLQResolved bool `toml:"archive_dlq_resolved"`
}

// DecisionPoints bounds results that create steps.
type DecisionPoints struct {
	// Enabled says whether a result may create steps. Turn it off to make such a
	// result an error of its step.
	Enabled bool `toml:"enabled" default:"true"`

	// MaxStepsPerDecision is the most steps one decision creates. Raise it for
	// wide workflows.
	MaxStepsPerDecision int `toml:"max_steps_per_decision" range:"1..1000" default:"50"`

	// MaxDecisionDepth is how deep decisions may follow from decisions. Raise it
	// for deep workflows.
	MaxDecisionDepth int `toml:"max_decision_depth" range:"1..100" default:"10"`

	// WarnThresholdSteps is the number of steps above which a decision is logged as
	// large. Lower it to hear of growth earlier.
	WarnThresholdSteps int `toml:"warn_threshold_steps" range:"1..1000" default:"20"`

	// WarnThresholdDepth is the depth below which a decision is logged as deep.
	// Lower it to hear of growth earlier.
	WarnThresholdDepth int `toml:"warn_threshold_depth" range:"1..100" default:"5"`

	// EnableDetailedLogging says whether each decision is logged. Turn it on to
	// follow a workflow.
	EnableDetailedLogging bool `toml:"enable_detailed_logging" default:"false"`

	// EnableMetrics says whether decisions are counted. Turn it off to save the
	// counters.
	EnableMetrics bool `toml:"enable_metrics" default:"true"`
}

// Webhooks is how word of tasks is sent to other systems.
type Webhooks struct {
	// AllowPrivateAddresses says whether webhooks may call loopback, private and
	// link-local addresses. Turn it on where all who may add webhooks may also
	// reach these networks.
	AllowPrivateAddresses bool `toml:"allow_private_addresses" default:"false"`

	// MaxConcurrentDeliveries is the most requests that one orchestrator has
	// under way. Raise it for many or slow receivers.
	MaxConcurrentDeliveries int `toml:"max_concurrent_deliveries" range:"1..1000" default:"16"`

	// Timeout is how long a receiver may take to answer. Raise it for receivers
	// that do their work before they answer.
	Timeout Seconds `toml:"timeout_seconds" range:"1..300" default:"15"`

	// MaxAttempts is how often a delivery is tried before it is given up. Raise
	// it to outlast longer outages of receivers.
	MaxAttempts int `toml:"max_attempts" range:"1..100" default:"14"`

	// InitialDelay is the wait after the first failed attempt; it doubles with
	// each further one. Lower it where receivers recover soon.
	InitialDelay Milliseconds `toml:"initial_delay_ms" range:"10..3600000" default:"5000"`

	// MaxDelay is the longest wait between attempts. Lower it to notice a
	// recovery sooner.
	MaxDelay Seconds `toml:"max_delay_seconds" range:"1..86400" default:"21600"`

	// Retention is how long deliveries are kept once they are over. Raise it to
	// look further back.
	Retention Days `toml:"retention_days" range:"1..3650" default:"7"`
}
