package worker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/resources"
)

// limits are what the worker may use: of the two tables in the configuration, and
// of the pool, the smaller value.
type limits struct {
	cpu         float64 // percent of the processors; 100: all
	memory      int64   // bytes
	connections int     // to the database, for the worker's own operations
	queues      int     // read at once
}

func limitsOf(common config.Common, cfg *config.Worker) limits {
	a, b := cfg.System.ResourceLimits, cfg.EventSystem.Metadata.ResourceLimits
	return limits{
		cpu:         min(float64(a.MaxCPU), float64(b.MaxCPU)),
		memory:      min(a.MaxMemory.Bytes(), b.MaxMemory.Bytes(), common.System.MaxMemory.Bytes()),
		connections: min(a.MaxDatabaseConnections, b.MaxDatabaseConnections, common.Database.Pool.MaxConnections),
		queues:      min(a.MaxQueueConnections, b.MaxQueueConnections),
	}
}

// A governor closes the intake of steps while the process uses more than it may:
// more processor time over the last few samples, or more memory after a
// collection.
type governor struct {
	limits
	log *slog.Logger

	processors resources.Processors // of run

	mu   sync.Mutex
	why  string        // it is closed; empty: it is open
	open chan struct{} // closed while the intake is open
}

// sampled is the time between two samples.
const sampled = time.Second

func newGovernor(l limits, log *slog.Logger) *governor {
	g := &governor{limits: l, log: log, open: make(chan struct{})}
	close(g.open)
	return g
}

// run samples until ctx ends.
func (g *governor) run(ctx context.Context) {
	ticker := time.NewTicker(sampled)
	defer ticker.Stop()
	for {
		g.sample(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (g *governor) sample(ctx context.Context) {
	why := ""
	if use := g.processors.Sample(runtime.GOMAXPROCS(0)); use > g.cpu && g.cpu < 100 {
		why = fmt.Sprintf("%.1f %% of the processors in use, max_cpu_percent is %v", use, g.cpu)
	}
	if used := resources.MemoryAbove(g.memory); used > 0 {
		why = fmt.Sprintf("%d MB of memory in use, max_memory_mb is %d", used>>20, g.memory>>20)
	}
	g.set(ctx, why)
}

func (g *governor) set(ctx context.Context, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case why != "" && g.why == "":
		g.open = make(chan struct{})
		g.log.WarnContext(ctx, "the worker claims nothing for now", "why", why)
	case why == "" && g.why != "":
		close(g.open)
		g.log.InfoContext(ctx, "the worker claims again")
	}
	g.why = why
}

// wait waits until the intake is open or ctx ends.
func (g *governor) wait(ctx context.Context) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
	case <-ctx.Done():
	}
}

func (g *governor) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.why != ""
}

// look is a health check: a closed intake is a reason to look.
func (g *governor) look(context.Context) (health.Status, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why != "" {
		return health.Degraded, "no step is claimed: " + g.why
	}
	return health.Healthy, "within the limits"
}
