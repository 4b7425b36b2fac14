package postgres

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// openPool opens a pool on a new database that has the test's queues.
func openPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := Open(t.Context(), config.Database{
		URL:       testdb.New(t),
		Pool:      config.Pool{MaxConnections: 4, AcquireTimeout: 30, IdleTimeout: 300, MaxLifetime: 3600},
		Variables: config.SessionVariables{StatementTimeout: 30_000},
	}, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := CreateQueues(t.Context(), pool, []string{testQueue, testResults}); err != nil {
		t.Fatal(err)
	}
	return pool
}

// A world has a diamond in each stage of its life, by name: start, then left and
// right, then end.
type world struct {
	*pgxpool.Pool

	template uuid.UUID
	process  uuid.UUID
	tasks    map[string]uuid.UUID
}

func diamond() []NewStep {
	return []NewStep{
		{Ordinal: 1, Name: "start", Dependents: []int32{2, 3}, MaxAttempts: 3},
		{Ordinal: 2, Name: "left", DependsOn: []int32{1}, Dependents: []int32{4}, MaxAttempts: 3},
		{Ordinal: 3, Name: "right", DependsOn: []int32{1}, Dependents: []int32{4}, MaxAttempts: 3},
		{Ordinal: 4, Name: "end", DependsOn: []int32{2, 3}, MaxAttempts: 3},
	}
}

// emptyWorld has the template and no task.
func emptyWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		Pool: openPool(t), template: uuid.Must(uuid.NewV7()), process: uuid.Must(uuid.NewV7()), tasks: map[string]uuid.UUID{},
	}
	_, err := RegisterTemplates(t.Context(), w, []StoredTemplate{{
		ID: w.template, Namespace: "test", Name: "diamond", Version: "1.0.0", Digest: "d", Definition: json.RawMessage(`{}`),
	}}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	w.create(t, "claimed")
	w.claim(t)
	w.create(t, "reported")
	w.report(t, w.claim(t))
	w.create(t, "retrying")
	w.fail(t, w.claim(t)[0], false)
	w.create(t, "blocked")
	w.fail(t, w.claim(t)[0], true)
	w.create(t, "failed")
	w.complete(t, w.claim(t))
	w.complete(t, w.claim(t))
	w.fail(t, w.claim(t)[0], true)
	w.create(t, "complete")
	for range 3 {
		w.complete(t, w.claim(t))
	}
	w.create(t, "halfway")
	w.complete(t, w.claim(t))
	w.complete(t, w.claim(t)[:1])
	w.create(t, "new")
	return w
}

func (w *world) create(t *testing.T, name string) {
	t.Helper()
	w.tasks[name] = taskid.New()
	_, err := CreateTasks(t.Context(), w, []NewTasks{{
		Template: w.template, Queue: testQueue, Steps: diamond(), Tasks: []NewTask{{ID: w.tasks[name], Context: json.RawMessage(`{}`)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) claim(t *testing.T) []ClaimedStep {
	t.Helper()
	steps, err := ClaimSteps(t.Context(), w, Claim{Queue: testQueue, Process: w.process, Limit: 100, Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func (w *world) report(t *testing.T, steps []ClaimedStep) {
	t.Helper()
	for _, s := range steps {
		report := Report{Message: s.Message, Template: s.Template, Result: json.RawMessage(`1`)}
		if stored, err := ReportSteps(t.Context(), w, testQueue, testResults, []Report{report}); len(stored) != 1 || err != nil {
			t.Fatalf("stored reports %v: %v", stored, err)
		}
	}
}

func (w *world) complete(t *testing.T, steps []ClaimedStep) {
	t.Helper()
	b := Batch{Queue: testQueue}
	messages := make([]Message, len(steps))
	for i, s := range steps {
		b.Completed = append(b.Completed, Completed{StepRef: s.StepRef, Result: json.RawMessage(`1`)})
		b.Settle = append(b.Settle, s.Task)
		messages[i] = s.Message
	}
	b.Consumed = []Consumed{{Queue: testQueue, Messages: messages}}
	if applied, err := Apply(t.Context(), w, b); applied.Completed != len(steps) || err != nil {
		t.Fatalf("completed %d of %d steps: %v", applied.Completed, len(steps), err)
	}
}

func (w *world) fail(t *testing.T, s ClaimedStep, final bool) {
	t.Helper()
	applied, err := Apply(t.Context(), w, Batch{
		Queue:    testQueue,
		Failed:   []Failed{{StepRef: s.StepRef, Error: json.RawMessage(`{}`), Delay: time.Hour, Final: final}},
		Settle:   []uuid.UUID{s.Task},
		Consumed: []Consumed{{Queue: testQueue, Messages: []Message{s.Message}}},
	})
	if applied.Failed != 1 || err != nil {
		t.Fatalf("failed %d steps: %v", applied.Failed, err)
	}
}

// named shows violations as "I1a halfway.left".
func (w *world) named(found []Violation) []string {
	steps := []string{"", ".start", ".left", ".right", ".end"}
	out := make([]string, len(found))
	for i, v := range found {
		ordinal := int32(0)
		if v.Step != uuid.Nil {
			_, ordinal = taskid.Split(v.Step)
		}
		for name, id := range w.tasks {
			if id == v.Task {
				out[i] = v.Invariant + " " + name + steps[ordinal]
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestCheckFindsNothingInGoodOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if found, err := Check(t.Context(), w.Pool, testQueues()); len(found) != 0 || err != nil {
		t.Errorf("got %q, %v", w.named(found), err)
	}
}

// TestCheckOfEmptyDatabase runs before anything is there, queues included.
func TestCheckOfEmptyDatabase(t *testing.T) {
	t.Parallel()
	found, err := Check(t.Context(), openPool(t), Queues{Steps: map[string]string{"none": "none"}, Results: "nothing"})
	if len(found) != 0 || err != nil {
		t.Errorf("got %v, %v", found, err)
	}
}

// TestCheckFinds breaks one thing at a time. In the SQL a name in braces stands
// for the id of that task.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	const (
		q = "pgmq.q_" + testQueue
		r = "pgmq.q_" + testResults
	)
	tests := []struct {
		name, sql string
		want      []string // as world.named shows violations
	}{
		{"enqueued, message lost", `delete from ` + q + ` where message->>'task' = '{new}'`, []string{"I1a new.start"}},
		{"enqueued, message of an older claim", `update tasker.steps set claim = 1 where task_id = '{new}'`, []string{"I1a new.start"}},
		{"retry, message lost", `delete from ` + q + ` where message->>'task' = '{retrying}'`, []string{"I1b retrying.start"}},
		{"report, message lost", `delete from ` + r, []string{"I1c reported.start"}},
		{
			"gate does not know", `update tasker.steps set state = 'pending', gates = '{limit:x}' where task_id = '{new}' and ordinal = 1`,
			[]string{"I1d new.start"},
		},
		{
			"not at the gate", `insert into tasker.gated_steps (task_id, ordinal, gates, priority, ready_at) values ('{new}', 1, '{limit:x}', 0, now())`,
			[]string{"I1e new.start"},
		},
		{
			"message twice", `insert into ` + q + ` (vt, message) select vt, message from ` + q + ` where message->>'task' = '{claimed}'`,
			[]string{"I2a claimed.start"},
		},
		{"report twice", `insert into ` + r + ` (vt, message) select vt, message from ` + r, []string{"I2b reported.start"}},
		{
			"too many attempts", `update tasker.steps set attempt = 4, claim = 4 where task_id = '{complete}' and ordinal = 4`,
			[]string{"I2c complete.end"},
		},
		{
			"attempt without claim", `update tasker.steps set attempt = 2 where task_id = '{complete}' and ordinal = 4`,
			[]string{"I2c complete.end"},
		},
		{"lease lost", `delete from ` + q + ` where message->>'task' = '{claimed}'`, []string{"I3a claimed.start"}},
		{"decision lost", `update tasker.tasks set state = 'steps_in_process' where task_id = '{blocked}'`, []string{"I4a blocked"}},
		{"blocked by nothing", `update tasker.tasks set state = 'blocked_by_failures' where task_id = '{new}'`, []string{"I4b new"}},
		{"no template", `update tasker.tasks set template_id = gen_random_uuid() where task_id = '{complete}'`, []string{"I5a complete"}},
		{"no steps", `delete from tasker.steps where task_id = '{complete}'`, []string{"I5b complete"}},
		{
			"no task", `delete from tasker.tasks where task_id = '{complete}'`,
			[]string{"I5c complete.end", "I5c complete.left", "I5c complete.right", "I5c complete.start"},
		},
		{
			"same name", `update tasker.steps set name = 'left' where task_id = '{complete}' and ordinal = 3`,
			[]string{"I5d complete.left", "I5d complete.right"},
		},
		{
			"dependency one way", `update tasker.steps set dependents = null where task_id = '{complete}' and ordinal = 2`,
			[]string{"I5e complete.end"},
		},
		{
			"dependent one way", `update tasker.steps set depends_on = '{3}' where task_id = '{complete}' and ordinal = 4`,
			[]string{"I5f complete.left"},
		},
		{"final without end", `update tasker.tasks set finished_at = null where task_id = '{failed}'`, []string{"I6a failed"}},
		{"open with end", `update tasker.tasks set finished_at = now() where task_id = '{new}'`, []string{"I6a new"}},
		{"error without failure", `update tasker.tasks set state = 'error' where task_id = '{complete}'`, []string{"I6b complete"}},
		{
			"over too early", `update tasker.tasks set state = 'cancelled', finished_at = now() where task_id = '{halfway}'`,
			[]string{"I6c halfway.end", "I6c halfway.right"},
		},
		{"complete with a failure", `update tasker.tasks set state = 'complete' where task_id = '{failed}'`, []string{"I6d failed.end"}},
		{"counter too low", `update tasker.steps set waiting_on = 0 where task_id = '{halfway}' and ordinal = 4`, []string{"I6e halfway.end"}},
		{"counter too high", `update tasker.steps set waiting_on = 2 where task_id = '{halfway}' and ordinal = 4`, []string{"I6e halfway.end"}},
		{
			"ready and not enqueued", `update tasker.steps set state = 'pending' where task_id = '{complete}' and ordinal = 4`,
			[]string{"I6c complete.end", "I6d complete.end", "I6e complete.end"},
		},
		{
			"ran too early", `update tasker.steps set state = 'complete', result = '1', attempt = 1, claim = 1, finished_at = now() where task_id = '{halfway}' and ordinal = 4`,
			[]string{"I6f halfway.end"},
		},
		{"no result", `update tasker.steps set result = null where task_id = '{complete}' and ordinal = 4`, []string{"I6g complete.end"}},
		{
			"dead letter of nothing", `insert into tasker.dlq_entries (entry_id, task_id, template_id, original_state, reason, snapshot)
				select template_id, gen_random_uuid(), template_id, state, 'manual_dlq', '{}' from tasker.tasks where task_id = '{failed}'`,
			[]string{""},
		},
		{
			"archived and live", `insert into tasker.tasks_archive (task_id, template_id, state, finished_at, task)
				select task_id, template_id, state, finished_at, to_jsonb(t) from tasker.tasks t where task_id = '{failed}'`,
			[]string{"I7b failed", "I7c failed.end", "I7c failed.left", "I7c failed.right", "I7c failed.start"},
		},
		{
			"archived while under investigation", `with gone as (delete from tasker.tasks t where task_id = '{failed}' returning *),
				steps as (delete from tasker.steps where task_id = '{failed}'),
				letter as (insert into tasker.dlq_entries (task_id, entry_id, template_id, original_state, reason, snapshot)
					select task_id, gen_random_uuid(), template_id, state, 'manual_dlq', '{}' from gone)
				insert into tasker.tasks_archive (task_id, template_id, state, finished_at, task)
				select task_id, template_id, state, finished_at, to_jsonb(t) from gone t`,
			[]string{"I7b failed"},
		},
		{
			"archived without its task", `insert into tasker.steps_archive (task_id, ordinal, step)
				select task_id, ordinal, to_jsonb(s) from tasker.steps s where task_id = '{new}' and ordinal = 4`,
			[]string{"I7c new.end"},
		},
		{
			"slot of nobody", `insert into tasker.limit_slots (name, task_id, ordinal) values ('key:x', '{halfway}', 4)`,
			[]string{"I8a halfway.end"},
		},
		{"past a limit without a slot", `update tasker.steps set gates = '{limit:key:x}' where task_id = '{new}' and ordinal = 1`, []string{"I8b new.start"}},
		{
			"one too many", `with set as (insert into tasker.limits (name, origin, max_concurrent, changed_at) values ('key:x', 'declared', 1, now() - interval '1 hour'))
				insert into tasker.limit_slots (name, task_id, ordinal) values ('key:x', '{new}', 1), ('key:x', '{claimed}', 1)`,
			[]string{"I8c claimed.start"},
		},
		{
			"at no gate", `insert into tasker.gated_steps (task_id, ordinal, gates, priority, ready_at) values ('{new}', 1, '{}', 0, now())`,
			[]string{"I1e new.start", "I8d new.start"},
		},
		{"no error", `update tasker.steps set error = null where task_id = '{failed}' and ordinal = 4`, []string{"I6g failed.end"}},
	}
	w := newWorld(t)
	ids := make([]string, 0, 2*len(w.tasks))
	for name, id := range w.tasks {
		ids = append(ids, "{"+name+"}", id.String())
	}
	unbroken := map[string]bool{}
	for _, inv := range Invariants(testQueues()) {
		unbroken[inv.ID] = true
	}
	for _, tt := range tests {
		tx, err := w.Begin(t.Context()) // never committed
		if err != nil {
			t.Fatal(err)
		}
		if tag, err := tx.Exec(t.Context(), strings.NewReplacer(ids...).Replace(tt.sql)); err != nil || tag.RowsAffected() == 0 {
			t.Fatalf("%s: %d rows, %v", tt.name, tag.RowsAffected(), err)
		}
		found, err := check(t.Context(), tx, testQueues())
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := w.named(found); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, v := range found {
			delete(unbroken, v.Invariant)
		}
	}
	for id := range unbroken {
		t.Errorf("nothing here breaks %s", id)
	}
}

func TestViolationSentences(t *testing.T) {
	t.Parallel()
	task := uuid.MustParse("0197f7c0-0000-7000-8000-000000000000")
	step := Violation{Invariant: "I1a", Says: "is enqueued and has no message", Task: task, Step: taskid.Step(task, 2)}
	if got, want := step.String(), "I1a: step 0197f7c0-0000-7000-8000-000000000002 is enqueued and has no message"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	whole := Violation{Invariant: "I5b", Says: "has no steps", Task: task}
	if got, want := whole.String(), "I5b: task 0197f7c0-0000-7000-8000-000000000000 has no steps"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
