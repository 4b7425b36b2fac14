package orchestration

import (
	"context"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// A hint names results that were read and could not be applied. The reconciler
// has them read again as soon as the database answers, where they would else
// rest until their visibility timeout has passed.
type hint []postgres.Message

// hints lead to the reconciler. Losing one costs time and no work, so who has one
// does not wait for long while the channel is full.
type hints struct {
	ch       chan hint
	patience time.Duration
	dropped  *telemetry.Counter
}

func newHints(sys *system.Context, cfg config.ReadinessChannel) *hints {
	return &hints{
		ch: make(chan hint, cfg.BufferSize), patience: cfg.SendTimeout.Duration(),
		dropped: sys.Metrics.Counter("tasker.channel.messages.dropped", "Messages dropped since a channel was full.", "channel"),
	}
}

// send passes a hint on, or drops it when there is no room in time.
func (h *hints) send(ctx context.Context, about hint) (sent bool) {
	if len(about) == 0 {
		return true
	}
	timer := time.NewTimer(h.patience)
	defer timer.Stop()
	select {
	case h.ch <- about:
		return true
	case <-timer.C:
		h.dropped.Add(ctx, 1, "task_readiness")
		return false
	}
}
