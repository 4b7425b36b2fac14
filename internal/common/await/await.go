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
	see      func(context.Context, []uuid.UUID) (map[uuid.UUID]string, error) // how the tasks that exist stand
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
	due   time.Time         // when to look next
	until func(string) bool // whether what is seen is what it waits for
	told  chan string       // gets that, once
}

// New returns a watcher that looks at a task again after shortest at the
// earliest. Run looks.
func New(db postgres.DB, log *slog.Logger, shortest time.Duration) *Watcher {
	return newWatcher(log, shortest, func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]string, error) {
		states, err := postgres.TaskStates(ctx, db, ids)
		seen := make(map[uuid.UUID]string, len(states))
		for id, state := range states {
			seen[id] = string(state)
		}
		return seen, err
	})
}

func newWatcher(log *slog.Logger, shortest time.Duration, see func(context.Context, []uuid.UUID) (map[uuid.UUID]string, error)) *Watcher {
	return &Watcher{see: see, log: log, shortest: shortest, joined: eventsystem.NewSignal(), waiting: map[*waiter]struct{}{}}
}

// over reports whether waiting on makes no sense: the task is in a final state,
// or nothing moves it but an operator.
func over(s tasker.TaskState) bool { return s.Terminal() || s == tasker.TaskBlockedByFailures }

// Await returns a channel that gets a value once the task is over, which includes
// being blocked by failures, or does not exist. Forget must be called in the end.
func (w *Watcher) Await(task uuid.UUID) (ended <-chan string, forget func()) {
	return w.wait(task, func(state string) bool { return state == "" || over(tasker.TaskState(state)) })
}

func (w *Watcher) wait(task uuid.UUID, until func(string) bool) (told <-chan string, forget func()) {
	now := time.Now()
	one := &waiter{task: task, since: now, due: now.Add(w.shortest), until: until, told: make(chan string, 1)}
	w.mu.Lock()
	w.waiting[one] = struct{}{}
	w.mu.Unlock()
	w.joined.Raise()
	return one.told, func() {
		w.mu.Lock()
		delete(w.waiting, one)
		w.mu.Unlock()
	}
}

// A Follower tells callers when a task or one of its steps has changed, as a
// [Watcher] tells when it has ended.
type Follower struct{ watcher *Watcher }

// NewFollower is like [New].
func NewFollower(db postgres.DB, log *slog.Logger, shortest time.Duration) *Follower {
	return &Follower{newWatcher(log, shortest, func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]string, error) {
		return postgres.Fingerprints(ctx, db, ids)
	})}
}

// Run looks at tasks until ctx ends.
func (f *Follower) Run(ctx context.Context) { f.watcher.Run(ctx) }

// Changed returns a channel that gets the fingerprint of a task once it is not
// the given one: empty when there is no such task. Forget must be called in the
// end.
func (f *Follower) Changed(task uuid.UUID, from string) (fingerprint <-chan string, forget func()) {
	return f.watcher.wait(task, func(now string) bool { return now != from })
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
	seen, err := w.see(ctx, ids)
	if err != nil { // those who wait look for themselves in the end, and learn it
		w.log.DebugContext(ctx, "tasks that are waited for not looked at", "tasks", len(ids), "error", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range due {
		if _, waits := w.waiting[one]; waits && one.until(seen[one.task]) {
			delete(w.waiting, one)
			one.told <- seen[one.task]
		}
	}
}
