// Package await tells callers when tasks have ended. However many wait, they
// share one query.
package await

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A Watcher tells callers when their tasks have ended. It looks often at tasks
// that were just asked about, ever more rarely at others, and at all that are
// due in one query.
type Watcher struct {
	db       postgres.DB
	log      *slog.Logger
	shortest time.Duration
	joined   *eventsystem.Signal

	mu      sync.Mutex
	waiting map[*waiter]struct{}
}

// A waiter is one waiting caller.
type waiter struct {
	task  uuid.UUID
	since time.Time
	due   time.Time     // when to look next
	ended chan struct{} // closed when the task is over
}

// New returns a watcher that looks at a task again after shortest at the
// earliest. Run looks.
func New(db postgres.DB, log *slog.Logger, shortest time.Duration) *Watcher {
	return &Watcher{db: db, log: log, shortest: shortest, joined: eventsystem.NewSignal(), waiting: map[*waiter]struct{}{}}
}

// over reports whether waiting on makes no sense: the task is in a final state,
// or nothing moves it but an operator.
func over(s tasker.TaskState) bool { return s.Terminal() || s == tasker.TaskBlockedByFailures }

// Await returns a channel that is closed once the task is over, which includes
// being blocked by failures, or does not exist. Forget must be called in the end.
func (w *Watcher) Await(task uuid.UUID) (ended <-chan struct{}, forget func()) {
	now := time.Now()
	one := &waiter{task: task, since: now, due: now.Add(w.shortest), ended: make(chan struct{})}
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

// longest is the longest pause between two looks at a task. A task is looked at
// after a tenth of the time that it has been waited for, within the bounds;
// looks less than half the shortest pause apart are one.
const longest = 500 * time.Millisecond

// Run looks at tasks until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
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
func (w *Watcher) due(now time.Time) (due []*waiter, pause time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pause = -1
	for one := range w.waiting {
		if wait := one.due.Sub(now); wait > w.shortest/2 {
			if pause < 0 || wait < pause {
				pause = wait
			}
			continue
		}
		one.due = now.Add(min(max(now.Sub(one.since)/10, w.shortest), longest))
		due = append(due, one)
	}
	return due, pause
}

func (w *Watcher) look(ctx context.Context, due []*waiter) {
	ids := make([]uuid.UUID, len(due))
	for i, one := range due {
		ids[i] = one.task
	}
	states, err := postgres.TaskStates(ctx, w.db, ids)
	if err != nil { // those who wait look for themselves in the end, and learn it
		w.log.DebugContext(ctx, "tasks that are waited for not looked at", "tasks", len(ids), "error", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range due {
		if _, waits := w.waiting[one]; waits && (states[one.task] == "" || over(states[one.task])) {
			delete(w.waiting, one)
			close(one.ended)
		}
	}
}
