package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Window is the part of the past that figures are about: tasks created since a
// time, the newest most of them.
type Window struct {
	Since time.Time
	Most  int
}

func (w Window) args() []any { return []any{idAt(w.Since.Add(-clockSkew)), w.Since, w.Most} }

// sampleSQL are the tasks of a window, sample, and their steps, sample_steps.
const sampleSQL = `
	with sample as materialized (
		select t.task_id, t.template_id, t.state, t.created_at, t.finished_at,
			extract(epoch from t.finished_at - t.created_at)::float8 as took
		from tasker.tasks t
		where t.task_id >= $1 and t.created_at >= $2
		order by t.task_id desc
		limit $3
	), sample_steps as materialized (
		select t.task_id, t.template_id, s.name, s.state, s.attempt, s.enqueued_at, s.finished_at,
			extract(epoch from s.finished_at - s.started_at)::float8 as took,
			extract(epoch from s.started_at - s.enqueued_at)::float8 as waited
		from sample t
		join tasker.steps s on s.task_id = any (array[t.task_id])
	)`

// Performance are figures about the tasks of a window. Times are seconds; nil
// where nothing has ended.
type Performance struct {
	Tasks, Open, Complete, Failed, Blocked, Cancelled, Resolved int64
	Namespaces, Templates                                       int64
	TaskMean, TaskP50, TaskP95                                  *float64 // from creation to the end, of those that are complete
	Steps, StepsComplete, StepsFailed, StepsRetried             int64
	StepMean, StepP50, StepP95                                  *float64 // of the last attempt
	WaitMean, WaitP95                                           *float64 // for a worker
	Oldest                                                      *time.Time
}

const performanceSQL = sampleSQL + `
	select t.*, s.*, o.oldest
	from (
		select count(*), count(*) filter (where finished_at is null and state <> 'blocked_by_failures'),
			count(*) filter (where state = 'complete'), count(*) filter (where state = 'error'),
			count(*) filter (where state = 'blocked_by_failures'), count(*) filter (where state = 'cancelled'),
			count(*) filter (where state = 'resolved_manually'), count(distinct p.namespace), count(distinct (p.namespace, p.name)),
			avg(took) filter (where state = 'complete'),
			percentile_cont(0.5) within group (order by took) filter (where state = 'complete'),
			percentile_cont(0.95) within group (order by took) filter (where state = 'complete')
		from sample t
		join tasker.templates p on p.template_id = t.template_id
	) t
	cross join (
		select count(*), count(*) filter (where state = 'complete'), count(*) filter (where state = 'error'), count(*) filter (where attempt > 1),
			avg(took) filter (where state = 'complete'),
			percentile_cont(0.5) within group (order by took) filter (where state = 'complete'),
			percentile_cont(0.95) within group (order by took) filter (where state = 'complete'),
			avg(waited), percentile_cont(0.95) within group (order by waited)
		from sample_steps
	) s
	cross join (select min(created_at) as oldest from sample) o`

// ReadPerformance returns the figures of a window. It wants [WithPlanner].
func ReadPerformance(ctx context.Context, db DB, w Window) (Performance, error) {
	rows, _ := db.Query(ctx, performanceSQL, w.args()...) // CollectExactlyOneRow returns its error
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Performance])
	if err != nil {
		return Performance{}, fmt.Errorf("read the performance: %w", err)
	}
	return p, nil
}

// A SlowSpot is a step of a template, or a template as a whole, by how long it
// takes. Times are seconds.
type SlowSpot struct {
	Namespace, Name, Version string
	Step                     string // empty: the template as a whole
	Executions               int64  // that have ended
	Failed, Retried          int64
	Mean, P95, Max           float64
	WaitMean                 *float64 // for a worker
	LastAt                   time.Time
}

const slowStepsSQL = sampleSQL + `
	select p.namespace, p.name, p.version, s.name, count(*), count(*) filter (where s.state = 'error'), count(*) filter (where s.attempt > 1),
		avg(s.took), percentile_cont(0.95) within group (order by s.took), max(s.took), avg(s.waited), max(s.finished_at)
	from sample_steps s
	join tasker.templates p on p.template_id = s.template_id
	where s.took is not null
	group by p.namespace, p.name, p.version, s.name
	having count(*) >= $4
	order by avg(s.took) desc, p.namespace, p.name, p.version, s.name
	limit $5`

const slowTasksSQL = sampleSQL + `
	select p.namespace, p.name, p.version, '', count(*), count(*) filter (where t.state = 'error'),
		count(*) filter (where exists (select from sample_steps s where s.task_id = t.task_id and s.attempt > 1)),
		avg(t.took), percentile_cont(0.95) within group (order by t.took), max(t.took), null::float8, max(t.finished_at)
	from sample t
	join tasker.templates p on p.template_id = t.template_id
	where t.took is not null
	group by p.namespace, p.name, p.version
	having count(*) >= $4
	order by avg(t.took) desc, p.namespace, p.name, p.version
	limit $5`

// SlowestSteps and SlowestTasks return up to limit steps or templates that ended
// at least so often within the window, those first that take longest on average.
// They want [WithPlanner].
func SlowestSteps(ctx context.Context, db DB, w Window, atLeast, limit int) ([]SlowSpot, error) {
	return slowest(ctx, db, slowStepsSQL, append(w.args(), atLeast, limit))
}

// SlowestTasks is like [SlowestSteps].
func SlowestTasks(ctx context.Context, db DB, w Window, atLeast, limit int) ([]SlowSpot, error) {
	return slowest(ctx, db, slowTasksSQL, append(w.args(), atLeast, limit))
}

func slowest(ctx context.Context, db DB, sql string, args []any) ([]SlowSpot, error) {
	rows, _ := db.Query(ctx, sql, args...) // CollectRows returns its error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[SlowSpot])
	if err != nil {
		return nil, fmt.Errorf("find what is slow: %w", err)
	}
	return found, nil
}

// Utilization says what the steps of a window's tasks do now, and who could run
// them.
type Utilization struct {
	Running, Waiting, Retrying int64 // steps
	Workers                    int64 // processes that were seen in the last minutes
	OldestWait                 *float64
}

const utilizationSQL = sampleSQL + `
	select count(*) filter (where s.state = 'in_progress'), count(*) filter (where s.state = 'enqueued'),
		count(*) filter (where s.state = 'waiting_for_retry'),
		(select count(*) from tasker.workers w where w.role <> 'orchestration' and w.stopped_at is null
			and w.last_seen_at > clock_timestamp() - interval '2 minutes'),
		extract(epoch from clock_timestamp() - min(s.enqueued_at) filter (where s.state = 'enqueued'))::float8
	from sample_steps s`

// ReadUtilization returns what the steps do now. It wants [WithPlanner].
func ReadUtilization(ctx context.Context, db DB, w Window) (Utilization, error) {
	rows, _ := db.Query(ctx, utilizationSQL, w.args()...) // CollectExactlyOneRow returns its error
	u, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Utilization])
	if err != nil {
		return Utilization{}, fmt.Errorf("read the utilization: %w", err)
	}
	return u, nil
}
