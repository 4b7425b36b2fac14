// Package registry has a process tell the others that it lives and what it does,
// with one statement each heartbeat. Who is silent for three of them counts as
// gone.
package registry

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// Beat is how often a process tells of itself.
const Beat = 5 * time.Second

// Kept is how long a process stays in the registry after its end. So long the
// attempts of its steps have the name of the worker.
const Kept = 30 * 24 * time.Hour

// A Member is this process in the registry.
type Member struct {
	db      postgres.DB
	running func() int // how many steps run now
	log     *slog.Logger

	mu  sync.Mutex
	row postgres.Worker
}

// Enter puts a process into the registry. Running says how many steps it runs;
// nil: it runs none.
func Enter(ctx context.Context, db postgres.DB, row postgres.Worker, running func() int, log *slog.Logger) (*Member, error) {
	if row.Beat == 0 {
		row.Beat = Beat
	}
	if running == nil {
		running = func() int { return 0 }
	}
	m := &Member{db: db, row: row, running: running, log: log}
	return m, m.beat(ctx)
}

// ServeToo says what a worker serves besides from now on.
func (m *Member) ServeToo(ctx context.Context, namespaces, templates []string) error {
	m.mu.Lock()
	m.row.Namespaces, m.row.Templates = union(m.row.Namespaces, namespaces), union(m.row.Templates, templates)
	m.mu.Unlock()
	return m.beat(ctx)
}

// union returns what is in either list, sorted, in a list of its own.
func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

// Run tells of the process at intervals: until ctx ends that it runs, then, until
// over ends, that it takes on nothing more, and at last that it has stopped.
func (m *Member) Run(ctx, over context.Context) {
	ticker := time.NewTicker(m.row.Beat)
	defer ticker.Stop()
	stopping := ctx.Done()
	for {
		select {
		case <-over.Done():
			m.leave(over)
			return
		case <-stopping:
			stopping = nil
			m.mu.Lock()
			m.row.Draining = true
			m.mu.Unlock()
		case <-ticker.C:
		}
		if err := m.beat(over); err != nil && over.Err() == nil {
			m.log.WarnContext(over, "heartbeat failed; trying again", "error", err)
		}
	}
}

func (m *Member) beat(ctx context.Context) error {
	m.mu.Lock()
	row := m.row
	m.mu.Unlock()
	row.Running = m.running()
	return postgres.Beat(ctx, m.db, &row)
}

// leave waits no longer for the database than others would for a heartbeat.
func (m *Member) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.row.Beat)
	defer cancel()
	if err := postgres.StopWorker(ctx, m.db, m.row.Process); err != nil {
		m.log.WarnContext(ctx, "the registry will show this process as gone", "error", err)
	}
}

// Version is that of the program, "(devel)" when it was built from a working copy.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
