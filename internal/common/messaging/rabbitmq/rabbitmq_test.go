package rabbitmq_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/messaging/rabbitmq"
	"github.com/tasker-systems/tasker-go/internal/testbroker"
)

// names are those of the shipped configuration.
var names = messaging.NewNames(config.Queues{
	Backend: config.BackendRabbitMQ, OrchestrationNamespace: "orchestration", WorkerNamespace: "worker", NamingPattern: "{namespace}_{name}_queue",
})

// open connects to a broker and runs until the test ends.
func open(t *testing.T, brokerURL string) *rabbitmq.Broker {
	t.Helper()
	b, err := rabbitmq.Open(t.Context(), config.RabbitMQ{
		ConnectionTimeout: 30, URL: brokerURL, Heartbeat: 10,
	}, names, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); b.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	return b
}

// consumer consumes a queue and says on a channel when something has arrived.
func consumer(t *testing.T, b *rabbitmq.Broker, queue string, prefetch int) (*rabbitmq.Consumer, <-chan struct{}) {
	t.Helper()
	arrived := make(chan struct{}, 1000)
	c := b.Consumer(queue, prefetch, func() { arrived <- struct{}{} })
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	return c, arrived
}

func batch(queue string, n int) []rabbitmq.Message {
	messages := make([]rabbitmq.Message, n)
	for i := range messages {
		messages[i] = rabbitmq.Message{Queue: queue, ID: fmt.Sprint(i), Body: []byte(`{}`)}
	}
	return messages
}

// TestMessages: what is confirmed arrives in order, as much at a time as the
// prefetch allows, and is gone once it is acknowledged.
func TestMessages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := open(t, testbroker.New(t))
	if err := b.Declare(ctx, "q"); err != nil {
		t.Fatal(err)
	}
	if failed, err := b.Publish(ctx, batch("q", 5)); err != nil || len(failed) > 0 {
		t.Fatalf("published: %v, %v", failed, err)
	}
	c, arrived := consumer(t, b, "q", 3)
	for range 3 {
		<-arrived
	}
	if c.Waiting() != 3 {
		t.Errorf("%d wait, beyond the prefetch", c.Waiting())
	}
	taken := c.Take(2)
	c.PutBack(taken[1:])
	if taken = append(taken[:1:1], c.Take(9)...); len(taken) != 3 || taken[0].ID != "0" || taken[1].ID != "1" || taken[2].ID != "2" {
		t.Errorf("taken %+v", taken)
	}
	c.Ack(taken[1:]) // not the oldest: one by one
	<-arrived
	<-arrived
	c.Ack(append(taken[:1:1], c.Take(9)...)) // all there are: at once
	for {
		if ready, err := b.Ready(ctx, "q"); err != nil || ready == 0 {
			if err != nil {
				t.Error(err)
			}
			break
		}
	}
}

// TestUndelivered: a message for a queue that is not there is reported, the
// others are not; a rejected one is a dead letter that names its queue.
func TestUndelivered(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := open(t, testbroker.New(t))
	if err := b.Declare(ctx, "q"); err != nil {
		t.Fatal(err)
	}
	failed, err := b.Publish(ctx, slices.Concat(batch("q", 2), batch("none", 1), batch("q", 1)))
	if err == nil || !slices.Equal(failed, []int{2}) {
		t.Errorf("failed: %v, %v", failed, err)
	}
	c, arrived := consumer(t, b, "q", 3)
	<-arrived
	c.Reject(c.Take(1)[0])
	dead, buried := consumer(t, b, names.DeadLetters(), 3)
	<-buried
	letter := dead.Take(1)[0]
	if queue, why := letter.Death(); queue != "q" || why != "rejected" || string(letter.Body) != `{}` {
		t.Errorf("dead letter of %s: %s, %s", queue, why, letter.Body)
	}
}

// TestMismatch: a queue of somebody else's making is named with what to do.
func TestMismatch(t *testing.T) {
	t.Parallel()
	brokerURL := testbroker.New(t)
	conn, err := amqp.Dial(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	err = open(t, brokerURL).Declare(t.Context(), "q")
	for _, want := range []string{"queue q", "x-dead-letter-exchange", "delete it", "virtual host"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: lacks %q", err, want)
		}
	}
}

// TestOpen lists what keeps a process from connecting; no error tells a
// password.
func TestOpen(t *testing.T) {
	t.Parallel()
	broker := testbroker.New(t)
	tests := []struct{ name, url, want string }{
		{"no URL", "amqp://user:secret@host:port/", "does not parse"},
		{"nobody", "amqp://user:secret@127.0.0.1:1/", "is the broker running"},
		{"no user", strings.Replace(broker, "tasker:", "secret:", 1), "user and password are refused"},
		{"no virtual host", broker + "_none", "virtual host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := rabbitmq.Open(t.Context(), config.RabbitMQ{ConnectionTimeout: 30, URL: tt.url}, names, "test",
				slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
