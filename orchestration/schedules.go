package orchestration

import (
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/orchestration/internal/schedule"
)

// lookAtSchedules is how often schedules are looked at although none is due and
// none has changed: a host may have slept, or its clock been set.
const lookAtSchedules = time.Minute

// newFirer returns what starts tasks by the clock. In modes that poll, a change
// that nobody announces is found within the fallback interval.
func newFirer(sys *system.Context, cfg *config.Orchestration) *schedule.Firer {
	look := lookAtSchedules
	if es := cfg.EventSystems.Orchestration; es.DeploymentMode.Polls() {
		look = min(look, es.Timing.FallbackPollingInterval.Duration())
	}
	return &schedule.Firer{
		DB: sys.Pool, Door: sys.Door(), Names: sys.Names, Notifier: sys.Notifier, Log: sys.Log, Look: look,
		Operator:  &operate.Operator{Pool: sys.Pool, Catalog: sys.Catalog, Names: sys.Names, Notifier: sys.Notifier},
		Cancelled: newTeller(sys).cancelled,
	}
}
