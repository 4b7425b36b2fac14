package orchestration

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/eventtest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// orchestrationOperator makes what applies results.
func orchestrationOperator(t *testing.T) eventtest.Make {
	return func(events config.EventSystem, log *slog.Logger) *eventsystem.Operator {
		var cfg config.Orchestration
		cfg.EventSystems.Orchestration = events
		sys := stranded(t)
		sys.Log = log
		return newProcessor(sys, &cfg, handoff.New(0, 0)).ops
	}
}

// readinessOperator makes what reconciles, with a pool that it may have whole.
func readinessOperator(t *testing.T) eventtest.Make {
	return func(events config.EventSystem, log *slog.Logger) *eventsystem.Operator {
		var cfg config.Orchestration
		cfg.EventSystems.TaskReadiness = events
		sys := stranded(t)
		sys.Log, sys.Common.Database.Pool.MaxConnections = log, 100
		return newReconciler(sys, &cfg, eventsystem.NewSignal()).ops
	}
}

func TestOperationsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t,
		"orchestration.event_systems.orchestration.processing.backoff.initial_delay_ms",
		"orchestration.event_systems.orchestration.processing.backoff.max_delay_ms",
		"orchestration.event_systems.orchestration.processing.backoff.multiplier",
		"orchestration.event_systems.orchestration.processing.backoff.jitter_percent",
		"orchestration.event_systems.orchestration.processing.max_concurrent_operations",
		"orchestration.event_systems.orchestration.processing.max_retries",
		"orchestration.event_systems.orchestration.timing.claim_timeout_seconds",
		"orchestration.event_systems.orchestration.timing.processing_timeout_seconds",
		"orchestration.event_systems.task_readiness.processing.backoff.initial_delay_ms",
		"orchestration.event_systems.task_readiness.processing.backoff.max_delay_ms",
		"orchestration.event_systems.task_readiness.processing.backoff.multiplier",
		"orchestration.event_systems.task_readiness.processing.backoff.jitter_percent",
		"orchestration.event_systems.task_readiness.processing.max_concurrent_operations",
		"orchestration.event_systems.task_readiness.processing.max_retries",
		"orchestration.event_systems.task_readiness.timing.claim_timeout_seconds",
		"orchestration.event_systems.task_readiness.timing.processing_timeout_seconds")
	for _, operator := range []eventtest.Make{orchestrationOperator(t), readinessOperator(t)} {
		eventtest.Retries(t, operator)
		eventtest.Deadlines(t, operator)
		eventtest.Concurrency(t, operator)
	}
}

func TestHealthFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t,
		"orchestration.event_systems.orchestration.system_id",
		"orchestration.event_systems.orchestration.timing.health_check_interval_seconds",
		"orchestration.event_systems.orchestration.health.enabled",
		"orchestration.event_systems.orchestration.health.performance_monitoring_enabled",
		"orchestration.event_systems.orchestration.health.max_consecutive_errors",
		"orchestration.event_systems.orchestration.health.error_rate_threshold_per_minute",
		"orchestration.event_systems.task_readiness.system_id",
		"orchestration.event_systems.task_readiness.timing.health_check_interval_seconds",
		"orchestration.event_systems.task_readiness.health.enabled",
		"orchestration.event_systems.task_readiness.health.performance_monitoring_enabled",
		"orchestration.event_systems.task_readiness.health.max_consecutive_errors",
		"orchestration.event_systems.task_readiness.health.error_rate_threshold_per_minute")
	for _, operator := range []eventtest.Make{orchestrationOperator(t), readinessOperator(t)} {
		eventtest.Health(t, operator)
		eventtest.SelfChecks(t, operator)
	}
}

// TestGivenUp has the parts do their work without a database: they try as often
// as they may, and what they give up on comes again.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.pgmq.max_retries")
	for _, queueRetries := range []int{1, 5} {
		synctest.Test(t, func(t *testing.T) {
			var cfg config.Orchestration
			for _, events := range []*config.EventSystem{&cfg.EventSystems.Orchestration, &cfg.EventSystems.TaskReadiness} {
				events.Processing.MaxRetries, events.Timing.ClaimTimeout, events.Timing.ProcessingTimeout = 2, 300, 30
			}
			sys := stranded(t)
			sys.Common.Queues.PGMQ.MaxRetries = queueRetries
			log := eventtest.NewLog()
			sys.Log = slog.New(log)
			p := newProcessor(sys, &cfg, handoff.New(0, 0))
			tries := func(what string, want int) {
				t.Helper()
				got := 0
				for _, line := range log.Lines() {
					if strings.Contains(line, "operation failed; trying again") && strings.Contains(line, "operation="+what+" ") {
						got++
					}
				}
				if got != want {
					t.Errorf("%s: tried again %d times, want %d", what, got, want)
				}
			}
			if _, err := p.read(t.Context(), "q", 1, 0); err == nil {
				t.Error("a read without a database succeeds")
			}
			tries("read results", queueRetries)
			if _, err := p.apply(t.Context(), postgres.Batch{Queue: "q"}); err == nil {
				t.Error("results are applied without a database")
			}
			tries("apply results", 2)
			if err := newReconciler(sys, &cfg, eventsystem.NewSignal()).pass(t.Context()); err == nil {
				t.Error("the reconciler needs no database")
			}
			tries("look at the queues", 2)
		})
	}
}

// TestHealthNamesTheEventSystems asks a running orchestrator how it is.
func TestHealthNamesTheEventSystems(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.cfg.System.Mode = config.Distributed
	b.cfg.System.Web.BindAddress = "127.0.0.1:0"
	b.cfg.EventSystems.TaskReadiness.Health.Enabled = false
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- Serve(ctx, b.sys, &b.cfg, Options{Ready: func(address string) { ready <- address }})
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+<-ready+"/health/detailed", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(body); !strings.Contains(text, `"orchestration_events":{"status":"healthy","message":"orchestration-event-system: works`) ||
		strings.Contains(text, "task_readiness_events") {
		t.Errorf("the orchestrator says %s", text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestRequestsFollowTheSettings: how many requests one read takes, and for how
// long those are hidden that must wait for their template.
func TestRequestsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.default_batch_size", "common.queues.default_visibility_timeout_seconds")
	b := newBench(t)
	queue := b.sys.Names.Requests()
	if err := postgres.CreateLoggedQueues(t.Context(), b.sys.Pool, []string{queue}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		batch, want int
		hidden      config.Seconds
	}{{1, 50, 100}, {2, 60, 300}} {
		b.exec(`delete from pgmq.q_` + queue)
		b.exec(`select pgmq.send_batch($1, array_fill('{"namespace": "test", "name": "absent"}'::jsonb, array[60]))`, queue)
		b.sys.Common.Queues.DefaultBatchSize, b.sys.Common.Queues.DefaultVisibilityTimeout = tt.batch, tt.hidden
		d := newDoorkeeper(b.sys, &b.cfg, nil)
		if n, err := d.requests(t.Context()); n != tt.want || err != nil {
			t.Errorf("took %d requests, want %d (%v)", n, tt.want, err)
		}
		hidden := b.count(`select coalesce(max(ceil(extract(epoch from vt - clock_timestamp())))::int, 0) from pgmq.q_` + queue)
		if upTo := int(tt.hidden); hidden > upTo || hidden < upTo-60 {
			t.Errorf("a request that waits is hidden for %d s, want %d", hidden, upTo)
		}
	}
}

// TestNotificationsFollowTheSettings: how many notifications may wait.
func TestNotificationsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.mpsc_channels.event_listeners.pgmq_event_buffer_size")
	for _, size := range []int{10, 20} {
		synctest.Test(t, func(t *testing.T) {
			var cfg config.Orchestration
			cfg.EventSystems.Orchestration.Health.Enabled = true
			cfg.EventSystems.Orchestration.Timing.HealthCheckInterval = 1000
			cfg.Channels.EventListeners.PGMQEventBufferSize = size
			var common config.Common
			common.Database.Pool.AcquireTimeout = 10
			how := listening(common, &cfg)
			how.OneByOne = true // the listener holds each back until the reader has looked
			server, wake := eventtest.NewServer(), eventsystem.NewSignal()
			l := eventsystem.NewListener(server.Config(t), map[string]*eventsystem.Signal{"results": wake}, how, discard)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); l.Run(ctx) }()
			synctest.Wait()
			server.Notify("results", 50)
			synctest.Wait()
			if _, got := l.Checks()[0].Look(ctx); got != fmt.Sprintf("listening; %d of %d notifications wait", size, size) {
				t.Errorf("with a buffer of %d it says %q", size, got)
			}
			cancel()
			<-ended
			server.Cut()
		})
	}
}
