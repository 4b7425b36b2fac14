package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// How often a waiter looks: soon at first, for tasks that take milliseconds,
// then ever more rarely.
const (
	firstLook = time.Millisecond
	lastLook  = 250 * time.Millisecond
)

// A waiter looks for the ends of all the tasks that calls wait for, in one
// query, while there are any.
type waiter struct {
	pool *pgxpool.Pool

	mu      sync.Mutex
	waiting map[uuid.UUID]*awaited
	looking bool
	closed  bool
	ctx     context.Context //nolint:containedctx // ends with the client: the life of the loop, not of a call
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// awaited is a task that at least one call waits for.
type awaited struct {
	calls int
	done  chan struct{}
	err   error // read after done
	since time.Time
}

func newWaiter(pool *pgxpool.Pool) *waiter {
	w := &waiter{pool: pool, waiting: map[uuid.UUID]*awaited{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

var errClosed = errors.New("the client is closed")

func (w *waiter) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	w.wg.Wait()
}

// wait returns when the task is over.
func (w *waiter) wait(ctx context.Context, task uuid.UUID) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errClosed
	}
	a := w.waiting[task]
	if a == nil {
		a = &awaited{done: make(chan struct{}), since: time.Now()}
		w.waiting[task] = a
	}
	a.calls++
	if !w.looking {
		w.looking = true
		w.wg.Go(w.look)
	}
	w.mu.Unlock()
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		if a.calls--; a.calls == 0 && w.waiting[task] == a {
			delete(w.waiting, task)
		}
		return ctx.Err()
	}
}

// look runs while anybody waits.
func (w *waiter) look() {
	for {
		ids, youngest := w.awaited()
		if len(ids) == 0 {
			return
		}
		states, err := postgres.TaskStates(w.ctx, w.pool, ids)
		w.settle(ids, states, err)
		pause := min(max(youngest/4, firstLook), lastLook)
		select {
		case <-time.After(pause):
		case <-w.ctx.Done():
		}
	}
}

// awaited returns the tasks that are waited for and how long the one asked for
// last has been. Without any the loop is over.
func (w *waiter) awaited() (ids []uuid.UUID, youngest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	youngest = time.Hour
	for id, a := range w.waiting {
		ids = append(ids, id)
		youngest = min(youngest, time.Since(a.since))
	}
	w.looking = len(ids) > 0
	return ids, youngest
}

func (w *waiter) settle(ids []uuid.UUID, states map[uuid.UUID]tasker.TaskState, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		a := w.waiting[id]
		state, found := states[id]
		switch {
		case a == nil:
			continue
		case w.closed:
			a.err = errClosed
		case err != nil:
			a.err = err
		case !found:
			a.err = ErrNotFound
		case !state.Terminal() && state != tasker.TaskBlockedByFailures:
			continue
		}
		delete(w.waiting, id)
		close(a.done)
	}
}
