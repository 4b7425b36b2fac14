package staleness_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/orchestration/internal/staleness"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// steps are those of every template here: first, then second.
const steps = `steps: [{name: first, handler: {callable: work}}, {name: second, handler: {callable: work}, dependencies: [first]}]}`

// A bench is a database with templates and no process that would do anything.
type bench struct {
	*enginetest.Engine
	t   *testing.T
	cfg config.Orchestration
}

func newBench(t *testing.T, lifecycles ...string) *bench {
	t.Helper()
	documents := []string{`{name: pair, namespace: test, ` + steps}
	for i, lifecycle := range lifecycles {
		documents = append(documents, fmt.Sprintf(`{name: pair%d, namespace: test, lifecycle: %s, %s`, i, lifecycle, steps))
	}
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(documents...)})
	e.Register()
	return &bench{Engine: e, t: t, cfg: *e.Config.Orchestration}
}

func (b *bench) detector() *staleness.Detector {
	return staleness.New(b.Pool, b.Names, b.cfg.StalenessDetection, b.cfg.DLQ)
}

// run has the detector look once.
func (b *bench) run() staleness.Report {
	b.t.Helper()
	report, err := b.detector().Run(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return report
}

// aged creates a task to which nothing has happened for so long.
func (b *bench) aged(template string, d time.Duration) uuid.UUID {
	b.t.Helper()
	id := uuid.MustParse(b.Create(template, nil))
	b.age(id, d)
	return id
}

// age moves all that ever happened to a task back in time.
func (b *bench) age(task uuid.UUID, d time.Duration) {
	b.t.Helper()
	const back = ` - make_interval(secs => $2) `
	b.Exec(`update tasker.tasks set created_at = created_at`+back+`where task_id = $1`, task, d.Seconds())
	b.Exec(`update tasker.steps set enqueued_at = enqueued_at`+back+`, started_at = started_at`+back+`, finished_at = finished_at`+back+
		`, next_attempt_at = next_attempt_at`+back+`where task_id = $1`, task, d.Seconds())
}

// claim has the first step of a new task claimed by a worker, for so long.
func (b *bench) claim(lease time.Duration) postgres.ClaimedStep {
	b.t.Helper()
	claimed, err := postgres.ClaimSteps(b.t.Context(), b.Pool, postgres.Claim{
		Queue: b.Queue(enginetest.Namespace), Process: uuid.New(), Limit: 1, Lease: lease,
	})
	if err != nil || len(claimed) != 1 {
		b.t.Fatalf("claimed %d steps: %v", len(claimed), err)
	}
	return claimed[0]
}

// clear removes all tasks.
func (b *bench) clear() {
	b.t.Helper()
	for _, table := range []string{"tasker.steps", "tasker.tasks", "tasker.dlq_entries", "tasker.step_attempts", "pgmq.q_" + b.Queue(enginetest.Namespace)} {
		b.Exec(`delete from ` + table)
	}
}

func (b *bench) state(task uuid.UUID) string {
	b.t.Helper()
	return enginetest.Query[string](b.Engine, `select state::text from tasker.tasks where task_id = $1`, task)
}

// TestThresholds: a task that has rested for 40 minutes is stale where less is
// allowed, by the configuration or by its template, and not where more is.
func TestThresholds(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.staleness_detection.thresholds.steps_in_process_minutes",
		"orchestration.staleness_detection.thresholds.waiting_for_dependencies_minutes",
		"orchestration.staleness_detection.thresholds.waiting_for_retry_minutes")
	b := newBench(t, `{max_steps_in_process_minutes: 45, max_waiting_for_dependencies_minutes: 45, max_waiting_for_retry_minutes: 45}`)
	const retry = `with waits as (update tasker.steps set state = 'waiting_for_retry', attempt = 1, claim = 1, finished_at = now(),
		next_attempt_at = now() where task_id = $1 and ordinal = 1)
		update tasker.tasks set state = 'waiting_for_retry' where task_id = $1`
	tests := []struct {
		name    string
		minutes func(t *config.StalenessThresholds) *config.Minutes
		prepare string
	}{
		{"steps_in_process", func(t *config.StalenessThresholds) *config.Minutes { return &t.StepsInProcess }, `select $1::uuid`},
		{
			"waiting_for_dependencies", func(t *config.StalenessThresholds) *config.Minutes { return &t.WaitingForDependencies },
			`update tasker.tasks set state = 'waiting_for_dependencies' where task_id = $1`,
		},
		{"waiting_for_retry", func(t *config.StalenessThresholds) *config.Minutes { return &t.WaitingForRetry }, retry},
	}
	for _, tt := range tests {
		for _, look := range []struct {
			template string
			minutes  config.Minutes
			stale    bool
		}{{"pair", 30, true}, {"pair", 50, false}, {"pair0", 30, false}} {
			id := uuid.MustParse(b.Create(look.template, nil))
			b.Exec(tt.prepare, id)
			b.age(id, 40*time.Minute)
			b.cfg.StalenessDetection.Thresholds = config.StalenessThresholds{
				StepsInProcess: 1440, WaitingForDependencies: 1440, WaitingForRetry: 1440, TaskMaxLifetime: 168,
			}
			*tt.minutes(&b.cfg.StalenessDetection.Thresholds) = look.minutes
			report := b.run()
			if stale := len(report.Stale) == 1; stale != look.stale {
				t.Errorf("%s, %s, %d minutes: stale is %t", tt.name, look.template, look.minutes, stale)
			}
			if len(report.Stale) == 1 {
				if f := report.Stale[0]; f.Task != id || f.Cause != staleness.Rest || string(f.State) != tt.name || f.Limit != look.minutes.Duration() {
					t.Errorf("%s: found %+v", tt.name, f)
				}
			}
			b.clear()
		}
	}
}

// TestLifetime ends a task in each state that a task can rest in; what is younger
// than the limit, or began only when it was to, lives on.
func TestLifetime(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.staleness_detection.thresholds.task_max_lifetime_hours")
	b := newBench(t, `{max_duration_minutes: 6000}`)
	states := []tasker.TaskState{
		tasker.TaskPending, tasker.TaskInitializing, tasker.TaskEnqueuingSteps, tasker.TaskStepsInProcess, tasker.TaskEvaluatingResults,
		tasker.TaskWaitingForDependencies, tasker.TaskWaitingForRetry, tasker.TaskBlockedByFailures,
	}
	old := map[uuid.UUID]tasker.TaskState{}
	for _, state := range states {
		id := uuid.MustParse(b.Create("pair", nil))
		b.Exec(`update tasker.tasks set state = $2, created_at = now() - interval '40 hours' where task_id = $1`, id, string(state))
		old[id] = state
	}
	paused := uuid.MustParse(b.Create("pair", nil))
	b.Exec(`update tasker.tasks set paused_at = now(), created_at = now() - interval '40 hours' where task_id = $1`, paused)
	old[paused] = tasker.TaskStepsInProcess
	delayed, own := uuid.MustParse(b.Create("pair", nil)), uuid.MustParse(b.Create("pair0", nil))
	b.Exec(`update tasker.tasks set created_at = now() - interval '40 hours' where task_id = any (array[$1, $2]::uuid[])`, delayed, own)
	b.Exec(`update tasker.tasks set run_at = now() where task_id = $1`, delayed)

	b.cfg.StalenessDetection.Thresholds.TaskMaxLifetime = 48
	if got := b.run(); len(got.Stale) != 0 {
		t.Errorf("with 48 hours found %+v", got.Stale)
	}
	b.cfg.StalenessDetection.Thresholds.TaskMaxLifetime = 24
	got := b.run()
	for _, f := range got.Stale {
		if old[f.Task] != f.State || f.Cause != staleness.Lifetime || f.Limit != 24*time.Hour || b.state(f.Task) != "error" {
			t.Errorf("found %+v, now %s; it was %s", f, b.state(f.Task), old[f.Task])
		}
	}
	if len(got.Stale) != len(old) || len(got.Entered) != len(old) {
		t.Errorf("found %d and set %d aside, want %d", len(got.Stale), len(got.Entered), len(old))
	}
	if b.state(delayed) != "steps_in_process" || b.state(own) != "steps_in_process" {
		t.Errorf("delayed is %s, own is %s", b.state(delayed), b.state(own))
	}
}

// TestHealthyTasksAreLeftAlone: long steps whose worker lives, chains that move,
// retries that are not due, paused tasks, and tasks under investigation.
func TestHealthyTasksAreLeftAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	leased := b.aged("pair", 0)
	b.claim(time.Hour)
	b.age(leased, 5*time.Hour)

	moving := b.aged("pair", 0)
	first := b.claim(time.Hour)
	b.age(moving, 5*time.Hour)
	_, err := postgres.Apply(t.Context(), b.Pool, postgres.Batch{
		Queue: b.Queue("test"), Completed: []postgres.Completed{{StepRef: first.StepRef, Result: json.RawMessage(`1`)}}, Others: []uuid.UUID{moving},
		Consumed: []postgres.Consumed{{Queue: b.Queue("test"), Messages: []postgres.Message{first.Message}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Exec(`delete from pgmq.q_worker_test_queue where vt <= now() and message->>'task' = $1::text`, moving) // others must not claim it below
	b.Exec(`select pgmq.send('worker_test_queue', jsonb_build_object('task', $1::text, 'step', 2, 'claim', 0), 3600)`, moving)

	b.aged("pair", 0)
	failing := b.claim(time.Hour)
	_, err = postgres.Apply(t.Context(), b.Pool, postgres.Batch{
		Queue: b.Queue("test"), Settle: []uuid.UUID{failing.Task},
		Failed:   []postgres.Failed{{StepRef: failing.StepRef, Error: json.RawMessage(`{}`), Delay: 10 * time.Hour}},
		Consumed: []postgres.Consumed{{Queue: b.Queue("test"), Messages: []postgres.Message{failing.Message}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.age(failing.Task, 5*time.Hour)

	paused, investigated := b.aged("pair", 5*time.Hour), b.aged("pair", 5*time.Hour)
	b.Exec(`update tasker.tasks set paused_at = now() where task_id = $1`, paused)
	if _, err := postgres.Enter(t.Context(), b.Pool, []postgres.DeadLetter{{Task: investigated, Reason: postgres.ManualDLQ}}, false); err != nil {
		t.Fatal(err)
	}
	dead := b.aged("pair", 5*time.Hour)
	b.Exec(`update pgmq.q_worker_test_queue set message = message || '{"claim": 1}' where message->>'task' = $1::text`, dead)
	b.Exec(`update tasker.steps set state = 'in_progress', attempt = 1, claim = 1, started_at = enqueued_at where task_id = $1 and ordinal = 1`, dead)

	if got := b.run(); len(got.Stale) != 1 || got.Stale[0].Task != dead {
		t.Errorf("found %+v, want only the task whose worker is dead, %s", got.Stale, dead)
	}
	for _, task := range []uuid.UUID{leased, moving, failing.Task, paused, investigated} {
		if b.state(task) == "error" {
			t.Errorf("task %s has ended", task)
		}
	}
}

// TestActions: what becomes of a stale task, by the configuration and by its
// template, and what listeners hear.
func TestActions(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.staleness_detection.actions.auto_transition_to_error",
		"orchestration.staleness_detection.actions.auto_move_to_dlq", "orchestration.staleness_detection.actions.emit_events",
		"orchestration.staleness_detection.actions.event_channel", "orchestration.dlq.auto_dlq_on_staleness",
		"orchestration.dlq.reasons.staleness_timeout")
	b := newBench(t,
		`{staleness_action: dlq}`, `{staleness_action: error}`, `{staleness_action: none}`,
		`{auto_fail_on_timeout: false}`, `{auto_dlq_on_timeout: false}`, `{staleness_action: none, auto_fail_on_timeout: true}`)
	all := b.cfg
	listener, err := b.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Release()
	if err := postgres.Listen(t.Context(), listener.Conn(), []string{"task_staleness_detected", "elsewhere", "end"}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, template string
		change         func(cfg *config.Orchestration)
		action         staleness.Action // "": not found
		channel        string
	}{
		{"as it was", "pair", func(*config.Orchestration) {}, staleness.Both, "task_staleness_detected"},
		{"auto_transition_to_error", "pair", func(cfg *config.Orchestration) { cfg.StalenessDetection.Actions.AutoTransitionToError = false }, staleness.DLQOnly, "task_staleness_detected"},
		{"auto_move_to_dlq", "pair", func(cfg *config.Orchestration) { cfg.StalenessDetection.Actions.AutoMoveToDLQ = false }, staleness.EndOnly, "task_staleness_detected"},
		{"auto_dlq_on_staleness", "pair", func(cfg *config.Orchestration) { cfg.DLQ.AutoDLQOnStaleness = false }, staleness.EndOnly, "task_staleness_detected"},
		{"reasons.staleness_timeout", "pair", func(cfg *config.Orchestration) { cfg.DLQ.Reasons.StalenessTimeout = false }, staleness.EndOnly, "task_staleness_detected"},
		{"dlq.enabled", "pair", func(cfg *config.Orchestration) { cfg.DLQ.Enabled = false }, staleness.EndOnly, "task_staleness_detected"},
		{"emit_events", "pair", func(cfg *config.Orchestration) { cfg.StalenessDetection.Actions.EmitEvents = false }, staleness.Both, ""},
		{"event_channel", "pair", func(cfg *config.Orchestration) { cfg.StalenessDetection.Actions.EventChannel = "elsewhere" }, staleness.Both, "elsewhere"},
		{"no action at all", "pair", func(cfg *config.Orchestration) {
			cfg.StalenessDetection.Actions.AutoTransitionToError, cfg.StalenessDetection.Actions.AutoMoveToDLQ = false, false
		}, staleness.Reported, "task_staleness_detected"},
		{"the template wants a dead letter", "pair0", func(cfg *config.Orchestration) {
			cfg.StalenessDetection.Actions.AutoTransitionToError, cfg.StalenessDetection.Actions.AutoMoveToDLQ = false, false
		}, staleness.Both, "task_staleness_detected"},
		{"the template wants an error", "pair1", func(*config.Orchestration) {}, staleness.EndOnly, "task_staleness_detected"},
		{"the template wants nothing", "pair2", func(*config.Orchestration) {}, "", ""},
		{"the template does not fail", "pair3", func(*config.Orchestration) {}, staleness.DLQOnly, "task_staleness_detected"},
		{"the template wants no dead letter", "pair4", func(*config.Orchestration) {}, staleness.EndOnly, "task_staleness_detected"},
		{"the template's switch wins over its action", "pair5", func(*config.Orchestration) {}, staleness.EndOnly, "task_staleness_detected"},
	}
	for _, tt := range tests {
		b.cfg = all
		tt.change(&b.cfg)
		id := b.aged(tt.template, time.Hour)
		report := b.run()
		b.Exec(`select pg_notify('end', '')`)
		heard, payload := "", ""
		for {
			n, err := listener.Conn().WaitForNotification(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n.Channel == "end" {
				break
			}
			heard, payload = n.Channel, n.Payload
		}
		if heard != tt.channel || heard != "" && (!strings.Contains(payload, id.String()) || !strings.Contains(payload, string(tt.action))) {
			t.Errorf("%s: heard %q on %q, want it on %q", tt.name, payload, heard, tt.channel)
		}
		var action staleness.Action
		if len(report.Stale) == 1 {
			action = report.Stale[0].Action
		}
		if action != tt.action {
			t.Errorf("%s: %s, want %s", tt.name, action, tt.action)
		}
		ended, aside := b.state(id) == "error", enginetest.Query[int](b.Engine, `select count(*)::int from tasker.dlq_entries
			where task_id = $1 and reason = 'staleness_timeout' and original_state = 'steps_in_process'`, id) == 1
		if wantEnded, wantAside := tt.action == staleness.Both || tt.action == staleness.EndOnly, tt.action == staleness.Both || tt.action == staleness.DLQOnly; ended != wantEnded || aside != wantAside {
			t.Errorf("%s: ended is %t, set aside is %t; want %t, %t", tt.name, ended, aside, wantEnded, wantAside)
		}
		if again := b.run(); len(again.Stale) > 0 && tt.action != staleness.Reported {
			t.Errorf("%s: found again: %+v", tt.name, again.Stale)
		}
		b.clear()
	}
}

// TestEndedSteps: the step that stood still has failed and says why, those behind
// it are cancelled, the attempt is kept, and late results change nothing.
func TestEndedSteps(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.aged("pair", 0)
	claimed := b.claim(0)
	b.age(id, 31*time.Minute)
	if got := b.run(); len(got.Stale) != 1 {
		t.Fatalf("found %+v", got.Stale)
	}
	task := b.Wait(id.String())
	first, second := task.Step("first"), task.Step("second")
	const want = `"kind": "staleness_timeout", "message": "the task has rested in state steps_in_process for 31m0s: at most 30m0s are allowed"`
	if task.State != tasker.TaskError || first.State != tasker.StepError || second.State != tasker.StepCancelled || !strings.Contains(string(first.Error), want) {
		t.Errorf("task is %s, first %s, second %s: %s", task.State, first.State, second.State, first.Error)
	}
	for what, query := range map[string]string{
		"an attempt": `select count(*)::int from tasker.step_attempts where task_id = $1 and error->>'kind' = 'staleness_timeout'`,
		"an event":   `select count(*)::int from tasker.task_events where task_id = $1 and kind = 'task.given_up' and actor = 'staleness detection'`,
	} {
		if got := enginetest.Query[int](b.Engine, query, id); got != 1 {
			t.Errorf("%s: %d", what, got)
		}
	}
	late, err := postgres.Apply(t.Context(), b.Pool, postgres.Batch{
		Queue: b.Queue("test"), Completed: []postgres.Completed{{StepRef: claimed.StepRef, Result: json.RawMessage(`1`)}}, Others: []uuid.UUID{id},
	})
	if err != nil || late.Completed != 0 {
		t.Errorf("a late result counted: %+v, %v", late, err)
	}
}

// TestBatchesAndDryRuns: one run takes so many tasks; one that changes nothing
// leaves no trace and goes on behind its batch.
func TestBatchesAndDryRuns(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.staleness_detection.batch_size", "orchestration.staleness_detection.dry_run")
	b := newBench(t)
	var tasks []uuid.UUID
	for range 5 {
		tasks = append(tasks, b.aged("pair", time.Hour))
	}
	ids := func(report staleness.Report) []uuid.UUID {
		var found []uuid.UUID
		for _, f := range report.Stale {
			found = append(found, f.Task)
		}
		return found
	}
	before := enginetest.Query[string](b.Engine, `select string_agg(t::text, '') from tasker.tasks t`)
	b.cfg.StalenessDetection.DryRun, b.cfg.StalenessDetection.BatchSize = true, 2
	detector := b.detector()
	for i, want := range [][]uuid.UUID{tasks[:2], tasks[2:4], tasks[4:], tasks[:2]} {
		report, err := detector.Run(t.Context())
		if err != nil || !report.DryRun || !slices.Equal(ids(report), want) || report.Stale[0].Action != staleness.Both {
			t.Errorf("dry run %d found %+v, want %v (%v)", i+1, report, want, err)
		}
	}
	if after := enginetest.Query[string](b.Engine, `select string_agg(t::text, '') || count(e)::text from tasker.tasks t left join tasker.dlq_entries e using (task_id)`); after != before+"0" {
		t.Errorf("a dry run changed %s to %s", before, after)
	}
	b.cfg.StalenessDetection.DryRun = false
	if report := b.run(); !slices.Equal(ids(report), tasks[:2]) || b.state(tasks[1]) != "error" || b.state(tasks[2]) == "error" {
		t.Errorf("a run with batch_size 2 took %v", ids(report))
	}
	b.cfg.StalenessDetection.BatchSize = 3
	if report := b.run(); !slices.Equal(ids(report), tasks[2:]) {
		t.Errorf("a run with batch_size 3 took %v", ids(report))
	}
}

// TestLook shows how far tasks have come towards their limits (the original's
// monitoring at 50, 85 and 150 per cent).
func TestLook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.aged("pair", 15*time.Minute)
	b.aged("pair", 45*time.Minute)
	b.aged("pair", 1530*time.Second)
	found, err := b.detector().Look(t.Context(), 2)
	if err != nil || len(found) != 2 {
		t.Fatalf("found %d: %v", len(found), err)
	}
	for i, want := range []float64{1.5, 0.85} {
		if got := found[i].Share(); got < want || got > want+0.1 {
			t.Errorf("task %d has used %.2f of its limit, want %.2f", i+1, got, want)
		}
	}
	if n := enginetest.Query[int](b.Engine, `select count(*)::int from tasker.tasks where state = 'error'`); n != 0 {
		t.Errorf("looking ended %d tasks", n)
	}
}
