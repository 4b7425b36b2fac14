package rabbitmq

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A link is the connection of one direction, made anew whenever it breaks.
type link struct {
	broker    *Broker
	direction string

	mu      sync.Mutex
	conn    *session      // nil while there is none
	blocked string        // why the broker takes nothing now; empty: it does
	changed chan struct{} // closed at the next change
}

func newLink(b *Broker, direction string) *link {
	return &link{broker: b, direction: direction, changed: make(chan struct{})}
}

// The pauses between attempts to connect double from the first to the last, each
// cut by up to half at random, so that not all processes come back at once.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// pause is how long to rest after so many failures.
func pause(failures int) time.Duration {
	d := lastPause
	if failures < 8 { // beyond, doubling exceeds the last
		d = min(lastPause, firstPause<<(failures-1))
	}
	return d - rand.N(d/2) //nolint:gosec // spreads load, guards nothing
}

// rest waits for d or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// run keeps the connection until ctx ends.
func (l *link) run(ctx context.Context) {
	defer l.close()
	log := l.broker.log
	for ctx.Err() == nil {
		lost := l.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		l.set(nil)
		log.WarnContext(ctx, "connection to RabbitMQ lost; connecting anew", "direction", l.direction, "error", lost)
		for failures := 1; ctx.Err() == nil; failures++ {
			rest(ctx, pause(failures))
			conn, err := l.broker.dial(ctx, l.direction)
			if err == nil {
				l.set(conn)
				log.InfoContext(ctx, "connected to RabbitMQ again", "direction", l.direction, "failures", failures-1)
				break
			}
			if ctx.Err() == nil {
				log.WarnContext(ctx, "RabbitMQ is away; trying again", "direction", l.direction, "error", err, "failures", failures)
			}
		}
	}
}

// watch waits for the end of the connection, or of ctx, and notes when the
// broker takes nothing more, as it does when memory or disk run short.
func (l *link) watch(ctx context.Context) error {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn == nil {
		return amqp.ErrClosed
	}
	ended := conn.NotifyClose(make(chan *amqp.Error, 1))
	blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 1))
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			if err == nil { // closed before it was watched
				return amqp.ErrClosed
			}
			return err
		case b, open := <-blocked:
			if !open {
				blocked = nil
				continue
			}
			why := ""
			if b.Active {
				why = "RabbitMQ takes no messages: " + b.Reason
				l.broker.log.WarnContext(ctx, "RabbitMQ blocks the connection", "direction", l.direction, "reason", b.Reason)
			}
			l.change(func() { l.blocked = why })
		}
	}
}

func (l *link) change(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) set(conn *session) {
	l.change(func() { l.conn, l.blocked = conn, "" })
}

func (l *link) close() {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	l.set(nil)
	if conn != nil {
		conn.end()
	}
}

// get returns the connection; it waits until there is one and the broker takes
// messages.
func (l *link) get(ctx context.Context) (*session, error) {
	for {
		l.mu.Lock()
		conn, blocked, changed := l.conn, l.blocked, l.changed
		l.mu.Unlock()
		if conn != nil && blocked == "" && !conn.IsClosed() {
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for RabbitMQ: %w", context.Cause(ctx))
		}
	}
}

// trouble is what is wrong, for people; empty when nothing is.
func (l *link) trouble() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || l.conn.IsClosed() {
		return "no connection to RabbitMQ for " + l.direction
	}
	return l.blocked
}
