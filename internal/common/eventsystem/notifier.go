package eventsystem

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A Notifier wakes the listeners of other processes, after the transaction that
// gave them work has committed. NOTIFY takes a lock that all of the server's
// transactions with one share, so wake-ups that come while one is on its way
// travel together.
type Notifier struct {
	db  postgres.DB
	log *slog.Logger

	raised *Signal
	mu     sync.Mutex
	due    map[string]struct{}
	served map[string]*Signal // whom the process itself wakes
}

// NewNotifier returns a notifier; Run sends.
func NewNotifier(db postgres.DB, log *slog.Logger) *Notifier {
	return &Notifier{db: db, log: log, raised: NewSignal(), due: map[string]struct{}{}, served: map[string]*Signal{}}
}

// Serve has wake-ups for the channel raise a signal of this process, which does
// the work, in place of a notification.
func (n *Notifier) Serve(channel string, s *Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.served[channel] = s
}

// Wake has the channel notified soon. It never blocks.
func (n *Notifier) Wake(channel string) {
	n.mu.Lock()
	s := n.served[channel]
	if s == nil {
		n.due[channel] = struct{}{}
		s = n.raised
	}
	n.mu.Unlock()
	s.Raise()
}

// Run sends notifications until ctx ends, and then those that are due. One that
// cannot be sent is dropped: readers also poll, and the reconciler wakes those
// that do not.
func (n *Notifier) Run(ctx context.Context) {
	for ctx.Err() == nil {
		n.raised.Wait(ctx, -1)
		n.send(ctx)
	}
	n.send(ctx) // what came while the last round was under way
}

// patience bounds one round of notifications; a process that ends waits for it.
const patience = 5 * time.Second

func (n *Notifier) send(ctx context.Context) {
	n.mu.Lock()
	channels := slices.Sorted(maps.Keys(n.due))
	clear(n.due)
	n.mu.Unlock()
	if len(channels) == 0 {
		return
	}
	// The end of ctx does not interrupt it: nobody would notify these again.
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := postgres.Notify(sending, n.db, channels); err != nil && ctx.Err() == nil {
		n.log.WarnContext(ctx, "wake-up not sent; readers find the work when they poll", "error", err)
	}
}
