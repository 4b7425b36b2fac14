package config

// EventSystem is one listener with its fallback poller: a source of work. The
// tree has three: orchestration, task_readiness and the worker's.
type EventSystem struct {
	// Only the worker's event system has metadata. The other two may write the
	// table, and it must be empty.
	_ struct{} `toml:"metadata"`

	// SystemID names the event system in logs, metrics and statistics. Change it
	// to tell processes apart. It is unique among the event systems.
	SystemID string `toml:"system_id" len:"1.."`

	// DeploymentMode is whether work is found by notifications, by polling or by
	// both. Choose PollingOnly behind a transaction-pooling proxy, and
	// EventDrivenOnly to spare an idle database the polls.
	DeploymentMode DeploymentMode `toml:"deployment_mode" enum:"Hybrid|EventDrivenOnly|PollingOnly"`

	// Timing is how long things take and last.
	Timing Timing `toml:"timing"`

	// Processing is how much is done at once, and what happens on errors.
	Processing Processing `toml:"processing"`

	// Health is when the event system calls itself unwell.
	Health EventHealth `toml:"health"`
}

// A DeploymentMode is how an event system finds work.
type DeploymentMode string

// The deployment modes.
const (
	Hybrid          DeploymentMode = "Hybrid"          // notifications, and polls for what they miss
	EventDrivenOnly DeploymentMode = "EventDrivenOnly" // notifications; lost ones wait for the reconciler
	PollingOnly     DeploymentMode = "PollingOnly"     // polls; no connection listens
)

// Listens reports whether the mode receives notifications.
func (m DeploymentMode) Listens() bool { return m != PollingOnly }

// Polls reports whether the mode polls.
func (m DeploymentMode) Polls() bool { return m != EventDrivenOnly }

// Timing is how long the operations of an event system take and last.
type Timing struct {
	// HealthCheckInterval is how often the event system checks itself and logs
	// that it is unwell. Lower it to notice trouble earlier.
	HealthCheckInterval Seconds `toml:"health_check_interval_seconds" range:"1..3600"`

	// FallbackPollingInterval is how often it polls, where it polls. Lower it for
	// latency without notifications, raise it to spare the database.
	FallbackPollingInterval Seconds `toml:"fallback_polling_interval_seconds" range:"1..300"`

	// VisibilityTimeout is how long a claimed message is hidden from others: the
	// lease. A crash costs at most this long. Raise it when renewals come late.
	VisibilityTimeout Seconds `toml:"visibility_timeout_seconds" range:"1..3600"`

	// ProcessingTimeout is the deadline of one try of an operation, and of a step
	// that has none of its own. Raise it for slow handlers.
	ProcessingTimeout Seconds `toml:"processing_timeout_seconds" range:"1..3600"`

	// ClaimTimeout is how long a claim may be renewed at all, and an operation be
	// tried again. Raise it for work that rightly takes longer.
	ClaimTimeout Seconds `toml:"claim_timeout_seconds" range:"1..3600"`
}

// Processing is how much an event system does at once.
type Processing struct {
	// MaxConcurrentOperations is the most operations in progress. Reconciling
	// takes no more than a quarter of the pool either way. Raise it for
	// throughput, lower it to spare the database.
	MaxConcurrentOperations int `toml:"max_concurrent_operations" range:"1..10000"`

	// BatchSize is the most items one read takes. Raise it for throughput, lower
	// it to spread work evenly.
	BatchSize int `toml:"batch_size" range:"1..1000"`

	// MaxRetries is how often one operation is tried again before it is given up;
	// what it was to do is taken up again after the longest wait of the backoff.
	// Raise it on an unsteady network.
	MaxRetries int `toml:"max_retries" range:"0..100"`

	// Backoff is the wait between these retries.
	Backoff RetryBackoff `toml:"backoff"`
}

// RetryBackoff is the wait between two tries of one operation.
type RetryBackoff struct {
	// InitialDelay is the first wait. Raise it to give a dependency more air.
	InitialDelay Milliseconds `toml:"initial_delay_ms" range:"1..60000"`

	// MaxDelay is the longest wait. Lower it to notice a recovery sooner.
	MaxDelay Milliseconds `toml:"max_delay_ms" range:"1..600000"`

	// Multiplier is how much longer each wait is than the one before. Raise it
	// to back off faster.
	Multiplier float64 `toml:"multiplier" range:"1..10"`

	// Jitter is the share by which a wait is varied at random. Raise it when
	// many processes retry in step.
	Jitter Fraction `toml:"jitter_percent" range:"0..1"`
}

// EventHealth is when an event system calls itself unwell.
type EventHealth struct {
	// Enabled says whether health is tracked. Turn it off to keep an event system
	// out of the health of its process.
	Enabled bool `toml:"enabled"`

	// PerformanceMonitoringEnabled says whether latencies are measured. Turn it
	// off to save the histograms.
	PerformanceMonitoringEnabled bool `toml:"performance_monitoring_enabled"`

	// MaxConsecutiveErrors is how many failed tries in a row make it unhealthy.
	// Raise it where single errors are common.
	MaxConsecutiveErrors int `toml:"max_consecutive_errors" range:"1..1000"`

	// ErrorRateThresholdPerMinute is how many failed tries in a minute make it
	// degraded. Raise it under heavy load.
	ErrorRateThresholdPerMinute int `toml:"error_rate_threshold_per_minute" range:"1..10000"`
}
