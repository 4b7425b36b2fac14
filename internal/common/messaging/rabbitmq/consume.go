package rabbitmq

import (
	"context"
	"slices"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A Delivery is a message that waits for its acknowledgement. Without it comes
// again, here or elsewhere.
type Delivery struct {
	ID      string
	Body    []byte
	Headers map[string]any

	tag uint64
	ch  *amqp.Channel
}

// A Consumer consumes one queue. It may hold so many messages without
// acknowledgement as its prefetch says.
type Consumer struct {
	broker   *Broker
	queue    string
	prefetch int
	arrived  func()

	mu      sync.Mutex
	ch      *amqp.Channel // of this connection
	open    map[uint64]struct{}
	waiting []Delivery
}

// Consumer returns a consumer of a queue; Run declares it and consumes. arrived is called, without delay, when there is something to take.
func (b *Broker) Consumer(queue string, prefetch int, arrived func()) *Consumer {
	return &Consumer{broker: b, queue: queue, prefetch: prefetch, arrived: arrived}
}

// Run consumes until ctx ends; what is not acknowledged by then goes back to
// the queue. A broken connection is followed by the next.
func (c *Consumer) Run(ctx context.Context) {
	for failures := 1; ctx.Err() == nil; failures++ {
		received, err := c.consume(ctx)
		if ctx.Err() != nil {
			return
		}
		if received {
			failures = 1
		}
		c.broker.log.WarnContext(ctx, "consumer interrupted; beginning anew", "queue", c.queue, "error", err)
		rest(ctx, pause(failures))
	}
}

// consume consumes on one channel until it ends.
func (c *Consumer) consume(ctx context.Context) (received bool, err error) {
	conn, err := c.broker.inward.get(ctx)
	if err != nil {
		return false, err
	}
	if err := c.broker.Declare(ctx, c.queue); err != nil { // it may be gone with the broker's data
		return false, err
	}
	ch, err := c.broker.channel(ctx, conn)
	if err != nil {
		return false, err
	}
	defer func() { _ = c.broker.ask(ctx, conn, ch.Close) }() // what it does not answer goes with the connection
	ended := ch.NotifyClose(make(chan *amqp.Error, 1))
	started := make(chan (<-chan amqp.Delivery), 1)
	err = c.broker.ask(ctx, conn, func() error {
		if err := ch.Qos(c.prefetch, 0, false); err != nil {
			return err
		}
		deliveries, err := ch.ConsumeWithContext(context.WithoutCancel(ctx), c.queue, "", false, false, false, false, nil)
		started <- deliveries
		return err
	})
	if err != nil {
		return false, err
	}
	c.begin(ch)
	defer c.begin(nil)
	if received = c.receive(ctx, ch, <-started); ctx.Err() != nil {
		return received, ctx.Err()
	}
	if err := <-ended; err != nil {
		return received, err
	}
	return received, amqp.ErrClosed
}

// receive takes in deliveries until there are no more, or ctx ends, and reports
// whether there were any.
func (c *Consumer) receive(ctx context.Context, ch *amqp.Channel, deliveries <-chan amqp.Delivery) (received bool) {
	for {
		select {
		case d, open := <-deliveries:
			if !open {
				return received
			}
			received = true
			c.mu.Lock()
			c.open[d.DeliveryTag] = struct{}{}
			c.waiting = append(c.waiting, Delivery{ID: d.MessageId, Body: d.Body, Headers: d.Headers, tag: d.DeliveryTag, ch: ch})
			c.mu.Unlock()
			c.arrived()
		case <-ctx.Done():
			return received
		}
	}
}

// begin begins with a channel: what another one brought comes again.
func (c *Consumer) begin(ch *amqp.Channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ch, c.open, c.waiting = ch, map[uint64]struct{}{}, nil
}

// Take takes up to most of the deliveries that wait, oldest first. They must
// be acknowledged, rejected or put back.
func (c *Consumer) Take(most int) []Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(most, len(c.waiting))
	taken := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	return taken
}

// PutBack has deliveries wait again, before all others.
func (c *Consumer) PutBack(taken []Delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(taken) > 0 && taken[0].ch == c.ch {
		c.waiting = append(slices.Clip(taken), c.waiting...)
	}
}

// Waiting is how many deliveries wait.
func (c *Consumer) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// Ack acknowledges deliveries: the broker forgets them. Those of a connection
// that is gone come again whatever is done.
func (c *Consumer) Ack(done []Delivery) {
	c.mu.Lock()
	ch := c.ch
	var last uint64
	tags := make([]uint64, 0, len(done))
	for _, d := range done {
		if _, open := c.open[d.tag]; open && d.ch == ch {
			delete(c.open, d.tag)
			tags, last = append(tags, d.tag), max(last, d.tag)
		}
	}
	alone := len(tags) > 1
	for tag := range c.open {
		alone = alone && tag > last
	}
	c.mu.Unlock()
	if alone { // nothing older is left: one frame says it all
		_ = ch.Ack(last, true) // a channel that is gone takes the deliveries back
		return
	}
	for _, tag := range tags {
		_ = ch.Ack(tag, false) // the same
	}
}

// Reject has the broker set a message aside as a dead letter.
func (c *Consumer) Reject(d Delivery) {
	c.mu.Lock()
	delete(c.open, d.tag)
	c.mu.Unlock()
	_ = d.ch.Reject(d.tag, false) // a channel that is gone takes the delivery back
}

// Death says which queue a dead letter was in, and why the broker set it aside:
// rejected, delivery_limit, expired or maxlen; "unknown" when the broker does not
// say.
func (d *Delivery) Death() (queue, reason string) {
	queue, _ = d.Headers["x-first-death-queue"].(string)
	if reason, _ = d.Headers["x-first-death-reason"].(string); reason == "" {
		reason = "unknown"
	}
	return queue, reason
}
