package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// With RabbitMQ the queue of a namespace is a ledger: its rows are leases and
// timers as ever, and each that is due is published once, which its message notes
// under "sent". A claim writes the message anew, so that a lease that runs out, or a
// step that is given back, is published again.

const prepareDispatchSQL = `select tasker.prepare_dispatch(q) from unnest($1::text[]) q order by q`

// PrepareDispatch makes it cheap to find what of the queues is not published.
func PrepareDispatch(ctx context.Context, db DB, queues []string) error {
	if _, err := db.Exec(ctx, prepareDispatchSQL, queues); err != nil {
		return fmt.Errorf("prepare queues for publishing: %w", err)
	}
	return nil
}

// dispatchSQL notes of due messages that they are published, before they are: a
// worker with the delivery finds the note.
func dispatchSQL(queue string) string {
	return fmt.Sprintf(`
	with due as materialized (
		select q.msg_id
		from pgmq.%[1]s q
		where not q.message ? 'sent' and q.vt <= clock_timestamp()
		order by q.vt
		limit $1
		for update skip locked
	)
	update pgmq.%[1]s q
	set message = q.message || jsonb_build_object('sent', extract(epoch from clock_timestamp())::float8)
	from due d
	where q.msg_id = any (array[d.msg_id])
	returning q.msg_id, (q.message->>'task')::uuid, (q.message->>'step')::int, (q.message->>'claim')::int`, table(queue))
}

// nextUnsentSQL is when the next message that is not published will be due.
func nextUnsentSQL(queue string) string {
	return fmt.Sprintf(`
	select extract(epoch from (
		select q.vt from pgmq.%s q where not q.message ? 'sent' order by q.vt limit 1
	) - clock_timestamp())::float8`, table(queue))
}

// Dispatched is what of one queue is to be published.
type Dispatched struct {
	Queue    string
	Messages []Message
	Any      bool          // there is more, or will be
	Wait     time.Duration // until then; zero: now
}

// Dispatch takes up to limit due messages of each queue that have not been
// published, for the caller to publish: nobody else gets them. One round trip.
func Dispatch(ctx context.Context, db DB, queues []string, limit int) ([]Dispatched, error) {
	b := &pgx.Batch{}
	all := make([]Dispatched, len(queues))
	for i, queue := range queues {
		d := &all[i]
		d.Queue = queue
		b.Queue(dispatchSQL(queue), limit).Query(func(rows pgx.Rows) (err error) {
			d.Messages, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m Message, err error) {
				return m, row.Scan(&m.ID, &m.Task, &m.Ordinal, &m.Claim)
			})
			return err
		})
		b.Queue(nextUnsentSQL(queue)).QueryRow(func(row pgx.Row) error {
			var wait *float64
			if err := row.Scan(&wait); err != nil || wait == nil {
				return err
			}
			d.Any, d.Wait = true, duration(*wait)
			return nil
		})
	}
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("take due steps to publish: %w", err)
	}
	return all, nil
}

func undispatchSQL(queue string) string {
	return fmt.Sprintf(`
	update pgmq.%s q
	set message = q.message - 'sent'
	from unnest($1::bigint[], $2::uuid[], $3::int[], $4::int[]) h (msg_id, task_id, ordinal, claim)
	where q.msg_id = any (array[h.msg_id]) and q.message ? 'sent' and `+saysSQL, table(queue))
}

// Undispatch takes the notes back: the messages are published anew.
func Undispatch(ctx context.Context, db DB, queue string, failed []Message) error {
	ids, tasks, ordinals, claims := messages(failed)
	if _, err := db.Exec(ctx, undispatchSQL(queue), ids, tasks, ordinals, claims); err != nil {
		return fmt.Errorf("note that %d steps are not published: %w", len(failed), err)
	}
	return nil
}

// redispatchSQL takes back the notes of as many due messages as have no delivery
// waiting at the broker ($2 wait), of those that were published $1 seconds ago or
// earlier, oldest first.
func redispatchSQL(queue string) string {
	return fmt.Sprintf(`
	with published as materialized (
		select q.msg_id, (q.message->>'sent')::float8 <= extract(epoch from clock_timestamp()) - $1::float8 as aged
		from pgmq.%[1]s q
		where q.vt <= clock_timestamp() and q.message ? 'sent'
	), lost as (
		select p.msg_id
		from published p
		where p.aged
		order by p.msg_id
		limit greatest(0, (select count(*) from published) - $2)
	)
	update pgmq.%[1]s q
	set message = q.message - 'sent'
	from lost l
	where q.msg_id = any (array[l.msg_id])`, table(queue))
}

// Redispatch has steps published again that were so at least rest ago, are due
// still, and outnumber the deliveries that wait at the broker. Deliveries that workers
// hold are not among these, so a few may be published twice, which is harmless.
func Redispatch(ctx context.Context, db DB, queue string, rest time.Duration, waiting int) (int, error) {
	tag, err := db.Exec(ctx, redispatchSQL(queue), seconds(rest), waiting)
	if err != nil {
		return 0, fmt.Errorf("look for lost deliveries of %s: %w", queue, err)
	}
	return int(tag.RowsAffected()), nil
}

func publishedDueSQL(queue string) string {
	return fmt.Sprintf(`
	select coalesce((
		select true from pgmq.%s q where q.vt <= clock_timestamp() and q.message ? 'sent' order by q.vt limit 1
	), false)`, table(queue))
}

// PublishedDue reports whether steps of the queue are due and published: they
// are held back, by a limit or by somebody's lock, when a claim did not get them.
func PublishedDue(ctx context.Context, db DB, queue string) (bool, error) {
	var due bool
	if err := db.QueryRow(ctx, publishedDueSQL(queue)).Scan(&due); err != nil {
		return false, fmt.Errorf("look for due steps in %s: %w", queue, err)
	}
	return due, nil
}

const listNamespacesSQL = `select distinct namespace from tasker.templates order by namespace`

// TemplateNamespaces returns the namespaces that templates are in.
func TemplateNamespaces(ctx context.Context, db DB) ([]string, error) {
	rows, _ := db.Query(ctx, listNamespacesSQL) // CollectRows returns its error
	namespaces, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	return namespaces, nil
}

// storeLettersSQL stores messages from a broker in the queue of the same name.
// One that came before is passed over, by its id.
func storeLettersSQL(queue string) string {
	return fmt.Sprintf(`
	with received as (
		select r.id, r.content, r.place
		from unnest($2::text[], $3::text[]) with ordinality r (id, content, place)
	), fresh as (
		insert into tasker.broker_messages (queue, message_id)
		select distinct $1, id
		from received
		where id <> ''
		on conflict do nothing
		returning message_id
	)
	insert into pgmq.%s (vt, message)
	select clock_timestamp(), content::jsonb
	from (
		select distinct on (case when id = '' then place::text else 'id ' || id end) id, content, place from received
	) r
	where r.id = '' or r.id in (select message_id from fresh)
	order by r.place`, table(queue))
}

// A Letterhead is a message that a broker delivered: of JSON, with an id that
// tells repeats, or without one.
type Letterhead struct {
	ID      string
	Content string
}

// StoreLetters stores messages of a broker in the queue of that name; repeats
// are passed over. Content that is no JSON, or none that PostgreSQL takes, fails
// all: see [IsDataError].
func StoreLetters(ctx context.Context, db DB, queue string, received []Letterhead) error {
	ids, contents := make([]string, len(received)), make([]string, len(received))
	for i, r := range received {
		ids[i], contents[i] = r.ID, r.Content
	}
	if _, err := db.Exec(ctx, storeLettersSQL(queue), queue, ids, contents); err != nil {
		return fmt.Errorf("store %d messages for %s: %w", len(received), queue, err)
	}
	return nil
}

// buryLettersSQL puts messages that cannot be stored right into the archive.
func buryLettersSQL(queue string) string {
	return fmt.Sprintf(`
	insert into pgmq.%s (msg_id, read_ct, enqueued_at, vt, message)
	select nextval(%s), 1, now(), clock_timestamp(), jsonb_build_object('refused', r.reason, 'message', r.content)
	from unnest($1::text[], $2::text[]) r (reason, content)`, pgx.Identifier{"a_" + queue}.Sanitize(), sequence(queue))
}

// BuryLetters sets messages aside that no queue takes, in the archive of the
// queue (pgmq.a_…), as text with the reasons.
func BuryLetters(ctx context.Context, db DB, queue string, reasons, contents []string) error {
	if _, err := db.Exec(ctx, buryLettersSQL(queue), reasons, contents); err != nil {
		return fmt.Errorf("set messages for %s aside: %w", queue, err)
	}
	return nil
}

const forgetBrokerMessagesSQL = `delete from tasker.broker_messages where received_at < now() - make_interval(secs => $1)`

// ForgetBrokerMessages forgets the ids of messages that came so long ago.
func ForgetBrokerMessages(ctx context.Context, db DB, age time.Duration) error {
	if _, err := db.Exec(ctx, forgetBrokerMessagesSQL, seconds(age)); err != nil {
		return fmt.Errorf("forget the ids of messages: %w", err)
	}
	return nil
}

// By what messages say: there is no index for that, it is for dead letters.
func redispatchStepsSQL(queue string) string {
	return fmt.Sprintf(`
	update pgmq.%s q
	set message = q.message - 'sent'
	from unnest($1::uuid[], $2::int[], $3::int[]) h (task_id, ordinal, claim)
	where `+saysSQL+` and q.message ? 'sent' and q.vt <= clock_timestamp()`, table(queue))
}

// RedispatchSteps has those of the steps published again that are due still.
func RedispatchSteps(ctx context.Context, db DB, queue string, steps []StepRef) error {
	tasks, ordinals, claims := refs(steps, func(r *StepRef) StepRef { return *r })
	if _, err := db.Exec(ctx, redispatchStepsSQL(queue), tasks, ordinals, claims); err != nil {
		return fmt.Errorf("have %d steps published again: %w", len(steps), err)
	}
	return nil
}
