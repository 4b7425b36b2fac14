// Package depth probes how much waits in the queues of a role, and for how long.
package depth

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// How long a message may be due until somebody should look: what orchestrators
// read is dealt with at once, and steps may wait while workers are busy.
const (
	Late      = time.Minute
	LateSteps = 10 * time.Minute
)

// A Queue is one to probe.
type Queue struct {
	Name string
	Late time.Duration // [Late] or [LateSteps]
}

// A Prober looks at the queues at intervals. It is safe for concurrent use.
type Prober struct {
	db       postgres.DB
	queues   func(ctx context.Context) ([]Queue, error)
	interval time.Duration
	log      *slog.Logger

	mu     sync.Mutex
	found  []postgres.Depth
	late   map[string]time.Duration // by queue
	probed time.Time                // zero: not yet
}

// New returns a prober of the queues that queues returns for each look.
func New(db postgres.DB, queues func(ctx context.Context) ([]Queue, error), interval time.Duration, log *slog.Logger) *Prober {
	return &Prober{db: db, queues: queues, interval: interval, log: log}
}

// Run probes now and each interval until ctx ends.
func (p *Prober) Run(ctx context.Context) {
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	for {
		if err := p.probe(ctx); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "queues not probed; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *Prober) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.interval)
	defer cancel()
	queues, err := p.queues(ctx)
	if err != nil {
		return err
	}
	names, late := make([]string, len(queues)), make(map[string]time.Duration, len(queues))
	for i, q := range queues {
		names[i], late[q.Name] = q.Name, q.Late
	}
	found, err := postgres.Depths(ctx, p.db, names)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found, p.late, p.probed = found, late, time.Now()
	return nil
}

// Check is degraded while a message has been due for too long, and while the
// last two probes have failed.
func (p *Prober) Check(name string) health.Check {
	return health.Check{Name: name, Look: func(context.Context) (health.Status, string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if since := time.Since(p.probed); since > 2*p.interval && !p.probed.IsZero() {
			return health.Degraded, fmt.Sprintf("not probed for %s", since.Round(time.Second))
		}
		due := 0
		for _, d := range p.found {
			if d.Oldest > p.late[d.Queue] {
				return health.Degraded, fmt.Sprintf("%d messages are due in %s, the oldest for %s", d.Due, d.Queue, d.Oldest.Round(time.Second))
			}
			due += d.Due
		}
		return health.Healthy, fmt.Sprintf("%d messages are due in %d queues", due, len(p.found))
	}}
}
