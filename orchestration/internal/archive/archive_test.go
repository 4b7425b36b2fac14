package archive_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/orchestration/internal/archive"
	"github.com/tasker-systems/tasker-go/taskertest"
)

const pair = `{name: pair, namespace: test, identity_strategy: always_unique, steps: [
	{name: first, handler: {callable: work}, retry: {max_attempts: 2, backoff: none}},
	{name: second, handler: {callable: work}, dependencies: [first], retry: {max_attempts: 1}}]}`

// A bench is an engine that has run tasks, and has stopped.
type bench struct {
	*enginetest.Engine
	t   *testing.T
	cfg config.Archive
}

// newBench runs a task per name: one whose name ends in "error" fails in its
// last step, after an attempt of the first that failed too.
func newBench(t *testing.T, names ...string) (*bench, map[string]uuid.UUID) {
	t.Helper()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(pair)})
	b := &bench{Engine: e, t: t, cfg: e.Config.Orchestration.Archive}
	p := e.StartCombined(enginetest.Handlers{"work": func(_ context.Context, s *tasker.Step) (any, error) {
		if strings.Contains(string(s.Context), "error") && (s.Name == "second" || s.Attempt == 1) {
			return nil, errors.New("no")
		}
		return s.Name + " is done", nil
	}})
	tasks := map[string]uuid.UUID{}
	for _, name := range names {
		tasks[name] = uuid.MustParse(b.Create("pair", map[string]string{"name": name}))
	}
	for _, task := range tasks {
		b.Wait(task.String())
	}
	b.Await(`select not exists (select from tasker.tasks where state = 'error' and not examined)`)
	p.Stop()
	b.Exec(`delete from tasker.dlq_entries`)
	return b, tasks
}

// end has tasks ended so many days ago.
func (b *bench) end(days float64, tasks ...uuid.UUID) {
	b.t.Helper()
	b.Exec(`update tasker.tasks set created_at = now() - make_interval(secs => $1 * 86400 + 60), finished_at = now() - make_interval(secs => $1 * 86400)
		where task_id = any ($2)`, days, tasks)
}

func (b *bench) run() postgres.Archived {
	b.t.Helper()
	moved, err := archive.New(b.Pool, b.cfg).Run(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	b.Check()
	return moved
}

// archived are the names of the tasks that have gone to the archive.
func (b *bench) archived(tasks map[string]uuid.UUID) []string {
	b.t.Helper()
	var names []string
	for name, task := range tasks {
		there, err := postgres.IsArchived(b.t.Context(), b.Pool, task)
		if err != nil {
			b.t.Fatal(err)
		}
		if there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestPolicies: which tasks go, by how they ended, when, and what became of their
// dead letters.
func TestPolicies(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.archive.retention_days", "orchestration.archive.policies.archive_completed",
		"orchestration.archive.policies.archive_failed", "orchestration.archive.policies.archive_cancelled",
		"orchestration.archive.policies.archive_dlq_resolved")
	b, tasks := newBench(t, "complete", "young", "resolved", "cancelled", "error", "error pending", "error resolved", "open")
	for name, task := range tasks {
		if name != "young" && name != "open" {
			b.end(40, task)
		}
	}
	b.end(20, tasks["young"])
	b.Exec(`update tasker.tasks set state = 'resolved_manually' where task_id = $1`, tasks["resolved"])
	b.Exec(`update tasker.tasks set state = 'cancelled' where task_id = $1`, tasks["cancelled"])
	letters := []postgres.DeadLetter{{Task: tasks["error pending"], Reason: postgres.ManualDLQ}, {Task: tasks["error resolved"], Reason: postgres.ManualDLQ}}
	if _, err := postgres.Enter(t.Context(), b.Pool, letters, true); err != nil {
		t.Fatal(err)
	}
	b.Exec(`update tasker.dlq_entries set resolution = 'manually_resolved', resolved_at = now() where task_id = $1`, tasks["error resolved"])
	tests := []struct {
		name   string
		change func(cfg *config.Archive)
		want   []string
	}{
		{"nothing is old enough", func(cfg *config.Archive) { cfg.Retention = 41 }, nil},
		{"nothing is wanted", func(cfg *config.Archive) { cfg.Policies = config.ArchivePolicies{} }, nil},
		{"completed", func(cfg *config.Archive) { cfg.Policies = config.ArchivePolicies{ArchiveCompleted: true} }, []string{"complete", "resolved"}},
		{"failed", func(cfg *config.Archive) { cfg.Policies = config.ArchivePolicies{ArchiveFailed: true} }, []string{"error"}},
		{"failed, dead letters too", func(cfg *config.Archive) {
			cfg.Policies = config.ArchivePolicies{ArchiveFailed: true, ArchiveDLQResolved: true}
		}, []string{"error", "error resolved"}},
		{"cancelled", func(cfg *config.Archive) { cfg.Policies = config.ArchivePolicies{ArchiveCancelled: true} }, []string{"cancelled"}},
		{"the young", func(cfg *config.Archive) {
			cfg.Policies, cfg.Retention = config.ArchivePolicies{ArchiveCompleted: true}, 19
		}, []string{"complete", "resolved", "young"}},
	}
	on := b.cfg
	for _, tt := range tests {
		tx, err := b.Pool.Begin(t.Context()) // never committed
		if err != nil {
			t.Fatal(err)
		}
		b.cfg = on
		b.cfg.Retention = 30
		tt.change(&b.cfg)
		moved, err := archive.New(tx, b.cfg).Run(t.Context())
		if err != nil || moved.Tasks != len(tt.want) || moved.Steps != 2*len(tt.want) {
			t.Errorf("%s: moved %+v, want %d tasks (%v)", tt.name, moved, len(tt.want), err)
		}
		for name, task := range tasks {
			there, err := postgres.IsArchived(t.Context(), tx, task)
			if err != nil || there != slices.Contains(tt.want, name) {
				t.Errorf("%s: %s is archived: %t (%v)", tt.name, name, there, err)
			}
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBatches: one run moves so many tasks, the oldest first, also across several
// transactions.
func TestBatches(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.archive.archive_batch_size")
	b, _ := newBench(t)
	tasks, err := b.Client.CreateTasks(t.Context(), slices.Repeat([]client.Request{{Namespace: "test", Template: "pair"}}, 250))
	if err != nil {
		t.Fatal(err)
	}
	b.Exec(`update tasker.steps set state = 'complete', waiting_on = 0, result = '1', finished_at = now()`)
	b.Exec(`update tasker.tasks set state = 'complete', created_at = now() - interval '101 days', finished_at = now() - interval '100 days'`)
	b.Exec(`delete from pgmq.q_worker_test_queue`)
	left := func() string {
		return fmt.Sprint(enginetest.Query[int](b.Engine, `select count(*)::int from tasker.tasks`), " ",
			enginetest.Query[string](b.Engine, `select min(task_id::text) from tasker.tasks`) == tasks[250-enginetest.Query[int](b.Engine, `select count(*)::int from tasker.tasks`)])
	}
	for _, tt := range []struct {
		batch int
		want  string
	}{{7, "243 true"}, {220, "23 true"}} {
		b.cfg.ArchiveBatchSize = tt.batch
		if moved := b.run(); moved.Tasks != tt.batch || moved.Steps != 2*tt.batch || left() != tt.want {
			t.Errorf("with a batch of %d moved %+v; left %s, want %s", tt.batch, moved, left(), tt.want)
		}
	}
	b.cfg.ArchiveBatchSize = 1000
	if moved := b.run(); moved.Tasks != 23 {
		t.Errorf("moved %+v of the 23 that were left", moved)
	}
}

// TestRead reads tasks back as they were, with what belongs to them.
func TestRead(t *testing.T) {
	t.Parallel()
	b, tasks := newBench(t, "complete", "an error")
	before := map[uuid.UUID]postgres.Task{}
	beforeSteps := map[uuid.UUID][]postgres.Step{}
	for _, task := range tasks {
		b.end(100, task)
		b.Exec(`insert into tasker.task_events (task_id, kind, actor) values ($1, 'looked_at', 'ann')`, task)
		b.Exec(`insert into tasker.signals (task_id, name, payload) values ($1, 'go', '1')`, task)
		var err error
		if before[task], err = postgres.FindTask(t.Context(), b.Pool, task); err != nil {
			t.Fatal(err)
		}
		if beforeSteps[task], err = postgres.ListSteps(t.Context(), b.Pool, task); err != nil {
			t.Fatal(err)
		}
	}
	if moved := b.run(); moved.Tasks != 2 || moved.Steps != 4 {
		t.Fatalf("moved %+v", moved)
	}
	for name, task := range tasks {
		got, err := postgres.FindArchived(t.Context(), b.Pool, task)
		if err != nil || !reflect.DeepEqual(got.Task, before[task]) || got.ArchivedAt.IsZero() {
			t.Errorf("%s: got %+v, want %+v (%v)", name, got, before[task], err)
		}
		steps, err := postgres.ListArchivedSteps(t.Context(), b.Pool, task)
		if err != nil || !reflect.DeepEqual(steps, beforeSteps[task]) {
			t.Errorf("%s: got %+v, want %+v (%v)", name, steps, beforeSteps[task], err)
		}
		if _, err := postgres.FindTask(t.Context(), b.Pool, task); !errors.Is(err, postgres.ErrNotFound) {
			t.Errorf("%s is still there: %v", name, err)
		}
		if kept := enginetest.Query[string](b.Engine, `select events->0->>'actor' || (signals->0->>'payload') from tasker.tasks_archive where task_id = $1`, task); kept != "ann1" {
			t.Errorf("%s: kept %s", name, kept)
		}
	}
	if n := enginetest.Query[int](b.Engine, `select sum(jsonb_array_length(attempts))::int from tasker.steps_archive where task_id = $1`, tasks["an error"]); n != 2 {
		t.Errorf("kept %d attempts that failed, want 2", n)
	}
	for _, table := range []string{"tasks", "steps", "step_attempts", "task_events", "signals"} {
		if n := enginetest.Query[int](b.Engine, `select count(*)::int from tasker.`+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	list, err := postgres.ListArchived(t.Context(), b.Pool, postgres.TaskFilter{Name: "pair", State: tasker.TaskError, Limit: 10})
	if err != nil || len(list) != 1 || list[0].ID != tasks["an error"] || list[0].Counts.Failed != 1 {
		t.Errorf("listed %+v (%v)", list, err)
	}
	if page, err := postgres.ListArchived(t.Context(), b.Pool, postgres.TaskFilter{Before: list[0].ID, Limit: 10}); err != nil || len(page) > 1 {
		t.Errorf("the next page is %+v (%v)", page, err)
	}
	if _, err := postgres.FindArchived(t.Context(), b.Pool, uuid.New()); !errors.Is(err, postgres.ErrNotFound) {
		t.Errorf("found what is not there: %v", err)
	}
}

// TestRequeuedMeanwhile: a task that goes back to work after it was found stays.
func TestRequeuedMeanwhile(t *testing.T) {
	t.Parallel()
	b, tasks := newBench(t, "complete", "an error")
	b.end(100, tasks["complete"], tasks["an error"])
	b.Exec(`update tasker.tasks set finished_at = null, state = 'blocked_by_failures' where task_id = $1`, tasks["an error"])
	moved, err := postgres.ArchiveTasks(t.Context(), b.Pool, []uuid.UUID{tasks["complete"], tasks["an error"]}, b.cfg.Retention.Duration())
	if err != nil || moved.Tasks != 1 {
		t.Errorf("moved %+v (%v)", moved, err)
	}
	if got := b.archived(tasks); !slices.Equal(got, []string{"complete"}) {
		t.Errorf("archived %v", got)
	}
	b.Exec(`update tasker.tasks set finished_at = now(), state = 'error' where task_id = $1`, tasks["an error"])
}
