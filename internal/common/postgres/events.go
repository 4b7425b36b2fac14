package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// An Event is a domain event that follows from an attempt if that counts. With a
// Message it goes into the queue of the namespace's events; without one the
// caller only wants to know whether the attempt counted.
type Event struct {
	StepRef
	Key     int // the caller's
	Message json.RawMessage
}

// A CountedEvent is an event whose attempt has counted.
type CountedEvent struct {
	Key         int
	Correlation *uuid.UUID // of the task
}

// publishSQL puts events into their queue: those of the steps that this very
// transaction has brought to an end, which xmin says. A batch applied twice,
// since the answer to its commit got lost, brings about none the second time.
//
// The payload that is missing is what the step row holds.
func publishSQL(queue string) string {
	return fmt.Sprintf(`
	with reported as materialized (
		select *
		from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::int[]) r (task_id, ordinal, claim, message, key)
	), counted as materialized (
		select r.key, r.message::jsonb as message, t.correlation_id,
			case when s.state = 'complete' then s.result else s.error end as payload
		from reported r
		join tasker.steps s on s.task_id = any (array[r.task_id]) and s.ordinal = r.ordinal
		join tasker.tasks t on t.task_id = any (array[r.task_id])
		where s.claim = r.claim and s.xmin = pg_current_xact_id()::xid
	), sent as (
		insert into pgmq.%s (vt, message)
		select clock_timestamp(), case when c.correlation_id is null then m.whole
			else jsonb_set(m.whole, '{metadata,correlation_id}', to_jsonb(c.correlation_id)) end
		from counted c
		cross join lateral (
			select case when c.message ? 'payload' then c.message
				else c.message || jsonb_build_object('payload', c.payload) end as whole
		) m
		where c.message is not null
		order by c.key
	)
	select key, correlation_id
	from counted
	order by key`, table(queue))
}

func queuePublish(b *pgx.Batch, batch Batch, applied *Applied) {
	if len(batch.Events) == 0 {
		return
	}
	tasks, ordinals, claims := refs(batch.Events, func(e *Event) StepRef { return e.StepRef })
	messages, keys := make([]*string, len(batch.Events)), make([]int, len(batch.Events))
	for i, e := range batch.Events {
		messages[i], keys[i] = text(e.Message), e.Key
	}
	b.Queue(publishSQL(batch.EventQueue), tasks, ordinals, claims, messages, keys).Query(func(rows pgx.Rows) (err error) {
		applied.Events, err = pgx.CollectRows(rows, pgx.RowToStructByPos[CountedEvent])
		return err
	})
}

const createEventQueuesSQL = `select pgmq.create(q) from unnest($1::text[]) q order by q`

// CreateEventQueues creates the queues of events that do not exist. They are
// logged: a crash of the server takes nothing from them.
func CreateEventQueues(ctx context.Context, db DB, queues []string) error {
	if _, err := db.Exec(ctx, createEventQueuesSQL, queues); err != nil {
		return fmt.Errorf("create queues of events: %w", err)
	}
	return nil
}

const correlationsSQL = `select task_id, correlation_id from tasker.tasks where task_id = any ($1) and correlation_id is not null`

// Correlations returns the correlation ids of the tasks that have one.
func Correlations(ctx context.Context, db DB, tasks []uuid.UUID) (map[uuid.UUID]*uuid.UUID, error) {
	rows, _ := db.Query(ctx, correlationsSQL, tasks) // ForEachRow returns its error
	found := map[uuid.UUID]*uuid.UUID{}
	var task, correlation uuid.UUID
	_, err := pgx.ForEachRow(rows, []any{&task, &correlation}, func() error {
		id := correlation
		found[task] = &id
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up the correlation ids of %d tasks: %w", len(tasks), err)
	}
	return found, nil
}
