package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A Message is one to publish, persistent, to a queue.
type Message struct {
	Queue string
	ID    string // shown to people; a message that comes twice has it twice
	Body  []byte // JSON
}

// Await returns when the broker can be published to.
func (b *Broker) Await(ctx context.Context) error {
	_, err := b.outward.get(ctx)
	return err
}

// Publish publishes messages and waits until the broker has confirmed them: it
// has them on disk then, on most nodes of a quorum. It returns the places of those
// that it did not confirm, or had no queue for, and why; they may have arrived all
// the same.
func (b *Broker) Publish(ctx context.Context, messages []Message) (failed []int, err error) {
	p, sent, err := b.send(ctx, messages)
	if err != nil {
		b.drop(ctx, p)
	}
	for i := range messages {
		if i >= len(sent) {
			failed = append(failed, i)
			continue
		}
		confirmed, waitErr := sent[i].WaitContext(ctx)
		if !confirmed || waitErr != nil {
			failed = append(failed, i)
			err = errors.Join(err, waitErr)
		}
	}
	if p != nil {
		failed = append(failed, p.returned(messages)...)
	}
	switch {
	case len(failed) == 0:
		return nil, nil
	case err == nil:
		err = errors.New("not confirmed")
	}
	return failed, fmt.Errorf("publish to RabbitMQ: %w", err)
}

// send sends what it can, on a channel that all share: confirms are waited for
// without the lock, so that another batch may follow meanwhile.
func (b *Broker) send(ctx context.Context, messages []Message) (*publisher, []*amqp.DeferredConfirmation, error) {
	conn, err := b.outward.get(ctx)
	if err != nil {
		return nil, nil, err
	}
	type batch struct {
		p    *publisher
		sent []*amqp.DeferredConfirmation
	}
	through := make(chan batch, 1)
	err = b.ask(ctx, conn, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		p, sent, err := b.sendOn(conn, messages)
		through <- batch{p, sent}
		return err
	})
	select {
	case done := <-through:
		return done.p, done.sent, err
	default: // ctx has ended: what became of them is not known
		return nil, nil, err
	}
}

// sendOn sends messages by the publisher of the connection; the caller holds the
// lock.
func (b *Broker) sendOn(conn *session, messages []Message) (p *publisher, sent []*amqp.DeferredConfirmation, err error) {
	if b.publisher == nil || b.publisher.ch.IsClosed() {
		if b.publisher, err = newPublisher(conn); err != nil {
			return nil, nil, err
		}
	}
	for _, m := range messages {
		confirm, err := b.publisher.ch.PublishWithDeferredConfirm("", m.Queue, true, false, amqp.Publishing{
			ContentType: "application/json", DeliveryMode: amqp.Persistent, MessageId: m.ID, AppId: "tasker", Body: m.Body,
		})
		if err != nil {
			return b.publisher, sent, err
		}
		sent = append(sent, confirm)
	}
	return b.publisher, sent, nil
}

// drop gives up a channel that failed; the next batch opens another.
func (b *Broker) drop(ctx context.Context, p *publisher) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p != nil && b.publisher == p {
		_ = b.ask(ctx, p.conn, p.ch.Close) // it failed
		b.publisher = nil
	}
}

// A publisher is a channel in confirm mode. Messages without a queue come back
// before their confirm; it remembers which.
type publisher struct {
	conn *session
	ch   *amqp.Channel

	flush chan chan struct{} // answered once what came back so far is remembered
	ended chan struct{}

	mu   sync.Mutex
	back map[string]bool // queue and id
}

func newPublisher(conn *session) (*publisher, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, errors.Join(err, ch.Close())
	}
	p := &publisher{conn: conn, ch: ch, flush: make(chan chan struct{}), ended: make(chan struct{}), back: map[string]bool{}}
	// Unbuffered: the library hands a return over before it looks at the confirm.
	go p.remember(ch.NotifyReturn(make(chan amqp.Return)))
	return p, nil
}

func (p *publisher) remember(returns <-chan amqp.Return) {
	defer close(p.ended)
	for {
		select {
		case r, open := <-returns:
			if !open {
				return
			}
			p.mu.Lock()
			p.back[r.RoutingKey+" "+r.MessageId] = true
			p.mu.Unlock()
		case answer := <-p.flush:
			close(answer)
		}
	}
}

// returned are the places of messages that came back; they are forgotten.
func (p *publisher) returned(messages []Message) (places []int) {
	answer := make(chan struct{})
	select {
	case p.flush <- answer:
		<-answer
	case <-p.ended:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.back) == 0 {
		return nil
	}
	for i, m := range messages {
		if key := m.Queue + " " + m.ID; p.back[key] {
			delete(p.back, key)
			places = append(places, i)
		}
	}
	return places
}
