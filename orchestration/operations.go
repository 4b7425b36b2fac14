package orchestration

import (
	"context"
	"log/slog"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/system"
)

// An operations loop works off what operators do to many tasks. In any number of
// orchestrators one at a time gets on with an operation.
type operations struct {
	operator *operate.Operator
	wake     *eventsystem.Signal
	most     int           // tasks in a transaction
	pause    time.Duration // between looks that nobody asks for
	log      *slog.Logger
}

func newOperations(sys *system.Context, cfg *config.Orchestration) *operations {
	es := cfg.EventSystems.TaskReadiness
	return &operations{
		operator: &operate.Operator{Pool: sys.Pool, Catalog: sys.Catalog, Names: sys.Names, Notifier: sys.Notifier, Around: newTeller(sys).around},
		wake:     eventsystem.NewSignal(), most: es.Processing.BatchSize, pause: es.Timing.FallbackPollingInterval.Duration(), log: sys.Log,
	}
}

// run works off operations until ctx ends.
func (o *operations) run(ctx context.Context) {
	for ctx.Err() == nil {
		worked, err := o.operator.WorkOff(ctx, o.most)
		if err != nil && ctx.Err() == nil {
			o.log.WarnContext(ctx, "bulk operation not carried on; trying again", "error", err, "pause", o.pause)
		}
		if !worked {
			o.wake.Wait(ctx, o.pause)
		}
	}
}
