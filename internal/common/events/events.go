// Package events says which events follow from the outcome of an attempt: the
// domain events that the template declares for it, and those in the life of a
// step. They are made where the handler ran and travel with the outcome; they
// are published once it counts, so a late result brings about none.
//
// Nothing here fails a step: an event that cannot be made is logged, counted
// and left out.
package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/publisher"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// publisherTimeout bounds a publisher of the program's own; the outcome of the
// step waits for it.
const publisherTimeout = 5 * time.Second

// A Router makes events and sends them where they belong. It is safe for
// concurrent use.
type Router struct {
	events  *tasker.Events
	bus     *publisher.Bus
	process uuid.UUID
	log     *slog.Logger

	lives   bool     // somebody subscribes to the life of steps
	schemas sync.Map // schemaKey → *templates.Schema
	counts  counts
}

type counts struct {
	durable, fast, broadcast, skipped, invalid, errors atomic.Int64
}

// Stats are counts since the start of the process.
type Stats struct {
	Durable   int64 // events of steps run here, for the queue
	Fast      int64 // for subscribers of the process
	Broadcast int64 // for both
	Skipped   int64 // publishers did not want
	Invalid   int64 // payloads broke their schemas
	Errors    int64 // events that could not be made or stored
}

// NewRouter returns a router with the publishers of events, which may be nil.
// The bus must have its subscribers.
func NewRouter(events *tasker.Events, bus *publisher.Bus, process uuid.UUID, log *slog.Logger) *Router {
	if events == nil {
		events = tasker.NewEvents()
	}
	r := &Router{events: events, bus: bus, process: process, log: log}
	for _, name := range []string{tasker.EventStepCompleted, tasker.EventStepFailed, tasker.EventStepAttemptFailed} {
		r.lives = r.lives || bus.Wants(name)
	}
	return r
}

// Stats returns the counts so far.
func (r *Router) Stats() Stats {
	c := &r.counts
	return Stats{
		Durable: c.durable.Load(), Fast: c.fast.Load(), Broadcast: c.broadcast.Load(),
		Skipped: c.skipped.Load(), Invalid: c.invalid.Load(), Errors: c.errors.Load(),
	}
}

// An Attempt is what became of one attempt.
type Attempt struct {
	Entry   *catalog.Entry
	Claimed *postgres.ClaimedStep
	Step    *tasker.Step    // the same in the words of publishers
	Result  json.RawMessage // nil when it failed
	Failure *outcome.Failure
}

// Of returns the events that follow from an attempt if it counts. For a step
// that has none it costs a look at its definition.
func (r *Router) Of(ctx context.Context, a Attempt) []outcome.Event {
	definition, place, ok := a.Entry.Step(a.Claimed.Defined())
	if !ok || len(definition.PublishesEvents) == 0 && !r.lives {
		return nil
	}
	occasion := r.occasion(a)
	var all []outcome.Event
	for i := range definition.PublishesEvents {
		declared := &definition.PublishesEvents[i]
		if !fires(declared.Condition, occasion.Metadata.Outcome) {
			continue
		}
		e := occasion
		e.Name = declared.Name
		e.ID = id(a, fmt.Sprint(i, "/", declared.Name))
		made, err := r.make(ctx, a, declared, e)
		if err == nil {
			err = r.valid(a.Entry, schemaKey{a.Entry.ID, place, i}, made.Payload)
		}
		if err != nil {
			r.leaveOut(ctx, e, err)
			continue
		}
		all = append(all, made)
	}
	return append(all, r.life(a, occasion)...)
}

// The outcomes of an attempt in the words of events.
const (
	success          = "success"
	retryableFailure = "retryable_failure"
	permanentFailure = "permanent_failure"
)

// occasion is what all events of an attempt have in common.
func (r *Router) occasion(a Attempt) tasker.Event {
	s := a.Step
	e := tasker.Event{
		Version: tasker.EventVersion, Payload: a.Result,
		Metadata: tasker.EventMetadata{
			Task: s.Task, StepID: s.ID, Step: s.Name, Namespace: s.Namespace, Template: s.Template, TemplateVersion: s.Version,
			Attempt: s.Attempt, Outcome: success, FiredAt: time.Now(), FiredBy: r.process.String(),
		},
	}
	if f := a.Failure; f != nil {
		e.Payload = f.JSON()
		e.Metadata.Outcome = retryableFailure
		if f.Permanent || s.LastAttempt() {
			e.Metadata.Outcome = permanentFailure
		}
	}
	return e
}

// fires reports whether an event of the condition follows from what became of
// the attempt.
func fires(condition templates.EventCondition, what string) bool {
	switch condition {
	case templates.OnAnyOutcome:
		return true
	case templates.OnFailure:
		return what != success
	default: // named as the outcomes are
		return string(condition) == what
	}
}

// id is the id of an event: it follows from the claim, so it is the same whoever
// makes it, and new when an operator has a step run again.
func id(a Attempt, what string) string {
	return uuid.NewSHA1(a.Claimed.StepRef.ID(), fmt.Append(nil, a.Claimed.Claim, "/", what)).String()
}

// make makes a declared event of what all have in common.
func (r *Router) make(ctx context.Context, a Attempt, declared *templates.PublishedEvent, e tasker.Event) (outcome.Event, error) {
	made := outcome.Event{
		Event:   e,
		Durable: declared.DeliveryMode != templates.DeliverFast,
		Fast:    declared.DeliveryMode != templates.DeliverDurable,
	}
	if declared.Publisher == "" {
		return made, nil
	}
	publish, ok := r.events.Publisher(declared.Publisher)
	if !ok {
		return made, fmt.Errorf("no publisher %q in this process; it has %q", declared.Publisher, r.events.Publishers())
	}
	payload, err := call(ctx, publish, a.Step, e)
	if err != nil {
		return made, err
	}
	made.Payload, made.OwnPayload = payload, true
	return made, nil
}

// call calls a publisher and encodes what it returns. It gives up on one that
// takes too long.
func call(ctx context.Context, publish tasker.Publisher, step *tasker.Step, e tasker.Event) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publisherTimeout)
	defer cancel()
	type answer struct {
		payload json.RawMessage
		err     error
	}
	answers := make(chan answer, 1)
	go func() {
		got := answer{err: errors.New("the publisher ended its goroutine (runtime.Goexit)")}
		defer func() {
			if v := recover(); v != nil {
				got = answer{err: fmt.Errorf("the publisher panicked: %v", v)}
			}
			answers <- got
		}()
		payload, err := publish(ctx, step, e)
		if err == nil {
			got.payload, err = json.Marshal(payload)
		}
		got.err = err
	}()
	select {
	case got := <-answers:
		if got.err == nil {
			got.err = storable(got.payload)
		}
		return got.payload, got.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the publisher did not answer within %s", publisherTimeout)
	}
}

// storable says what is wrong with a payload, as far as can be told without
// PostgreSQL.
func storable(payload json.RawMessage) error {
	if len(payload) > outcome.MaxResult {
		return fmt.Errorf("the payload has %d bytes; at most %d are allowed", len(payload), outcome.MaxResult)
	}
	if !bytes.Contains(payload, []byte(`\u0000`)) {
		return nil
	}
	tokens := json.NewDecoder(bytes.NewReader(payload))
	for {
		token, err := tokens.Token()
		if err != nil {
			return nil //nolint:nilerr // the end: it was encoded before
		}
		if text, ok := token.(string); ok && strings.Contains(text, "\x00") {
			return errors.New("the payload has the character U+0000, which PostgreSQL cannot store")
		}
	}
}

// life is the event in the life of the step, where somebody subscribes to it.
func (r *Router) life(a Attempt, e tasker.Event) []outcome.Event {
	e.Name = map[string]string{
		success: tasker.EventStepCompleted, retryableFailure: tasker.EventStepAttemptFailed, permanentFailure: tasker.EventStepFailed,
	}[e.Metadata.Outcome]
	if !r.bus.Wants(e.Name) {
		return nil
	}
	e.ID = id(a, e.Name)
	return []outcome.Event{{Event: e, Fast: true, Life: true}}
}

// lives are the events of tasks by the state that a task has come to.
var lives = map[tasker.TaskState]string{
	tasker.TaskComplete:          tasker.EventTaskCompleted,
	tasker.TaskError:             tasker.EventTaskFailed,
	tasker.TaskBlockedByFailures: tasker.EventTaskBlocked,
	tasker.TaskCancelled:         tasker.EventTaskCancelled,
	tasker.TaskResolvedManually:  tasker.EventTaskResolvedManually,
}

// WantsTasks reports whether somebody subscribes to the life of tasks.
func (r *Router) WantsTasks() bool {
	for _, name := range lives {
		if r.bus.Wants(name) {
			return true
		}
	}
	return false
}

// Settled tells subscribers of tasks of a namespace that have come to another
// state in a transaction of this process.
func (r *Router) Settled(namespace string, settled []postgres.SettledTask) {
	for _, t := range settled {
		if name := lives[t.State]; name != "" {
			r.ofTask(name, t.Task, namespace, fmt.Appendf(nil, `{"state":%q}`, t.State))
		}
	}
}

// DeadLettered tells subscribers of a task that was set aside.
func (r *Router) DeadLettered(e *postgres.Entered) {
	r.ofTask(tasker.EventTaskDeadLettered, e.Task, e.Namespace, fmt.Appendf(nil, `{"state":%q,"reason":%q}`, e.State, e.Reason))
}

func (r *Router) ofTask(name string, task uuid.UUID, namespace string, payload json.RawMessage) {
	if !r.bus.Wants(name) {
		return
	}
	r.bus.Publish(tasker.Event{
		ID: uuid.Must(uuid.NewV7()).String(), Name: name, Version: tasker.EventVersion, Payload: payload,
		Metadata: tasker.EventMetadata{Task: task.String(), Namespace: namespace, FiredAt: time.Now(), FiredBy: r.process.String()},
	})
}

// leaveOut says why an event is not published.
func (r *Router) leaveOut(ctx context.Context, e tasker.Event, err error) {
	if errors.Is(err, tasker.ErrSkipEvent) {
		r.counts.skipped.Add(1)
		return
	}
	count := &r.counts.errors
	if _, invalid := errors.AsType[templates.Violations](err); invalid {
		count = &r.counts.invalid
	}
	count.Add(1)
	r.log.WarnContext(ctx, "event not published; the step is not affected", "event", e.Name, "error", err)
}

// Counted publishes an event whose attempt has counted, to the subscribers in
// this process. The queue has it already if it is durable.
func (r *Router) Counted(e outcome.Event, correlation *uuid.UUID) {
	switch {
	case e.Life:
	case e.Durable && e.Fast:
		r.counts.broadcast.Add(1)
	case e.Durable:
		r.counts.durable.Add(1)
	default:
		r.counts.fast.Add(1)
	}
	if !e.Fast {
		return
	}
	if correlation != nil {
		e.Metadata.CorrelationID = correlation.String()
	}
	r.bus.Publish(e.Event)
}
