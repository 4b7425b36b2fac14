package config

// Common mirrors tasker/base/common.toml: the settings of every process. A
// SystemContext is built from it alone.
type Common struct {
	// Environment is where the process runs. It chose the overlay, and it labels
	// logs, metrics and /config. It must equal TASKER_ENV where that is set.
	Environment Environment `toml:"environment" enum:"test|development|production"`

	// Database is where the truth is kept.
	Database Database `toml:"database"`

	// CircuitBreakers stop calls to what keeps failing.
	CircuitBreakers CircuitBreakers `toml:"circuit_breakers"`

	// Channels bounds the in-process channels that both roles use.
	Channels SharedChannels `toml:"mpsc_channels"`

	// Queues is how the roles talk to each other.
	Queues Queues `toml:"queues"`

	// Telemetry is what a process tells about its work.
	Telemetry Telemetry `toml:"telemetry"`

	// System bounds and names the process.
	System System `toml:"system"`

	// TaskTemplates is where workflows are described.
	TaskTemplates TaskTemplates `toml:"task_templates"`
}

// Database is the PostgreSQL database that holds tasks, steps and queues.
type Database struct {
	// URL says where the database is and who connects:
	// postgresql://user:password@host:port/name. Only host and name are logged.
	// Change it per environment, best through DATABASE_URL.
	URL string `toml:"url" len:"1.." secret:"true" format:"database-url"`

	// Pool bounds the connections of one process.
	Pool Pool `toml:"pool"`

	// Variables are session parameters set on every connection.
	Variables SessionVariables `toml:"variables"`
}

// Pool bounds the connections that one process holds.
type Pool struct {
	// MaxConnections is the most connections open at once. Summed over all
	// processes it must stay below the server's max_connections. Raise it when
	// work waits for connections, lower it when processes are many.
	MaxConnections int `toml:"max_connections" range:"1..1000"`

	// MinConnections is how many stay open when idle. Raise it when bursts begin
	// with slow first queries.
	MinConnections int `toml:"min_connections" range:"0..100"`

	// AcquireTimeout is how long a query waits for a free connection before it
	// fails. Lower it to fail fast, raise it to ride out bursts.
	AcquireTimeout Seconds `toml:"acquire_timeout_seconds" range:"1..300"`

	// IdleTimeout is how long a connection above the minimum may be idle before
	// it is closed. Lower it to give connections back to other processes.
	IdleTimeout Seconds `toml:"idle_timeout_seconds" range:"1..3600"`

	// MaxLifetime is the age at which a connection is replaced. Lower it behind
	// a load balancer, or to make connections follow a failover sooner.
	MaxLifetime Seconds `toml:"max_lifetime_seconds" range:"60..86400"`
}

// SessionVariables are PostgreSQL session parameters.
type SessionVariables struct {
	// StatementTimeout is how long the server lets one statement run. Raise it
	// for large databases or slow disks, lower it to protect the server.
	StatementTimeout Milliseconds `toml:"statement_timeout" range:"100..600000"`
}

// CircuitBreakers hold the settings of every circuit breaker of the process.
type CircuitBreakers struct {
	// Enabled says whether calls pass through breakers at all. Turn it off to
	// see the errors of a failing dependency unfiltered.
	Enabled bool `toml:"enabled"`

	// GlobalSettings apply to the breakers as a set.
	GlobalSettings BreakerGlobals `toml:"global_settings"`

	// DefaultConfig is for components without an entry of their own.
	DefaultConfig Breaker `toml:"default_config"`

	// ComponentConfigs are the breakers of single components, by name. The map
	// is open; a name that no component bears is a warning.
	ComponentConfigs map[string]Breaker `toml:"component_configs"`
}

// BreakerGlobals bound and watch the breakers of a process as a set.
type BreakerGlobals struct {
	// MaxCircuitBreakers is the most breakers a process makes; a component
	// beyond it goes without, and the log has that as an error. There are three:
	// web, task_readiness and that of the queues.
	MaxCircuitBreakers int `toml:"max_circuit_breakers" range:"1..1000"`

	// MetricsCollectionInterval is how often breaker states are sampled into
	// metrics. Lower it for finer graphs.
	MetricsCollectionInterval Seconds `toml:"metrics_collection_interval_seconds" range:"1..3600"`

	// MinStateTransitionInterval is the least time a breaker stays closed, or
	// open, whatever happens. Raise it when breakers flap.
	MinStateTransitionInterval DecimalSeconds `toml:"min_state_transition_interval_seconds" range:"0.1..60"`
}

// Breaker is when one circuit breaker opens and closes.
type Breaker struct {
	// FailureThreshold is how many consecutive failures open the breaker. Raise
	// it for a dependency that hiccups, lower it to spare one that is slow to
	// recover.
	FailureThreshold int `toml:"failure_threshold" range:"1..100"`

	// Timeout is how long an open breaker waits before it lets a trial through.
	// Raise it for a dependency that needs long to come back.
	Timeout Seconds `toml:"timeout_seconds" range:"1..300"`

	// SuccessThreshold is how many trials must succeed before the breaker
	// closes. Raise it when recoveries are often false.
	SuccessThreshold int `toml:"success_threshold" range:"1..100"`
}

// SharedChannels bounds the channels that both roles use.
type SharedChannels struct {
	// EventPublisher is the channel of in-process events.
	EventPublisher EventPublisherChannel `toml:"event_publisher"`

	// FFI is the channel to handlers outside the process.
	FFI FFIChannel `toml:"ffi"`

	// OverflowPolicy says what happens when a channel fills.
	OverflowPolicy OverflowPolicy `toml:"overflow_policy"`
}

// EventPublisherChannel bounds the channel of in-process events.
type EventPublisherChannel struct {
	// EventQueueBufferSize is how many events may wait for their subscribers.
	// Raise it when the channel saturates in bursts.
	EventQueueBufferSize int `toml:"event_queue_buffer_size" range:"100..1000000"`
}

// FFIChannel bounds the channel to handlers outside the process. The key keeps
// the proposal's name; Tasker in Go has no Ruby in it.
type FFIChannel struct {
	// RubyEventBufferSize is how many events may wait for an external handler.
	// Raise it when external handlers are slower than the steps that feed them.
	RubyEventBufferSize int `toml:"ruby_event_buffer_size" range:"100..100000"`
}

// OverflowPolicy says how full channels are noticed and what is done.
type OverflowPolicy struct {
	// LogWarningThreshold is the share of a channel in use at which a warning is
	// logged. Lower it to hear of saturation earlier.
	LogWarningThreshold Fraction `toml:"log_warning_threshold" range:"0..1"`

	// DropPolicy is what a full channel of events does. Channels of work always
	// block. Choose a drop when old news is worth less than progress.
	DropPolicy DropPolicy `toml:"drop_policy" enum:"block|drop_oldest|drop_newest"`

	// Metrics samples how full channels are.
	Metrics OverflowMetrics `toml:"metrics"`
}

// A DropPolicy is what a full channel of events does with one more.
type DropPolicy string

// The drop policies.
const (
	Block      DropPolicy = "block"       // the sender waits
	DropOldest DropPolicy = "drop_oldest" // the event that waits longest goes
	DropNewest DropPolicy = "drop_newest" // the new event goes
)

// OverflowMetrics samples how full channels are.
type OverflowMetrics struct {
	// Enabled says whether saturation is sampled. Turn it off to save the ticks
	// in tiny deployments.
	Enabled bool `toml:"enabled"`

	// SaturationCheckInterval is how often it is sampled. Lower it to catch
	// short bursts.
	SaturationCheckInterval Seconds `toml:"saturation_check_interval_seconds" range:"1..3600"`
}

// Queues is how orchestrators and workers talk to each other.
type Queues struct {
	// Backend is what carries the messages. pgmq needs nothing but the database.
	Backend Backend `toml:"backend" enum:"pgmq|rabbitmq"`

	// OrchestrationNamespace is the prefix of orchestration queues. Change it to
	// run two installations on one database.
	OrchestrationNamespace string `toml:"orchestration_namespace" len:"1.." format:"namespace"`

	// WorkerNamespace is the prefix of worker queues. Change it to run two
	// installations on one database.
	WorkerNamespace string `toml:"worker_namespace" len:"1.." format:"namespace"`

	// NamingPattern builds every queue name from {namespace} and {name}. Change
	// it to fit a broker's naming rules.
	NamingPattern string `toml:"naming_pattern" len:"1.." format:"queue-pattern"`

	// HealthCheckInterval is how often depth and age of the queues are probed.
	// Lower it to notice a backlog earlier.
	HealthCheckInterval Seconds `toml:"health_check_interval" range:"1..3600"`

	// DefaultBatchSize is how many messages a read takes of the queues that have no
	// event system of their own: task requests and finalizations. Raise it for
	// throughput, lower it to spread work evenly.
	DefaultBatchSize int `toml:"default_batch_size" range:"1..1000"`

	// MaxBatchSize is the most messages any read takes, whatever its own batch size
	// says; under load fifty reads travel together. Raise it together with the
	// batch sizes it would cut.
	MaxBatchSize int `toml:"max_batch_size" range:"1..10000"`

	// DefaultVisibilityTimeout is how long a message of these queues that was read
	// stays hidden from others. Raise it when work takes longer, lower it to recover
	// faster from a crash.
	DefaultVisibilityTimeout Seconds `toml:"default_visibility_timeout_seconds" range:"1..3600"`

	// OrchestrationQueues are the exact names of the orchestrator's own queues.
	OrchestrationQueues OrchestrationQueues `toml:"orchestration_queues"`

	// PGMQ is how the pgmq backend behaves.
	PGMQ PGMQ `toml:"pgmq"`

	// RabbitMQ is how the rabbitmq backend behaves; the table may be absent.
	// It has effect only with backend = "rabbitmq".
	RabbitMQ *RabbitMQ `toml:"rabbitmq"`
}

// A Backend is what carries messages between the roles.
type Backend string

// The backends.
const (
	BackendPGMQ     Backend = "pgmq"     // queues in the database
	BackendRabbitMQ Backend = "rabbitmq" // a RabbitMQ broker
)

// OrchestrationQueues are exact queue names; no prefix is added to them.
type OrchestrationQueues struct {
	// TaskRequests carries requests for new tasks. Change it to share a database
	// with another installation.
	TaskRequests string `toml:"task_requests" len:"1..47" format:"queue"`

	// TaskFinalizations carries tasks to look at again. Change it to share a
	// database with another installation.
	TaskFinalizations string `toml:"task_finalizations" len:"1..47" format:"queue"`

	// StepResults carries the results of steps. Change it to share a database
	// with another installation.
	StepResults string `toml:"step_results" len:"1..47" format:"queue"`
}

// PGMQ is how the pgmq backend behaves.
type PGMQ struct {
	// PollInterval is how long a reader without notifications sleeps after an
	// empty read, unless a section of its own says that: the readers of
	// orchestrators' queues. Lower it for latency, raise it to spare the database.
	PollInterval Milliseconds `toml:"poll_interval_ms" range:"10..10000"`

	// ShutdownTimeout is how long messages in flight may take after a stop.
	// Raise it for long operations.
	ShutdownTimeout Seconds `toml:"shutdown_timeout_seconds" range:"1..300"`

	// MaxRetries is how often a read of a queue is tried again after an error, with
	// the waits of its event system, before the reader pauses. Raise it on an
	// unsteady network.
	MaxRetries int `toml:"max_retries" range:"0..100"`
}

// RabbitMQ is how the rabbitmq backend behaves.
type RabbitMQ struct {
	// ConnectionTimeout is how long a connection to the broker may take. Raise
	// it for a distant broker.
	ConnectionTimeout Seconds `toml:"connection_timeout_seconds" range:"1..300"`

	// URL names the broker, its virtual host and the user, who must be allowed to
	// configure, write and read there. Set RABBITMQ_URL for each installation; amqps
	// encrypts.
	URL string `toml:"url" len:"1.." secret:"true" default:"'${RABBITMQ_URL:-amqp://guest:guest@localhost:5672/}'" format:"broker-url"`

	// PrefetchCount is how many messages of a namespace a worker holds at a time; 0
	// means as many as it has slots. Raise it above that where the broker is far
	// away and steps are short, at the price of steps that wait at a busy worker.
	PrefetchCount int `toml:"prefetch_count" range:"0..65535" default:"0"`

	// Heartbeat is how often both ends say that they live; after two that are
	// missed the connection is given up. Lower it to notice a dead broker sooner.
	Heartbeat Seconds `toml:"heartbeat_seconds" range:"1..300" default:"10"`
}

// Telemetry is what a process tells about its work.
type Telemetry struct {
	// Enabled is the master switch of metrics and traces. Logs do not depend on
	// it. Turn it off where nobody looks.
	Enabled bool `toml:"enabled"`

	// Metrics are counters, gauges and histograms.
	Metrics Metrics `toml:"metrics"`

	// Tracing follows a task through the processes.
	Tracing Tracing `toml:"tracing"`
}

// Metrics are counters, gauges and histograms.
type Metrics struct {
	// Enabled says whether metrics are kept and served. Turn it off to save
	// their cost.
	Enabled bool `toml:"enabled"`

	// CollectionInterval is how often gauges are sampled and metrics pushed.
	// Lower it for finer graphs.
	CollectionInterval Seconds `toml:"collection_interval_seconds" range:"1..3600"`

	// ExportEndpoint is the http or https URL to push to; empty means that
	// metrics are only served at /metrics. Set it where nothing scrapes.
	ExportEndpoint string `toml:"export_endpoint" format:"http-url"`
}

// Tracing follows a task through the processes.
type Tracing struct {
	// Enabled says whether spans are made. Turn it off to save their cost.
	Enabled bool `toml:"enabled"`

	// SamplingRate is the share of traces kept. Lower it under heavy load.
	SamplingRate Fraction `toml:"sampling_rate" range:"0..1"`

	// ExportEndpoint is the http or https URL of the collector; empty means that
	// spans leave the process nowhere. Set it to see traces.
	ExportEndpoint string `toml:"export_endpoint" format:"http-url"`
}

// System bounds and names the process.
type System struct {
	// MaxMemory is the soft limit on the memory of the process, towards which the
	// garbage collector works; above nine tenths of it the process takes on no new
	// tasks and reports itself degraded. Set it below the container's limit.
	MaxMemory Megabytes `toml:"max_memory_mb" range:"256..65536"`

	// MaxCPU is the share of the machine's processors above which the process
	// reports itself degraded; it runs on no more than that, rounded up to whole
	// ones. Lower it on shared machines.
	MaxCPU Percent `toml:"max_cpu_percent" range:"1..100"`

	// ProcessName names the process in logs, metrics and database sessions.
	// Change it to tell installations apart.
	ProcessName string `toml:"process_name" len:"1.."`
}

// TaskTemplates is where workflows are described and how they are kept.
type TaskTemplates struct {
	// CacheEnabled says whether parsed templates are kept in memory. Turn it off
	// to read them anew on every use.
	CacheEnabled bool `toml:"cache_enabled"`

	// TemplatePath is the directory of the YAML templates; empty means the usual
	// places. Set it when templates live elsewhere.
	TemplatePath string `toml:"template_path"`

	// AutoReload says whether changed files are picked up while running. Turn it
	// off where files change only with a deployment.
	AutoReload bool `toml:"auto_reload"`

	// ReloadInterval is how often files are looked at, and how long a cached
	// template is good. Lower it while writing templates.
	ReloadInterval Seconds `toml:"reload_interval_seconds" range:"1..86400"`
}
