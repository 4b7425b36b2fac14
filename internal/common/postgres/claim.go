package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// claimSQL claims the steps of due messages, oldest first.
//
// A message is good while its claim number is its step's and the step waits for
// a worker, or is in progress: then its lease has run out, since the message is
// due. A message whose claim number the step has passed, or whose step is over,
// is stale and goes. What another transaction has locked is left alone.
//
// Losing a lease does not use up an attempt; it is counted apart and logged as
// an attempt of its own. The task of a step that had waited for its retry, or for
// its first start, is in process again.
//
// A step starts by the clock and not at now(): the transaction may have begun,
// and spent its time on a plan, before the dependencies of the step had ended.
func claimSQL(queue string) string { //nolint:funlen // one statement
	return fmt.Sprintf(`
	with due as materialized (
		select q.msg_id, (q.message->>'task')::uuid as task_id, (q.message->>'step')::int as ordinal,
			(q.message->>'claim')::int as claim, q.message ? 'starts' as starts, q.vt
		from pgmq.%[1]s q
		where q.vt <= clock_timestamp() - make_interval(secs => $5)
		and ($6::float8 = 0 or clock_timestamp() - q.vt < make_interval(secs => $6))
		and (not $8::bool or q.message ? 'sent')
		order by q.msg_id
		limit %[2]s
		for update skip locked
	), good as materialized (
		select d.msg_id, s.task_id, s.ordinal, s.state, s.claim, s.attempt, s.process_id, s.started_at,
			d.starts or s.state = 'waiting_for_retry' as resumes, clock_timestamp() - d.vt as waited
		from due d
		join tasker.steps s on s.task_id = any (array[d.task_id]) and s.ordinal = d.ordinal and s.claim = d.claim
		where s.state in ('enqueued', 'in_progress', 'waiting_for_retry')
		for update of s skip locked
	), claimed as (
		update tasker.steps s
		set state = 'in_progress', claim = s.claim + 1, process_id = $2, started_at = clock_timestamp(), finished_at = null,
			next_attempt_at = null,
			attempt = s.attempt + (g.state <> 'in_progress')::int,
			lost = s.lost + (g.state = 'in_progress')::int
		from good g
		where s.task_id = any (array[g.task_id]) and s.ordinal = g.ordinal
		returning g.msg_id, s.task_id, s.ordinal, s.claim, s.name, s.attempt, s.max_attempts, s.lost,
			s.depends_on, s.dependents is null as leaf, s.priority, s.definition, s.input, s.checkpoint, g.waited
	), leased as (
		update pgmq.%[1]s q
		set vt = clock_timestamp() + make_interval(secs => $3), read_ct = q.read_ct + 1,
			message = jsonb_build_object('task', c.task_id, 'step', c.ordinal, 'claim', c.claim)
		from claimed c
		where q.msg_id = any (array[c.msg_id])
	), stale as (
		delete from pgmq.%[1]s q
		using due d
		where q.msg_id = any (array[d.msg_id]) and d.msg_id not in (select msg_id from good) and not exists (
			select 1
			from tasker.steps s
			where s.task_id = any (array[d.task_id]) and s.ordinal = d.ordinal and s.claim <= d.claim
			and s.state in ('enqueued', 'in_progress', 'waiting_for_retry')
		)
	), logged as (
		insert into tasker.step_attempts (task_id, ordinal, claim, attempt, process_id, started_at, finished_at, error)
		select task_id, ordinal, claim, attempt, process_id, started_at, now(),
			'{"kind": "lease_lost", "message": "the worker stopped renewing its lease"}'
		from good
		where state = 'in_progress'
		on conflict do nothing
	), resumed as (
		update tasker.tasks t
		set state = 'steps_in_process'
		from (
			select t.task_id
			from tasker.tasks t
			where t.task_id = any (array(select task_id from good where resumes))
			and t.state in ('waiting_for_retry', 'pending')
			order by t.task_id
			for no key update skip locked
		) r
		where t.task_id = any (array[r.task_id])
	)
	select c.msg_id, c.task_id, c.ordinal, c.claim, t.template_id, c.name, c.attempt, c.max_attempts, c.lost, c.leaf,
		c.depends_on, c.priority, coalesce(c.definition, ''), c.input, c.checkpoint->'value', t.context,
		t.correlation_id, coalesce(t.trace_context, ''), extract(epoch from c.waited)::float8,
		case when c.depends_on is not null then (
			select jsonb_object_agg(p.name, p.result)
			from unnest(c.depends_on) d (ordinal)
			cross join lateral (
				select s.name, s.result
				from tasker.steps s
				where s.task_id = c.task_id and s.ordinal = d.ordinal and s.state = 'complete'
				offset 0 -- a look-up per dependency, not a scan of the task
			) p
		) end
	from claimed c
	join tasker.tasks t on t.task_id = any (array[c.task_id])
	order by c.msg_id`, table(queue), namespaceRoomSQL(queue))
}

// A Claim says what to claim.
type Claim struct {
	Queue     string        // the step queue of a namespace
	Namespace string        // for its limit
	Limited   bool          // it has one: see [FindNextClaim]
	Process   uuid.UUID     // who claims
	Limit     int           // at most so many steps
	Lease     time.Duration // how long the claim holds unless extended
	MinAge    time.Duration // only messages that have been due for so long
	MaxAge    time.Duration // and not for so long; zero: for any time
	Delivered bool          // only messages that were published: each has a delivery
}

// ClaimSteps claims due steps, oldest message first, and removes stale messages
// on the way. Concurrent callers get disjoint steps, and together no more than the
// limit of the namespace allows. Of a namespace with a limit nothing is claimed
// unless Limited is set, so that the others need no lock. No due step is no error.
func ClaimSteps(ctx context.Context, db DB, c Claim) (steps []ClaimedStep, err error) {
	limit := NamespaceLimit(c.Namespace)
	b := &pgx.Batch{}
	if c.Limited {
		b.Queue(lockNamespaceSQL, limit)
	}
	args := []any{c.Limit, c.Process, seconds(c.Lease), limit, seconds(c.MinAge), seconds(c.MaxAge), c.Limited, c.Delivered}
	b.Queue(claimSQL(c.Queue), args...).Query(func(rows pgx.Rows) error {
		steps, err = pgx.CollectRows(rows, scanClaimed)
		return err
	})
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("claim steps from %s: %w", c.Queue, err)
	}
	return steps, nil
}

func scanClaimed(row pgx.CollectableRow) (ClaimedStep, error) {
	var s ClaimedStep
	var results []byte
	var waited float64
	err := row.Scan(&s.Message.ID, &s.Task, &s.Ordinal, &s.Claim, &s.Template, &s.Name, &s.Attempt, &s.MaxAttempts,
		&s.Lost, &s.Leaf, &s.DependsOn, &s.Priority, &s.Definition, &s.Input, &s.Checkpoint, &s.Context,
		&s.Correlation, &s.Trace, &waited, &results)
	if err == nil {
		s.Waited = time.Duration(waited * float64(time.Second))
		s.Results, err = object(results)
	}
	return s, err
}

// The earliest time at which a message of the queue is due: a delayed retry, or
// the end of a lease.
func nextDueSQL(queue string) string {
	return fmt.Sprintf(`
	select extract(epoch from (select q.vt from pgmq.%s q order by q.vt limit 1) - clock_timestamp())::float8`, table(queue))
}

// NextDue returns how long it is until the next message of the queue is due,
// zero when one is already, and false when the queue is empty.
func NextDue(ctx context.Context, db DB, queue string) (time.Duration, bool, error) {
	var wait *float64
	if err := db.QueryRow(ctx, nextDueSQL(queue)).Scan(&wait); err != nil {
		return 0, false, fmt.Errorf("find the next due message of %s: %w", queue, err)
	}
	if wait == nil {
		return 0, false, nil
	}
	return time.Duration(max(0, *wait) * float64(time.Second)), true, nil
}

// extendSQL renews the leases of messages that still say what their holder
// thinks and whose step is still in progress under that claim, then names those
// it renewed. A message that is gone after a crash of the server, or locked right
// now, is not among them, nor that of a step that was cancelled.
func extendSQL(queue string) string {
	return fmt.Sprintf(`
	with held as (
		select q.msg_id
		from unnest($1::bigint[], $2::uuid[], $3::int[], $4::int[]) h (msg_id, task_id, ordinal, claim)
		cross join lateral (
			select q.msg_id
			from pgmq.%[1]s q
			where q.msg_id = h.msg_id and `+saysSQL+`
			and exists (
				select
				from tasker.steps s
				where s.task_id = any (array[h.task_id]) and s.ordinal = h.ordinal and s.claim = h.claim
				and s.state = 'in_progress'
			)
			for update skip locked -- also keeps it a look-up per message
		) q
	)
	update pgmq.%[1]s q
	set vt = clock_timestamp() + make_interval(secs => $5)
	from held
	where q.msg_id = any (array[held.msg_id])
	returning q.msg_id`, table(queue))
}

// saysSQL holds when message q is that of h.
const saysSQL = `(q.message->>'task')::uuid = h.task_id and (q.message->>'step')::int = h.ordinal
			and (q.message->>'claim')::int = h.claim`

// ExtendLeases makes the leases of the messages end lease from now and returns
// the ids of those it renewed.
func ExtendLeases(ctx context.Context, db DB, queue string, held []Message, lease time.Duration) ([]int64, error) {
	ids, tasks, ordinals, claims := messages(held)
	rows, _ := db.Query(ctx, extendSQL(queue), ids, tasks, ordinals, claims, seconds(lease))
	renewed, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("extend leases in %s: %w", queue, err)
	}
	return renewed, nil
}

// A claim that still holds: the step has the claim number and is in progress.
const heldSQL = `
	select h.task_id, h.ordinal, h.claim
	from unnest($1::uuid[], $2::int[], $3::int[]) h (task_id, ordinal, claim)
	join tasker.steps s on s.task_id = any (array[h.task_id]) and s.ordinal = h.ordinal and s.claim = h.claim
	where s.state = 'in_progress'`

// HeldClaims returns those of the claims that still hold; the others were lost,
// cancelled or settled by somebody else.
func HeldClaims(ctx context.Context, db DB, claims []StepRef) ([]StepRef, error) {
	tasks, ordinals, numbers := refs(claims, func(r *StepRef) StepRef { return *r })
	rows, _ := db.Query(ctx, heldSQL, tasks, ordinals, numbers)
	held, err := pgx.CollectRows(rows, pgx.RowToStructByPos[StepRef])
	if err != nil {
		return nil, fmt.Errorf("look up claims: %w", err)
	}
	return held, nil
}

// findSQL finds messages by what they say: there is no index for that, it is
// for the rare case that a crash of the server has renumbered them.
func findSQL(queue string) string {
	return fmt.Sprintf(`
	select q.msg_id, h.task_id, h.ordinal, h.claim
	from unnest($1::uuid[], $2::int[], $3::int[]) h (task_id, ordinal, claim)
	join pgmq.%s q on `+saysSQL, table(queue))
}

// FindMessages returns the messages of the claims, of those that have one.
func FindMessages(ctx context.Context, db DB, queue string, claims []StepRef) ([]Message, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	tasks, ordinals, numbers := refs(claims, func(r *StepRef) StepRef { return *r })
	rows, _ := db.Query(ctx, findSQL(queue), tasks, ordinals, numbers)
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m Message, err error) {
		return m, row.Scan(&m.ID, &m.Task, &m.Ordinal, &m.Claim)
	})
	if err != nil {
		return nil, fmt.Errorf("find messages in %s: %w", queue, err)
	}
	return found, nil
}

// releaseSQL gives claimed steps back: they are enqueued again, under the claim
// number they have, and the attempt that did not happen does not count. Those of
// a paused task are pending, and what their messages say is stale.
func releaseSQL(queue string) string {
	return fmt.Sprintf(`
	with released as (
		update tasker.steps s
		set state = case when s.held then 'pending' else 'enqueued' end::tasker.step_state, claim = s.claim + s.held::int,
			attempt = greatest(s.attempt - 1, 0), started_at = null, process_id = null
		from unnest($1::bigint[], $2::uuid[], $3::int[], $4::int[]) h (msg_id, task_id, ordinal, claim)
		where s.task_id = any (array[h.task_id]) and s.ordinal = h.ordinal and s.claim = h.claim
		and s.state = 'in_progress'
		returning h.msg_id
	)
	update pgmq.%s q
	set vt = clock_timestamp()
	from released r
	where q.msg_id = any (array[r.msg_id])`, table(queue))
}

// ReleaseSteps gives back steps that this process claimed and did not finish,
// for a shutdown in good order: others may claim them at once.
func ReleaseSteps(ctx context.Context, db DB, queue string, held []Message) error {
	ids, tasks, ordinals, claims := messages(held)
	if _, err := db.Exec(ctx, releaseSQL(queue), ids, tasks, ordinals, claims); err != nil {
		return fmt.Errorf("release steps to %s: %w", queue, err)
	}
	return nil
}

func messages(held []Message) (ids []int64, tasks []uuid.UUID, ordinals, claims []int32) {
	ids = make([]int64, len(held))
	for i, m := range held {
		ids[i] = m.ID
	}
	tasks, ordinals, claims = refs(held, func(m *Message) StepRef { return m.StepRef })
	return ids, tasks, ordinals, claims
}

// deleteSQL removes messages that still say what the caller thinks.
func deleteSQL(queue string) string {
	return fmt.Sprintf(`
	delete from pgmq.%s q
	using unnest($1::bigint[], $2::uuid[], $3::int[], $4::int[]) h (msg_id, task_id, ordinal, claim)
	where q.msg_id = any (array[h.msg_id]) and `+saysSQL, table(queue))
}

// returnSQL makes messages due that were read and still say what the caller
// thinks.
func returnSQL(queue string) string {
	return fmt.Sprintf(`
	update pgmq.%s q
	set vt = clock_timestamp()
	from unnest($1::bigint[], $2::uuid[], $3::int[], $4::int[]) h (msg_id, task_id, ordinal, claim)
	where q.msg_id = any (array[h.msg_id]) and q.vt > clock_timestamp() and `+saysSQL, table(queue))
}

// ReturnMessages makes messages due at once that were read and not dealt with,
// instead of when their visibility timeout has passed.
func ReturnMessages(ctx context.Context, db DB, queue string, read []Message) error {
	ids, tasks, ordinals, claims := messages(read)
	if _, err := db.Exec(ctx, returnSQL(queue), ids, tasks, ordinals, claims); err != nil {
		return fmt.Errorf("return messages to %s: %w", queue, err)
	}
	return nil
}

// messageID is the id of a new message of the given priority, both as SQL.
//
// Queues are read in the order of ids, so the id is what priority acts by: a
// level of priority overtakes the last 100,000 messages, and whatever waits is
// overtaken only so often, which is how priority grows with age. The offset
// keeps ids positive; the last byte keeps those of different priorities apart.
func messageID(queue, priority string) string {
	return `((nextval(` + sequence(queue) + `) + ` + idOffset + ` - (` + priority + `) * ` + overtakes + `) * 256 + (` + priority + `) + 128)`
}

const (
	idOffset  = `1099511627776::bigint`
	overtakes = `100000::bigint`
)

// table is the table of a queue, quoted.
func table(queue string) string { return pgx.Identifier{"q_" + queue}.Sanitize() }

// sequence is the sequence of a queue's message ids, as a string literal.
func sequence(queue string) string { return "'pgmq.q_" + queue + "_msg_id_seq'" }

// errEmptyBatch says that a caller asked for nothing: a mistake of the program.
var errEmptyBatch = errors.New("empty batch")
