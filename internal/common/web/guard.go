package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tasker-systems/tasker-go/internal/common/breakers"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
)

// A Guard keeps the server from taking on more than it can do. It does not stand
// before routes for everybody, such as those of health, which must answer when
// nothing else does.
type Guard struct {
	// Breaker refuses requests while what the routes stand on keeps failing; nil: none.
	Breaker *breakers.Breaker
	// Overload says why the process takes on nothing new, "" when it does; nil: never.
	Overload func() string
	// Most is how many requests may be in hand at once; 0: any number.
	Most int
}

// Refused requests are told to come back after about so long: not all at once.
const (
	soonest = 1 * time.Second
	latest  = 4 * time.Second
)

// A busyError says that the server does not take on a request now.
type busyError struct{ why string }

func (e *busyError) Error() string { return "the server has too much to do, try again: " + e.why }

// admit decides about a request before it is read; leave must be called at its
// end.
func (a *API) admit(r *Route) (leave func(), err error) {
	guard := &a.settings.Guard
	if r.Permission == permission.Public {
		return func() {}, nil
	}
	leave = func() { a.inHand.Add(-1) }
	if n := a.inHand.Add(1); guard.Most > 0 && n > int64(guard.Most) {
		leave()
		return nil, &busyError{fmt.Sprintf("%d requests are in hand already", guard.Most)}
	}
	if r.Intake && guard.Overload != nil {
		if why := guard.Overload(); why != "" {
			leave()
			return nil, &busyError{why}
		}
	}
	return leave, nil
}

// guarded has a request pass only if it is admitted.
func (a *API) guarded(r *Route) func(ctx huma.Context, next func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		leave, err := a.admit(r)
		if err != nil {
			send(ctx, a.problem(ctx.Context(), err))
			return
		}
		defer leave()
		next(ctx)
	}
}

// behind calls do behind the breaker.
func behind[O any](a *API, ctx context.Context, r *Route, do func() (*O, error)) (*O, error) {
	if r.Permission == permission.Public || r.Aside {
		return do()
	}
	done, err := a.settings.Guard.Breaker.Allow()
	if err != nil {
		return nil, err
	}
	ended := context.Canceled // by a panic: it says nothing
	defer func() { done(ended) }()
	out, err := do()
	switch {
	case errors.Is(ctx.Err(), context.Canceled): // the client went, or the server stops
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		ended = ctx.Err()
	default:
		ended = err
	}
	return out, err
}

// send answers a request that is not admitted.
func send(ctx huma.Context, p *Problem) {
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always encode
		panic(fmt.Sprintf("web: encode a problem: %v", err))
	}
	for name, values := range p.GetHeaders() {
		ctx.SetHeader(name, values[0])
	}
	ctx.SetHeader("Content-Type", p.ContentType(""))
	ctx.SetStatus(p.Status)
	_, _ = ctx.BodyWriter().Write(body) // the client may have gone
}

// refusal turns what a guard refuses into a problem, nil for any other error.
func (a *API) refusal(ctx context.Context, err error) *Problem {
	if open, ok := errors.AsType[*breakers.OpenError](err); ok {
		a.rejected.Add(ctx, 1, "circuit_breaker")
		p := newProblem(CircuitBreakerOpen, "", requestID(ctx))
		p.after = open.After + rand.N(soonest) //nolint:gosec // only keeps clients apart
		return p
	}
	if busy, ok := errors.AsType[*busyError](err); ok {
		a.rejected.Add(ctx, 1, "backpressure")
		p := newProblem(Backpressure, busy.Error(), requestID(ctx))
		p.after = soonest + rand.N(latest-soonest) //nolint:gosec // only keeps clients apart
		return p
	}
	return nil
}
