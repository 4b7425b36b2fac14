package templates

import (
	"reflect"
	"slices"

	"github.com/tasker-systems/tasker-go/config"
)

// A Step is one node of a template's graph.
type Step struct {
	// Name is unique within the template.
	Name string `json:"name" required:"true" format:"step_name"`

	Description string `json:"description,omitempty"`

	// Type says how the step comes to exist and what its result may create.
	Type StepType `json:"type" alias:"step_type" default:"standard" oneof:"standard|decision|deferred_convergence|batchable|batch_worker|wait_for_signal"`

	// Handler names the code that runs the step. Every step needs one but those
	// that wait for a signal.
	Handler Handler `json:"handler,omitzero" required:"true" unless:"type=wait_for_signal"`

	// Signal is the name of the signal that a wait_for_signal step waits for,
	// Timeout long at most; empty is the name of the step.
	Signal string `json:"signal,omitempty" format:"step_name"`

	// Dependencies are the names of the steps that must succeed first.
	Dependencies []string `json:"dependencies,omitempty" alias:"depends_on"`

	// SystemDependency names the system the step talks to, for people.
	SystemDependency string `json:"system_dependency,omitempty"`

	// Retry says whether and when a failed attempt is followed by another.
	Retry Retry `json:"retry,omitzero"`

	// Timeout bounds one attempt; zero leaves it to the configuration.
	Timeout config.Seconds `json:"timeout_seconds,omitempty" range:"1..2592000"`

	// Limits bound how many steps of a key run at once and how often one starts,
	// of this and of all other tasks.
	Limits []Limit `json:"limits,omitempty"`

	// PublishesEvents are the domain events that follow the step's result.
	PublishesEvents []PublishedEvent `json:"publishes_events,omitempty"`

	// BatchConfig shapes the batches of a batchable or batch_worker step; nil
	// elsewhere.
	BatchConfig *BatchConfig `json:"batch_config,omitempty"`

	// ResultSchema is the JSON Schema of the step's result, for tools.
	ResultSchema Object `json:"result_schema,omitempty"`
}

// A StepType says how a step comes to exist and what its result may create.
type StepType string

// The step types.
const (
	StepStandard            StepType = "standard"             // exists from the start
	StepDecision            StepType = "decision"             // its result names the steps to create
	StepDeferredConvergence StepType = "deferred_convergence" // waits for those of its dependencies that were created
	StepBatchable           StepType = "batchable"            // its result asks for batch workers
	StepBatchWorker         StepType = "batch_worker"         // a pattern; each batch gets a copy
	StepWaitForSignal       StepType = "wait_for_signal"      // has no handler; the payload of a signal is its result
)

// SignalName is the name of the signal that a wait_for_signal step waits for.
func (s *Step) SignalName() string {
	if s.Signal != "" {
		return s.Signal
	}
	return s.Name
}

// A Handler names the code that runs a step and what it is given.
type Handler struct {
	// Callable is the name the handler is registered under.
	Callable string `json:"callable" required:"true" len:"1..500"`

	// Method selects one of several entry points of the handler; empty is the
	// usual one.
	Method string `json:"method,omitempty" len:"1..500"`

	// Resolver hints which resolver turns Callable into code; empty asks all.
	Resolver string `json:"resolver,omitempty" len:"1..500"`

	// Initialization is handed to the handler with each attempt.
	Initialization Object `json:"initialization,omitempty"`
}

// Retry says whether and when a failed attempt is followed by another. Nil and
// zero fields were not set; the configuration's defaults apply to them.
type Retry struct {
	// Retryable set to false makes the first failure final.
	Retryable *bool `json:"retryable,omitempty"`

	// MaxAttempts counts all attempts, the first included. The first is always
	// made, so 0 and 1 mean the same.
	MaxAttempts *int `json:"max_attempts,omitempty" range:"0..100"`

	// Backoff is how the wait grows from attempt to attempt.
	Backoff Backoff `json:"backoff,omitempty" oneof:"none|linear|exponential|fibonacci"`

	// BackoffBase is the wait before the second attempt.
	BackoffBase config.Milliseconds `json:"backoff_base_ms,omitempty" range:"1..3600000"`

	// MaxBackoff caps the wait.
	MaxBackoff config.Milliseconds `json:"max_backoff_ms,omitempty" range:"1..3600000"`
}

// DefaultAttempts is how often a step is tried where neither its template nor a
// worker says: with the retries that worker.system.step_processing.max_retries is
// shipped with.
const DefaultAttempts = 4

// Attempts is how often the step is tried at most, the first attempt, which is
// always made, included; unsaid is that of steps that say nothing.
func (r Retry) Attempts(unsaid int) int {
	switch {
	case r.Retryable != nil && !*r.Retryable:
		return 1
	case r.MaxAttempts == nil:
		return unsaid
	default:
		return max(1, *r.MaxAttempts)
	}
}

// Backoff is how the wait between attempts grows; empty was not set.
type Backoff string

// The ways a wait can grow.
const (
	BackoffNone        Backoff = "none"
	BackoffLinear      Backoff = "linear"
	BackoffExponential Backoff = "exponential"
	BackoffFibonacci   Backoff = "fibonacci"
)

// A PublishedEvent is a domain event that follows a step's result.
type PublishedEvent struct {
	Name        string `json:"name" required:"true" format:"event_name"`
	Description string `json:"description,omitempty"`

	// Condition is the outcome of the step that publishes the event.
	Condition EventCondition `json:"condition" default:"success" oneof:"success|failure|retryable_failure|permanent_failure|always"`

	// DeliveryMode is how the event travels.
	DeliveryMode DeliveryMode `json:"delivery_mode" default:"durable" oneof:"durable|fast|broadcast"`

	// Schema is the JSON Schema of the event's payload; empty allows all.
	Schema Object `json:"schema,omitempty"`

	// Publisher names the code that builds the payload; empty is the default.
	Publisher string `json:"publisher,omitempty" len:"1..500"`
}

// An EventCondition is the outcome of a step that publishes an event.
type EventCondition string

// The event conditions.
const (
	OnSuccess          EventCondition = "success"
	OnFailure          EventCondition = "failure"
	OnRetryableFailure EventCondition = "retryable_failure"
	OnPermanentFailure EventCondition = "permanent_failure"
	OnAnyOutcome       EventCondition = "always"
)

// A DeliveryMode says how a domain event travels.
type DeliveryMode string

// The delivery modes.
const (
	DeliverDurable   DeliveryMode = "durable"   // through a logged queue; none is lost
	DeliverFast      DeliveryMode = "fast"      // within the process, at most once
	DeliverBroadcast DeliveryMode = "broadcast" // both, fast first
)

// HasDurableEvents reports whether some step publishes into the queue of the
// namespace's events.
func (t *Template) HasDurableEvents() bool {
	return slices.ContainsFunc(t.Steps, func(s Step) bool {
		return slices.ContainsFunc(s.PublishesEvents, func(e PublishedEvent) bool { return e.DeliveryMode != DeliverFast })
	})
}

// BatchConfig shapes the batches of a batchable or batch_worker step.
type BatchConfig struct {
	// BatchSize is the number of items of one batch.
	BatchSize int `json:"batch_size" default:"1000" range:"1..100000"`

	// Parallelism is the number of batches of a task that may run at once.
	Parallelism int `json:"parallelism" default:"10" range:"1..1000"`

	// CursorField names what the cursors count.
	CursorField string `json:"cursor_field" default:"id" len:"1..255"`

	// WorkerTemplate is the name of the batch_worker step to copy.
	WorkerTemplate string `json:"worker_template,omitempty" len:"1..128"`

	// FailureStrategy says what a failed batch means for the others.
	FailureStrategy FailureStrategy `json:"failure_strategy" default:"continue_on_failure" oneof:"continue_on_failure|fail_fast|isolate"`
}

// DefaultBatchConfig is what a batch follows whose template does not say.
func DefaultBatchConfig() BatchConfig {
	var cfg BatchConfig
	v := reflect.ValueOf(&cfg).Elem()
	for _, f := range fieldsOf(v.Type()) {
		if value, ok := f.tag.Lookup("default"); ok {
			setDefault(v.Field(f.index), value)
		}
	}
	return cfg
}

// A FailureStrategy says what a failed batch means for the others.
type FailureStrategy string

// The failure strategies.
const (
	ContinueOnFailure FailureStrategy = "continue_on_failure" // the others run; the convergence step sees the failure
	FailFast          FailureStrategy = "fail_fast"           // no further batch starts
	Isolate           FailureStrategy = "isolate"             // the failed batch is set aside
)
