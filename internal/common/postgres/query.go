package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	tasker "github.com/tasker-systems/tasker-go"
)

// A Task is a task as it is read back.
type Task struct {
	ID            uuid.UUID
	Namespace     string
	Name          string
	Version       string
	State         tasker.TaskState
	Context       json.RawMessage
	CreatedAt     time.Time
	FinishedAt    *time.Time
	CorrelationID *uuid.UUID
	Initiator     *string
	SourceSystem  *string
	Reason        *string
	Tags          []string
	Priority      int16
	RunAt         *time.Time
	PausedAt      *time.Time
	ParentID      *uuid.UUID
	Counts        Counts
}

// Counts says how many steps of a task are where.
type Counts struct {
	Total, Pending, Enqueued, InProgress, Waiting, Completed, Failed int
}

// A Step is a step as it is read back.
type Step struct {
	Ordinal       int32
	Name          string
	State         tasker.StepState
	DependsOn     []string // names
	Attempt       int32
	MaxAttempts   int32
	WorkerID      *string
	EnqueuedAt    *time.Time
	StartedAt     *time.Time
	FinishedAt    *time.Time
	NextAttemptAt *time.Time
	Result        json.RawMessage
	Error         json.RawMessage
}

const taskColumns = `t.task_id, p.namespace, p.name, p.version, t.state, t.context, t.created_at, t.finished_at,
		t.correlation_id, t.initiator, t.source_system, t.reason, t.tags,
		t.priority, t.run_at, t.paused_at, t.parent_correlation_id,
		c.total, c.pending, c.enqueued, c.in_progress, c.waiting, c.completed, c.failed`

const countsSQL = `
	cross join lateral (
		select count(*) as total,
			count(*) filter (where s.state = 'pending') as pending,
			count(*) filter (where s.state = 'enqueued') as enqueued,
			count(*) filter (where s.state in ('in_progress', 'enqueued_for_orchestration',
				'enqueued_as_error_for_orchestration')) as in_progress,
			count(*) filter (where s.state = 'waiting_for_retry') as waiting,
			count(*) filter (where s.state in ('complete', 'resolved_manually')) as completed,
			count(*) filter (where s.state = 'error') as failed
		from tasker.steps s
		where s.task_id = t.task_id
	) c`

const findTaskSQL = `
	select ` + taskColumns + `
	from tasker.tasks t
	join tasker.templates p on p.template_id = t.template_id` + countsSQL + `
	where t.task_id = $1`

// FindTask returns the task, or [ErrNotFound].
func FindTask(ctx context.Context, db DB, id uuid.UUID) (Task, error) {
	rows, _ := db.Query(ctx, findTaskSQL, id)
	task, err := pgx.CollectExactlyOneRow(rows, scanTask)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Task{}, fmt.Errorf("find task %s: %w", id, err)
	}
	return task, nil
}

func scanTask(row pgx.CollectableRow) (Task, error) {
	var t Task
	err := row.Scan(taskTargets(&t)...)
	return t, err
}

// taskTargets are where taskColumns go.
func taskTargets(t *Task) []any {
	c := &t.Counts
	return []any{
		&t.ID, &t.Namespace, &t.Name, &t.Version, &t.State, &t.Context, &t.CreatedAt, &t.FinishedAt,
		&t.CorrelationID, &t.Initiator, &t.SourceSystem, &t.Reason, &t.Tags,
		&t.Priority, &t.RunAt, &t.PausedAt, &t.ParentID,
		&c.Total, &c.Pending, &c.Enqueued, &c.InProgress, &c.Waiting, &c.Completed, &c.Failed,
	}
}

const listStepsSQL = `
	select s.ordinal, s.name, s.state,
		(select array_agg(p.name order by p.ordinal) from tasker.steps p
			where p.task_id = s.task_id and p.ordinal = any (s.depends_on)),
		s.attempt, s.max_attempts, w.worker_id, s.enqueued_at, s.started_at, s.finished_at, s.next_attempt_at,
		s.result, s.error
	from tasker.steps s
	left join tasker.workers w on w.process_id = s.process_id
	where s.task_id = $1
	order by s.ordinal`

// ListSteps returns the steps of a task in the order of its template.
func ListSteps(ctx context.Context, db DB, task uuid.UUID) ([]Step, error) {
	rows, _ := db.Query(ctx, listStepsSQL, task)
	steps, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Step])
	if err != nil {
		return nil, fmt.Errorf("list the steps of task %s: %w", task, err)
	}
	return steps, nil
}

// TaskFilter narrows a list of archived tasks; zero values do not narrow.
type TaskFilter struct {
	Namespace string
	Name      string
	State     tasker.TaskState
	Before    uuid.UUID // only tasks older than this one: the next page
	Limit     int
}

const fingerprintsSQL = `
	select t.task_id, concat(t.state, '-', left(md5(concat(t.paused_at, (
		select string_agg(concat(s.ordinal, s.state, s.claim, '.', s.attempt), ',' order by s.ordinal)
		from tasker.steps s
		where s.task_id = t.task_id
	))), 16))
	from tasker.tasks t
	where t.task_id = any ($1)`

// Fingerprints returns a text for each of the tasks that exist, which changes
// with the state of the task or of one of its steps.
func Fingerprints(ctx context.Context, db DB, ids []uuid.UUID) (map[uuid.UUID]string, error) {
	rows, _ := db.Query(ctx, fingerprintsSQL, ids) // ForEachRow returns its error
	found := make(map[uuid.UUID]string, len(ids))
	var id uuid.UUID
	var text string
	_, err := pgx.ForEachRow(rows, []any{&id, &text}, func() error {
		found[id] = text
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for changes of %d tasks: %w", len(ids), err)
	}
	return found, nil
}

const taskStatesSQL = `select task_id, state from tasker.tasks where task_id = any ($1)`

// TaskStates returns the states of the tasks that exist.
func TaskStates(ctx context.Context, db DB, ids []uuid.UUID) (map[uuid.UUID]tasker.TaskState, error) {
	rows, _ := db.Query(ctx, taskStatesSQL, ids)
	states := make(map[uuid.UUID]tasker.TaskState, len(ids))
	var id uuid.UUID
	var state tasker.TaskState
	_, err := pgx.ForEachRow(rows, []any{&id, &state}, func() error {
		states[id] = state
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up the states of %d tasks: %w", len(ids), err)
	}
	return states, nil
}
