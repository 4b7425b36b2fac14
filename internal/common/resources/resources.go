// Package resources watches what a process uses: memory, processors, the
// connections of its pool and the room in its channels. While it uses too much
// it takes on no new tasks ([Gauge.Overload]); what it has taken on goes on.
package resources

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// What the configuration does not name.
const (
	sampled    = time.Second // between two samples
	nearMemory = 0.9         // share of max_memory_mb above which nothing new is taken on
	fullRoom   = 0.95        // share of a channel in use from which on it counts as full
	// patientShare is the part of acquire_timeout_seconds that waiting for a
	// connection may take on average.
	patientShare = 10
)

// Pool is how a pool of connections is at a moment.
type Pool struct {
	InUse, Most int
	// Waits is how often somebody has waited for a connection since the start,
	// and Waited how long in all.
	Waits  int64
	Waited time.Duration
}

// A Gauge samples what the process uses. It is safe for concurrent use.
type Gauge struct {
	limits   config.System
	patience time.Duration // that waiting for a connection may take on average
	channels *channels.Monitor
	pool     func() Pool
	log      *slog.Logger

	processors Processors      // of Run
	before     Pool            // of Run: at the last sample
	full       map[string]bool // of Run: channels of work at the last sample

	mu       sync.Mutex
	overload string // why nothing new is taken on; empty: it is
	above    string // the limits that are exceeded
	waiting  time.Duration
}

// New returns a gauge for the limits of the process and of its pool.
func New(common config.Common, monitor *channels.Monitor, pool func() Pool, metrics *telemetry.Metrics, log *slog.Logger) *Gauge {
	g := &Gauge{
		limits: common.System, patience: common.Database.Pool.AcquireTimeout.Duration() / patientShare,
		channels: monitor, pool: pool, log: log,
	}
	metrics.Gauge("tasker.health.backpressure.active", "", "1 while the process takes on no new tasks.", func(observe telemetry.Observe) {
		active := 0.0
		if g.Overload() != "" {
			active = 1
		}
		observe(active)
	})
	metrics.Gauge("tasker.channel.saturation", "1", "The share in use of each bounded channel, from 0 to 1.", func(observe telemetry.Observe) {
		for name, share := range fullest(monitor.Levels()) {
			observe(share, name)
		}
	}, "channel")
	return g
}

// fullest returns the share in use of the fullest channel of each name.
func fullest(levels []channels.Level) map[string]float64 {
	most := map[string]float64{}
	for _, l := range levels {
		most[l.Name] = max(most[l.Name], l.Share())
	}
	return most
}

// Overload says why the process takes on nothing new; empty: it does.
func (g *Gauge) Overload() string {
	if g == nil {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.overload
}

// Run samples until ctx ends.
func (g *Gauge) Run(ctx context.Context) {
	g.before = g.pool()
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

func (g *Gauge) sample(ctx context.Context) {
	var overload, above []string
	limit := g.limits.MaxMemory.Bytes()
	if used := MemoryAbove(int64(nearMemory * float64(limit))); used > 0 {
		what := fmt.Sprintf("%d MB of memory in use, max_memory_mb is %d", used>>20, limit>>20)
		overload = append(overload, what)
		if used > limit {
			above = append(above, what)
		}
	}
	if use := g.processors.Sample(runtime.NumCPU()); use > float64(g.limits.MaxCPU) {
		above = append(above, fmt.Sprintf("%.1f %% of the processors in use, max_cpu_percent is %v", use, g.limits.MaxCPU))
	}
	now := g.pool()
	waiting := time.Duration(0)
	if n := now.Waits - g.before.Waits; n > 0 {
		waiting = (now.Waited - g.before.Waited) / time.Duration(n)
	}
	g.before = now
	if waiting > g.patience && g.patience > 0 {
		overload = append(overload, fmt.Sprintf("a connection to the database is free after %s on average", waiting.Round(time.Millisecond)))
	}
	if name := g.stuck(); name != "" {
		overload = append(overload, fmt.Sprintf("channel %s is full", name))
	}
	g.set(ctx, strings.Join(overload, "; "), strings.Join(above, "; "), waiting)
}

// stuck names a channel of work that is full, and was at the last sample.
func (g *Gauge) stuck() (name string) {
	full := map[string]bool{}
	for _, l := range g.channels.Levels() {
		if l.Work && l.Share() >= fullRoom {
			full[l.Name] = true
			if g.full[l.Name] {
				name = l.Name
			}
		}
	}
	g.full = full
	return name
}

func (g *Gauge) set(ctx context.Context, overload, above string, waiting time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case overload != "" && g.overload == "":
		g.log.WarnContext(ctx, "nothing new is taken on for now", "why", overload)
	case overload == "" && g.overload != "":
		g.log.InfoContext(ctx, "new work is taken on again")
	}
	g.overload, g.above, g.waiting = overload, above, waiting
}

// Checks are the gauge's part in the health of its process.
func (g *Gauge) Checks() []health.Check {
	return []health.Check{
		{Name: "resources", Look: g.lookLimits},
		{Name: "pool_utilization", Look: g.lookPool},
		{Name: "channel_saturation", Look: g.lookChannels},
	}
}

// lookLimits is degraded above a limit of common.system, and while nothing new is
// taken on.
func (g *Gauge) lookLimits(context.Context) (health.Status, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.overload != "":
		return health.Degraded, "nothing new is taken on: " + g.overload
	case g.above != "":
		return health.Degraded, g.above
	}
	return health.Healthy, "within the limits"
}

// lookPool is degraded while waiting for a connection takes long.
func (g *Gauge) lookPool(context.Context) (health.Status, string) {
	now := g.pool()
	g.mu.Lock()
	defer g.mu.Unlock()
	status := health.Healthy
	if g.waiting > g.patience {
		status = health.Degraded
	}
	return status, fmt.Sprintf("%d of %d connections in use; waiting for one takes %s on average", now.InUse, now.Most, g.waiting.Round(time.Microsecond))
}

// lookChannels is degraded while a channel is fuller than log_warning_threshold.
func (g *Gauge) lookChannels(context.Context) (health.Status, string) {
	var full []string
	for _, l := range g.channels.Levels() {
		if g.channels.Full(l) {
			full = append(full, fmt.Sprintf("%s has %d of %d", l.Name, l.Used, l.Capacity))
		}
	}
	if full != nil {
		return health.Degraded, strings.Join(full, ", ")
	}
	return health.Healthy, "all channels have room"
}
