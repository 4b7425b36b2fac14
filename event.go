package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An Event says that something has happened: a domain event that a template
// declares under publishes_events, or a turn in the life of a task or step. Its
// JSON is what the queues of durable events hold.
type Event struct {
	// ID is the same for every copy of the event (a UUID).
	ID string `json:"event_id"`
	// Name is dotted and lower-case, such as payment.charged.
	Name string `json:"event_name"`
	// Version is that of this shape.
	Version string `json:"event_version"`
	// Payload is what happened, as JSON: what the publisher of the event made of
	// it, or else the result of the step, or its failure as
	// {kind, message, permanent}. Events of tasks carry {state}, and the reason
	// when the task was set aside.
	Payload json.RawMessage `json:"payload,omitempty"`
	// Metadata says to what it happened.
	Metadata EventMetadata `json:"metadata"`
}

// EventVersion is the version of the shape of events.
const EventVersion = "1.0"

// EventMetadata says to what an event happened, when, and who says so.
type EventMetadata struct {
	// Task is the id of the task (a UUID).
	Task string `json:"task_uuid"`
	// StepID and Step are id and name of the step; empty for events of tasks.
	StepID string `json:"step_uuid,omitempty"`
	Step   string `json:"step_name,omitempty"`
	// Namespace, Template and TemplateVersion name the template the task runs;
	// events of tasks have only the namespace.
	Namespace       string `json:"namespace,omitempty"`
	Template        string `json:"template,omitempty"`
	TemplateVersion string `json:"template_version,omitempty"`
	// Attempt is the attempt that brought the event about; zero for events of
	// tasks.
	Attempt int `json:"attempt,omitempty"`
	// Outcome is success, retryable_failure when another attempt follows, or
	// permanent_failure; empty for events of tasks.
	Outcome string `json:"outcome,omitempty"`
	// CorrelationID is that of the task, empty when it has none.
	CorrelationID string `json:"correlation_id,omitempty"`
	// FiredAt is when the handler returned or the task changed.
	FiredAt time.Time `json:"fired_at"`
	// FiredBy is the id of the process that says so.
	FiredBy string `json:"fired_by"`
}

// The events in the life of tasks and steps. They are for subscribers of the
// process in which the change was made: of an orchestrator those of tasks, of a
// worker those of steps, of a combined process both.
const (
	EventTaskCompleted        = "task.completed"
	EventTaskFailed           = "task.failed"
	EventTaskBlocked          = "task.blocked_by_failures"
	EventTaskCancelled        = "task.cancelled"
	EventTaskResolvedManually = "task.resolved_manually"
	EventTaskDeadLettered     = "task.dead_lettered" // set aside; the task stays as it is
	EventStepCompleted        = "step.completed"
	EventStepFailed           = "step.failed"         // for good
	EventStepAttemptFailed    = "step.attempt_failed" // another attempt follows
)

// A Subscriber is told of events. It runs in a goroutine of its own, for one
// event at a time. A panic is logged and the next event follows. ctx ends when
// the process has waited long enough for its subscribers.
//
// A subscriber that falls behind finds common.mpsc_channels.overflow_policy to
// say whether events wait for it or are dropped. With the policy block it then
// holds up the work of the process, so it must not wait for that work itself.
type Subscriber func(ctx context.Context, e Event)

// A Publisher makes the payload of a domain event of the steps whose template
// names it (the key publisher of publishes_events). The event's own payload is
// what it would be without. An error that wraps [ErrSkipEvent] says that there
// is nothing to publish; any other error is logged, and the event is not
// published either. Neither has an effect on the step.
type Publisher func(ctx context.Context, step *Step, e Event) (payload any, err error)

// ErrSkipEvent is what a [Publisher] returns for an event that is not to be
// published.
var ErrSkipEvent = errors.New("skip the event")

// Events are the subscribers and publishers of a program. Fill it before the
// worker starts.
type Events struct {
	subscriptions []Subscription
	publishers    map[string]Publisher
}

// NewEvents returns an empty set.
func NewEvents() *Events { return &Events{publishers: map[string]Publisher{}} }

// A Subscription is a subscriber and the names it is told of.
type Subscription struct {
	Pattern string
	Tell    Subscriber
}

// Matches reports whether the subscriber is told of events of the name.
func (s Subscription) Matches(name string) bool {
	prefix, all := strings.CutSuffix(s.Pattern, "*")
	return all && strings.HasPrefix(name, prefix) && len(name) > len(prefix) || s.Pattern == name
}

var eventPattern = regexp.MustCompile(`^([a-z0-9_]+\.)*([a-z0-9_]+|\*)$`)

// Subscribe has tell called for the events that pattern names: one by its name,
// those whose names begin with payment. by payment.*, and all by *. It panics
// when pattern is none of these.
func (e *Events) Subscribe(pattern string, tell Subscriber) {
	if !eventPattern.MatchString(pattern) {
		panic(fmt.Sprintf("tasker: event pattern %q; want a name such as payment.charged, payment.* or *", pattern))
	}
	e.subscriptions = append(e.subscriptions, Subscription{pattern, tell})
}

// Subscriptions returns all that were made, in their order.
func (e *Events) Subscriptions() []Subscription { return slices.Clone(e.subscriptions) }

// AddPublisher puts publish under name. It panics when the name is empty or
// taken.
func (e *Events) AddPublisher(name string, publish Publisher) {
	if name == "" {
		panic("tasker: publisher without a name")
	}
	if _, taken := e.publishers[name]; taken {
		panic(fmt.Sprintf("tasker: publisher %q added twice", name))
	}
	e.publishers[name] = publish
}

// Publisher returns the publisher under name and whether there is one.
func (e *Events) Publisher(name string) (Publisher, bool) {
	publish, ok := e.publishers[name]
	return publish, ok
}

// Publishers returns the names of all publishers, sorted.
func (e *Events) Publishers() []string { return slices.Sorted(maps.Keys(e.publishers)) }
