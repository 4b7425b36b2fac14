package orchestration_test

import (
	"context"
	"slices"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/orchestration/internal/archive"
	"github.com/tasker-systems/tasker-go/orchestration/internal/staleness"
	"github.com/tasker-systems/tasker-go/taskertest"
)

const chain = `{name: chain, namespace: test, identity_strategy: always_unique, steps: [
	{name: a, handler: {callable: ok}}, {name: b, handler: {callable: ok}, dependencies: [a]},
	{name: c, handler: {callable: ok}, dependencies: [b]}, {name: d, handler: {callable: ok}, dependencies: [c]}]}`

// BenchmarkHousekeeping measures what housekeeping costs the engine, in one run:
// batches of chains of four steps, in turn without anything else and while the
// archiver and the staleness detector run without a pause between their runs. The
// database has 40,000 old tasks to archive and 2,000 that wait, healthy.
//
//	go test ./orchestration -run '^$' -bench Housekeeping -benchtime 30x
func BenchmarkHousekeeping(b *testing.B) {
	e := enginetest.Start(b, enginetest.Options{
		Deployment: enginetest.Combined, Templates: taskertest.YAML(chain),
		Handlers: enginetest.Handlers{"ok": func(context.Context, *tasker.Step) (any, error) { return nil, nil }},
		Settings: enginetest.Settings{
			"orchestration.archive.archive_batch_size":           "1000",
			"worker.system.step_processing.max_concurrent_steps": "200",
		},
	})
	for _, table := range []string{"tasks", "steps"} { // what watches the moves of tests would cost too
		e.Exec(`drop trigger note_insert on tasker.` + table)
		e.Exec(`drop trigger note_update on tasker.` + table)
	}
	seed(e, 40_000, `'complete'::tasker.task_state, now() - interval '100 days', now() - interval '100 days'`, `'complete'::tasker.step_state`)
	seed(e, 2_000, `'blocked_by_failures'::tasker.task_state, now() - interval '1 hour', null::timestamptz`, `'error'::tasker.step_state`)
	e.Exec(`analyze`)
	archiver := archive.New(e.Pool, e.Config.Orchestration.Archive)
	detector := staleness.New(e.Pool, e.Names, e.Config.Orchestration.StalenessDetection, e.Config.Orchestration.DLQ)
	const chains = 1000
	batch := slices.Repeat([]client.Request{{Namespace: "test", Template: "chain"}}, chains)
	round := func() time.Duration {
		began := time.Now()
		ids, err := e.Client.CreateTasks(b.Context(), batch)
		if err != nil {
			b.Fatal(err)
		}
		e.Await(`select count(*) = cardinality($1::uuid[]) from tasker.tasks where task_id = any ($1::uuid[]) and finished_at is not null`, ids)
		return time.Since(began)
	}
	round() // warms plans and caches
	var alone, beside time.Duration
	archived, runs := 0, 0
	for b.Loop() {
		alone += round()
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				moved, _ := archiver.Run(ctx) // cut short by the end of the round
				archived += moved.Tasks
			}
		}()
		detected := make(chan struct{})
		go func() {
			defer close(detected)
			for ctx.Err() == nil {
				if _, err := detector.Run(ctx); err == nil {
					runs++
				}
			}
		}()
		beside += round()
		stop()
		<-done
		<-detected
	}
	total := float64(b.N * chains)
	b.ReportMetric(total/alone.Seconds(), "chains/s-alone")
	b.ReportMetric(total/beside.Seconds(), "chains/s-beside")
	b.ReportMetric(100*alone.Seconds()/beside.Seconds(), "%")
	b.ReportMetric(float64(archived)/beside.Seconds(), "archived/s")
	b.ReportMetric(float64(runs)/beside.Seconds(), "detections/s")
	b.ReportMetric(0, "ns/op")
	e.Exec(`delete from tasker.steps where task_id in (select task_id from tasker.tasks where state = 'blocked_by_failures')`)
	e.Exec(`delete from tasker.tasks where state = 'blocked_by_failures'`)
}

// seed adds tasks of two steps whose first is in the given state.
func seed(e *enginetest.Engine, n int, task, first string) {
	e.Exec(`with added as (
		insert into tasker.tasks (task_id, template_id, state, created_at, finished_at, context, examined)
		select ('01900000-0000-7000-8000-' || lpad(to_hex($1::int + i), 8, '0') || '0000')::uuid,
			(select template_id from tasker.templates limit 1), `+task+`, jsonb_build_object('n', i, 'text', repeat('x', 200)), true
		from generate_series(1, $1::int) i
		returning task_id, created_at, finished_at
	)
	insert into tasker.steps (task_id, ordinal, name, state, waiting_on, depends_on, dependents, attempt, max_attempts, claim, result, error, finished_at)
	select task_id, 1, 'a', `+first+`, 0, null::int[], '{2}'::int[], 1, 3, 1, case when finished_at is not null then '{"ok": true}'::jsonb end,
		case when finished_at is null then '{"kind": "handler_error", "message": "no"}'::jsonb end, created_at
	from added
	union all
	select task_id, 2, 'b', case when finished_at is null then 'pending' else 'complete' end::tasker.step_state,
		(finished_at is null)::int, '{1}'::int[], null::int[], (finished_at is not null)::int, 3, (finished_at is not null)::int,
		case when finished_at is not null then '{"ok": true}'::jsonb end, null, finished_at
	from added`, n)
}
