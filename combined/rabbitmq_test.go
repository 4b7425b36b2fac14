package combined_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/testbroker"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// channel opens a channel to the broker.
func channel(t *testing.T, brokerURL string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// depth is how many messages wait in a queue.
func depth(t *testing.T, ch *amqp.Channel, queue string) int {
	t.Helper()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
}

// untilDepth waits until so many messages wait in a queue, or more where some are
// wanted: what is sent again may be there twice.
func untilDepth(t *testing.T, ch *amqp.Channel, queue string, n int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for d := depth(t, ch, queue); d < n || n == 0 && d > 0; d = depth(t, ch, queue) {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages wait in %s, want %d", d, queue, n)
		}
	}
}

// send publishes messages with their ids, each a pair.
func send(t *testing.T, ch *amqp.Channel, queue string, messages ...[2]string) {
	t.Helper()
	for _, m := range messages {
		err := ch.PublishWithContext(t.Context(), "", queue, true, false, amqp.Publishing{MessageId: m[0], Body: []byte(m[1])})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// delivered has deliveries alone lead to work.
func delivered(brokerURL string) enginetest.Settings {
	settings := enginetest.Broker(brokerURL)
	maps.Copy(settings, mode("EventDrivenOnly"))
	return settings
}

// TestRabbitMQ: with the backend rabbitmq deliveries alone lead to all there is to
// do, retries included; the broker keeps nothing behind. With pgmq it is not asked.
func TestRabbitMQ(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.backend", "common.queues.rabbitmq.url")
	const work = `
name: work
namespace: test
steps:
  - {name: a, handler: {callable: ok}}
  - {name: b, handler: {callable: flaky}, dependencies: [a], retry: {max_attempts: 2, backoff_base_ms: 20}}
  - {name: c, handler: {callable: ok}, dependencies: [a]}
  - {name: d, handler: {callable: ok}, dependencies: [b, c]}`
	for _, backend := range []string{"rabbitmq", "pgmq"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
				broker := testbroker.New(t)
				settings := delivered(broker)
				settings["common.queues.backend"] = `"` + backend + `"`
				e := enginetest.Start(t, enginetest.Options{
					Deployment: d, Templates: taskertest.YAML(work), Settings: settings,
					Handlers: enginetest.Handlers{"ok": ok, "flaky": func(_ context.Context, s *tasker.Step) (any, error) {
						if !s.LastAttempt() {
							return nil, errors.New("not yet")
						}
						return "at last", nil
					}},
				})
				for range 20 {
					e.Create("work", nil)
				}
				e.Await(`select count(*) = 20 from tasker.tasks where state = 'complete'`)
				ch := channel(t, broker)
				if backend == "pgmq" {
					if _, err := ch.QueueDeclarePassive(e.Queue("test"), true, false, false, false, nil); err == nil {
						t.Error("the broker has a queue of steps")
					}
					return
				}
				untilDepth(t, ch, e.Queue("test"), 0)
				untilDepth(t, ch, e.Names.Results(), 0)
				if n := depth(t, ch, e.Names.DeadLetters()); n > 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

// TestRabbitMQPrefetch: a worker holds as many deliveries as it may prefetch, and
// as it has slots unless told otherwise.
func TestRabbitMQPrefetch(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.rabbitmq.prefetch_count")
	for prefetch, held := range map[string]int{"0": 3, "1": 1} {
		t.Run(prefetch, func(t *testing.T) {
			t.Parallel()
			broker := testbroker.New(t)
			settings := delivered(broker)
			settings["common.queues.rabbitmq.prefetch_count"] = prefetch
			started, release := make(chan struct{}), make(chan struct{})
			e := enginetest.Start(t, enginetest.Options{
				Deployment: enginetest.Split, Templates: taskertest.YAML(oneTemplate), Settings: settings,
				Handlers: enginetest.Handlers{"ok": func(context.Context, *tasker.Step) (any, error) {
					started <- struct{}{}
					<-release
					return nil, nil
				}},
			})
			for range 3 {
				e.Create("one", nil)
			}
			for range held {
				enginetest.Receive(t, started)
			}
			untilDepth(t, channel(t, broker), e.Queue("test"), 3-held)
			close(release)
			for range 3 - held {
				enginetest.Receive(t, started)
			}
			e.Await(`select count(*) = 3 from tasker.tasks where state = 'complete'`)
		})
	}
}

// TestRabbitMQRequests: what others publish to the queue of requests becomes tasks,
// once each whatever is delivered twice; what cannot is set aside with the reason.
func TestRabbitMQRequests(t *testing.T) {
	t.Parallel()
	broker := testbroker.New(t)
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.Combined, Templates: taskertest.YAML(oneTemplate), Handlers: enginetest.Handlers{"ok": ok}, Settings: delivered(broker),
	})
	ch := channel(t, broker)
	const request = `{"name": "one", "namespace": "test", "idempotency_key": ""}`
	send(t, ch, e.Names.Requests(), [2]string{"a", request}, [2]string{"a", request}, [2]string{"b", request},
		[2]string{"", `{"name": "one", "namespace": "test"}`}, [2]string{"", `{"name": "one", "namespace": "test"}`},
		[2]string{"c", "hello\x00"}, [2]string{"d", `{"name": "\u0000"}`}, [2]string{"e", `{"name": "one", "namespace": "test", "colour": "red"}`})
	e.Await(`select count(*) = 4 from tasker.tasks where state = 'complete'`)
	e.Await(`select count(*) = 3 from pgmq.a_` + e.Names.Requests())
	for _, reason := range []string{"is no JSON", "unsupported Unicode", `unknown field "colour"`} {
		if n := enginetest.Query[int](e, `select count(*) from pgmq.a_`+e.Names.Requests()+` where message->>'refused' like '%' || $1 || '%'`, reason); n != 1 {
			t.Errorf("%d messages were refused since %s", n, reason)
		}
	}
	task := e.Create("one", nil)
	e.Wait(task)
	e.Exec(`update tasker.tasks set state = 'steps_in_process', finished_at = null where task_id = $1`, task)
	send(t, ch, e.Names.Finalizations(), [2]string{"f", `{"task_uuid": "` + task + `"}`})
	e.Await(`select state = 'complete' from tasker.tasks where task_id = $1`, task)
	untilDepth(t, ch, e.Names.Requests(), 0)
}

// TestRabbitMQLosesDeliveries: steps whose deliveries the broker has lost are
// published again, while a backlog is not taken for loss; what no worker can read
// is a dead letter, kept with the reason.
func TestRabbitMQLosesDeliveries(t *testing.T) {
	t.Parallel()
	broker := testbroker.New(t)
	settings := delivered(broker)
	maps.Copy(settings, enginetest.Settings{
		"orchestration.backoff.reenqueue_delays.steps_in_process":                             "0",
		"orchestration.event_systems.task_readiness.timing.fallback_polling_interval_seconds": "1",
	})
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(oneTemplate), Settings: settings})
	e.Register()
	e.StartOrchestrator()
	for range 5 {
		e.Create("one", nil)
	}
	ch := channel(t, broker)
	queue := e.Queue("test")
	e.Await(`select count(*) = 5 from pgmq.q_` + queue + ` where message ? 'sent'`)
	untilDepth(t, ch, queue, 5)
	if _, err := ch.QueuePurge(queue, false); err != nil {
		t.Fatal(err)
	}
	untilDepth(t, ch, queue, 5) // sent again
	send(t, ch, queue, [2]string{"", "hello"})
	e.StartWorker(enginetest.Handlers{"ok": ok})
	e.Await(`select count(*) = 5 from tasker.tasks where state = 'complete'`)
	e.Await(`select count(*) = 1 from pgmq.a_` + queue + ` where message->>'refused' = 'dead letter: rejected' and message->>'message' = 'hello'`)
	untilDepth(t, ch, queue, 0)
}
