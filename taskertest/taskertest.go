// Package taskertest runs handlers and whole workflows in a test: in memory,
// without a server and without a database.
//
// [Run] makes one attempt of one handler. [RunWorkflow] runs all steps of a
// template in the order of their dependencies, retries included. Both run
// handlers with the code the worker runs them with: input is decoded, panics
// and timeouts are caught, results pass through JSON.
//
// Timeouts take the time they say. In a bubble of testing/synctest they take
// none.
package taskertest

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/executor"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// defaultTimeout holds for a step that says nothing of it, as in a deployment
// that keeps the shipped configuration.
const defaultTimeout = 30 * time.Second

// A Step says what a handler gets to see in one attempt. Every field may be
// left out. Values are encoded as JSON; JSON that exists goes in as a
// json.RawMessage.
type Step struct {
	// Name is the name of the step; empty stands for that of the handler.
	Name string
	// Context is the input of the task; nil stands for {}.
	Context any
	// Results are the results of the dependencies, by step name.
	Results map[string]any
	// Config is handler.initialization of the template.
	Config any
	// Attempt counts from 1; zero stands for 1.
	Attempt int
	// MaxAttempts is how many attempts the step has; zero stands for 3, or for
	// Attempt when that is higher.
	MaxAttempts int
	// Timeout is the deadline of the attempt; zero stands for 30 seconds.
	Timeout time.Duration
}

// A Failure is a failed attempt, as the engine stores it and shows it.
type Failure struct {
	// Kind is handler_error, handler_panic, handler_timeout or
	// result_not_encodable.
	Kind    string
	Message string
	// Permanent says that no other attempt follows, however many are left.
	Permanent bool
	// RetryAfter is the delay that the handler asked for; zero: none.
	RetryAfter time.Duration

	cause error
}

// Error returns kind and message.
func (f *Failure) Error() string { return f.Kind + ": " + f.Message }

// Unwrap returns the error of the handler; nil when it returned none, as after a
// panic.
func (f *Failure) Unwrap() error { return f.cause }

// Run makes one attempt of the handler called name and returns its result,
// encoded as JSON and decoded into Out. The error is nil or a [*Failure], in
// which errors.Is and errors.AsType find what the handler returned.
//
// What is wrong with the call itself ends the test: no such handler, values
// that JSON cannot encode, a result that does not decode into Out.
func Run[Out any](t testing.TB, handlers *tasker.Handlers, name string, step Step) (Out, error) {
	t.Helper()
	var out Out
	handler, ok := handlers.Find(name)
	if !ok {
		t.Fatalf("no handler %q; there are %q", name, handlers.Names())
	}
	raw, failure := attempt(t.Context(), logTo(t), job{
		handler: handler, callable: name, step: step.build(t, name), timeout: step.Timeout,
	})
	if failure != nil {
		return out, failure
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("decode the result %s of handler %q: %v", raw, name, err)
	}
	return out, nil
}

// build makes the step that a handler sees.
func (s Step) build(t testing.TB, handler string) *tasker.Step {
	t.Helper()
	task, ids := newIDs(1)
	built := &tasker.Step{
		Task: task, ID: ids[0], Name: s.Name,
		Namespace: "test", Template: "test", Version: "1.0.0",
		Attempt: max(s.Attempt, 1), MaxAttempts: s.MaxAttempts,
		Context: json.RawMessage(`{}`),
	}
	if built.Name == "" {
		built.Name = handler
	}
	if built.MaxAttempts == 0 {
		built.MaxAttempts = max(templates.DefaultAttempts, built.Attempt)
	}
	if s.Context != nil {
		built.Context = encode(t, "the context", s.Context)
	}
	if s.Config != nil {
		built.Config = encode(t, "the config", s.Config)
	}
	if s.Results != nil {
		built.Results = make(map[string]json.RawMessage, len(s.Results))
	}
	for name, result := range s.Results {
		built.Results[name] = encode(t, "the result of step "+name, result)
	}
	return built
}

// newIDs returns the id of a new task and those of its steps.
func newIDs(steps int) (task string, ids []string) {
	id := taskid.New()
	ids = make([]string, steps)
	for i := range ids {
		ids[i] = taskid.Step(id, int32(i)+1).String()
	}
	return id.String(), ids
}

func encode(t testing.TB, what string, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("encode %s as JSON: %v", what, err)
	}
	return raw
}

// A job is an attempt to make.
type job struct {
	handler  tasker.Handler
	callable string
	step     *tasker.Step
	timeout  time.Duration // zero: defaultTimeout
}

// attempt makes one attempt. It returns when the attempt is over, which for a
// handler that ignores its deadline is before the handler has returned.
func attempt(ctx context.Context, log *slog.Logger, j job) (json.RawMessage, *Failure) {
	causes := make(chan error, 1) // the executor keeps only the text
	only := tasker.NewHandlers()
	only.Add(j.callable, tasker.HandlerFunc(func(ctx context.Context, step *tasker.Step) (any, error) {
		value, err := j.handler.Handle(ctx, step)
		causes <- err
		return value, err
	}))
	if j.timeout == 0 {
		j.timeout = defaultTimeout
	}
	var raw json.RawMessage
	var failed *outcome.Failure
	over := make(chan struct{})
	e := executor.Executor{Handlers: only, Log: log}
	go e.Run(ctx, executor.Job{
		Step: j.step, Callable: j.callable, Timeout: j.timeout,
		Done: func(result json.RawMessage, failure *outcome.Failure) {
			raw, failed = result, failure
			close(over)
		},
		Freed: func() {},
	})
	<-over
	if failed == nil {
		return raw, nil
	}
	f := &Failure{Kind: failed.Kind, Message: failed.Message, Permanent: failed.Permanent, RetryAfter: failed.Delay()}
	select {
	case f.cause = <-causes:
	default: // it panicked, or runs still
	}
	return nil, f
}

// A testLog writes to the log of a test until the test is over; a handler that
// ignores its deadline may log after that.
type testLog struct {
	mu   sync.Mutex
	t    testing.TB
	over bool
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return len(p), nil
	}
	return l.t.Output().Write(p)
}

// logTo returns a logger that shows what handlers do wrong, panics with their
// stacks, next to the failures of the test.
func logTo(t testing.TB) *slog.Logger {
	l := &testLog{t: t}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.over = true
	})
	return slog.New(slog.NewTextHandler(l, nil))
}
