package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	tasker "github.com/tasker-systems/tasker-go"
)

// An ArchivePolicy says which tasks are archived (orchestration.archive).
type ArchivePolicy struct {
	Retention   time.Duration // since they ended
	States      []tasker.TaskState
	DLQResolved bool // also tasks that have been in the dead letter queue
}

// An ArchivePage is what a look at one page of tasks found.
type ArchivePage struct {
	Old  []uuid.UUID // to be archived
	Last uuid.UUID   // to go on after; the nil UUID: there is nothing older than the retention behind this page
}

// The tasks are walked in the order of their ids, which is the one of their
// creation, so what is old stands in front and no index is needed for it. A page
// without a task created before the cutoff is the last.
const findOldSQL = `
	with page as materialized (
		select t.task_id, t.state, t.created_at, t.finished_at
		from tasker.tasks t
		where t.task_id > $1
		order by t.task_id
		limit $2
	), old as (
		select p.task_id
		from page p
		where p.finished_at <= clock_timestamp() - make_interval(secs => $3) and p.state::text = any ($4)
		and not exists (
			select from tasker.dlq_entries e
			where e.task_id = p.task_id and (e.resolution = 'pending' or not $5)
		)
		order by p.task_id
		limit $6
	)
	select coalesce((select array_agg(task_id order by task_id) from old), '{}'), case
		when not exists (select from page p where p.created_at <= clock_timestamp() - make_interval(secs => $3)) then null
		when (select count(*) from old) = $6 then (select task_id from old order by task_id desc limit 1)
		else (select task_id from page order by task_id desc limit 1)
	end`

// An ArchiveLook says where to look for old tasks.
type ArchiveLook struct {
	After uuid.UUID // only tasks with a higher id, which are newer
	Page  int       // at so many tasks
	Limit int       // to find at most so many
}

// FindOld looks at a page of tasks and returns those that the policy archives,
// oldest first.
func FindOld(ctx context.Context, db DB, p ArchivePolicy, look ArchiveLook) (ArchivePage, error) {
	states := make([]string, len(p.States))
	for i, s := range p.States {
		states[i] = string(s)
	}
	var found ArchivePage
	var last *uuid.UUID
	row := db.QueryRow(ctx, findOldSQL, look.After, look.Page, seconds(p.Retention), states, p.DLQResolved, look.Limit)
	if err := row.Scan(&found.Old, &last); err != nil {
		return ArchivePage{}, fmt.Errorf("look for old tasks: %w", err)
	}
	if last != nil {
		found.Last = *last
	}
	return found, nil
}

// archiveSQL moves tasks with all that belongs to them. A task that was put back
// to work, or set aside, since it was found is left where it is.
const archiveSQL = `
	with gone as (
		delete from tasker.tasks t
		where t.task_id = any ($1) and t.finished_at <= clock_timestamp() - make_interval(secs => $2)
		and not exists (select from tasker.dlq_entries e where e.task_id = t.task_id and e.resolution = 'pending')
		returning t.*
	), gone_steps as (
		delete from tasker.steps s using gone g where s.task_id = g.task_id returning s.*
	), gone_attempts as (
		delete from tasker.step_attempts a using gone g where a.task_id = g.task_id returning a.*
	), gone_events as (
		delete from tasker.task_events e using gone g where e.task_id = g.task_id returning e.*
	), gone_signals as (
		delete from tasker.signals s using gone g where s.task_id = g.task_id returning s.*
	), attempts as (
		select task_id, ordinal, jsonb_agg(to_jsonb(a) order by a.claim) as all_of_them from gone_attempts a group by task_id, ordinal
	), events as (
		select task_id, jsonb_agg(to_jsonb(e) order by e.event_id) as all_of_them from gone_events e group by task_id
	), signals as (
		select task_id, jsonb_agg(to_jsonb(s) order by s.sent_at) as all_of_them from gone_signals s group by task_id
	), kept as (
		insert into tasker.tasks_archive (task_id, template_id, state, finished_at, task, events, signals)
		select g.task_id, g.template_id, g.state, g.finished_at, to_jsonb(g), e.all_of_them, s.all_of_them
		from gone g
		left join events e on e.task_id = g.task_id
		left join signals s on s.task_id = g.task_id
	), kept_steps as (
		insert into tasker.steps_archive (task_id, ordinal, step, attempts)
		select s.task_id, s.ordinal, to_jsonb(s), a.all_of_them
		from gone_steps s
		left join attempts a on a.task_id = s.task_id and a.ordinal = s.ordinal
	)
	select (select count(*) from gone), (select count(*) from gone_steps)`

// Archived counts what a move to the archive took.
type Archived struct {
	Tasks int `json:"tasks"`
	Steps int `json:"steps"`
}

// ArchiveTasks moves those of the tasks to the archive that ended at least
// retention ago and are not under investigation, in one statement. It wants
// [WithPlanner].
func ArchiveTasks(ctx context.Context, db DB, tasks []uuid.UUID, retention time.Duration) (Archived, error) {
	var moved Archived
	if err := db.QueryRow(ctx, archiveSQL, tasks, seconds(retention)).Scan(&moved.Tasks, &moved.Steps); err != nil {
		return Archived{}, fmt.Errorf("archive %d tasks: %w", len(tasks), err)
	}
	return moved, nil
}

// An ArchivedTask is a task in the archive.
type ArchivedTask struct {
	Task
	ArchivedAt time.Time
}

// The columns that have come to the live tables since a task was archived are
// null in it.
const archivedTasksSQL = `
	select ` + taskColumns + `, t.archived_at
	from (
		select (jsonb_populate_record(null::tasker.tasks, a.task)).*, a.archived_at
		from (
			select a.*
			from tasker.tasks_archive a
			join tasker.templates p on p.template_id = a.template_id
			where ($1::uuid is null or a.task_id = $1) and ($2 = '' or p.namespace = $2) and ($3 = '' or p.name = $3)
			and ($4 = '' or a.state::text = $4) and ($5::uuid is null or a.task_id < $5)
			order by a.task_id desc
			limit $6
		) a
	) t
	join tasker.templates p on p.template_id = t.template_id` + archivedCountsSQL + `
	order by t.task_id desc`

const archivedCountsSQL = `
	cross join lateral (
		select count(*) as total,
			count(*) filter (where s.state = 'pending') as pending,
			count(*) filter (where s.state = 'enqueued') as enqueued,
			count(*) filter (where s.state in ('in_progress', 'enqueued_for_orchestration',
				'enqueued_as_error_for_orchestration')) as in_progress,
			count(*) filter (where s.state = 'waiting_for_retry') as waiting,
			count(*) filter (where s.state in ('complete', 'resolved_manually')) as completed,
			count(*) filter (where s.state = 'error') as failed
		from (select a.step->>'state' as state from tasker.steps_archive a where a.task_id = t.task_id) s
	) c`

// ListArchived returns archived tasks, newest first.
func ListArchived(ctx context.Context, db DB, f TaskFilter) ([]ArchivedTask, error) {
	var before *uuid.UUID
	if f.Before != uuid.Nil {
		before = &f.Before
	}
	tasks, err := archived(ctx, db, nil, f.Namespace, f.Name, string(f.State), before, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("list archived tasks: %w", err)
	}
	return tasks, nil
}

// FindArchived returns an archived task, or wraps [ErrNotFound].
func FindArchived(ctx context.Context, db DB, task uuid.UUID) (ArchivedTask, error) {
	tasks, err := archived(ctx, db, &task, "", "", "", nil, 1)
	if err == nil && len(tasks) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return ArchivedTask{}, fmt.Errorf("find archived task %s: %w", task, err)
	}
	return tasks[0], nil
}

func archived(ctx context.Context, db DB, args ...any) ([]ArchivedTask, error) {
	rows, _ := db.Query(ctx, archivedTasksSQL, args...)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a ArchivedTask, err error) {
		a.Task, err = scanTask(archivedRow{row, &a.ArchivedAt})
		return a, err
	})
}

// An archivedRow is a task's row with the time it was archived behind.
type archivedRow struct {
	pgx.CollectableRow
	at *time.Time
}

// Scan reads the columns of a task and the time.
func (r archivedRow) Scan(dest ...any) error { return r.CollectableRow.Scan(append(dest, r.at)...) }

const archivedStepsSQL = `
	select s.ordinal, s.name, s.state,
		(select array_agg(p.step->>'name' order by p.ordinal) from tasker.steps_archive p
			where p.task_id = s.task_id and p.ordinal = any (s.depends_on)),
		s.attempt, s.max_attempts, w.worker_id, s.enqueued_at, s.started_at, s.finished_at, s.next_attempt_at,
		s.result, s.error
	from (
		select (jsonb_populate_record(null::tasker.steps, a.step)).*
		from tasker.steps_archive a
		where a.task_id = $1
		offset 0
	) s
	left join tasker.workers w on w.process_id = s.process_id
	order by s.ordinal`

// ListArchivedSteps returns the steps of an archived task in the order of its
// template.
func ListArchivedSteps(ctx context.Context, db DB, task uuid.UUID) ([]Step, error) {
	rows, _ := db.Query(ctx, archivedStepsSQL, task)
	steps, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Step])
	if err != nil {
		return nil, fmt.Errorf("list the steps of archived task %s: %w", task, err)
	}
	return steps, nil
}

const isArchivedSQL = `select exists (select from tasker.tasks_archive where task_id = $1)`

// IsArchived reports whether a task is in the archive.
func IsArchived(ctx context.Context, db DB, task uuid.UUID) (bool, error) {
	var there bool
	if err := db.QueryRow(ctx, isArchivedSQL, task).Scan(&there); err != nil {
		return false, fmt.Errorf("look for task %s in the archive: %w", task, err)
	}
	return there, nil
}
