package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// IsUnreadable reports whether reading a queue may have ended at a message that
// is none of ours: a statement takes what it reads apart, and one message that
// says something else is the end of it. [SetMalformedAside] finds it.
func IsUnreadable(err error) bool {
	_, null := errors.AsType[pgx.ScanArgError](err)
	return null || IsDataError(err)
}

// IsRefusal reports whether PostgreSQL has refused a statement for what it says
// or finds, so that it may well refuse it again: not for a lack of connections,
// memory, time or luck.
func IsRefusal(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch pgErr.Code[:2] {
	case "08", "25", "40", "53", "55", "57", "58", "XX":
		return false
	}
	return true
}

// setMalformedAsideSQL moves what no reader of a queue of steps or results can
// read into the archive of the queue. Whoever reads at the same time does not
// wait.
func setMalformedAsideSQL(queue string) string {
	const id = `'^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'`
	return fmt.Sprintf(`
	with malformed as materialized (
		select q.msg_id
		from pgmq.%s q
		where not coalesce(q.message->>'task' ~ %[3]s and q.message->>'step' ~ '^[0-9]{1,9}$' and q.message->>'claim' ~ '^[0-9]{1,9}$'
			and (not $2 or q.message->>'template' ~ %[3]s), false)
		order by q.msg_id
		limit $1
		for update skip locked
	), gone as (
		delete from pgmq.%[1]s q
		using malformed m
		where q.msg_id = any (array[m.msg_id])
		returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message
	)
	insert into pgmq.%[2]s (msg_id, read_ct, enqueued_at, vt, message)
	select msg_id, read_ct, enqueued_at, vt, jsonb_build_object('message', message,
		'refused', 'the message does not name a step: it wants task, step and claim' || case when $2 then ', and template' else '' end)
	from gone
	on conflict (msg_id) do update set message = excluded.message`, table(queue), archiveOf(queue), id)
}

// mostAside is how many messages one statement sets aside.
const mostAside = 1000

// SetMalformedAside sets the messages of a queue aside that do not name a step,
// or of the results queue a step and its template, in the archive of the queue
// (pgmq.a_…), with the reason. It returns how many it has found.
func SetMalformedAside(ctx context.Context, db DB, queue string, results bool) (int, error) {
	tag, err := db.Exec(ctx, setMalformedAsideSQL(queue), mostAside, results)
	if err != nil {
		return 0, fmt.Errorf("set messages of %s aside that name no step: %w", queue, err)
	}
	return int(tag.RowsAffected()), nil
}

// EndPoisoned ends open tasks in error with what is left of their steps, as
// [GiveUp] does, in a transaction of its own. The dead letter queue looks at
// them next.
func EndPoisoned(ctx context.Context, pool Pool, given []GivenUp) error {
	tasks := make([]uuid.UUID, len(given))
	for i, g := range given {
		tasks[i] = g.Task
	}
	return WithPlanner(ctx, pool, func(db DB) error {
		if err := LockTasks(ctx, db, tasks); err != nil {
			return err
		}
		if err := GiveUp(ctx, db, given); err != nil {
			return err
		}
		_, err := db.Exec(ctx, examineAgainSQL, tasks)
		if err != nil {
			return fmt.Errorf("leave %d tasks to the dead letter queue: %w", len(tasks), err)
		}
		return nil
	})
}

const examineAgainSQL = `update tasker.tasks set examined = false where task_id = any ($1) and state = 'error'`

// An Aside is a message that was set aside, since nobody could carry it out.
type Aside struct {
	Letter

	Queue   string
	Refused string // the reason
	At      time.Time
}

// asideSQL reads the archives of queues. What was archived by others is not in
// its place here.
func asideSQL(queues ...string) string {
	parts := make([]string, len(queues))
	for i, queue := range queues {
		parts[i] = fmt.Sprintf(`
	select a.msg_id, a.read_ct, a.message->'message', ($2::text[])[%d] as queue, a.message->>'refused', a.archived_at
	from pgmq.%s a
	where a.message ? 'refused'`, i+1, archiveOf(queue))
	}
	return strings.Join(parts, "\n\tunion all") + "\n\torder by archived_at desc, queue, msg_id\n\tlimit $1"
}

// ListAside returns the messages of the queues that were set aside, the last
// first. The queues must exist.
func ListAside(ctx context.Context, db DB, queues []string, limit int) ([]Aside, error) {
	rows, _ := db.Query(ctx, asideSQL(queues...), limit, queues)
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a Aside, err error) {
		return a, row.Scan(&a.ID, &a.Reads, &a.Content, &a.Queue, &a.Refused, &a.At)
	})
	if err != nil {
		return nil, fmt.Errorf("list messages that were set aside: %w", err)
	}
	return found, nil
}

// archiveOf is the archive of a queue, quoted.
func archiveOf(queue string) string { return pgx.Identifier{"a_" + queue}.Sanitize() }
