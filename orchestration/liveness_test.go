package orchestration

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/taskertest"
)

var discard = slog.New(slog.DiscardHandler)

// stranded returns a system whose database is gone: each query fails at once.
func stranded(t *testing.T) *system.Context {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgresql://nobody@127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	return &system.Context{Pool: pool, Log: discard}
}

// TestPollsFollowTheSettings: how long the reader of results waits for results
// that nobody announces.
func TestPollsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.event_systems.orchestration.deployment_mode",
		"orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds", "common.queues.pgmq.poll_interval_ms")
	tests := []struct {
		mode     config.DeploymentMode
		interval config.Seconds
		empty    config.Milliseconds
		want     time.Duration
	}{
		{config.Hybrid, 7, 250, 7 * time.Second},
		{config.Hybrid, 9, 250, 9 * time.Second},
		{config.PollingOnly, 7, 10000, 7 * time.Second},
		{config.PollingOnly, 7, 250, 250 * time.Millisecond},
		{config.EventDrivenOnly, 7, 250, -1}, // without end
	}
	for _, tt := range tests {
		var cfg config.Orchestration
		cfg.EventSystems.Orchestration.DeploymentMode = tt.mode
		cfg.EventSystems.Orchestration.Timing.FallbackPollingInterval = tt.interval
		sys := stranded(t)
		sys.Common.Queues.PGMQ.PollInterval = tt.empty
		p := newProcessor(sys, &cfg, handoff.New(0, 0))
		if tt.mode.Listens() {
			p.listener = sys.Listener(nil, listening(sys.Common, &cfg))
		}
		if got := p.pause(t.Context(), "q"); got != tt.want {
			t.Errorf("%s, %d: polls each %s, want %s", tt.mode, tt.interval, got, tt.want)
		}
	}
}

// passes counts the passes of a reconciler that cannot do its work.
type passes struct {
	slog.Handler
	times []time.Time
	end   context.CancelFunc
}

func (p *passes) Enabled(context.Context, slog.Level) bool { return true }

func (p *passes) WithAttrs([]slog.Attr) slog.Handler { return p }

func (p *passes) Handle(context.Context, slog.Record) error {
	if p.times = append(p.times, time.Now()); len(p.times) == 2 {
		p.end()
	}
	return nil
}

// TestReconcilerFollowsTheInterval: how long it rests between two passes.
func TestReconcilerFollowsTheInterval(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.event_systems.task_readiness.timing.fallback_polling_interval_seconds")
	for _, interval := range []config.Seconds{5, 60} {
		synctest.Test(t, func(t *testing.T) {
			var cfg config.Orchestration
			cfg.EventSystems.TaskReadiness.Timing.FallbackPollingInterval = interval
			ctx, cancel := context.WithCancel(t.Context())
			log := &passes{end: cancel}
			sys := stranded(t)
			sys.Log = slog.New(log)
			newReconciler(sys, &cfg, eventsystem.NewSignal()).run(ctx)
			if rested := log.times[1].Sub(log.times[0]); rested != interval.Duration() {
				t.Errorf("rests %s, want %s", rested, interval.Duration())
			}
		})
	}
}

// A bench is a database with tasks of one step, for one pass of a part.
type bench struct {
	*testing.T
	sys   *system.Context
	cfg   config.Orchestration
	queue string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cfg, err := config.LoadCombined(config.Options{
		Environment: "test",
		LookupEnv: func(name string) (string, bool) {
			return map[string]string{"DATABASE_URL": testdb.New(t)}[name], name == "DATABASE_URL"
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	sys, err := system.Open(t.Context(), cfg.Common, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sys.Close)
	loaded, err := templates.LoadFS(taskertest.YAML(`{name: single, namespace: test, steps: [{name: only, handler: {callable: work}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := sys.Catalog.Register(t.Context(), loaded); err != nil {
		t.Fatal(err)
	}
	if err := postgres.CreateQueues(t.Context(), sys.Pool, []string{sys.Names.Results()}); err != nil {
		t.Fatal(err)
	}
	queue, err := sys.Names.Steps("test")
	if err != nil {
		t.Fatal(err)
	}
	return &bench{T: t, sys: sys, cfg: *cfg.Orchestration, queue: queue}
}

// create creates a task whose message is lost.
func (b *bench) create() (task uuid.UUID) {
	b.Helper()
	c := client.New(b.sys.Pool, b.sys.Common)
	defer c.Close()
	id, err := c.CreateTask(b.Context(), client.Request{Namespace: "test", Template: "single", IdempotencyKey: uuid.NewString()})
	if err != nil {
		b.Fatal(err)
	}
	b.exec(`delete from pgmq.q_` + b.queue + ` where message->>'task' = '` + id + `'`)
	return uuid.MustParse(id)
}

func (b *bench) exec(sql string, args ...any) {
	b.Helper()
	if _, err := b.sys.Pool.Exec(b.Context(), sql, args...); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.Helper()
	if err := b.sys.Pool.QueryRow(b.Context(), sql, args...).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// pass has the reconciler look once and returns what wakes the reader of
// results.
func (b *bench) pass() *eventsystem.Signal {
	b.Helper()
	reports := eventsystem.NewSignal()
	if err := newReconciler(b.sys, &b.cfg, reports).pass(b.Context()); err != nil {
		b.Fatal(err)
	}
	return reports
}

// TestReconcilerFollowsTheDelays: a step that has rested for a minute is looked
// at when the delay is shorter and left alone when it is longer.
func TestReconcilerFollowsTheDelays(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.backoff.reenqueue_delays.steps_in_process", "orchestration.backoff.reenqueue_delays.waiting_for_retry",
		"orchestration.backoff.reenqueue_delays.evaluating_results", "orchestration.backoff.reenqueue_delays.waiting_for_dependencies",
		"orchestration.backoff.reenqueue_delays.enqueuing_steps", "orchestration.backoff.reenqueue_delays.blocked_by_failures")
	b := newBench(t)
	steps := `select count(*) from pgmq.q_` + b.queue + ` where message->>'task' = $1::text`
	tests := []struct {
		name  string
		delay func(d *config.ReenqueueDelays) *config.Seconds
		rest  string // brings the step into its state, a minute ago
		done  string // counts what the reconciler did
	}{
		{
			"steps_in_process, enqueued", func(d *config.ReenqueueDelays) *config.Seconds { return &d.StepsInProcess },
			`update tasker.steps set enqueued_at = now() - interval '1 minute' where task_id = $1`, steps,
		},
		{
			"steps_in_process, running", func(d *config.ReenqueueDelays) *config.Seconds { return &d.StepsInProcess },
			`update tasker.steps set state = 'in_progress', attempt = 1, started_at = now() - interval '1 minute' where task_id = $1`, steps,
		},
		{
			"waiting_for_retry", func(d *config.ReenqueueDelays) *config.Seconds { return &d.WaitingForRetry },
			`update tasker.steps set state = 'waiting_for_retry', next_attempt_at = now() - interval '1 minute' where task_id = $1`, steps,
		},
		{
			"evaluating_results", func(d *config.ReenqueueDelays) *config.Seconds { return &d.EvaluatingResults },
			`update tasker.steps set state = 'enqueued_for_orchestration', finished_at = now() - interval '1 minute' where task_id = $1`,
			`select count(*) from pgmq.q_` + b.sys.Names.Results() + ` where message->>'task' = $1::text`,
		},
		{
			"waiting_for_dependencies", func(d *config.ReenqueueDelays) *config.Seconds { return &d.WaitingForDependencies },
			`with aged as (update tasker.tasks set created_at = now() - interval '1 minute' where task_id = $1)
			update tasker.steps set state = 'complete', result = '1', finished_at = now() where task_id = $1`,
			`select count(*) from tasker.tasks where task_id = $1::text::uuid and state = 'complete'`,
		},
		{
			"enqueuing_steps", func(d *config.ReenqueueDelays) *config.Seconds { return &d.EnqueuingSteps },
			`with aged as (update tasker.tasks set created_at = now() - interval '1 minute', state = 'enqueuing_steps' where task_id = $1)
			update tasker.steps set state = 'pending' where task_id = $1`,
			`select count(*) from tasker.steps where task_id = $1::text::uuid and state = 'enqueued'`,
		},
		{
			"blocked_by_failures", func(d *config.ReenqueueDelays) *config.Seconds { return &d.BlockedByFailures },
			`with aged as (update tasker.tasks set state = 'blocked_by_failures' where task_id = $1)
			update tasker.steps set state = 'pending', finished_at = now() - interval '1 minute' where task_id = $1`,
			`select count(*) from tasker.steps where task_id = $1::text::uuid and state = 'enqueued'`,
		},
	}
	for _, tt := range tests {
		task := b.create()
		b.exec(tt.rest, task)
		for _, look := range []struct {
			delay config.Seconds
			want  int
		}{{300, 0}, {30, 1}} {
			b.cfg.Backoff.ReenqueueDelays = config.ReenqueueDelays{
				StepsInProcess: 300, WaitingForRetry: 300, EvaluatingResults: 300, WaitingForDependencies: 300,
				EnqueuingSteps: 300, BlockedByFailures: 300,
			}
			*tt.delay(&b.cfg.Backoff.ReenqueueDelays) = look.delay
			b.pass()
			if got := b.count(tt.done, task.String()); got != look.want {
				t.Errorf("%s: with %d s the reconciler acted %d times, want %d", tt.name, look.delay, got, look.want)
			}
		}
		b.exec(`delete from tasker.steps where task_id = $1`, task)
		b.exec(`delete from tasker.tasks where task_id = $1`, task)
	}
}

// TestReconcilerFollowsItsEventSystem: how long a step whose worker may live is
// left to it, how many tasks one pass settles, and who is woken without polls.
func TestReconcilerFollowsItsEventSystem(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.event_systems.task_readiness.timing.visibility_timeout_seconds",
		"orchestration.event_systems.task_readiness.processing.batch_size", "orchestration.event_systems.task_readiness.deployment_mode")
	tests := []struct {
		lease config.Seconds
		batch int
		mode  config.DeploymentMode
		wakes int
	}{
		{100, 1, config.Hybrid, 0},
		{300, 2, config.EventDrivenOnly, 1},
	}
	b := newBench(t)
	for _, tt := range tests {
		events := &b.cfg.EventSystems.TaskReadiness
		events.Timing.VisibilityTimeout, events.Processing.BatchSize, events.DeploymentMode = tt.lease, tt.batch, tt.mode
		b.cfg.Backoff.ReenqueueDelays = config.ReenqueueDelays{}
		b.exec(`delete from tasker.steps; delete from tasker.tasks; delete from pgmq.q_` + b.queue)
		running := b.create()
		b.exec(`update tasker.steps set state = 'in_progress', attempt = 1, started_at = now() where task_id = $1`, running)
		for range 3 {
			b.exec(`update tasker.steps set state = 'complete', result = '1', finished_at = now() where task_id = $1`, b.create())
		}
		reports := b.pass()
		lease := b.count(`select ceil(extract(epoch from vt - clock_timestamp()))::int from pgmq.q_` + b.queue)
		if upTo := int(tt.lease); lease > upTo || lease < upTo-60 {
			t.Errorf("a step that runs is left to its worker for %d s, want %d", lease, upTo)
		}
		if got := b.count(`select count(*) from tasker.tasks where state = 'complete'`); got != tt.batch {
			t.Errorf("one pass settled %d tasks, want %d", got, tt.batch)
		}
		if got := len(reports.C()); got != tt.wakes {
			t.Errorf("%s: the reader of results is woken %d times, want %d", tt.mode, got, tt.wakes)
		}
	}
}

// TestReadsFollowTheSettings: how many results one read takes, for how long, and
// for how long a standalone orchestrator is alone.
func TestReadsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.event_systems.orchestration.processing.batch_size",
		"orchestration.event_systems.orchestration.timing.visibility_timeout_seconds")
	b := newBench(t)
	for _, tt := range []struct {
		batch, want int
		lease       config.Seconds
	}{{1, 50, 100}, {2, 60, 300}} {
		results := b.sys.Names.Results()
		b.exec(`delete from tasker.leases; delete from pgmq.q_` + results)
		message, err := json.Marshal(map[string]any{"task": uuid.New(), "step": 1, "claim": 1, "template": uuid.New()})
		if err != nil {
			t.Fatal(err)
		}
		b.exec(`select pgmq.send_batch($1, array_fill($2::jsonb, array[60]))`, results, message)
		events := &b.cfg.EventSystems.Orchestration
		events.Processing.BatchSize, events.Timing.VisibilityTimeout = tt.batch, tt.lease
		p := newProcessor(b.sys, &b.cfg, handoff.New(0, 0))
		reports, err := p.read(t.Context(), results, p.most(), tt.lease.Duration())
		if err != nil || len(reports) != tt.want {
			t.Errorf("read %d results, want %d (%v)", len(reports), tt.want, err)
		}
		b.cfg.System.Mode = config.Standalone
		if _, err := takeStandaloneLease(t.Context(), b.sys, &b.cfg); err != nil {
			t.Fatal(err)
		}
		lease := b.count(`select ceil(extract(epoch from expires_at - clock_timestamp()))::int from tasker.leases`)
		if upTo := int(tt.lease); lease > upTo || lease < upTo-60 {
			t.Errorf("the orchestrator is alone for %d s, want %d", lease, upTo)
		}
	}
}
