package dlq_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/orchestration/internal/dlq"
	"github.com/tasker-systems/tasker-go/taskertest"
)

const (
	pair = `{name: pair, namespace: test, steps: [
		{name: first, handler: {callable: work}, retry: {max_attempts: 1}},
		{name: second, handler: {callable: work}, dependencies: [first], retry: {max_attempts: 1}}]}`
	ring = `{name: ring, namespace: test, steps: [
		{name: a, handler: {callable: work}}, {name: b, handler: {callable: work}, dependencies: [a]},
		{name: c, handler: {callable: work}, dependencies: [b]}, {name: d, handler: {callable: work}, dependencies: [c]}]}`
)

// A bench is a database with templates and no process that would do anything.
type bench struct {
	*enginetest.Engine
	t   *testing.T
	cfg config.DLQ
}

func newBench(t *testing.T) *bench {
	t.Helper()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(pair, ring)})
	e.Register()
	return &bench{Engine: e, t: t, cfg: e.Config.Orchestration.DLQ}
}

func (b *bench) keeper() *dlq.Keeper { return dlq.New(b.Pool, b.cfg) }

// failed creates a task whose step of the given ordinal has failed for good.
func (b *bench) failed(kind string, ordinal int32) uuid.UUID {
	b.t.Helper()
	id := uuid.MustParse(b.Create("pair", nil))
	for n := int32(1); n <= ordinal; n++ {
		claimed, err := postgres.ClaimSteps(b.t.Context(), b.Pool, postgres.Claim{
			Queue: b.Queue("test"), Process: uuid.New(), Limit: 1, Lease: time.Hour,
		})
		if err != nil || len(claimed) != 1 || claimed[0].Ordinal != n {
			b.t.Fatalf("claimed %+v: %v", claimed, err)
		}
		batch := postgres.Batch{
			Queue: b.Queue("test"), Settle: []uuid.UUID{id},
			Consumed: []postgres.Consumed{{Queue: b.Queue("test"), Messages: []postgres.Message{claimed[0].Message}}},
		}
		if n < ordinal {
			batch.Completed = []postgres.Completed{{StepRef: claimed[0].StepRef, Result: json.RawMessage(`{"secret": 7}`)}}
		} else {
			failure := outcome.Failure{Kind: kind, Message: "no", Permanent: kind != outcome.HandlerError}
			batch.Failed = []postgres.Failed{{StepRef: claimed[0].StepRef, Error: failure.JSON(), Final: true}}
		}
		if _, err := postgres.Apply(b.t.Context(), b.Pool, batch); err != nil {
			b.t.Fatal(err)
		}
	}
	return id
}

func (b *bench) examine() []postgres.Entered {
	b.t.Helper()
	entered, err := b.keeper().Examine(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return entered
}

// entry returns what is in the queue about a task.
func (b *bench) entry(task uuid.UUID) postgres.DLQEntry {
	b.t.Helper()
	entry, err := postgres.FindTaskDLQEntry(b.t.Context(), b.Pool, task, time.Hour)
	if err != nil {
		b.t.Fatal(err)
	}
	return entry
}

// TestReasons: a failure makes an entry where there is a queue and its reason is
// on, whether its task is blocked or at its end.
func TestReasons(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.dlq.enabled", "orchestration.dlq.reasons.max_retries_exceeded", "orchestration.dlq.reasons.worker_unavailable")
	b := newBench(t)
	on := b.cfg
	tests := []struct {
		name    string
		change  func(cfg *config.DLQ)
		kind    string
		ordinal int32
		want    postgres.DLQReason // "": no entry
	}{
		{"blocked, out of attempts", func(*config.DLQ) {}, outcome.HandlerError, 1, postgres.MaxRetriesExceeded},
		{"in error, permanent", func(*config.DLQ) {}, outcome.HandlerNotFound, 2, postgres.MaxRetriesExceeded},
		{"worker lost", func(*config.DLQ) {}, outcome.WorkerLost, 1, postgres.WorkerUnavailable},
		{"no queue", func(cfg *config.DLQ) { cfg.Enabled = false }, outcome.HandlerError, 1, ""},
		{"max_retries_exceeded off", func(cfg *config.DLQ) { cfg.Reasons.MaxRetriesExceeded = false }, outcome.HandlerError, 1, ""},
		{"worker_unavailable on", func(cfg *config.DLQ) { cfg.Reasons.MaxRetriesExceeded = false }, outcome.WorkerLost, 2, postgres.WorkerUnavailable},
		{"worker_unavailable off", func(cfg *config.DLQ) { cfg.Reasons.WorkerUnavailable = false }, outcome.WorkerLost, 1, ""},
	}
	for _, tt := range tests {
		b.cfg = on
		tt.change(&b.cfg)
		task := b.failed(tt.kind, tt.ordinal)
		entered := b.examine()
		if tt.want == "" {
			if len(entered) != 0 {
				t.Errorf("%s: entered %+v", tt.name, entered)
			}
			continue
		}
		state := map[int32]tasker.TaskState{1: tasker.TaskBlockedByFailures, 2: tasker.TaskError}[tt.ordinal]
		if len(entered) != 1 || entered[0].Task != task || entered[0].Reason != tt.want || entered[0].State != state || entered[0].Name != "pair" {
			t.Errorf("%s: entered %+v, want one of %s in %s", tt.name, entered, tt.want, state)
			continue
		}
		var metadata struct {
			Failed []postgres.FailedStep `json:"failed_steps"`
		}
		entry := b.entry(task)
		if err := json.Unmarshal(entry.Metadata, &metadata); err != nil || len(metadata.Failed) != 1 || metadata.Failed[0].Kind != tt.kind || metadata.Failed[0].Attempts != 1 {
			t.Errorf("%s: metadata is %s (%v)", tt.name, entry.Metadata, err)
		}
		if entry.Resolution != postgres.DLQPending || entry.OriginalState != state || *entry.TaskState != state {
			t.Errorf("%s: the entry is %+v", tt.name, entry)
		}
		if again := b.examine(); len(again) != 0 {
			t.Errorf("%s: entered again: %+v", tt.name, again)
		}
	}
}

// TestExamineConcurrently: of many who look at once each failure makes one entry.
func TestExamineConcurrently(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const n = 20
	for range n {
		b.failed(outcome.HandlerError, 1)
	}
	counts, errs := make(chan int, 4), make(chan error, 4)
	for range cap(counts) {
		go func() {
			entered, err := b.keeper().Examine(context.WithoutCancel(t.Context()))
			counts <- len(entered)
			errs <- err
		}()
	}
	sum := 0
	for range cap(counts) {
		sum += <-counts
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	sum += len(b.examine())
	if got := enginetest.Query[int](b.Engine, `select count(distinct task_id)::int from tasker.dlq_entries`); sum != n || got != n {
		t.Errorf("entered %d, the queue has %d tasks; want %d", sum, got, n)
	}
}

// TestSnapshots: an entry keeps the whole task but for large results, or its ids.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.dlq.include_full_task_snapshot")
	b := newBench(t)
	for _, full := range []bool{true, false} {
		b.cfg.IncludeFullTaskSnapshot = full
		task := b.failed(outcome.HandlerError, 2)
		b.examine()
		snapshot := string(b.entry(task).Snapshot)
		for _, part := range []string{`"secret": 7`, `"attempts"`, `"first"`, `"handler_error"`, `"correlation_id"`} {
			if strings.Contains(snapshot, part) != full {
				t.Errorf("full is %t; the snapshot has %s: %t\n%s", full, part, !full, snapshot)
			}
		}
		if !strings.Contains(snapshot, `"task_id": "`+task.String()) || !strings.Contains(snapshot, `"template_id"`) {
			t.Errorf("the snapshot lacks the ids: %s", snapshot)
		}
	}
	b.cfg.IncludeFullTaskSnapshot = true
	large := b.failed(outcome.HandlerError, 2)
	b.Exec(`update tasker.steps set result = to_jsonb(repeat('x', 100000)) where task_id = $1 and ordinal = 1`, large)
	b.examine()
	if snapshot := b.entry(large).Snapshot; len(snapshot) > 10_000 || !strings.Contains(string(snapshot), `"result_bytes": 100002`) {
		t.Errorf("the snapshot has %d bytes", len(snapshot))
	}
}

// TestCycles damages a graph so that steps wait for each other: such a task ends
// in error and is set aside, if entries are made for that reason.
func TestCycles(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.dlq.reasons.dependency_cycle_detected")
	b := newBench(t)
	for _, on := range []bool{true, false} {
		b.cfg.Reasons.DependencyCycleDetected = on
		healthy, sick := uuid.MustParse(b.Create("ring", nil)), uuid.MustParse(b.Create("ring", nil))
		b.Exec(`delete from pgmq.q_worker_test_queue where message->>'task' = $1::text`, sick)
		b.Exec(`update tasker.steps set state = 'complete', result = '1', finished_at = now(), dependents = null where task_id = $1 and ordinal = 1`, sick)
		b.Exec(`update tasker.steps set depends_on = '{3}', dependents = '{3}', waiting_on = 1 where task_id = $1 and ordinal = 2`, sick)
		b.Exec(`update tasker.steps set dependents = '{2,4}' where task_id = $1 and ordinal = 3`, sick)
		b.Exec(`update tasker.tasks set state = 'waiting_for_dependencies' where task_id = $1`, sick)
		ended, entered, err := b.keeper().EndCycles(t.Context(), []uuid.UUID{healthy, sick})
		if err != nil || len(ended) != 1 || ended[0].Task != sick || strings.Join(ended[0].Steps, " ") != "b c" || (len(entered) == 1) != on {
			t.Errorf("on is %t: ended %+v, entered %+v, %v", on, ended, entered, err)
		}
		task := b.Wait(sick.String())
		if d := task.Step("d"); task.State != tasker.TaskError || d.State != tasker.StepCancelled || !strings.Contains(string(d.Error), "wait for each other: b, c") {
			t.Errorf("on is %t: task is %s, d is %s: %s", on, task.State, d.State, d.Error)
		}
		if on {
			if e := b.entry(sick); e.Reason != postgres.DependencyCycleDetected || string(e.Metadata) != `{"cycle": ["b", "c"]}` {
				t.Errorf("the entry is %s: %s", e.Reason, e.Metadata)
			}
		}
	}
}

// TestReminders: entries that have been pending for too long are counted, and
// listeners hear of them.
func TestReminders(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.dlq.max_pending_age_hours")
	b := newBench(t)
	listener, err := b.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Release()
	if err := postgres.Listen(t.Context(), listener.Conn(), []string{"here"}); err != nil {
		t.Fatal(err)
	}
	old := b.failed(outcome.HandlerError, 1)
	b.failed(outcome.HandlerError, 1)
	b.examine()
	b.Exec(`update tasker.dlq_entries set entered_at = now() - interval '30 hours' where task_id = $1`, old)
	for _, tt := range []struct {
		age  config.Hours
		want int
	}{{24, 1}, {48, 0}} {
		b.cfg.MaxPendingAge = tt.age
		reminder, err := b.keeper().Remind(t.Context(), "here")
		if err != nil || (reminder != nil) != (tt.want > 0) {
			t.Fatalf("%d hours: %+v, %v", tt.age, reminder, err)
		}
		if reminder == nil {
			continue
		}
		if n, err := listener.Conn().WaitForNotification(t.Context()); err != nil || reminder.Overdue != tt.want || !strings.Contains(n.Payload, `"entries":1`) {
			t.Errorf("%d hours: %+v, heard %+v (%v)", tt.age, reminder, n, err)
		}
	}
	b.Exec(`update tasker.dlq_entries set resolution = 'cancelled', resolved_at = now()`)
	b.cfg.MaxPendingAge = 1
	if reminder, err := b.keeper().Remind(t.Context(), "here"); reminder != nil || err != nil {
		t.Errorf("resolved entries are overdue: %+v, %v", reminder, err)
	}
}

// TestRequeue puts a blocked and an ended task back to work; each runs to its end
// with what it had finished, and a second failure makes a second entry.
func TestRequeue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	blocked, failed, again := b.failed(outcome.HandlerError, 1), b.failed(outcome.HandlerError, 2), b.failed(outcome.HandlerError, 2)
	b.examine()
	operator := &operate.Operator{Pool: b.Pool, Names: b.Names, Notifier: eventsystem.NewNotifier(b.Pool, b.Log)}
	for _, task := range []uuid.UUID{blocked, failed, again} {
		if err := operator.Requeue(t.Context(), b.entry(task).ID, operate.By{Actor: "ann", Reason: "fixed"}); err != nil {
			t.Fatal(err)
		}
		e := b.entry(task)
		if e.Resolution != postgres.DLQRequeued || e.ResolvedAt == nil || *e.ResolvedBy != "ann" || *e.Notes != "fixed" || *e.TaskState != tasker.TaskStepsInProcess {
			t.Errorf("the entry is %+v", e)
		}
		if err := operator.Requeue(t.Context(), e.ID, operate.By{}); !errors.Is(err, postgres.ErrResolved) {
			t.Errorf("requeued twice: %v", err)
		}
	}
	b.Check()
	ran := make(chan string, 10)
	e := b.StartCombined(enginetest.Handlers{"work": func(_ context.Context, s *tasker.Step) (any, error) {
		ran <- s.Task + " " + s.Name
		if s.Task == again.String() {
			return nil, errors.New("still no")
		}
		return 1, nil
	}})
	for task, attempts := range map[uuid.UUID]string{blocked: "1 1", failed: "1 1"} {
		done := b.Wait(task.String())
		if done.State != tasker.TaskComplete || done.Step("first").Attempt != 1 || done.Step("second").Attempt != 1 {
			t.Errorf("task is %s, attempts %d %d, want %s", done.State, done.Step("first").Attempt, done.Step("second").Attempt, attempts)
		}
	}
	if task := b.Wait(again.String()); task.State != tasker.TaskError || string(task.Step("first").Result) != `{"secret": 7}` {
		t.Errorf("task is %s, first returned %s", task.State, task.Step("first").Result)
	}
	b.Await(`select count(*) = 2 and count(*) filter (where resolution = 'pending') = 1 from tasker.dlq_entries where task_id = $1`, again)
	e.Stop()
	close(ran)
	steps := map[string]int{}
	for step := range ran {
		steps[step]++
	}
	for _, step := range []string{blocked.String() + " first", blocked.String() + " second", failed.String() + " second", again.String() + " second"} {
		if steps[step] != 1 {
			t.Errorf("%s ran %d times", step, steps[step])
		}
	}
	if len(steps) != 4 {
		t.Errorf("ran %v", steps)
	}
}
