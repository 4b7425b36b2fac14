// Package outcome is what becomes of an attempt at a step, in the words that
// workers and orchestrators share.
package outcome

import (
	"encoding/json"
	"strings"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// The kinds of failure. They are stored and shown, so they are part of the API.
const (
	HandlerError     = "handler_error"        // the handler returned an error
	HandlerPanic     = "handler_panic"        // the handler panicked
	HandlerTimeout   = "handler_timeout"      // the attempt took longer than its timeout
	HandlerNotFound  = "handler_not_found"    // no handler of the worker has the name
	ResultNotEncoded = "result_not_encodable" // the result is not JSON, or too large
	ResultRefused    = "result_refused"       // PostgreSQL cannot store the result
	WorkerLost       = "worker_unavailable"   // its workers lost the lease again and again
	InvalidOutcome   = "invalid_outcome"      // a decision or a batch cannot be carried out
	SignalTimeout    = "signal_timeout"       // the signal the step waits for did not come in time
	StalenessTimeout = "staleness_timeout"    // its task stopped moving
	DependencyCycle  = "dependency_cycle"     // it and others wait for each other
)

// MaxResult is the largest result of a step, in bytes of JSON.
const MaxResult = 4 << 20

// A Failure says why an attempt failed and whether another makes sense.
type Failure struct {
	Kind      string `json:"kind"`
	Message   string `json:"message"`
	Permanent bool   `json:"permanent"`
	// RetryAfter is the delay the handler asked for, in seconds; zero: none.
	RetryAfter float64 `json:"retry_after_seconds,omitempty"`
}

// Delay is RetryAfter as a duration.
func (f *Failure) Delay() time.Duration { return time.Duration(f.RetryAfter * float64(time.Second)) }

// JSON is the failure as it is stored. jsonb has no NUL: one in the message is
// shown as U+FFFD, as encoding/json shows what is not UTF-8.
func (f *Failure) JSON() json.RawMessage {
	stored := *f
	stored.Message = strings.ReplaceAll(f.Message, "\x00", "\ufffd")
	raw, err := json.Marshal(stored)
	if err != nil {
		panic("outcome: " + err.Error()) // strings, a bool and a finite number always encode
	}
	return raw
}

// An Outcome is an attempt that is over: a result or a failure.
type Outcome struct {
	Step    postgres.ClaimedStep
	Queue   string          // of the step's message
	Result  json.RawMessage // set when Failure is nil
	Failure *Failure
	// Slot says that the attempt still holds its slot in the worker, for a
	// successor to take over.
	Slot bool
	// Events follow from the outcome if it counts.
	Events []Event
	// Trace is the span context of the attempt; empty: it is not traced.
	Trace string
}

// An Event is an event that waits for the attempt it follows from to count.
type Event struct {
	tasker.Event

	Durable    bool // for the queue of the namespace
	Fast       bool // for the subscribers of the process
	Life       bool // in the life of the step; no domain event
	OwnPayload bool // not just the result or the failure
}

// Message is the event as the queue gets it. Result and failure are added there:
// the step row has them.
func (e *Event) Message() json.RawMessage {
	stored := e.Event
	if !e.OwnPayload {
		stored.Payload = nil
	}
	raw, err := json.Marshal(stored)
	if err != nil {
		panic("outcome: encode an event: " + err.Error()) // strings, a time and JSON that was encoded before
	}
	return raw
}

// Refuse turns a success whose result PostgreSQL cannot store into a failure
// for good.
func (o *Outcome) Refuse(reason string) {
	o.Result = nil
	o.Failure = &Failure{Kind: ResultRefused, Message: "PostgreSQL cannot store the result: " + reason, Permanent: true}
}
