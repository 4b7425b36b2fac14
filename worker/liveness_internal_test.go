package worker

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
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
	cfg.System.QueueConfig.BatchSize = 1
	sys := &system.Context{Common: common, Pool: pool, Log: slog.New(log)}
	return newRunner(t.Context(), sys, &cfg, nil, nil)
}

// TestPollsFollowTheSettings: how long the worker waits for work that nobody
// announces.
func TestPollsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.event_driven.enabled", "worker.event_system.deployment_mode",
		"worker.event_system.timing.fallback_polling_interval_seconds",
		"worker.event_system.metadata.fallback_poller.enabled", "worker.event_system.metadata.fallback_poller.polling_interval_ms")
	const forever = -1
	tests := []struct {
		name    string
		change  func(cfg *config.Worker)
		pause   time.Duration
		listens bool
	}{
		{"as it was", func(*config.Worker) {}, 250 * time.Millisecond, true},
		{"event_driven.enabled", func(cfg *config.Worker) { cfg.System.EventDriven.Enabled = false }, 250 * time.Millisecond, false},
		{"deployment_mode", func(cfg *config.Worker) { cfg.EventSystem.DeploymentMode = config.EventDrivenOnly }, forever, true},
		{"polling_interval_ms", func(cfg *config.Worker) { cfg.EventSystem.Metadata.FallbackPoller.PollingInterval = 90 }, 90 * time.Millisecond, true},
		{"fallback_poller.enabled", func(cfg *config.Worker) { cfg.EventSystem.Metadata.FallbackPoller.Enabled = false }, 7 * time.Second, true},
		{"fallback_polling_interval_seconds", func(cfg *config.Worker) {
			cfg.EventSystem.Metadata.FallbackPoller.Enabled = false
			cfg.EventSystem.Timing.FallbackPollingInterval = 9
		}, 9 * time.Second, true},
	}
	for _, tt := range tests {
		var cfg config.Worker
		cfg.System.EventDriven.Enabled = true
		cfg.EventSystem.DeploymentMode = config.Hybrid
		cfg.EventSystem.Timing.FallbackPollingInterval = 7
		cfg.EventSystem.Metadata.FallbackPoller = config.FallbackPoller{Enabled: true, PollingInterval: 250}
		tt.change(&cfg)
		r := stranded(t, config.Common{}, cfg, slog.DiscardHandler)
		if got := r.pause(t.Context(), &space{queue: "q"}); got != tt.pause {
			t.Errorf("%s: polls each %s, want %s", tt.name, got, tt.pause)
		}
		if got := r.mode().Listens(); got != tt.listens {
			t.Errorf("%s: listens is %t", tt.name, got)
		}
	}
}

// pauses keeps the pauses that are logged and ends the run after four.
type pauses struct {
	slog.Handler
	end context.CancelFunc

	mu  sync.Mutex
	all []time.Duration
}

func (p *pauses) Enabled(context.Context, slog.Level) bool { return true }

func (p *pauses) Handle(_ context.Context, r slog.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "pause" {
			p.all = append(p.all, a.Value.Duration())
		}
		return true
	})
	if len(p.all) == 4 {
		p.end()
	}
	return nil
}

// TestRetriesFollowTheSettings: how long the worker waits between attempts to
// claim while the database is away.
func TestRetriesFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.event_system.processing.backoff.initial_delay_ms", "worker.event_system.processing.backoff.max_delay_ms",
		"worker.event_system.processing.backoff.multiplier", "worker.event_system.processing.backoff.jitter_percent")
	tests := []struct {
		name   string
		change func(b *config.RetryBackoff)
		want   []int // milliseconds; nil: other than the first
	}{
		{"as it was", func(*config.RetryBackoff) {}, []int{100, 200, 400, 800}},
		{"initial_delay_ms", func(b *config.RetryBackoff) { b.InitialDelay = 50 }, []int{50, 100, 200, 400}},
		{"max_delay_ms", func(b *config.RetryBackoff) { b.MaxDelay = 300 }, []int{100, 200, 300, 300}},
		{"multiplier", func(b *config.RetryBackoff) { b.Multiplier = 3 }, []int{100, 300, 900, 2700}},
		{"jitter_percent", func(b *config.RetryBackoff) { b.Jitter = 0.5 }, nil},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			cfg := config.Worker{}
			cfg.EventSystem.Processing.Backoff = config.RetryBackoff{InitialDelay: 100, MaxDelay: 10000, Multiplier: 2}
			tt.change(&cfg.EventSystem.Processing.Backoff)
			ctx, cancel := context.WithCancel(t.Context())
			log := &pauses{end: cancel}
			r := stranded(t, config.Common{}, cfg, log)
			began := time.Now()
			r.claim(ctx, &space{queue: "q", wake: eventsystem.NewSignal()})
			var waited time.Duration
			got := make([]int, len(log.all))
			for i, pause := range log.all {
				got[i] = int(pause.Milliseconds())
				if i < 3 { // the end of the context cuts the last one short
					waited += pause
				}
			}
			if tt.want == nil && slices.Equal(got, tests[0].want) || tt.want != nil && !slices.Equal(got, tt.want) {
				t.Errorf("%s: pauses of %v ms, want %v", tt.name, got, tt.want)
			}
			if elapsed := time.Since(began); elapsed != waited {
				t.Errorf("%s: waited %s, want %s", tt.name, elapsed, waited)
			}
		})
	}
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
			r.running[keyOf(step.StepRef)] = &running{queue: "q"}
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
