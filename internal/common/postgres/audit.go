package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// An Audit is an entry in the audit of a task.
type Audit struct {
	Kind   string
	Actor  string // empty: unknown
	Reason string // may be empty
	Detail json.RawMessage
}

const recordAuditSQL = `
	insert into tasker.task_events (task_id, ordinal, kind, actor, reason, detail)
	select task_id, nullif($2::int, 0), $3, nullif($4, ''), nullif($5, ''), $6::text::jsonb
	from unnest($1::uuid[]) t (task_id)`

// RecordAudit puts the same event into the audit of each of the tasks; about a
// step, unless its ordinal is zero.
func RecordAudit(ctx context.Context, db DB, tasks []uuid.UUID, ordinal int32, e Audit) error {
	if _, err := db.Exec(ctx, recordAuditSQL, tasks, ordinal, e.Kind, e.Actor, e.Reason, text(e.Detail)); err != nil {
		return fmt.Errorf("record what was done to %d tasks: %w", len(tasks), err)
	}
	return nil
}

// A AuditEntry is an event as it is read back.
type AuditEntry struct {
	ID      int64
	Ordinal *int32  // nil: about the task itself
	Step    *string // its name
	Kind    string
	Actor   *string
	Reason  *string
	Detail  json.RawMessage
	At      time.Time
}

const listAuditSQL = `
	select e.event_id, e.ordinal, s.name, e.kind, e.actor, e.reason, e.detail, e.at
	from tasker.task_events e
	left join tasker.steps s on s.task_id = any (array[e.task_id]) and s.ordinal = e.ordinal
	where e.task_id = $1
	order by e.event_id`

// ListAudit returns the audit of a task, oldest first.
func ListAudit(ctx context.Context, db DB, task uuid.UUID) ([]AuditEntry, error) {
	rows, _ := db.Query(ctx, listAuditSQL, task)
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[AuditEntry])
	if err != nil {
		return nil, fmt.Errorf("list the events of task %s: %w", task, err)
	}
	return events, nil
}

// An Attempt is one claim of a step.
type Attempt struct {
	Claim      int32
	Attempt    int32 // from 1, anew after a reset; a lost lease does not count as one
	WorkerID   *string
	ProcessID  *uuid.UUID
	StartedAt  *time.Time
	FinishedAt *time.Time
	Outcome    string // complete, running, reported, or the kind of the error
	Error      json.RawMessage
}

// The row of a step says how its last claim stands, unless that claim has failed
// or was taken away: then it is among the logged ones.
const listAttemptsSQL = `
	select a.claim, a.attempt, w.worker_id, a.process_id, a.started_at, a.finished_at, a.outcome, a.error
	from (
		select claim, attempt, process_id, started_at, finished_at, coalesce(error->>'kind', 'failed') as outcome, error
		from tasker.step_attempts
		where task_id = $1 and ordinal = $2
		union all
		select s.claim, s.attempt, s.process_id, s.started_at, s.finished_at,
			case s.state when 'complete' then 'complete' when 'in_progress' then 'running' else 'reported' end, s.error
		from tasker.steps s
		where s.task_id = $1 and s.ordinal = $2 and s.started_at is not null
		and s.state in ('in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration', 'complete')
		and not exists (
			select
			from tasker.step_attempts a
			where a.task_id = $1 and a.ordinal = $2 and a.claim = s.claim
		)
	) a
	left join tasker.workers w on w.process_id = a.process_id
	order by a.claim`

// ListAttempts returns the attempts at a step, oldest first.
func ListAttempts(ctx context.Context, db DB, task uuid.UUID, ordinal int32) ([]Attempt, error) {
	rows, _ := db.Query(ctx, listAttemptsSQL, task, ordinal)
	attempts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Attempt])
	if err != nil {
		return nil, fmt.Errorf("list the attempts at step %d of task %s: %w", ordinal, task, err)
	}
	return attempts, nil
}
