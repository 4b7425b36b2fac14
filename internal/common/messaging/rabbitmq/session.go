package rabbitmq

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A session is a connection together with what carries it.
type session struct {
	*amqp.Connection
	raw net.Conn
}

// end closes the session in good order or, when the broker does not answer
// within a second, by hanging up.
func (s *session) end() {
	defer time.AfterFunc(time.Second, func() { _ = s.raw.Close() }).Stop()
	_ = s.Close() // it is given up either way
}

// ask has do ask the broker for something, which the library has no limit for. A
// broker that does not answer within connection_timeout_seconds loses the session, so
// that another is made; whoever asks waits no longer than ctx.
func (b *Broker) ask(ctx context.Context, s *session, do func() error) error {
	patience := b.cfg.ConnectionTimeout.Duration()
	var silent atomic.Bool
	hangUp := time.AfterFunc(patience, func() {
		silent.Store(true)
		_ = s.raw.Close()
	})
	done := make(chan error, 1)
	go func() {
		err := do()
		hangUp.Stop()
		if err != nil && silent.Load() {
			err = fmt.Errorf("RabbitMQ gave no answer within %v: %w", patience, err)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for RabbitMQ: %w", context.Cause(ctx))
	}
}

// channel opens a channel.
func (b *Broker) channel(ctx context.Context, s *session) (*amqp.Channel, error) {
	opened := make(chan *amqp.Channel, 1) // whoever has gone does not see it
	err := b.ask(ctx, s, func() error {
		ch, err := s.Channel()
		opened <- ch
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-opened, nil
}
