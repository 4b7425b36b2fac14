// Package rabbitmq carries messages by a RabbitMQ broker. It knows nothing of
// steps and tasks: it keeps two connections alive, one to publish and one to
// consume, so that a publisher that the broker holds back never keeps
// acknowledgements from it; it publishes with confirms and consumes with
// acknowledgements by hand.
//
// Whatever is lost with a connection comes again or is reported as not
// confirmed: a message may come twice, and what has been confirmed is not lost.
package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
)

// A Broker is a process's access to RabbitMQ. Its methods may be called
// concurrently; they work while Run does.
type Broker struct {
	cfg   config.RabbitMQ
	uri   amqp.URI
	names messaging.Names
	name  string // of the process, shown by the broker
	log   *slog.Logger

	outward, inward *link

	mu        sync.Mutex
	publisher *publisher // nil: to be opened
}

// Open connects to the broker within connection_timeout_seconds. An error names
// the broker and never the password.
func Open(ctx context.Context, cfg config.RabbitMQ, names messaging.Names, name string, log *slog.Logger) (*Broker, error) {
	uri, err := amqp.ParseURI(cfg.URL)
	if err != nil {
		return nil, errors.New("common.queues.rabbitmq.url does not parse; it looks like amqp://user:password@host:5672/vhost")
	}
	b := &Broker{cfg: cfg, uri: uri, names: names, name: name, log: log}
	b.outward, b.inward = newLink(b, "publishing"), newLink(b, "consuming")
	for _, l := range []*link{b.outward, b.inward} {
		conn, err := b.dial(ctx, l.direction)
		if err != nil {
			b.Close()
			return nil, err
		}
		l.set(conn)
	}
	return b, nil
}

// Run keeps the connections until ctx ends, and closes them then.
func (b *Broker) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { b.outward.run(ctx) })
	wg.Go(func() { b.inward.run(ctx) })
	wg.Wait()
}

// Close closes the connections of a broker that does not run.
func (b *Broker) Close() {
	b.outward.close()
	b.inward.close()
}

// Checks are the broker's part in the health of the process, none for a nil
// broker. Without it work goes on by polling, so nothing worse than degraded
// comes of it.
func (b *Broker) Checks() []health.Check {
	if b == nil {
		return nil
	}
	return []health.Check{{Name: "broker", Look: func(context.Context) (health.Status, string) {
		for _, l := range []*link{b.outward, b.inward} {
			if trouble := l.trouble(); trouble != "" {
				return health.Degraded, trouble + "; work is found by polling"
			}
		}
		return health.Healthy, "connected"
	}}}
}

// where names the broker for people.
func (b *Broker) where() string {
	return net.JoinHostPort(b.uri.Host, strconv.Itoa(b.uri.Port)) + "/" + b.uri.Vhost
}

// dial makes one connection.
func (b *Broker) dial(ctx context.Context, direction string) (*session, error) {
	patience := b.cfg.ConnectionTimeout.Duration()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %v", patience))
	defer cancel()
	var raw net.Conn
	interrupt := func() bool { return true }
	conn, err := amqp.DialConfig(b.cfg.URL, amqp.Config{
		Heartbeat:  b.cfg.Heartbeat.Duration(),
		Properties: amqp.Table{"connection_name": b.name + " " + direction, "product": "Tasker"},
		Dial: func(network, address string) (conn net.Conn, err error) {
			if conn, err = new(net.Dialer).DialContext(ctx, network, address); err != nil {
				return nil, err
			}
			raw, interrupt = conn, context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
			return conn, nil
		},
	})
	if !interrupt() || err != nil {
		if raw != nil {
			_ = raw.Close()
		}
		return nil, fmt.Errorf("connect to RabbitMQ at %s: %w", b.where(), reason(ctx, err))
	}
	// The library sets the deadline anew with each frame that comes, and none before
	// the first: a connection that dies right after the handshake would go unnoticed.
	if err := raw.SetReadDeadline(time.Now().Add(missed * b.cfg.Heartbeat.Duration())); err != nil {
		return nil, fmt.Errorf("connect to RabbitMQ at %s: %w", b.where(), errors.Join(err, conn.Close()))
	}
	return &session{conn, raw}, nil
}

// missed is how many heartbeats may be missing before the library gives a
// connection up.
const missed = 3

// reason says why a connection was not made.
func reason(ctx context.Context, err error) error {
	var refused *amqp.Error
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w; is the broker running and reachable?", context.Cause(ctx))
	case errors.Is(err, amqp.ErrCredentials):
		return errors.New("user and password are refused")
	case errors.Is(err, amqp.ErrVhost), errors.As(err, &refused) && refused.Code == amqp.NotAllowed:
		return errors.New("the user may not use the virtual host, or there is none of that name")
	}
	return fmt.Errorf("%w; is the broker running and reachable?", err)
}
