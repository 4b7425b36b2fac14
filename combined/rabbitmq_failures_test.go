package combined_test

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/testbroker"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// signals are log handlers that pass all on, and say when a text is logged.
type signals struct {
	slog.Handler

	text string
	seen chan struct{}
}

func (s signals) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, s.text) {
		select {
		case s.seen <- struct{}{}:
		default:
		}
	}
	return s.Handler.Handle(ctx, r)
}

// TestBrokerFails: the broker is killed, restarted and cut off while two
// orchestrators and two workers have work, which polls carry on with meanwhile: nothing
// is lost and nothing runs twice.
func TestBrokerFails(t *testing.T) {
	t.Parallel()
	server := testbroker.Server(t)
	settings := enginetest.Broker(server.URL("/"))
	maps.Copy(settings, enginetest.Settings{
		"common.queues.rabbitmq.heartbeat_seconds":                                            "1",
		"common.queues.rabbitmq.connection_timeout_seconds":                                   "5",
		"orchestration.backoff.reenqueue_delays.steps_in_process":                             "1",
		"orchestration.event_systems.task_readiness.timing.fallback_polling_interval_seconds": "1",
	})
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(threeSteps), Settings: settings})
	lost := signals{e.Log.Handler(), "connection to RabbitMQ lost", make(chan struct{}, 100)}
	back := signals{lost, "connected to RabbitMQ again", make(chan struct{}, 100)}
	e.Log = slog.New(back)
	ran := &runs{count: map[string]int{}}
	for range 2 {
		e.StartOrchestrator()
		e.StartWorker(enginetest.Handlers{"work": ran.handle})
	}
	const each = 40
	create := func() {
		for range each {
			e.Create("three", nil)
		}
	}
	create()
	if err := server.Kill(); err != nil { // some of these are under way
		t.Fatal(err)
	}
	create()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	create()
	e.Await(`select count(*) = $1 from tasker.tasks where state = 'complete'`, 3*each)
	for range 8 { // both connections of four processes
		enginetest.Receive(t, lost.seen)
		enginetest.Receive(t, back.seen)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	create()
	for range 8 {
		enginetest.Receive(t, lost.seen)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	create()
	e.Await(`select count(*) = $1 from tasker.tasks where state = 'complete'`, 5*each)
	ran.exactlyOnce(t, 5*each)
}
