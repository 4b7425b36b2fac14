package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const createLoggedQueuesSQL = `select pgmq."create"(q) from unnest($1::text[]) q order by q`

// CreateLoggedQueues creates the queues that do not exist. They survive a crash
// of the server, for what nothing could rebuild.
func CreateLoggedQueues(ctx context.Context, db DB, queues []string) error {
	if _, err := db.Exec(ctx, createLoggedQueuesSQL, queues); err != nil {
		return fmt.Errorf("create queues: %w", err)
	}
	return nil
}

// A Letter is a message from outside, of whatever content.
type Letter struct {
	ID      int64
	Reads   int32 // how often it was read, this time included
	Content json.RawMessage
}

// Letters are taken by whoever comes first; others pass them over.
func readLettersSQL(queue string) string {
	return fmt.Sprintf(`
	with due as materialized (
		select q.msg_id
		from pgmq.%[1]s q
		where q.vt <= clock_timestamp()
		order by q.msg_id
		limit $1
		for update skip locked
	)
	update pgmq.%[1]s q
	set vt = clock_timestamp() + make_interval(secs => $2), read_ct = q.read_ct + 1
	from due d
	where q.msg_id = any (array[d.msg_id])
	returning q.msg_id, q.read_ct, q.message`, table(queue))
}

// ReadLetters takes up to limit messages; they come again after visibility
// unless they are deleted or archived before.
func ReadLetters(ctx context.Context, db DB, queue string, limit int, visibility time.Duration) ([]Letter, error) {
	rows, _ := db.Query(ctx, readLettersSQL(queue), limit, seconds(visibility))
	letters, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Letter])
	if err != nil {
		return nil, fmt.Errorf("read from %s: %w", queue, err)
	}
	return letters, nil
}

func deleteLettersSQL(queue string) string {
	return fmt.Sprintf(`delete from pgmq.%s q where q.msg_id = any ($1)`, table(queue))
}

// DeleteLetters deletes messages that have done their duty.
func DeleteLetters(ctx context.Context, db DB, queue string, ids []int64) error {
	if _, err := db.Exec(ctx, deleteLettersSQL(queue), ids); err != nil {
		return fmt.Errorf("delete from %s: %w", queue, err)
	}
	return nil
}

// refuseLettersSQL moves messages into the archive of their queue, each with the
// reason.
func refuseLettersSQL(queue string) string {
	return fmt.Sprintf(`
	with refused as (
		delete from pgmq.%s q
		using unnest($1::bigint[], $2::text[]) r (msg_id, reason)
		where q.msg_id = any (array[r.msg_id])
		returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, jsonb_build_object('refused', r.reason, 'message', q.message) as message
	)
	insert into pgmq.%s (msg_id, read_ct, enqueued_at, vt, message)
	select msg_id, read_ct, enqueued_at, vt, message
	from refused`, table(queue), archiveOf(queue))
}

// RefuseLetters sets messages aside in the archive of their queue (pgmq.a_…),
// with the reasons.
func RefuseLetters(ctx context.Context, db DB, queue string, ids []int64, reasons []string) error {
	if _, err := db.Exec(ctx, refuseLettersSQL(queue), ids, reasons); err != nil {
		return fmt.Errorf("set messages of %s aside: %w", queue, err)
	}
	return nil
}

// An Initializing task has no steps yet.
type Initializing struct {
	ID       uuid.UUID
	Template uuid.UUID
	Context  json.RawMessage
	Priority int16
	RunAt    *time.Time
}

const takeInitializingSQL = `
	select t.task_id, t.template_id, t.context, t.priority, t.run_at
	from tasker.tasks t
	where t.state = 'initializing' and t.created_at <= clock_timestamp() - make_interval(secs => $1)
	order by t.task_id
	limit $2
	for no key update skip locked`

// TakeInitializing locks up to limit tasks that have been initializing for so
// long.
func TakeInitializing(ctx context.Context, tx DB, rest time.Duration, limit int) ([]Initializing, error) {
	rows, _ := tx.Query(ctx, takeInitializingSQL, seconds(rest), limit)
	tasks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Initializing])
	if err != nil {
		return nil, fmt.Errorf("look for tasks without steps: %w", err)
	}
	return tasks, nil
}

const tasksByNamespaceSQL = `
	select p.namespace, t.task_id
	from tasker.tasks t
	join tasker.templates p on p.template_id = t.template_id
	where t.task_id = any ($1)`

// TasksByNamespace sorts tasks by the namespace of their template; those that do
// not exist are left out.
func TasksByNamespace(ctx context.Context, db DB, tasks []uuid.UUID) (map[string][]uuid.UUID, error) {
	rows, _ := db.Query(ctx, tasksByNamespaceSQL, tasks)
	byNamespace := map[string][]uuid.UUID{}
	var namespace string
	var task uuid.UUID
	_, err := pgx.ForEachRow(rows, []any{&namespace, &task}, func() error {
		byNamespace[namespace] = append(byNamespace[namespace], task)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up the namespaces of %d tasks: %w", len(tasks), err)
	}
	return byNamespace, nil
}
