package orchestration

import (
	"context"
	"log/slog"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A gatekeeper lets steps go that wait for a signal: when it comes, or when
// their time is over. They come back as results, which the processor applies.
type gatekeeper struct {
	pool    postgres.Pool
	results string              // the queue of results
	reports *eventsystem.Signal // wakes its reader in this process
	wake    *eventsystem.Signal
	most    int           // steps of one pass
	rest    time.Duration // between two looks that nothing asked for
	pause   func() time.Duration
	log     *slog.Logger
}

// tooLate is the error of a step whose signal did not come.
var tooLate = (&outcome.Failure{
	Kind: outcome.SignalTimeout, Permanent: true, Message: "the signal did not come within timeout_seconds of the step",
}).JSON()

// run lets steps pass until ctx ends: when woken, when one is due, and now and
// then, should a wake-up be lost.
func (k *gatekeeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		passed, err := postgres.PassSignals(ctx, k.pool, k.results, k.most, tooLate)
		if err != nil {
			if ctx.Err() == nil {
				k.log.WarnContext(ctx, "gates not looked at; trying again", "error", err)
			}
			k.wake.Wait(ctx, k.pause())
			continue
		}
		if passed > 0 {
			k.reports.Raise()
		}
		if passed < k.most {
			k.wake.Wait(ctx, k.next(ctx))
		}
	}
}

// next is how long nobody needs to look.
func (k *gatekeeper) next(ctx context.Context) time.Duration {
	due, any, err := postgres.NextGate(ctx, k.pool)
	if err == nil && any && due < k.rest {
		return max(due, time.Millisecond)
	}
	return k.rest
}
