package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/common/publisher"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/taskertest"
	"github.com/tasker-systems/tasker-go/worker"
)

// blocking returns a handler that says how much time it is given and then waits
// to be told to stop.
func blocking() (handlers enginetest.Handlers, left chan time.Duration) {
	left = make(chan time.Duration, 100)
	return enginetest.Handlers{"work": func(ctx context.Context, _ *tasker.Step) (any, error) {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
		<-ctx.Done()
		return nil, ctx.Err()
	}}, left
}

// TestRunningStepsFollowTheSettings looks at a step that runs, and at the entry
// of its worker in the registry.
func TestRunningStepsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.worker_id", "worker.system.worker_type",
		"worker.event_system.timing.processing_timeout_seconds", "worker.event_system.timing.visibility_timeout_seconds")
	tests := []struct {
		settings      enginetest.Settings
		worker        string
		timeout       time.Duration // of the handler; at least half of it is left
		lease, atMost float64       // seconds, at least half of them left
	}{
		{enginetest.Settings{
			"worker.system.worker_id": "'one'", "worker.system.worker_type": "'small'",
			"worker.event_system.timing.processing_timeout_seconds": "100",
			"worker.event_system.timing.visibility_timeout_seconds": "200",
		}, "one small", 100 * time.Second, 100, 200},
		{enginetest.Settings{
			"worker.system.worker_id": "'two'", "worker.system.worker_type": "'large'",
			"worker.event_system.timing.processing_timeout_seconds": "300",
			"worker.event_system.timing.visibility_timeout_seconds": "600",
		}, "two large", 300 * time.Second, 300, 600},
	}
	for _, tt := range tests {
		t.Run(tt.worker, func(t *testing.T) {
			t.Parallel()
			tt.settings["common.queues.pgmq.shutdown_timeout_seconds"] = "1"
			handlers, left := blocking()
			e := enginetest.Start(t, enginetest.Options{
				Deployment: enginetest.Split, Templates: taskertest.YAML(single), Handlers: handlers, Settings: tt.settings,
			})
			e.Create("single", nil)
			if got := enginetest.Receive(t, left); got > tt.timeout || got < tt.timeout/2 {
				t.Errorf("the handler has %s, want %s", got, tt.timeout)
			}
			lease := enginetest.Query[float64](e, `select extract(epoch from vt - clock_timestamp())::float8 from pgmq.q_worker_test_queue`)
			if lease > tt.atMost || lease < tt.lease {
				t.Errorf("the step is claimed for %v s, want %v", lease, tt.atMost)
			}
			if got := enginetest.Query[string](e, `select worker_id || ' ' || worker_type from tasker.workers where role = 'worker'`); got != tt.worker {
				t.Errorf("the registry shows %s, want %s", got, tt.worker)
			}
		})
	}
}

// TestRetriesFollowTheSettings starts one worker after the other, which agree
// about a template and not about how often a step is tried again that does not
// say. New tasks go by the worker that came last, old ones by the one they were
// created under.
func TestRetriesFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.step_processing.max_retries")
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.None,
		Templates: taskertest.YAML(
			`{name: unsaid, namespace: test, steps: [{name: only, handler: {callable: work}, retry: {backoff: none}}]}`,
			`{name: said, namespace: test, steps: [{name: only, handler: {callable: work}, retry: {backoff: none, max_attempts: 2}}]}`,
			`{name: refused, namespace: test, steps: [{name: only, handler: {callable: work}, retry: {retryable: false}}]}`),
		Settings: enginetest.Settings{"common.task_templates.cache_enabled": "false"},
	})
	handlers := enginetest.Handlers{"work": func(context.Context, *tasker.Step) (any, error) { return nil, errors.New("down") }}
	e.Register()
	e.StartOrchestrator()
	attempts := func(id string) int { return e.Wait(id).Step("only").Attempt }
	nobody := e.Create("unsaid", nil)
	for _, retries := range []int{0, 5, 1} {
		e.Config.Worker.System.StepProcessing.MaxRetries = retries
		running := e.StartWorker(handlers)
		unsaid := e.Create("unsaid", nil)
		if got := attempts(unsaid); got != 1+retries {
			t.Errorf("%d attempts with max_retries %d", got, retries)
		}
		if said, refused := attempts(e.Create("said", nil)), attempts(e.Create("refused", nil)); said != 2 || refused != 1 {
			t.Errorf("%d and %d attempts where the template says 2 and 1", said, refused)
		}
		running.Stop()
	}
	if got := attempts(nobody); got != 4 {
		t.Errorf("%d attempts of a task that was created before any worker said", got)
	}
	if n := enginetest.Query[int](e, `select count(*)::int from tasker.templates`); n != 3 {
		t.Errorf("%d definitions are stored, want 3: what a worker says is no part of them", n)
	}
}

// TestReadsFollowTheSettings has sixty steps wait for a worker: under load it
// claims fifty times the batch size in one transaction.
func TestReadsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.queue_config.batch_size", "worker.event_system.processing.batch_size")
	for _, tt := range []struct {
		name         string
		polls        bool // nothing notifies
		read, direct string
		transactions int
	}{
		{"notified", false, "1", "2", 2},
		{"notified, large", false, "2", "1", 1},
		{"direct", true, "2", "1", 2},
		{"direct, large", true, "1", "2", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const steps = 60
			settings := enginetest.Settings{
				"worker.event_system.processing.batch_size":          tt.read,
				"worker.system.queue_config.batch_size":              tt.direct,
				"worker.system.step_processing.max_concurrent_steps": "500",
				"common.queues.pgmq.shutdown_timeout_seconds":        "1",
			}
			if tt.polls {
				settings["worker.event_system.deployment_mode"] = "'PollingOnly'"
				settings["worker.system.event_driven.deployment_mode"] = "'PollingOnly'"
			}
			handlers, _ := blocking()
			e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(single), Settings: settings})
			e.StartWorker(handlers).Stop() // registers the template
			for range steps {
				e.Create("single", nil)
			}
			e.StartWorker(handlers)
			e.Await(`select count(*) = $1 from tasker.steps where state = 'in_progress'`, steps)
			if got := enginetest.Query[int](e, `select count(distinct xmin::text) from tasker.steps`); got != tt.transactions {
				t.Errorf("claimed in %d transactions, want %d", got, tt.transactions)
			}
		})
	}
}

// TestEventsFollowTheSettings sends events past a subscriber that stands still:
// one is in its hands, some in its channel, one in the hands of the bus, and a
// hundred in the queue. Then it sends an event again after 150 others.
func TestEventsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.mpsc_channels.in_process_events.broadcast_buffer_size",
		"worker.event_system.metadata.in_process_events.deduplication_cache_size")
	for _, tt := range []struct {
		buffer, remember string
		sent, told       int
	}{{"100", "100", 202, 152}, {"250", "200", 352, 151}} {
		cfg := enginetest.Load(t, "postgresql://nowhere/none", enginetest.Settings{
			"common.mpsc_channels.event_publisher.event_queue_buffer_size":            "100",
			"worker.mpsc_channels.in_process_events.broadcast_buffer_size":            tt.buffer,
			"worker.event_system.metadata.in_process_events.deduplication_cache_size": tt.remember,
		})
		publish := func(stand time.Duration, ids ...int) (sent, told int) {
			synctest.Test(t, func(t *testing.T) {
				log := slog.New(slog.DiscardHandler)
				bus := publisher.New(cfg.Common.Channels, time.Second, channels.NewMonitor(cfg.Common.Channels.OverflowPolicy, log), log)
				events := tasker.NewEvents()
				events.Subscribe("*", func(ctx context.Context, _ tasker.Event) {
					select {
					case <-time.After(stand):
						told++
					case <-ctx.Done():
					}
				})
				worker.UseEvents(&system.Context{Bus: bus, Log: log}, cfg.Worker, events)
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { bus.Run(ctx) })
				returned := 0
				wg.Go(func() {
					for _, id := range ids {
						bus.Publish(tasker.Event{ID: strconv.Itoa(id), Name: "thing.happened"})
						returned++
					}
				})
				time.Sleep(time.Minute)
				synctest.Wait()
				sent = returned
				cancel()
				wg.Wait()
			})
			return sent, told
		}
		many := make([]int, 1000)
		for i := range many {
			many[i] = i
		}
		if sent, _ := publish(time.Hour, many...); sent != tt.sent {
			t.Errorf("buffer of %s: %d events sent while the subscriber stands still, want %d", tt.buffer, sent, tt.sent)
		}
		if _, told := publish(0, append(many[:151:151], 0)...); told != tt.told {
			t.Errorf("remembering %s: told of %d events, want %d", tt.remember, told, tt.told)
		}
	}
}
