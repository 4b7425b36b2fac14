package tasker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// A Handler runs the steps that name it.
//
// Handle may run several times for one step: a worker can die after the work
// and before the result is stored. Make the work idempotent; task id and step
// name together are a safe key.
//
// A nil error stores the result, encoded as JSON. Any other error is retried
// with the backoff of the template, save one marked with [Permanent];
// [RetryAfter] sets the delay of the next attempt.
//
// A panic counts as an error. ctx ends when the timeout of the step passes, the
// task is cancelled or the worker shuts down; a handler that ignores it holds
// its slot until it returns.
type Handler interface {
	Handle(ctx context.Context, step *Step) (result any, err error)
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, step *Step) (any, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, step *Step) (any, error) { return f(ctx, step) }

// Handlers is a set of handlers, each under the name that templates call it by
// (the key handler.callable), and of resolvers for other names. Fill it before the worker starts; reading it is
// then safe from many goroutines.
type Handlers struct {
	byName    map[string]Handler
	resolvers []namedResolver
}

// NewHandlers returns an empty set.
func NewHandlers() *Handlers { return &Handlers{byName: map[string]Handler{}} }

// Add puts handler under name. It panics when the name is empty or taken: that
// is a mistake of the program, not of its data.
func (h *Handlers) Add(name string, handler Handler) {
	if name == "" {
		panic("tasker: handler without a name")
	}
	if _, taken := h.byName[name]; taken {
		panic(fmt.Sprintf("tasker: handler %q added twice", name))
	}
	h.byName[name] = handler
}

// Find returns the handler under name and whether there is one.
func (h *Handlers) Find(name string) (Handler, bool) {
	handler, ok := h.byName[name]
	return handler, ok
}

// Names returns the names of all handlers, sorted.
func (h *Handlers) Names() []string { return slices.Sorted(maps.Keys(h.byName)) }

// Handle adds run under name, with its input decoded: In is the task's context
// as JSON decodes it. A context that does not decode fails the step for good,
// since another attempt would read the same bytes.
func Handle[In, Out any](h *Handlers, name string, run func(ctx context.Context, step *Step, in In) (Out, error)) {
	h.Add(name, HandlerFunc(func(ctx context.Context, step *Step) (any, error) {
		var in In
		if err := json.Unmarshal(step.Context, &in); err != nil {
			return nil, Permanent(fmt.Errorf("decode the task's context: %w", err))
		}
		return run(ctx, step, in)
	}))
}
