package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// deliveryLimit is how often a quorum queue delivers a message that nobody
// acknowledges before it sets it aside as a dead letter.
const deliveryLimit = 20

// Declare makes the durable queues that do not exist, and the one that takes
// their dead letters. Queues are quorum queues where the broker has these, else
// classic ones. A queue that exists with other arguments is an error that says
// how to get rid of it.
func (b *Broker) Declare(ctx context.Context, queues ...string) error {
	conn, err := b.outward.get(ctx)
	if err != nil {
		return err
	}
	ch, err := b.channel(ctx, conn)
	if err != nil {
		return fmt.Errorf("declare queues at RabbitMQ: %w", err)
	}
	return b.ask(ctx, conn, func() error {
		defer ch.Close()
		return b.declare(ch, queueType(conn.Connection), queues)
	})
}

// declare declares on a channel, which an error ends.
func (b *Broker) declare(ch *amqp.Channel, kind amqp.Table, queues []string) error {
	dead := b.names.DeadLetters()
	if err := ch.ExchangeDeclare(dead, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		return b.mismatch("exchange", dead, err)
	}
	if _, err := ch.QueueDeclare(dead, true, false, false, false, kind); err != nil {
		return b.mismatch("queue", dead, err)
	}
	if err := ch.QueueBind(dead, "", dead, false, nil); err != nil {
		return fmt.Errorf("bind %s at RabbitMQ: %w", dead, err)
	}
	for _, queue := range queues {
		if queue == dead {
			continue
		}
		args := maps.Clone(kind)
		args["x-dead-letter-exchange"] = dead
		if args["x-queue-type"] == "quorum" {
			args["x-delivery-limit"] = deliveryLimit
		}
		if _, err := ch.QueueDeclare(queue, true, false, false, false, args); err != nil {
			return b.mismatch("queue", queue, err)
		}
	}
	return nil
}

// queueType is quorum from RabbitMQ 3.8 on.
func queueType(conn *amqp.Connection) amqp.Table {
	version, _ := conn.Properties["version"].(string)
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if errA == nil && errB == nil && (a > 3 || a == 3 && b >= 8) {
		return amqp.Table{"x-queue-type": "quorum"}
	}
	return amqp.Table{}
}

// mismatch says what to do about a thing that exists in another form.
func (b *Broker) mismatch(kind, name string, err error) error {
	refused := (*amqp.Error)(nil)
	if !errors.As(err, &refused) || refused.Code != amqp.PreconditionFailed {
		return fmt.Errorf("declare %s %s at RabbitMQ: %w", kind, name, err)
	}
	return fmt.Errorf("the %s %s at RabbitMQ has other properties than Tasker gives it (%s); "+
		"delete it, and a start makes it anew: what a queue of steps or results held is sent again from the database. "+
		"Or give Tasker a virtual host of its own in common.queues.rabbitmq.url", kind, name, refused.Reason)
}

// Ready is how many messages of the queue wait for a consumer, those left out
// that one holds without acknowledgement.
func (b *Broker) Ready(ctx context.Context, queue string) (int, error) {
	conn, err := b.outward.get(ctx)
	if err != nil {
		return 0, err
	}
	counted := make(chan int, 1)
	ch, err := b.channel(ctx, conn)
	if err == nil {
		err = b.ask(ctx, conn, func() error {
			defer ch.Close()
			q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
			counted <- q.Messages
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("look at queue %s at RabbitMQ: %w", queue, err)
	}
	return <-counted, nil
}
