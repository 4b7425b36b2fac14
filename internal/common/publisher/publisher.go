// Package publisher passes events on within a process, from whoever brings them
// about to the subscribers of the program: through bounded channels, each event
// once, whatever a subscriber does.
//
// What happens when a channel is full says
// common.mpsc_channels.overflow_policy.drop_policy. Start reading at [Bus].
package publisher

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
)

// A Bus tells subscribers of events. Add the subscribers, then run it.
type Bus struct {
	policy  config.DropPolicy
	grace   time.Duration
	log     *slog.Logger
	monitor *channels.Monitor

	queue       chan tasker.Event
	subscribers []*subscriber
	seen        *seen
	over        chan struct{} // closed when nothing is taken any more
	stats       stats
}

type subscriber struct {
	tasker.Subscription

	events chan tasker.Event
}

type stats struct {
	published, duplicates, dropped, delivered, panics atomic.Int64
}

// Stats are counts since the start.
type Stats struct {
	Subscribers int
	Published   int64 // events taken, of those that somebody subscribes to
	Duplicates  int64 // of these, events that had been passed on already
	Dropped     int64 // events that a full channel cost a subscriber, or all of them
	Delivered   int64 // calls of subscribers that returned
	Panics      int64 // calls that panicked
}

// New returns a bus whose queue has the size that cfg says. Once it is told to
// stop, what it has taken gets the time of grace.
func New(cfg config.SharedChannels, grace time.Duration, monitor *channels.Monitor, log *slog.Logger) *Bus {
	b := &Bus{
		policy: cfg.OverflowPolicy.DropPolicy, grace: grace, log: log, monitor: monitor,
		queue: make(chan tasker.Event, cfg.EventPublisher.EventQueueBufferSize),
		seen:  newSeen(cfg.EventPublisher.EventQueueBufferSize),
		over:  make(chan struct{}),
	}
	channels.Watch(monitor, "events", b.queue)
	return b
}

// Subscribe adds subscribers for each of which buffer events may wait, and has
// the bus remember so many ids of events to tell repeats.
func (b *Bus) Subscribe(subscriptions []tasker.Subscription, buffer, remember int) {
	b.seen = newSeen(remember)
	for _, s := range subscriptions {
		added := &subscriber{s, make(chan tasker.Event, buffer)}
		channels.Watch(b.monitor, "events for "+s.Pattern, added.events)
		b.subscribers = append(b.subscribers, added)
	}
}

// Wants reports whether somebody subscribes to events of the name.
func (b *Bus) Wants(name string) bool {
	for _, s := range b.subscribers {
		if s.Matches(name) {
			return true
		}
	}
	return false
}

// Publish passes an event on. With the policy block it waits while the queue is
// full. After the end of Run it drops the event.
func (b *Bus) Publish(e tasker.Event) {
	if !b.Wants(e.Name) {
		return
	}
	b.stats.published.Add(1)
	select {
	case <-b.over:
		b.stats.dropped.Add(1)
	default:
		b.push(b.queue, e, b.over)
	}
}

// push puts an event into a channel by the policy; done ends the wait for room.
func (b *Bus) push(into chan tasker.Event, e tasker.Event, done <-chan struct{}) {
	for {
		select {
		case into <- e:
			return
		default:
		}
		switch b.policy {
		case config.Block:
			select {
			case into <- e:
			case <-done:
				b.stats.dropped.Add(1)
			}
			return
		case config.DropNewest:
			b.stats.dropped.Add(1)
			return
		case config.DropOldest:
			select {
			case <-into:
				b.stats.dropped.Add(1)
			default: // the reader was faster
			}
		}
	}
}

// Stats returns the counts so far.
func (b *Bus) Stats() Stats {
	return Stats{
		Subscribers: len(b.subscribers), Published: b.stats.published.Load(), Duplicates: b.stats.duplicates.Load(),
		Dropped: b.stats.dropped.Load(), Delivered: b.stats.delivered.Load(), Panics: b.stats.panics.Load(),
	}
}

// Run passes events on until ctx ends, and then those it has taken, for no
// longer than the grace. It waits for its subscribers; one that does not return
// even when its own context has ended is left behind.
func (b *Bus) Run(ctx context.Context) {
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(b.grace, stop) })()
	var subscribers sync.WaitGroup
	for _, s := range b.subscribers {
		subscribers.Go(func() { b.tell(telling, s) })
	}
	told := make(chan struct{})
	go func() { subscribers.Wait(); close(told) }()

	b.dispatch(ctx, telling)
	close(b.over)
	b.drain(telling)
	for _, s := range b.subscribers {
		close(s.events)
	}
	select {
	case <-told:
		return
	case <-telling.Done():
	}
	select {
	case <-told:
	case <-time.After(time.Second):
		b.log.WarnContext(ctx, "subscribers ignore the shutdown; they are left behind")
	}
}

// dispatch hands events to their subscribers until ctx ends. One that waits for
// room then goes on waiting, as long as its subscriber is told of events.
func (b *Bus) dispatch(ctx, telling context.Context) {
	for {
		select {
		case e := <-b.queue:
			b.handOver(telling, e)
		case <-ctx.Done():
			return
		}
	}
}

// drain hands over what the queue still holds, until ctx ends.
func (b *Bus) drain(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case e := <-b.queue:
			b.handOver(ctx, e)
		default:
			return
		}
	}
	b.stats.dropped.Add(int64(len(b.queue)))
}

func (b *Bus) handOver(ctx context.Context, e tasker.Event) {
	if b.seen.before(e.ID) {
		b.stats.duplicates.Add(1)
		return
	}
	for _, s := range b.subscribers {
		if s.Matches(e.Name) {
			b.push(s.events, e, ctx.Done())
		}
	}
}

// tell calls a subscriber for each event, until there will be no more or ctx
// has ended.
func (b *Bus) tell(ctx context.Context, s *subscriber) {
	for e := range s.events {
		if ctx.Err() != nil {
			b.stats.dropped.Add(1)
			continue
		}
		b.call(ctx, s, e)
	}
}

func (b *Bus) call(ctx context.Context, s *subscriber, e tasker.Event) {
	defer func() {
		if v := recover(); v != nil {
			b.stats.panics.Add(1)
			b.log.ErrorContext(ctx, "event subscriber panicked", "pattern", s.Pattern, "event", e.Name, "event_id", e.ID,
				"panic", v, "stack", string(debug.Stack()))
		}
	}()
	s.Tell(ctx, e)
	b.stats.delivered.Add(1)
}
