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

// A Selection says which tasks are meant; zero values do not narrow it.
type Selection struct {
	Namespace     string             `json:"namespace,omitempty"`
	Name          string             `json:"name,omitempty"`
	Version       string             `json:"version,omitempty"`
	States        []tasker.TaskState `json:"states"`         // any of them; none matches nothing
	Tags          []string           `json:"tags,omitempty"` // all of them
	CreatedAfter  *time.Time         `json:"created_after,omitempty"`
	CreatedBefore *time.Time         `json:"created_before,omitempty"`
}

func (s *Selection) args() []any {
	tags := s.Tags
	if len(tags) == 0 {
		tags = nil
	}
	return []any{words(s.States), s.Namespace, s.Name, s.Version, tags, s.CreatedAfter, s.CreatedBefore}
}

const selectedSQL = `
	from tasker.tasks t
	join tasker.templates p on p.template_id = t.template_id
	where t.state = any ($1::text[]::tasker.task_state[])
	and ($2 = '' or p.namespace = $2) and ($3 = '' or p.name = $3) and ($4 = '' or p.version = $4)
	and ($5::text[] is null or t.tags @> $5)
	and ($6::timestamptz is null or t.created_at >= $6) and ($7::timestamptz is null or t.created_at < $7)`

const countSelectedSQL = `select count(*)` + selectedSQL

// CountSelected returns how many tasks are meant. Use [WithPlanner].
func CountSelected(ctx context.Context, db DB, s Selection) (int64, error) {
	var n int64
	if err := db.QueryRow(ctx, countSelectedSQL, s.args()...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the selected tasks: %w", err)
	}
	return n, nil
}

const listSelectedSQL = `
	select t.task_id` + selectedSQL + `
	and ($8::uuid is null or t.task_id > $8)
	order by t.task_id
	limit $9`

// ListSelected returns the ids of up to limit tasks that are meant and come after
// the given one, in order; after any when it is nil. Use [WithPlanner].
func ListSelected(ctx context.Context, db DB, s Selection, after *uuid.UUID, limit int) ([]uuid.UUID, error) {
	rows, _ := db.Query(ctx, listSelectedSQL, append(s.args(), after, limit)...) // CollectRows returns its error
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("list the selected tasks: %w", err)
	}
	return ids, nil
}

// An Operation is what an operator does to many tasks.
type Operation struct {
	ID                    uuid.UUID
	Kind                  string
	Filter                Selection
	Actor, Reason         *string
	Matched, Done, Failed int64
	LastError             *string
	After                 *uuid.UUID // the last task dealt with
	CreatedAt             time.Time
	StartedAt, FinishedAt *time.Time
}

const insertOperationSQL = `
	insert into tasker.operations (operation_id, kind, filter, actor, reason, matched)
	values ($1, $2, $3::text::jsonb, nullif($4, ''), nullif($5, ''), $6)`

// InsertOperation stores a new operation.
func InsertOperation(ctx context.Context, db DB, op Operation) error {
	filter, err := json.Marshal(op.Filter)
	if err != nil {
		return fmt.Errorf("encode the filter of the operation: %w", err)
	}
	_, err = db.Exec(ctx, insertOperationSQL, op.ID, op.Kind, string(filter), op.Actor, op.Reason, op.Matched)
	if err != nil {
		return fmt.Errorf("store the operation: %w", err)
	}
	return nil
}

const operationColumnsSQL = `
	select operation_id, kind, filter, actor, reason, matched, done, failed, last_error, after_task,
		created_at, started_at, finished_at
	from tasker.operations`

func scanOperation(row pgx.CollectableRow) (op Operation, err error) {
	var filter []byte
	err = row.Scan(&op.ID, &op.Kind, &filter, &op.Actor, &op.Reason, &op.Matched, &op.Done, &op.Failed, &op.LastError, &op.After,
		&op.CreatedAt, &op.StartedAt, &op.FinishedAt)
	if err == nil {
		err = json.Unmarshal(filter, &op.Filter)
	}
	return op, err
}

const findOperationSQL = operationColumnsSQL + ` where operation_id = $1`

// FindOperation returns an operation, or [ErrNotFound].
func FindOperation(ctx context.Context, db DB, id uuid.UUID) (Operation, error) {
	rows, _ := db.Query(ctx, findOperationSQL, id)
	op, err := pgx.CollectExactlyOneRow(rows, scanOperation)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Operation{}, fmt.Errorf("find operation %s: %w", id, err)
	}
	return op, nil
}

const listOperationsSQL = operationColumnsSQL + ` order by created_at desc limit $1`

// ListOperations returns up to limit operations, newest first.
func ListOperations(ctx context.Context, db DB, limit int) ([]Operation, error) {
	rows, _ := db.Query(ctx, listOperationsSQL, limit)
	ops, err := pgx.CollectRows(rows, scanOperation)
	if err != nil {
		return nil, fmt.Errorf("list operations: %w", err)
	}
	return ops, nil
}

const nextOperationSQL = operationColumnsSQL + ` where finished_at is null order by created_at limit 1`

// NextOperation returns the oldest operation that is not finished, or
// [ErrNotFound].
func NextOperation(ctx context.Context, db DB) (Operation, error) {
	rows, _ := db.Query(ctx, nextOperationSQL)
	op, err := pgx.CollectExactlyOneRow(rows, scanOperation)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Operation{}, fmt.Errorf("find the next operation: %w", err)
	}
	return op, nil
}

// Who has read an operation locks it before it goes on; nobody may have gone
// further in between.
const lockOperationSQL = `
	select true
	from tasker.operations
	where operation_id = $1 and finished_at is null and after_task is not distinct from $2
	for update skip locked`

// LockOperation locks an operation until the transaction ends and reports whether
// it still stands where it was read; others may have it or have gone on.
func LockOperation(ctx context.Context, db DB, op *Operation) (bool, error) {
	var locked bool
	err := db.QueryRow(ctx, lockOperationSQL, op.ID, op.After).Scan(&locked)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("lock operation %s: %w", op.ID, err)
	}
	return locked, nil
}

const saveOperationSQL = `
	update tasker.operations
	set done = $2, failed = $3, last_error = $4, after_task = $5, started_at = coalesce(started_at, clock_timestamp()),
		finished_at = case when $6 then clock_timestamp() end
	where operation_id = $1`

// SaveOperation stores how far an operation has come.
func SaveOperation(ctx context.Context, db DB, op *Operation, finished bool) error {
	if _, err := db.Exec(ctx, saveOperationSQL, op.ID, op.Done, op.Failed, op.LastError, op.After, finished); err != nil {
		return fmt.Errorf("save operation %s: %w", op.ID, err)
	}
	return nil
}
