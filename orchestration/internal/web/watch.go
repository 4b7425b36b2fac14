package web

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A watcher tells waiting requests when their tasks have ended. It looks often
// at tasks that were just asked about, ever more rarely at others, and at all
// that are due in one query, however many wait.
type watcher struct {
	db     postgres.DB
	log    *slog.Logger
	joined *eventsystem.Signal

	mu      sync.Mutex
	waiting map[*waiter]struct{}
}

// A waiter is one waiting request.
type waiter struct {
	task  uuid.UUID
	since time.Time
	due   time.Time     // when to look next
	ended chan struct{} // closed when the task has ended
}

func newWatcher(db postgres.DB, log *slog.Logger) *watcher {
	return &watcher{db: db, log: log, joined: eventsystem.NewSignal(), waiting: map[*waiter]struct{}{}}
}

// await returns a channel that is closed once the task has ended, or does not
// exist. Forget must be called in the end.
func (w *watcher) await(task uuid.UUID) (ended <-chan struct{}, forget func()) {
	now := time.Now()
	one := &waiter{task: task, since: now, due: now.Add(shortest), ended: make(chan struct{})}
	w.mu.Lock()
	w.waiting[one] = struct{}{}
	w.mu.Unlock()
	w.joined.Raise()
	return one.ended, func() {
		w.mu.Lock()
		delete(w.waiting, one)
		w.mu.Unlock()
	}
}

// How often to look at a task: after a tenth of the time that it has been
// waited for, within these bounds. Looks less than half the shortest pause apart
// are one.
const (
	shortest = 10 * time.Millisecond
	longest  = 500 * time.Millisecond
)

// run looks at tasks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		due, pause := w.due(time.Now())
		if len(due) == 0 {
			w.joined.Wait(ctx, pause)
			continue
		}
		w.look(ctx, due)
	}
}

// due returns whom to look for now, or how long there is nobody; that is
// negative when nobody waits at all. It sets when they are due again.
func (w *watcher) due(now time.Time) (due []*waiter, pause time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pause = -1
	for one := range w.waiting {
		if wait := one.due.Sub(now); wait > shortest/2 {
			if pause < 0 || wait < pause {
				pause = wait
			}
			continue
		}
		one.due = now.Add(min(max(now.Sub(one.since)/10, shortest), longest))
		due = append(due, one)
	}
	return due, pause
}

func (w *watcher) look(ctx context.Context, due []*waiter) {
	ids := make([]uuid.UUID, len(due))
	for i, one := range due {
		ids[i] = one.task
	}
	states, err := postgres.TaskStates(ctx, w.db, ids)
	if err != nil { // those who wait look for themselves in the end, and learn it
		w.log.DebugContext(ctx, "tasks that requests wait for not looked at", "tasks", len(ids), "error", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range due {
		if _, waits := w.waiting[one]; waits && (states[one.task] == "" || states[one.task].Terminal()) {
			delete(w.waiting, one)
			close(one.ended)
		}
	}
}
