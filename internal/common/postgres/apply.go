package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	tasker "github.com/tasker-systems/tasker-go"
)

// A Batch is a set of reported steps of one namespace, decided and ready to be
// applied: one round trip, one transaction, whatever the number of tasks. Every
// task is in Settle or in Others.
type Batch struct {
	Queue     string      // the step queue of the namespace
	Namespace string      // for its limit
	Completed []Completed // steps that succeeded
	Failed    []Failed    // attempts that did not
	Consumed  []Consumed  // messages that have done their duty
	Settle    []uuid.UUID // tasks whose state may change: a leaf completed or a step failed
	Others    []uuid.UUID // the other tasks: settled only if an attempt has failed before
	HandOff   HandOff     // the worker in this process
	Grow      *Grow       // nil: no result brings steps about

	Events     []Event // that follow from those of the steps that count
	EventQueue string  // of the namespace; set when there are Events
}

// Completed is a success. A nil Result is already on the step row.
type Completed struct {
	StepRef
	Result json.RawMessage
}

// Failed is a failed attempt. The step is tried again after Delay, or has failed
// for good when Final is set. A nil Error is already on the step row.
type Failed struct {
	StepRef
	Error json.RawMessage
	Delay time.Duration
	Final bool

	// What the failure for good of a batch worker means for others.
	Tolerated  bool // what depends on it runs all the same
	Isolated   bool // it is set aside: cancelled, with its error
	StopCopies bool // the other workers of its batch that have not begun are cancelled
}

// Consumed are messages of one queue to delete.
type Consumed struct {
	Queue    string
	Messages []Message
}

// HandOff reserves room in a worker of this process: up to Slots steps that
// become ready are claimed for it in the same statement and never wait.
type HandOff struct {
	Process uuid.UUID
	Slots   int
	Lease   time.Duration
}

// Applied is what a batch brought about.
type Applied struct {
	HandedOff []ClaimedStep // for the worker of this process; without Template and Context
	Enqueued  int           // steps that became ready and wait on the queue
	Waiting   []StepRef     // these steps
	Gated     int           // steps that became ready and wait at a gate
	Gates     []string      // gates at which steps came to wait or of which slots came back; one may stand twice
	Grown     int           // steps that results brought about
	Limited   bool          // the namespace has a limit: whoever waits for room may claim now
	Completed int           // successes that counted; the rest came late
	Failed    int           // failures that counted
	Settled   []SettledTask // tasks whose state changed
	Events    []CountedEvent
}

// A SettledTask is a task whose state a batch changed.
type SettledTask struct {
	Task  uuid.UUID
	State tasker.TaskState
}

// Whoever decides about a task locks it first and decides in the next
// statement, whose snapshot sees what the previous holder of the lock did. So
// two appliers never each take the other's step for the last open one.
const lockTasksSQL = `
	select from tasker.tasks
	where task_id = any ($1)
	order by task_id
	for no key update`

// completeSQL completes steps, counts their dependents down and enqueues those
// that reach zero: claimed at birth for the worker of this process while it has
// slots ($6), waiting on the queue after that.
//
// The first row carries the number of successes that counted. The results of a
// handed-off step's dependencies are looked up only when some were not reported
// in this very batch ($8: or when the batch's own are on the rows only); the
// caller adds those.
//
// Nothing is handed off past a message that stands before it in the queue by
// more than a level of priority. A step of a paused task stays pending, and one
// with gates waits at them. Nothing is handed off in a namespace with a limit ($9):
// claims count what runs, and count one at a time.
//
// Steps become ready by the clock: at now() this transaction may have begun to
// wait for a task whose other branch had not ended.
func completeSQL(queue string) string { //nolint:funlen // one statement
	return fmt.Sprintf(`
	with reported as materialized (
		select *
		from unnest($1::uuid[], $2::int[], $3::int[], $4::text[]) r (task_id, ordinal, claim, result)
	), space as materialized (
		select exists (select from tasker.limits where name = $9 and origin = 'operator') as limited
	), completed as (
		update tasker.steps s
		set state = 'complete', result = coalesce(r.result::jsonb, s.result), error = null,
			finished_at = coalesce(s.finished_at, now())
		from reported r
		where s.task_id = any (array[r.task_id]) and s.ordinal = r.ordinal and s.claim = r.claim
		and s.state in ('in_progress', 'enqueued_for_orchestration')
		returning s.task_id, s.ordinal, s.dependents, s.gates
	), freed as (%[6]s
	), released as (
		select c.task_id, d.ordinal, count(*)::int as satisfied
		from completed c
		cross join lateral unnest(c.dependents) d (ordinal)
		group by c.task_id, d.ordinal
	), reached as materialized (
		select s.task_id, s.ordinal, r.satisfied, s.priority,
			s.waiting_on = r.satisfied and not s.held and s.gates is null as free,
			s.waiting_on = r.satisfied and not s.held and s.gates is not null as gated
		from released r
		join tasker.steps s on s.task_id = any (array[r.task_id]) and s.ordinal = r.ordinal
		where s.state = 'pending'
	), latest as materialized (
		select coalesce(pg_sequence_last_value(%[5]s), 0) + %[3]s as id
	), ahead as materialized (
		select q.msg_id
		from pgmq.%[1]s q
		where q.vt <= clock_timestamp()
		and q.msg_id < (select (l.id - ((select min(priority) from reached where free) + 1) * %[4]s) * 256 from latest l)
		order by q.msg_id
		limit 1
	), ready as materialized (
		select r.task_id, r.ordinal, r.satisfied, r.gated,
			case when r.free then
				row_number() over (partition by r.free order by r.priority desc, r.task_id, r.ordinal) <= (select case when limited then 0 else $6 end from space)
				and not exists (select from ahead a, latest l where a.msg_id < (l.id - (r.priority + 1) * %[4]s) * 256)
			end as handed_off
		from reached r
	), advanced as (
		update tasker.steps s
		set waiting_on = s.waiting_on - r.satisfied,
			state = case r.handed_off when true then 'in_progress' when false then 'enqueued' else 'pending' end::tasker.step_state,
			claim = s.claim + coalesce(r.handed_off, false)::int,
			attempt = s.attempt + coalesce(r.handed_off, false)::int,
			process_id = case when r.handed_off then $5::uuid end,
			enqueued_at = case when r.handed_off is not null then clock_timestamp() end,
			started_at = case when r.handed_off then clock_timestamp() end
		from ready r
		where s.task_id = any (array[r.task_id]) and s.ordinal = r.ordinal and s.state = 'pending'
		returning s.task_id, s.ordinal, s.claim, s.name, s.attempt, s.max_attempts, s.depends_on,
			s.dependents is null as leaf, r.satisfied, r.handed_off, r.gated, s.priority, s.gates, s.patience
	), numbered as (
		select a.*, %[2]s as msg_id
		from advanced a
		where a.handed_off is not null
	), gated as (
		insert into tasker.gated_steps (task_id, ordinal, gates, priority, ready_at, due_at)
		select a.task_id, a.ordinal, a.gates, a.priority, clock_timestamp(), clock_timestamp() + make_interval(secs => a.patience)
		from advanced a
		where a.gated
		returning gates[1] as gate
	), sent as (
		insert into pgmq.%[1]s (msg_id, vt, message) overriding system value
		select n.msg_id, clock_timestamp() + case when n.handed_off then make_interval(secs => $7) else interval '0' end,
			jsonb_build_object('task', n.task_id, 'step', n.ordinal, 'claim', n.claim)
		from numbered n
	)
	select counted.n, (select count(*) from gated), (select limited from space),
		case when n.msg_id is null or n.msg_id = (select min(msg_id) from numbered) then (
			select array_agg(gate) from (select gate from gated union select gate from freed) g
		) end,
		n.msg_id, n.task_id, n.ordinal, n.claim, n.name, n.attempt, n.max_attempts, n.leaf, n.depends_on,
		n.priority, n.handed_off,
		case when n.handed_off and ($8 or cardinality(n.depends_on) > n.satisfied) then (
			select jsonb_object_agg(p.name, p.result)
			from unnest(n.depends_on) d (ordinal)
			cross join lateral (
				select s.name, s.result
				from tasker.steps s
				where s.task_id = n.task_id and s.ordinal = d.ordinal and s.result is not null
				offset 0 -- a look-up per dependency, not a scan of the task
			) p
		) end
	from (select count(*) as n from completed) counted
	left join numbered n on true`, table(queue), messageID(queue, "a.priority"), idOffset, overtakes, sequence(queue),
		freeSlotsSQL("completed"))
}

// failSQL records failed attempts and, for those to be tried again, sends a
// message that is due when the delay has passed. A step with gates waits at them
// from then on; one of a paused task is pending until the task goes on.
func failSQL(queue string) string {
	return fmt.Sprintf(`
	with reported as materialized (
		select *
		from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::float8[], $6::bool[], $7::bool[])
			r (task_id, ordinal, claim, error, delay, final, isolated)
	), failed as (
		update tasker.steps s
		set state = case when r.isolated then 'cancelled' when r.final then 'error' when s.held then 'pending' else 'waiting_for_retry' end::tasker.step_state,
			error = coalesce(r.error::jsonb, s.error), result = null,
			finished_at = coalesce(s.finished_at, now()),
			next_attempt_at = case when not r.final then now() + make_interval(secs => r.delay) end
		from reported r
		where s.task_id = any (array[r.task_id]) and s.ordinal = r.ordinal and s.claim = r.claim
		and s.state in ('in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')
		returning s.*
	), logged as (
		insert into tasker.step_attempts (task_id, ordinal, claim, attempt, process_id, started_at, finished_at, error)
		select task_id, ordinal, claim, attempt, process_id, started_at, finished_at, error
		from failed
		on conflict do nothing
	), gated as (
		insert into tasker.gated_steps (task_id, ordinal, gates, priority, ready_at)
		select task_id, ordinal, gates, priority, next_attempt_at
		from failed
		where state = 'waiting_for_retry' and gates is not null
	), freed as (%[3]s
	), sent as (
		insert into pgmq.%[1]s (msg_id, vt, message) overriding system value
		select %[2]s, next_attempt_at, jsonb_build_object('task', task_id, 'step', ordinal, 'claim', claim)
		from failed
		where state = 'waiting_for_retry' and gates is null
	)
	select (select count(*) from failed), (select array_agg(distinct gate) from freed)`,
		table(queue), messageID(queue, "priority"), freeSlotsSQL("failed"))
}

// stopCopiesSQL cancels what has not begun of the batches of failed workers.
const stopCopiesSQL = `
	with stopped as (
		update tasker.steps s
		set state = 'cancelled', finished_at = now(), next_attempt_at = null
		from (
			select distinct s.task_id, s.definition
			from unnest($1::uuid[], $2::int[], $3::int[]) f (task_id, ordinal, claim)
			cross join lateral (
				select s.task_id, s.definition
				from tasker.steps s
				where s.task_id = f.task_id and s.ordinal = f.ordinal and s.claim = f.claim and s.state = 'error'
				offset 0 -- a look-up per step
			) s
		) f
		where s.task_id = any (array[f.task_id]) and s.definition = f.definition
		and s.state in ('pending', 'enqueued', 'waiting_for_retry')
		returning s.task_id, s.ordinal
	)
	delete from tasker.gated_steps g
	using stopped s
	where g.task_id = any (array[s.task_id]) and g.ordinal = s.ordinal`

// What is left to do in a task says its state. Branches that do not depend on a
// failed step go on; when nothing can, the task is blocked if steps wait on the
// failure and in error if none does. While no attempt has failed only the end of
// a leaf can end a task, so the tasks of $2 are passed over unless troubled.
const settleSQL = `
	with asked as (
		select unnest($1::uuid[]) as task_id
		union
		select task_id from tasker.tasks where task_id = any ($2) and troubled
	), counted as (
		select s.task_id,
			bool_or(s.state in ('enqueued', 'in_progress')) as running,
			bool_or(s.state in ('enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')) as reported,
			bool_or(s.state = 'waiting_for_retry') as retrying,
			bool_or(s.state = 'error') as failed,
			bool_or(s.state = 'pending') as pending,
			bool_or(s.state = 'pending' and s.waiting_on = 0 and (s.held or s.gates is not null)) as waiting,
			bool_or(s.state = 'pending' and s.waiting_on = 0 and not s.held and s.gates::text like '%limit:%') as limited
		from asked a
		cross join lateral (
			select s.task_id, s.state, s.waiting_on, s.held, s.gates
			from tasker.steps s
			where s.task_id = a.task_id
			offset 0 -- a look-up per task, whatever the size of the tables
		) s
		group by s.task_id
	), decided as (
		select task_id, failed or retrying as troubled, case
			when running then 'steps_in_process'
			when reported then 'evaluating_results'
			when limited then 'enqueuing_steps'
			when retrying then 'waiting_for_retry'
			when waiting then 'waiting_for_dependencies'
			when failed and pending then 'blocked_by_failures'
			when failed then 'error'
			when pending then 'waiting_for_dependencies'
			else 'complete'
		end::tasker.task_state as state
		from counted
	)
	update tasker.tasks t
	set state = case when t.run_at > clock_timestamp() and d.state in (` + unstarted + `) then 'pending' else d.state end,
		troubled = t.troubled or d.troubled, examined = t.state = d.state and t.examined,
		finished_at = case when d.state in ('complete', 'error') then now() end
	from decided d
	where t.task_id = any (array[d.task_id]) and t.finished_at is null
	and (t.state <> d.state and not (t.state = 'pending' and t.run_at > clock_timestamp() and d.state in (` + unstarted + `))
		or d.troubled and not t.troubled)
	returning t.task_id, t.state`

// What the steps of a task that may not start yet look like.
const unstarted = `'steps_in_process', 'enqueuing_steps', 'waiting_for_dependencies'`

// Apply applies a batch in one transaction and one round trip, or two when
// results bring steps about. A result that PostgreSQL refuses fails the whole
// call and changes nothing: see [IsDataError].
func Apply(ctx context.Context, pool Pool, batch Batch) (applied Applied, err error) {
	switch {
	case len(batch.Settle)+len(batch.Others) == 0:
		err = errEmptyBatch
	case batch.Grow != nil:
		applied, err = applyGrowing(ctx, pool, batch)
	default:
		b := &pgx.Batch{}
		queueLock(b, batch)
		queueComplete(b, batch, &applied)
		queueFail(b, batch, &applied)
		queueRest(b, batch, &applied, nil)
		err = pool.SendBatch(ctx, b).Close()
	}
	if err != nil {
		return Applied{}, fmt.Errorf("apply %d results: %w", len(batch.Completed)+len(batch.Failed), err)
	}
	return applied, nil
}

// queueRest publishes events, recounts the tasks that have new steps or whose batch workers have
// failed, settles tasks and deletes what is consumed.
func queueRest(b *pgx.Batch, batch Batch, applied *Applied, recount []uuid.UUID) {
	queuePublish(b, batch, applied)
	var stopped []StepRef
	for _, f := range batch.Failed {
		if f.Tolerated || f.StopCopies {
			recount = append(recount, f.Task)
		}
		if f.StopCopies {
			stopped = append(stopped, f.StepRef)
		}
	}
	if len(stopped) > 0 {
		tasks, ordinals, claims := refs(stopped, func(r *StepRef) StepRef { return *r })
		b.Queue(stopCopiesSQL, tasks, ordinals, claims)
	}
	if len(recount) > 0 {
		b.Queue(recountSQL(batch.Queue), recount).Query(func(rows pgx.Rows) error {
			enqueued, err := pgx.CollectRows(rows, pgx.RowToStructByPos[StepRef])
			applied.Enqueued += len(enqueued)
			applied.Waiting = append(applied.Waiting, enqueued...)
			return err
		})
		b.Queue(releaseSlotsSQL(), recount).Query(func(rows pgx.Rows) error {
			gates, err := pgx.CollectRows(rows, pgx.RowTo[string])
			applied.Gates = append(applied.Gates, gates...)
			return err
		})
	}
	b.Queue(settleSQL, batch.Settle, batch.Others).Query(func(rows pgx.Rows) (err error) {
		applied.Settled, err = pgx.CollectRows(rows, pgx.RowToStructByPos[SettledTask])
		return err
	})
	for _, c := range batch.Consumed {
		ids, tasks, ordinals, claims := messages(c.Messages)
		b.Queue(deleteSQL(c.Queue), ids, tasks, ordinals, claims)
	}
}

func queueLock(b *pgx.Batch, batch Batch) {
	b.Queue(lockTasksSQL, slices.Concat(batch.Settle, batch.Others))
}

func queueComplete(b *pgx.Batch, batch Batch, applied *Applied) {
	if len(batch.Completed) == 0 {
		return
	}
	tasks, ordinals, claims := refs(batch.Completed, func(c *Completed) StepRef { return c.StepRef })
	results := make([]*string, len(batch.Completed))
	stored := false // some results are on the rows only
	for i, c := range batch.Completed {
		if c.Result == nil {
			stored = true
			continue
		}
		s := string(c.Result)
		results[i] = &s
	}
	h := batch.HandOff
	b.Queue(completeSQL(batch.Queue), tasks, ordinals, claims, results, h.Process, h.Slots, seconds(h.Lease), stored, NamespaceLimit(batch.Namespace)).
		Query(func(rows pgx.Rows) error { return scanAdvanced(rows, applied) })
}

// scanAdvanced reads the rows of completeSQL.
func scanAdvanced(rows pgx.Rows, applied *Applied) error {
	for rows.Next() {
		var id *int64 // null: nothing became ready
		var task *uuid.UUID
		var ordinal, claim, attempt, maxAttempts *int32
		var name *string
		var leaf, handedOff *bool
		var priority *int16
		var dependsOn []int32
		var raw []byte
		var gates []string // in one of the rows
		if err := rows.Scan(&applied.Completed, &applied.Gated, &applied.Limited, &gates, &id, &task, &ordinal, &claim, &name, &attempt, &maxAttempts, &leaf,
			&dependsOn, &priority, &handedOff, &raw); err != nil {
			return err
		}
		applied.Gates = append(applied.Gates, gates...)
		switch {
		case id == nil:
		case !*handedOff:
			applied.Enqueued++
			applied.Waiting = append(applied.Waiting, StepRef{Task: *task, Ordinal: *ordinal, Claim: *claim})
		default:
			results, err := object(raw)
			if err != nil {
				return err
			}
			applied.HandedOff = append(applied.HandedOff, ClaimedStep{
				Message: Message{ID: *id, StepRef: StepRef{Task: *task, Ordinal: *ordinal, Claim: *claim}},
				Name:    *name, Attempt: *attempt, MaxAttempts: *maxAttempts, Leaf: *leaf, DependsOn: dependsOn, Priority: *priority,
				Results: results,
			})
		}
	}
	return rows.Err()
}

func queueFail(b *pgx.Batch, batch Batch, applied *Applied) {
	if len(batch.Failed) == 0 {
		return
	}
	tasks, ordinals, claims := refs(batch.Failed, func(f *Failed) StepRef { return f.StepRef })
	errs := make([]*string, len(batch.Failed))
	delays, finals, isolated := make([]float64, len(batch.Failed)), make([]bool, len(batch.Failed)), make([]bool, len(batch.Failed))
	for i, f := range batch.Failed {
		if f.Error != nil {
			s := string(f.Error)
			errs[i] = &s
		}
		delays[i], finals[i], isolated[i] = seconds(f.Delay), f.Final, f.Isolated
	}
	b.Queue(failSQL(batch.Queue), tasks, ordinals, claims, errs, delays, finals, isolated).
		QueryRow(func(row pgx.Row) error {
			var gates []string
			err := row.Scan(&applied.Failed, &gates)
			applied.Gates = append(applied.Gates, gates...)
			return err
		})
}
