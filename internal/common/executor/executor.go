// Package executor runs handlers: one attempt at one step, under a deadline,
// with panics caught. It knows neither queues nor the database.
package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
)

// grace is what a handler gets after its deadline to return by itself before
// the attempt is reported as timed out over its head.
const grace = time.Second

// An Executor runs the handlers of one worker.
type Executor struct {
	Handlers *tasker.Handlers
	Log      *slog.Logger
}

// A Job is an attempt to run.
type Job struct {
	Step     *tasker.Step
	Callable string // the handler's name
	Method   string // its entry point; empty: the usual one
	Resolver string // who knows it; empty: any
	Timeout  time.Duration
	// Done is called once with what became of the attempt: its result or a
	// failure.
	Done func(result json.RawMessage, failure *outcome.Failure)
	// Freed is called once when the handler has returned, which for one that
	// ignores its deadline is after Done.
	Freed func()
}

// Run runs the handler and returns when it has returned. Done comes first, at
// the latest shortly after the deadline.
func (e *Executor) Run(ctx context.Context, job Job) {
	defer job.Freed()
	handler, err := e.Handlers.Resolve(job.Callable, job.Method, job.Resolver)
	if err != nil {
		job.Done(nil, &outcome.Failure{Kind: outcome.HandlerNotFound, Permanent: true, Message: err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, job.Timeout)
	defer cancel()
	var over atomic.Bool
	watchdog := time.AfterFunc(job.Timeout+grace, func() {
		if over.CompareAndSwap(false, true) {
			e.Log.ErrorContext(ctx, "handler ignores its deadline and keeps its slot", "handler", job.Callable, "timeout", job.Timeout)
			job.Done(nil, timedOut(job.Timeout))
		}
	})
	defer watchdog.Stop()
	defer func() { // a handler can end its goroutine: no return, no panic
		if over.CompareAndSwap(false, true) {
			job.Done(nil, &outcome.Failure{Kind: outcome.HandlerPanic, Message: "the handler ended its goroutine (runtime.Goexit)"})
		}
	}()
	began := time.Now()
	result, failure := e.attempt(ctx, handler, job)
	if over.CompareAndSwap(false, true) {
		job.Done(result, failure)
		return
	}
	e.Log.WarnContext(ctx, "handler returned after its attempt had timed out", "handler", job.Callable, "took", time.Since(began))
}

func timedOut(after time.Duration) *outcome.Failure {
	return &outcome.Failure{Kind: outcome.HandlerTimeout, Message: fmt.Sprintf("the handler did not finish within %s", after)}
}

// attempt makes the attempt. All of it may run the user's code and panic: the
// handler, the encoding of its result, the methods of its error.
func (e *Executor) attempt(ctx context.Context, handler tasker.Handler, job Job) (raw json.RawMessage, failure *outcome.Failure) {
	defer func() {
		if v := recover(); v != nil {
			e.Log.ErrorContext(ctx, "handler panicked", "handler", job.Callable, "panic", v, "stack", string(debug.Stack()))
			raw, failure = nil, &outcome.Failure{Kind: outcome.HandlerPanic, Message: fmt.Sprintf("panic: %v", v)}
		}
	}()
	value, err := handler.Handle(ctx, job.Step)
	if err != nil {
		return nil, failureOf(ctx, err, job.Timeout)
	}
	raw, err = json.Marshal(value)
	switch {
	case err != nil:
		return nil, &outcome.Failure{Kind: outcome.ResultNotEncoded, Message: "encode the result as JSON: " + err.Error(), Permanent: true}
	case len(raw) > outcome.MaxResult:
		return nil, &outcome.Failure{
			Kind: outcome.ResultNotEncoded, Permanent: true,
			Message: fmt.Sprintf("the result has %d bytes; at most %d are allowed", len(raw), outcome.MaxResult),
		}
	}
	return raw, nil
}

// failureOf classifies the error of a handler, once and for all.
func failureOf(ctx context.Context, err error, timeout time.Duration) *outcome.Failure {
	f := &outcome.Failure{Kind: outcome.HandlerError, Message: err.Error()}
	if _, ok := errors.AsType[*tasker.PermanentError](err); ok {
		f.Permanent = true
	}
	if later, ok := errors.AsType[*tasker.RetryAfterError](err); ok {
		f.RetryAfter = later.After.Seconds()
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
		return timedOut(timeout)
	}
	return f
}
