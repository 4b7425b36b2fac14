package orchestration

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/eventtest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// TestQueuesAreProbed: a queue whose messages nobody reads makes the process
// degraded at the next probe, and no sooner, and well again once they are read.
func TestQueuesAreProbed(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.health_check_interval")
	for _, interval := range []config.Seconds{1, 3600} {
		b := newBench(t)
		b.exec(`select pgmq.create('` + b.sys.Names.Requests() + `'), pgmq.create('` + b.sys.Names.Finalizations() + `')`)
		b.sys.Common.Queues.HealthCheckInterval = interval
		p := newProber(b.sys)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var wg sync.WaitGroup
		wg.Go(func() { p.Run(ctx) })
		look := p.Check("queue_depth").Look
		is := func(want health.Status, part string) func() bool {
			return func() bool {
				status, said := look(t.Context())
				return status == want && strings.Contains(said, part)
			}
		}
		b.eventually("a first probe", is(health.Healthy, "0 messages are due in 4 queues"))
		b.exec(`insert into pgmq.q_` + b.sys.Names.Results() + ` (vt, message) select clock_timestamp() - interval '2 minutes', '{}' from generate_series(1, 3)`)
		b.exec(`insert into pgmq.q_` + b.queue + ` (vt, message) select clock_timestamp() - interval '2 minutes', '{}'`)
		if interval == 1 {
			b.eventually("late results", is(health.Degraded, "3 messages are due in "+b.sys.Names.Results()+", the oldest for 2m"))
			b.exec(`delete from pgmq.q_` + b.sys.Names.Results())
			b.eventually("a recovery", is(health.Healthy, "1 messages are due in 4 queues"))
			b.exec(`update pgmq.q_` + b.queue + ` set vt = clock_timestamp() - interval '11 minutes'`)
			b.eventually("late steps", is(health.Degraded, "1 messages are due in "+b.queue))
		} else if status, said := look(t.Context()); status != health.Healthy {
			t.Errorf("between two probes it is %s: %s", status, said)
		}
		stop()
		wg.Wait()
	}
}

// TestReconcilerTellsItsAge: degraded until a pass has succeeded.
func TestReconcilerTellsItsAge(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := newReconciler(b.sys, &b.cfg, eventsystem.NewSignal())
	if status, said := r.look(t.Context()); status != health.Degraded || said != "no pass yet" {
		t.Errorf("%s: %s", status, said)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.run(ctx) })
	b.eventually("a pass", func() bool { status, _ := r.look(t.Context()); return status == health.Healthy })
	stop()
	wg.Wait()
	r.overdue.Store(0)
	if status, said := r.look(t.Context()); status != health.Degraded || !strings.HasPrefix(said, "the last pass ended") {
		t.Errorf("%s: %s", status, said)
	}
}

// TestSlowOperationsAreLogged: those that take 100 ms or longer, where
// performance logging is on.
func TestSlowOperationsAreLogged(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.system.enable_performance_logging")
	for _, on := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var cfg config.Orchestration
			cfg.System.EnablePerformanceLogging = on
			for _, events := range []*config.EventSystem{&cfg.EventSystems.Orchestration, &cfg.EventSystems.TaskReadiness} {
				events.Timing.ProcessingTimeout = 30
			}
			sys := stranded(t)
			log := eventtest.NewLog()
			sys.Log = slog.New(log)
			for _, ops := range []*eventsystem.Operator{newProcessor(sys, &cfg, handoff.New(0, 0)).reads, newReconciler(sys, &cfg, eventsystem.NewSignal()).ops} {
				for _, took := range []time.Duration{99 * time.Millisecond, 100 * time.Millisecond} {
					if err := ops.Do(t.Context(), "count", func(context.Context) error { <-time.After(took); return nil }); err != nil {
						t.Error(err)
					}
				}
			}
			slow := strings.Count(strings.Join(log.Lines(), "\n"), "slow operation")
			if want := map[bool]int{true: 2}[on]; slow != want {
				t.Errorf("enable_performance_logging = %t: %d operations are logged, want %d: %q", on, slow, want, log.Lines())
			}
		})
	}
}
