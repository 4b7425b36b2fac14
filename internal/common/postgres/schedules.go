package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ErrExists says that the name of a new thing is taken.
var ErrExists = errors.New("exists already")

// A Schedule starts tasks of a template at the times of a cron expression.
type Schedule struct {
	ID            uuid.UUID
	Name          string
	Namespace     string
	Template      string
	Version       *string // nil: the highest when it fires
	Context       json.RawMessage
	TimeField     *string // the field of the context that gets the scheduled time
	Priority      int16
	Tags          []string
	Cron          string
	TimeZone      string
	Overlap       string // skip, allow, buffer_one or cancel_other
	CatchUp       string // none, last or all
	CatchUpMax    int32
	CatchUpWindow int32 // seconds
	Paused        bool
	NextRunAt     *time.Time // nil: paused, or no time is left
	LastRunAt     *time.Time // the last scheduled time that was dealt with
	LastTaskID    *uuid.UUID
	LastError     *string
	CreatedAt     time.Time
	UpdatedAt     time.Time
	BufferedFor   *time.Time // the time that waits for the last task to end
}

const scheduleColumns = `s.schedule_id, s.name, s.namespace, s.template, s.version, s.context, s.time_field, s.priority, s.tags,
		s.cron, s.time_zone, s.overlap, s.catch_up, s.catch_up_max, s.catch_up_window_seconds, s.paused, s.next_run_at,
		s.last_run_at, s.last_task_id, s.last_error, s.created_at, s.updated_at, s.buffered_for`

// A ScheduleRun is what became of one scheduled time.
type ScheduleRun struct {
	Schedule     uuid.UUID
	ScheduledFor time.Time // of a manual run: when it was asked for
	Manual       bool
	Outcome      string // created, skipped or failed
	TaskID       *uuid.UUID
	Reason       string // of a run that was skipped or failed
	At           time.Time
}

const clockSQL = `select clock_timestamp()`

// Clock returns the time of the database: the clock that all processes share.
func Clock(ctx context.Context, db DB) (time.Time, error) {
	var now time.Time
	if err := db.QueryRow(ctx, clockSQL).Scan(&now); err != nil {
		return time.Time{}, fmt.Errorf("read the clock of the database: %w", err)
	}
	return now, nil
}

const insertScheduleSQL = `
	insert into tasker.schedules as s (schedule_id, name, namespace, template, version, context, time_field, priority, tags, cron,
		time_zone, overlap, catch_up, catch_up_max, catch_up_window_seconds, paused, next_run_at)
	values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
	on conflict (name) do nothing
	returning ` + scheduleColumns

// CreateSchedule stores a new schedule and returns it as it is stored. It wraps
// [ErrExists] when the name is taken.
func CreateSchedule(ctx context.Context, db DB, s Schedule) (Schedule, error) {
	rows, _ := db.Query(ctx, insertScheduleSQL, s.ID, s.Name, s.Namespace, s.Template, s.Version, s.Context, s.TimeField, s.Priority,
		s.Tags, s.Cron, s.TimeZone, s.Overlap, s.CatchUp, s.CatchUpMax, s.CatchUpWindow, s.Paused, s.NextRunAt)
	created, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Schedule])
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrExists
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("create schedule %q: %w", s.Name, err)
	}
	return created, nil
}

// What was dealt with stays: only the transaction that fires changes it. A pause
// is not made up for, so nothing waits through one.
const updateScheduleSQL = `
	update tasker.schedules s
	set namespace = $2, template = $3, version = $4, context = $5, time_field = $6, priority = $7, tags = $8, cron = $9,
		time_zone = $10, overlap = $11, catch_up = $12, catch_up_max = $13, catch_up_window_seconds = $14, paused = $15,
		next_run_at = $16, updated_at = clock_timestamp(),
		buffered_for = case when $12 = 'buffer_one' and not $15 then s.buffered_for end
	where s.schedule_id = $1
	returning ` + scheduleColumns

// UpdateSchedule stores a changed schedule, which the caller has locked.
func UpdateSchedule(ctx context.Context, db DB, s Schedule) (Schedule, error) {
	rows, _ := db.Query(ctx, updateScheduleSQL, s.ID, s.Namespace, s.Template, s.Version, s.Context, s.TimeField, s.Priority, s.Tags,
		s.Cron, s.TimeZone, s.Overlap, s.CatchUp, s.CatchUpMax, s.CatchUpWindow, s.Paused, s.NextRunAt)
	updated, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Schedule])
	if err != nil {
		return Schedule{}, fmt.Errorf("update schedule %q: %w", s.Name, err)
	}
	return updated, nil
}

const findScheduleSQL = `select ` + scheduleColumns + ` from tasker.schedules s where s.name = $1`

// FindSchedule returns the schedule of a name, or [ErrNotFound].
func FindSchedule(ctx context.Context, db DB, name string) (Schedule, error) {
	return oneSchedule(ctx, db, findScheduleSQL, name)
}

const lockScheduleSQL = findScheduleSQL + ` for update`

// LockSchedule is [FindSchedule] that keeps others from changing the schedule,
// or firing it, until the transaction ends.
func LockSchedule(ctx context.Context, db DB, name string) (Schedule, error) {
	return oneSchedule(ctx, db, lockScheduleSQL, name)
}

func oneSchedule(ctx context.Context, db DB, sql, name string) (Schedule, error) {
	rows, _ := db.Query(ctx, sql, name)
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Schedule])
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("find schedule %q: %w", name, err)
	}
	return found, nil
}

const listSchedulesSQL = `
	select ` + scheduleColumns + `
	from tasker.schedules s
	where s.name > $1
	order by s.name
	limit $2`

// ListSchedules returns schedules by name, those after the given one.
func ListSchedules(ctx context.Context, db DB, after string, limit int) ([]Schedule, error) {
	rows, _ := db.Query(ctx, listSchedulesSQL, after, limit)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Schedule])
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	return found, nil
}

const deleteScheduleSQL = `delete from tasker.schedules where name = $1`

// DeleteSchedule deletes a schedule and its history, not its tasks. It wraps
// [ErrNotFound] when there is none.
func DeleteSchedule(ctx context.Context, db DB, name string) error {
	tag, err := db.Exec(ctx, deleteScheduleSQL, name)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("delete schedule %q: %w", name, err)
	}
	return nil
}

const scheduleRunsSQL = `
	select schedule_id, scheduled_for, manual, outcome, task_id, coalesce(reason, ''), at
	from tasker.schedule_runs
	where schedule_id = $1
	order by scheduled_for desc, manual
	limit $2`

// ScheduleRuns returns the newest runs of a schedule, newest first.
func ScheduleRuns(ctx context.Context, db DB, schedule uuid.UUID, limit int) ([]ScheduleRun, error) {
	rows, _ := db.Query(ctx, scheduleRunsSQL, schedule, limit)
	runs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ScheduleRun])
	if err != nil {
		return nil, fmt.Errorf("list the runs of a schedule: %w", err)
	}
	return runs, nil
}
