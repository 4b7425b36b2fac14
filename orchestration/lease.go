package orchestration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
)

// leaseName is the lease that the only orchestrator of standalone mode holds.
const leaseName = "orchestration"

// A standaloneLease keeps a second orchestrator out
// (orchestration.system.mode).
type standaloneLease struct {
	sys  *system.Context
	hold time.Duration
}

// takeStandaloneLease returns nil in distributed mode. When another process has
// the lease it waits to see whether that one lives: a renewal says so, and this
// one is refused; without any the lease runs out, as after a crash.
func takeStandaloneLease(ctx context.Context, sys *system.Context, cfg *config.Orchestration) (*standaloneLease, error) {
	if cfg.System.Mode != config.Standalone {
		return nil, nil
	}
	l := &standaloneLease{sys: sys, hold: cfg.EventSystems.Orchestration.Timing.VisibilityTimeout.Duration()}
	first, err := postgres.LeaseEnd(ctx, sys.Pool, leaseName)
	if err != nil {
		return nil, err
	}
	for waiting := false; ; waiting = true {
		taken, err := postgres.TakeLease(ctx, sys.Pool, leaseName, sys.Process, l.hold)
		if err != nil {
			return nil, err
		}
		if taken {
			return l, nil
		}
		if !waiting {
			sys.Log.InfoContext(ctx, "another orchestrator has the standalone lease; waiting to see whether it lives")
		}
		end, err := postgres.LeaseEnd(ctx, sys.Pool, leaseName)
		if err != nil {
			return nil, err
		}
		if end.After(first) && !first.IsZero() {
			return nil, fmt.Errorf("another orchestrator runs on this database and orchestration.system.mode is %q; set it to %q to run several",
				config.Standalone, config.Distributed)
		}
		first = end
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(time.Second, l.hold/3)):
		}
	}
}

// keep renews the lease until ctx ends, then gives it back. Losing it, because
// the database was away for longer than the lease, ends the role.
func (l *standaloneLease) keep(ctx context.Context) error {
	ticker := time.NewTicker(l.hold / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			dropping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			return postgres.DropLease(dropping, l.sys.Pool, leaseName, l.sys.Process)
		case <-ticker.C:
		}
		taken, err := postgres.TakeLease(ctx, l.sys.Pool, leaseName, l.sys.Process, l.hold)
		switch {
		case err != nil:
			l.sys.Log.WarnContext(ctx, "standalone lease not renewed; trying again", "error", err)
		case !taken:
			return errors.New("another orchestrator took over while this one could not renew its lease")
		}
	}
}
