package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A DueSchedule is a schedule to fire, locked.
type DueSchedule struct {
	Schedule

	Now      time.Time // of the database
	LastOpen bool      // the task it created last has not ended
}

// Those that another orchestrator is about to fire are passed over: once they
// are unlocked they are due no longer. A schedule whose time waits for a task is
// due when that has ended; a task that was archived has.
const lockDueSchedulesSQL = `
	select ` + scheduleColumns + `, clock_timestamp()
	from tasker.schedules s
	where s.next_run_at <= clock_timestamp() or s.buffered_for is not null and not ` + lastOpenSQL + `
	order by s.next_run_at, s.schedule_id
	limit $1
	for update of s skip locked`

// lastOpenSQL holds while the task that s created last has not ended: a look-up
// per schedule, not a join with all tasks.
const lastOpenSQL = `coalesce((select t.finished_at is null from tasker.tasks t where t.task_id = s.last_task_id), false)`

// LockDueSchedules locks up to limit schedules that are due, the longest due
// first, until the transaction ends.
func LockDueSchedules(ctx context.Context, tx DB, limit int) ([]DueSchedule, error) {
	rows, _ := tx.Query(ctx, lockDueSchedulesSQL, limit)
	due, err := pgx.CollectRows(rows, scanDue)
	if err != nil {
		return nil, fmt.Errorf("lock due schedules: %w", err)
	}
	if err := findOpen(ctx, tx, due); err != nil {
		return nil, fmt.Errorf("look for the tasks of due schedules: %w", err)
	}
	return due, nil
}

// The tasks stay open until the transaction ends, or it waits until one that ends
// this moment has: a time that is kept for later is then seen by whoever ends the
// task. It is a statement of its own, so that it sees what the firer before has
// created.
const lockOpenTasksSQL = `
	select t.task_id
	from tasker.tasks t
	where t.task_id = any ($1) and t.finished_at is null
	order by t.task_id
	for no key update`

func findOpen(ctx context.Context, tx DB, due []DueSchedule) error {
	var last []uuid.UUID
	for i := range due {
		if due[i].LastTaskID != nil && due[i].Overlap != "allow" {
			last = append(last, *due[i].LastTaskID)
		}
	}
	if len(last) == 0 {
		return nil
	}
	rows, _ := tx.Query(ctx, lockOpenTasksSQL, last)
	open, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	for i := range due {
		d := &due[i]
		d.LastOpen = d.LastTaskID != nil && slices.Contains(open, *d.LastTaskID)
	}
	return err
}

func scanDue(row pgx.CollectableRow) (DueSchedule, error) {
	var d DueSchedule
	s := &d.Schedule
	err := row.Scan(&s.ID, &s.Name, &s.Namespace, &s.Template, &s.Version, &s.Context, &s.TimeField, &s.Priority, &s.Tags,
		&s.Cron, &s.TimeZone, &s.Overlap, &s.CatchUp, &s.CatchUpMax, &s.CatchUpWindow, &s.Paused, &s.NextRunAt,
		&s.LastRunAt, &s.LastTaskID, &s.LastError, &s.CreatedAt, &s.UpdatedAt, &s.BufferedFor, &d.Now)
	return d, err
}

const nextScheduleSQL = `
	select 0::float8
	from tasker.schedules s
	where s.buffered_for is not null and not ` + lastOpenSQL + `
	union all (
		select extract(epoch from next_run_at - clock_timestamp())::float8
		from tasker.schedules
		where next_run_at is not null
		order by next_run_at
		limit 1
	)
	order by 1
	limit 1`

// SchedulesChannel is notified when a task has ended that a schedule waits for.
const SchedulesChannel = "tasker_schedules"

// NextSchedule returns how long it is until a schedule is due, not above zero
// when one is, and whether any will be.
func NextSchedule(ctx context.Context, db DB) (time.Duration, bool, error) {
	rows, _ := db.Query(ctx, nextScheduleSQL)
	due, err := pgx.CollectRows(rows, pgx.RowTo[float64])
	if err != nil {
		return 0, false, fmt.Errorf("look when the next schedule is due: %w", err)
	}
	if len(due) == 0 {
		return 0, false, nil
	}
	return time.Duration(due[0] * float64(time.Second)), true, nil
}

// A Fired is what became of a schedule: its runs, oldest first, and how it goes
// on.
type Fired struct {
	Schedule  uuid.UUID
	Runs      []ScheduleRun
	LastRunAt *time.Time // nil: as it was
	NextRunAt *time.Time
	// BufferedFor is the time that waits for the last task to end.
	BufferedFor *time.Time
	LastTask    *uuid.UUID // nil: as it was
	LastError   string
}

const insertScheduleRunsSQL = `
	insert into tasker.schedule_runs (schedule_id, scheduled_for, manual, outcome, task_id, reason)
	select r.schedule_id, r.scheduled_for, r.manual, r.outcome, r.task_id, nullif(r.reason, '')
	from unnest($1::uuid[], $2::timestamptz[], $3::bool[], $4::text[], $5::uuid[], $6::text[])
		r (schedule_id, scheduled_for, manual, outcome, task_id, reason)`

const moveSchedulesSQL = `
	update tasker.schedules s
	set last_run_at = coalesce(f.last_run_at, s.last_run_at), next_run_at = f.next_run_at,
		last_task_id = coalesce(f.last_task_id, s.last_task_id), last_error = nullif(f.last_error, ''),
		buffered_for = f.buffered_for
	from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::text[], $6::timestamptz[])
		f (schedule_id, last_run_at, next_run_at, last_task_id, last_error, buffered_for)
	where s.schedule_id = any (array[f.schedule_id])`

// KeptRuns is how many runs of a schedule are remembered.
const KeptRuns = 100

const trimScheduleRunsSQL = `
	delete from tasker.schedule_runs r
	using unnest($1::uuid[]) f (schedule_id)
	where r.schedule_id = any (array[f.schedule_id]) and r.scheduled_for < (
		select n.scheduled_for
		from tasker.schedule_runs n
		where n.schedule_id = f.schedule_id
		order by n.scheduled_for desc
		offset $2 - 1
		limit 1
	)`

// MoveSchedules records the runs of schedules, which the caller has locked, and
// moves them on, in one round trip. Of each the newest [KeptRuns] runs are kept.
func MoveSchedules(ctx context.Context, tx DB, fired []Fired) error {
	n := len(fired)
	ids, last, next, buffered := make([]uuid.UUID, n), make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n)
	tasks, errs := make([]*uuid.UUID, n), make([]string, n)
	var runs []ScheduleRun
	for i := range fired {
		f := &fired[i]
		ids[i], last[i], next[i], tasks[i], errs[i] = f.Schedule, f.LastRunAt, f.NextRunAt, f.LastTask, f.LastError
		buffered[i] = f.BufferedFor
		runs = append(runs, f.Runs...)
	}
	b := &pgx.Batch{}
	queueRuns(b, runs)
	b.Queue(moveSchedulesSQL, ids, last, next, tasks, errs, buffered)
	b.Queue(trimScheduleRunsSQL, ids, KeptRuns)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("move %d schedules on: %w", n, err)
	}
	return nil
}

func queueRuns(b *pgx.Batch, runs []ScheduleRun) {
	n := len(runs)
	schedules, times, manual := make([]uuid.UUID, n), make([]time.Time, n), make([]bool, n)
	outcomes, tasks, reasons := make([]string, n), make([]*uuid.UUID, n), make([]string, n)
	for i := range runs {
		r := &runs[i]
		schedules[i], times[i], manual[i] = r.Schedule, r.ScheduledFor, r.Manual
		outcomes[i], tasks[i], reasons[i] = r.Outcome, r.TaskID, r.Reason
	}
	b.Queue(insertScheduleRunsSQL, schedules, times, manual, outcomes, tasks, reasons)
}
