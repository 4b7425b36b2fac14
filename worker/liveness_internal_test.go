package worker

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/eventtest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// stranded returns a runner whose database is gone: each query fails at once.
func stranded(t *testing.T, common config.Common, cfg config.Worker, log slog.Handler) *runner {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgresql://nobody@127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	cfg.System.StepProcessing.MaxConcurrentSteps = 1
	sys := &system.Context{Common: common, Pool: pool, Log: slog.New(log)}
	return newRunner(t.Context(), sys, &cfg, nil, nil)
}

// TestPollsFollowTheSettings: how long the worker waits for work that nobody
// announces, and how it reads then, and what was announced.
func TestPollsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.event_driven.enabled", "worker.system.event_driven.deployment_mode",
		"worker.event_system.deployment_mode", "worker.event_system.timing.fallback_polling_interval_seconds",
		"worker.event_system.metadata.fallback_poller.enabled", "worker.event_system.metadata.fallback_poller.polling_interval_ms",
		"worker.event_system.metadata.fallback_poller.batch_size", "worker.event_system.metadata.fallback_poller.age_threshold_seconds",
		"worker.event_system.metadata.fallback_poller.max_age_hours", "worker.event_system.metadata.fallback_poller.visibility_timeout_seconds",
		"worker.system.queue_config.polling_interval_ms", "worker.system.queue_config.visibility_timeout_seconds")
	const forever = -1
	missed := reading{batch: 3, lease: 13 * time.Second, minAge: 2 * time.Second, maxAge: time.Hour}
	announced, direct := reading{batch: 4, lease: 14 * time.Second}, reading{batch: 5, lease: 15 * time.Second}
	tests := []struct {
		name    string
		change  func(cfg *config.Worker)
		listens bool
		wait    time.Duration
		then    reading
		woken   reading
	}{
		{"as it was", func(*config.Worker) {}, true, 250 * time.Millisecond, missed, announced},
		{"event_driven.enabled", func(cfg *config.Worker) { cfg.System.EventDriven.Enabled = false }, false, 100 * time.Millisecond, direct, direct},
		{"event_driven.deployment_mode", func(cfg *config.Worker) { cfg.System.EventDriven.DeploymentMode = config.PollingOnly }, false, 100 * time.Millisecond, direct, direct},
		{"deployment_mode", func(cfg *config.Worker) { cfg.EventSystem.DeploymentMode = config.EventDrivenOnly }, true, forever, announced, announced},
		{"fallback_poller", func(cfg *config.Worker) {
			cfg.EventSystem.Metadata.FallbackPoller = config.FallbackPoller{
				Enabled: true, PollingInterval: 90, BatchSize: 30, AgeThreshold: 20, MaxAge: 10, VisibilityTimeout: 130,
			}
		}, true, 90 * time.Millisecond, reading{batch: 30, lease: 130 * time.Second, minAge: 20 * time.Second, maxAge: 10 * time.Hour}, announced},
		{"fallback_poller.enabled", func(cfg *config.Worker) { cfg.EventSystem.Metadata.FallbackPoller.Enabled = false }, true, 7 * time.Second, announced, announced},
		{"fallback_polling_interval_seconds", func(cfg *config.Worker) {
			cfg.EventSystem.Metadata.FallbackPoller.Enabled = false
			cfg.EventSystem.Timing.FallbackPollingInterval = 9
		}, true, 9 * time.Second, announced, announced},
		{"queue_config", func(cfg *config.Worker) {
			cfg.System.EventDriven.Enabled = false
			cfg.System.QueueConfig = config.QueueConfig{BatchSize: 50, PollingInterval: 70, VisibilityTimeout: 150}
		}, false, 70 * time.Millisecond, reading{batch: 50, lease: 150 * time.Second}, reading{batch: 50, lease: 150 * time.Second}},
	}
	for _, tt := range tests {
		var cfg config.Worker
		cfg.System.EventDriven = config.EventDriven{Enabled: true, DeploymentMode: config.Hybrid}
		cfg.EventSystem.DeploymentMode = config.Hybrid
		cfg.EventSystem.Timing.FallbackPollingInterval, cfg.EventSystem.Timing.VisibilityTimeout = 7, 14
		cfg.EventSystem.Processing.BatchSize = 4
		cfg.EventSystem.Metadata.FallbackPoller = config.FallbackPoller{
			Enabled: true, PollingInterval: 250, BatchSize: 3, AgeThreshold: 2, MaxAge: 1, VisibilityTimeout: 13,
		}
		cfg.System.QueueConfig = config.QueueConfig{BatchSize: 5, PollingInterval: 100, VisibilityTimeout: 15}
		tt.change(&cfg)
		r := stranded(t, config.Common{}, cfg, slog.DiscardHandler)
		wait, then := r.poll()
		if wait != tt.wait || then != tt.then {
			t.Errorf("%s: polls each %s, then reads %v; want %s, %v", tt.name, wait, then, tt.wait, tt.then)
		}
		if got := r.announced(); got != tt.woken {
			t.Errorf("%s: reads %v when woken, want %v", tt.name, got, tt.woken)
		}
		if got := r.listener != nil; got != tt.listens {
			t.Errorf("%s: listens is %t", tt.name, got)
		}
	}
}

// TestReadsAreBounded: how many steps one read claims at most.
func TestReadsAreBounded(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.max_batch_size", "worker.mpsc_channels.event_systems.event_channel_buffer_size")
	for _, tt := range []struct{ batch, most, room, want int }{
		{10, 100, 1000, 500}, {10, 4, 1000, 200}, {10, 100, 70, 70},
	} {
		var common config.Common
		var cfg config.Worker
		common.Queues.MaxBatchSize, cfg.Channels.EventSystems.EventChannelBufferSize = tt.most, tt.room
		r := stranded(t, common, cfg, slog.DiscardHandler)
		if got := r.most(tt.batch); got != tt.want {
			t.Errorf("%v: one read claims up to %d steps", tt, got)
		}
	}
}

// operator makes the operator of a worker that may use many connections.
func operator(t *testing.T) eventtest.Make {
	return func(events config.EventSystem, log *slog.Logger) *eventsystem.Operator {
		var common config.Common
		common.Database.Pool.MaxConnections = 100
		cfg := config.Worker{}
		cfg.EventSystem.EventSystem = events
		cfg.System.ResourceLimits.MaxDatabaseConnections, cfg.EventSystem.Metadata.ResourceLimits.MaxDatabaseConnections = 100, 100
		return stranded(t, common, cfg, log.Handler()).ops
	}
}

func TestOperationsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.event_system.processing.backoff.initial_delay_ms", "worker.event_system.processing.backoff.max_delay_ms",
		"worker.event_system.processing.backoff.multiplier", "worker.event_system.processing.backoff.jitter_percent",
		"worker.event_system.processing.max_concurrent_operations", "worker.event_system.system_id",
		"worker.event_system.timing.health_check_interval_seconds", "worker.event_system.health.enabled",
		"worker.event_system.health.performance_monitoring_enabled", "worker.event_system.health.max_consecutive_errors",
		"worker.event_system.health.error_rate_threshold_per_minute")
	eventtest.Retries(t, operator(t))
	eventtest.Deadlines(t, operator(t))
	eventtest.Concurrency(t, operator(t))
	eventtest.Health(t, operator(t))
	eventtest.SelfChecks(t, operator(t))
}

// TestResultsAreKept has a worker report without a database: it tries as often as
// it may, rests, and takes the results up again.
func TestResultsAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cfg config.Worker
		cfg.EventSystem.Processing = config.Processing{MaxRetries: 1, Backoff: config.RetryBackoff{InitialDelay: 100, MaxDelay: 3000, Multiplier: 2}}
		cfg.EventSystem.Timing = config.Timing{ProcessingTimeout: 30, ClaimTimeout: 300}
		cfg.Channels.EventSubscribers.ResultBufferSize = 10
		log := eventtest.NewLog()
		p := newReporter(stranded(t, config.Common{}, cfg, log))
		p.report(outcome.Outcome{Queue: "q"})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		p.run(ctx)
		given := slices.DeleteFunc(log.Lines(), func(line string) bool { return !strings.Contains(line, "operation given up") })
		if len(given) != 2 || !strings.HasPrefix(given[0], "100ms ") || !strings.HasPrefix(given[1], "3.2s ") {
			t.Errorf("given up: %q", given)
		}
	})
}

// TestClaimsFollowTheSettings: for how long a claim is renewed.
func TestClaimsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.event_system.timing.claim_timeout_seconds", "worker.system.step_processing.claim_timeout_seconds")
	tests := []struct {
		events, steps config.Seconds
		want          time.Duration
	}{
		{60, 60, time.Minute},
		{120, 60, 2 * time.Minute},
		{60, 180, 3 * time.Minute},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			cfg := config.Worker{}
			cfg.EventSystem.Timing.ClaimTimeout = tt.events
			cfg.System.StepProcessing.ClaimTimeout = tt.steps
			r := stranded(t, config.Common{}, cfg, slog.DiscardHandler)
			step := postgres.ClaimedStep{}
			r.running[keyOf(step.StepRef)] = &running{leased: leased{queue: "q"}}
			r.limit(step, time.Second)
			began := time.Now()
			if held := r.held(began.Add(tt.want - 1)); len(held) != 1 {
				t.Errorf("%v: the claim is given up before %s", tt, tt.want)
			}
			if held := r.held(began.Add(tt.want)); len(held) != 0 {
				t.Errorf("%v: the claim is renewed after %s", tt, tt.want)
			}
		})
	}
}

// TestShutdownFollowsTheSettings: when a handler that goes on is told to stop.
func TestShutdownFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.pgmq.shutdown_timeout_seconds")
	for _, timeout := range []config.Seconds{3, 40} {
		synctest.Test(t, func(t *testing.T) {
			var common config.Common
			common.Queues.PGMQ.ShutdownTimeout = timeout
			r := stranded(t, common, config.Worker{}, slog.DiscardHandler)
			began := time.Now()
			r.wg.Go(func() { <-r.handlers.Done() })
			r.drain()
			if waited := time.Since(began); waited != timeout.Duration() {
				t.Errorf("told to stop after %s, want %s", waited, timeout.Duration())
			}
		})
	}
}

// TestResultBufferFollowsTheSettings: how many results may wait until a handler
// that has one more must.
func TestResultBufferFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.mpsc_channels.event_subscribers.result_buffer_size")
	for _, size := range []int{10, 20} {
		synctest.Test(t, func(t *testing.T) {
			var cfg config.Worker
			cfg.Channels.EventSubscribers.ResultBufferSize = size
			p := newReporter(stranded(t, config.Common{}, cfg, slog.DiscardHandler))
			taken := 0
			go func() {
				for range 100 {
					p.report(outcome.Outcome{})
					taken++
				}
			}()
			synctest.Wait()
			if taken != size {
				t.Errorf("%d results are taken, want %d", taken, size)
			}
			p.close()
		})
	}
}
