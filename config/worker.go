package config

import tasker "github.com/tasker-systems/tasker-go"

// Worker mirrors tasker/base/worker.toml: the settings of a process that runs
// handlers.
type Worker struct {
	// System is how the worker runs and is reached.
	System WorkerSystem `toml:"system"`

	// Channels bounds the worker's in-process channels.
	Channels WorkerChannels `toml:"mpsc_channels"`

	// EventSystem is the worker's source of step messages.
	EventSystem WorkerEventSystem `toml:"event_system"`
}

// WorkerSystem is how a worker runs and is reached.
type WorkerSystem struct {
	// WorkerID labels the worker in its registration, claims and logs. Give each
	// worker its own, for example through TASKER_WORKER_ID.
	WorkerID string `toml:"worker_id" len:"1.."`

	// WorkerType is the kind of worker that status pages show. Change it to tell
	// fleets apart.
	WorkerType string `toml:"worker_type" len:"1.."`

	// EventDriven is whether notifications wake the worker.
	EventDriven EventDriven `toml:"event_driven"`

	// FallbackPoller sweeps tasks and steps that no message leads to.
	FallbackPoller TaskSweeper `toml:"fallback_poller"`

	// Listener supervises the connection that receives notifications.
	Listener ListenerSupervisor `toml:"listener"`

	// QueueConfig is how step messages are read straight from their queues.
	QueueConfig QueueConfig `toml:"queue_config"`

	// ResourceLimits are the limits above which the worker claims nothing.
	ResourceLimits ResourceLimits `toml:"resource_limits"`

	// StepProcessing is how steps are run.
	StepProcessing StepProcessing `toml:"step_processing"`

	// HealthMonitoring is when the worker calls itself unwell.
	HealthMonitoring HealthMonitoring `toml:"health_monitoring"`

	// Web is the server of health, metrics and status.
	Web WorkerWeb `toml:"web"`
}

// EventDriven is whether notifications wake the worker.
type EventDriven struct {
	// Enabled says whether they do; false makes the worker poll, whatever its
	// event system says. Turn it off behind a transaction-pooling proxy.
	Enabled bool `toml:"enabled"`

	// DeploymentMode is the mode the worker asks for; it decides whether it
	// listens, where the event system's decides whether it polls. It must equal
	// the event system's.
	DeploymentMode DeploymentMode `toml:"deployment_mode" enum:"Hybrid|EventDrivenOnly|PollingOnly"`

	// HealthMonitoringEnabled says whether the listening connection is watched,
	// and shows in the health of the process. Turn it off where the server reports
	// lost connections itself.
	HealthMonitoringEnabled bool `toml:"health_monitoring_enabled"`

	// HealthCheckInterval is how often it is probed, whatever it hears. Lower it
	// to reconnect sooner.
	HealthCheckInterval Seconds `toml:"health_check_interval_seconds" range:"1..3600"`
}

// FallbackPoller is a timer that finds what notifications missed.
type FallbackPoller struct {
	// Enabled says whether it runs. Turn it off to trust notifications and the
	// reconciler alone.
	Enabled bool `toml:"enabled"`

	// PollingInterval is how often it looks. Lower it for latency without
	// notifications, raise it to spare the database.
	PollingInterval Milliseconds `toml:"polling_interval_ms" range:"10..60000"`

	// BatchSize is the most items one look takes. Raise it to catch up faster.
	BatchSize int `toml:"batch_size" range:"1..1000"`

	// AgeThreshold is the age below which items are left to the notifications.
	// Raise it when both often find the same.
	AgeThreshold Seconds `toml:"age_threshold_seconds" range:"1..3600"`

	// MaxAge is the age above which items are left to staleness detection. Raise
	// it after long outages.
	MaxAge Hours `toml:"max_age_hours" range:"1..168"`

	// VisibilityTimeout is the lease on what it takes. A crash costs at most
	// this long.
	VisibilityTimeout Seconds `toml:"visibility_timeout_seconds" range:"1..3600"`
}

// TaskSweeper is a fallback poller over the rows of tasks: it sends new messages
// for steps whose own are lost. A step that runs keeps its worker for the
// visibility timeout.
type TaskSweeper struct {
	FallbackPoller

	// ProcessableStates are the states of tasks that are swept. Leave out a state
	// to leave its tasks to the orchestrator.
	ProcessableStates []tasker.TaskState `toml:"processable_states" len:"1.." enum:"pending|initializing|enqueuing_steps|steps_in_process|evaluating_results|waiting_for_dependencies|waiting_for_retry|blocked_by_failures|complete|error|cancelled|resolved_manually"`
}

// Listener is a connection that receives notifications, and the subscription on
// it. The worker has a table for each: worker.system.listener supervises the
// connection, worker.event_system.metadata.listener is the subscription.
type Listener struct {
	// BatchProcessing says whether one wake-up takes all that wait. Where either
	// table turns it off, each notification leads to a read of its own.
	BatchProcessing bool `toml:"batch_processing"`

	// ConnectionTimeout is how long connecting, or subscribing, may take. Raise it
	// for a distant server.
	ConnectionTimeout Seconds `toml:"connection_timeout_seconds" range:"1..300"`

	// EventTimeout is how long silence lasts before the connection is probed; for
	// the subscription, before its queues are read all the same. Lower it where
	// connections die unnoticed.
	EventTimeout Seconds `toml:"event_timeout_seconds" range:"1..3600"`

	// MaxRetryAttempts is how often it reconnects before the worker falls back to
	// polling; for the subscription, how often it is repeated before the connection
	// is given up. Raise it on an unsteady network.
	MaxRetryAttempts int `toml:"max_retry_attempts" range:"0..100"`

	// RetryInterval is the pause between these attempts. Raise it to spare a
	// server that is coming up.
	RetryInterval Seconds `toml:"retry_interval_seconds" range:"1..300"`
}

// ListenerSupervisor is a listener that is checked at intervals.
type ListenerSupervisor struct {
	Listener

	// HealthCheckInterval is how often a listener that has fallen back to polling
	// tries to connect. Lower it to listen again earlier.
	HealthCheckInterval Seconds `toml:"health_check_interval_seconds" range:"1..3600"`
}

// QueueConfig is how step messages are read straight from their queues: where
// nothing notifies, because the mode is PollingOnly, event_driven is off or the
// listener has fallen back to polling.
type QueueConfig struct {
	// BatchSize is the most messages one read takes, and the most results one
	// report stores; under load fifty of each travel together. Raise it for
	// throughput, lower it to spread steps evenly over workers.
	BatchSize int `toml:"batch_size" range:"1..1000"`

	// PollingInterval is how long a reader sleeps after an empty read. Lower it
	// for latency, raise it to spare the database.
	PollingInterval Milliseconds `toml:"polling_interval_ms" range:"10..10000"`

	// VisibilityTimeout is the lease on a step message. A crash costs at most
	// this long.
	VisibilityTimeout Seconds `toml:"visibility_timeout_seconds" range:"1..3600"`
}

// ResourceLimits are the limits above which the worker claims nothing. The tree
// has two of them, and the smaller value counts.
type ResourceLimits struct {
	// MaxCPU is the share of the processors that the process has used for some
	// seconds; 100 is no limit. Lower it on shared machines.
	MaxCPU Percent `toml:"max_cpu_percent" range:"1..100"`

	// MaxMemory is the memory that the process uses for Go. Set it below the
	// container's limit.
	MaxMemory Megabytes `toml:"max_memory_mb" range:"256..65536"`

	// MaxDatabaseConnections is the worker's share of the connection pool: the
	// most operations of its own at once. Raise it with the number of namespaces.
	MaxDatabaseConnections int `toml:"max_database_connections" range:"1..1000"`

	// MaxQueueConnections is the most queues read at once. Raise it with the
	// number of namespaces.
	MaxQueueConnections int `toml:"max_queue_connections" range:"1..1000"`
}

// StepProcessing is how steps are run.
type StepProcessing struct {
	// MaxConcurrentSteps is the most handlers running at once. Raise it for
	// handlers that wait, lower it for handlers that compute.
	MaxConcurrentSteps int `toml:"max_concurrent_steps" range:"1..100000"`

	// MaxRetries is how often a failed step is tried again where its template
	// does not say, in tasks that are created from then on. It is registered with
	// the templates, so all workers of a namespace should agree. Raise it for
	// unsteady dependencies.
	MaxRetries int `toml:"max_retries" range:"0..100"`

	// ClaimTimeout is how long a step may be claimed at all. Raise it for long
	// steps.
	ClaimTimeout Seconds `toml:"claim_timeout_seconds" range:"1..3600"`
}

// HealthMonitoring is when the worker calls itself unwell.
type HealthMonitoring struct {
	// HealthCheckInterval is how often it looks. Lower it to notice trouble
	// earlier.
	HealthCheckInterval Seconds `toml:"health_check_interval_seconds" range:"1..3600"`

	// ErrorRateThreshold is the share of failed attempts, of those since the last
	// look, above which the worker is degraded. Raise it where failures are part of
	// the work.
	ErrorRateThreshold Fraction `toml:"error_rate_threshold" range:"0..1"`

	// PerformanceMonitoringEnabled says whether the latency of steps is measured.
	// Turn it off to save the histograms.
	PerformanceMonitoringEnabled bool `toml:"performance_monitoring_enabled"`
}

// WorkerChannels bounds the worker's in-process channels.
type WorkerChannels struct {
	// CommandProcessor is the channel of commands: of steps that an orchestrator
	// in the same process hands over.
	CommandProcessor CommandChannel `toml:"command_processor"`

	// EventListeners is the channel of notifications.
	EventListeners ListenerChannel `toml:"event_listeners"`

	// EventSubscribers are the channels of what handlers returned.
	EventSubscribers SubscriberChannels `toml:"event_subscribers"`

	// EventSystems is the channel of events: of steps that were claimed. One read
	// claims no more than fit into it.
	EventSystems EventChannel `toml:"event_systems"`

	// InProcessEvents is the broadcast to subscribers in the process.
	InProcessEvents BroadcastChannel `toml:"in_process_events"`
}

// SubscriberChannels bounds the channels of what handlers returned.
type SubscriberChannels struct {
	// CompletionBufferSize is how many completions may wait. Raise it when
	// handlers finish in bursts.
	CompletionBufferSize int `toml:"completion_buffer_size" range:"10..1000000"`

	// ResultBufferSize is how many results may wait to be reported. Raise it to
	// ride out a queue that is down.
	ResultBufferSize int `toml:"result_buffer_size" range:"10..1000000"`
}

// BroadcastChannel bounds the broadcast to subscribers in the process.
type BroadcastChannel struct {
	// BroadcastBufferSize is how many events may wait for each subscriber. Raise
	// it for slow subscribers.
	BroadcastBufferSize int `toml:"broadcast_buffer_size" range:"100..1000000"`
}

// WorkerEventSystem is the worker's source of step messages.
type WorkerEventSystem struct {
	EventSystem

	// Metadata is what only the worker's event system has.
	Metadata WorkerMetadata `toml:"metadata"`
}

// WorkerMetadata is what only the worker's event system has.
type WorkerMetadata struct {
	// InProcessEvents is how events are passed on in the process.
	InProcessEvents InProcessEvents `toml:"in_process_events"`

	// Listener is the subscription to the notifications of step queues.
	Listener Listener `toml:"listener"`

	// FallbackPoller reads step queues on a timer.
	FallbackPoller FallbackPoller `toml:"fallback_poller"`

	// ResourceLimits are the event system's own limits; of these and the
	// worker's, the smaller counts.
	ResourceLimits ResourceLimits `toml:"resource_limits"`
}

// InProcessEvents is how events are passed on in the process.
type InProcessEvents struct {
	// DeduplicationCacheSize is how many events are remembered to drop repeats.
	// Raise it under heavy load.
	DeduplicationCacheSize int `toml:"deduplication_cache_size" range:"100..100000"`

	// FFIIntegrationEnabled says whether events reach handlers outside the
	// process. Turn it off where there are none.
	FFIIntegrationEnabled bool `toml:"ffi_integration_enabled"`
}
