package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Rest says how long steps may rest in a state before the reconciler asks
// whether their message is still there (orchestration.backoff.reenqueue_delays).
type Rest struct {
	Enqueued   time.Duration
	InProgress time.Duration
	Reported   time.Duration
	Retrying   time.Duration // past the time the retry is due

	States []string      // only steps of tasks in these states; none: of all that are open
	MaxAge time.Duration // only steps that have rested no longer; zero: for any time
	Limit  int           // only so many; zero: all
}

// Lost steps are those whose message is gone. State and message change in one
// transaction and the statement sees both at one moment, so a step that merely
// waits in a long queue is never taken for lost.
func resendStepsSQL(queue string) string {
	return fmt.Sprintf(`
	with present as materialized (
		select (q.message->>'task')::uuid as task_id, (q.message->>'step')::int as ordinal,
			(q.message->>'claim')::int as claim
		from pgmq.%[1]s q
	), lost as (
		select s.task_id, s.ordinal, s.claim, s.state, s.next_attempt_at, s.priority, t.run_at
		from tasker.tasks t
		join tasker.steps s on s.task_id = t.task_id
		where t.template_id = any ($1)
		and t.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
		and (s.state = 'enqueued' and s.enqueued_at <= now() - make_interval(secs => $2)
			or s.state = 'in_progress' and s.started_at <= now() - make_interval(secs => $3)
			or s.state = 'waiting_for_retry' and s.gates is null and s.next_attempt_at <= now() - make_interval(secs => $4))
		and ($6::text[] is null or t.state::text = any ($6))
		and ($7::float8 = 0 or now() - make_interval(secs => $7) < case s.state
			when 'enqueued' then s.enqueued_at
			when 'in_progress' then s.started_at
			else s.next_attempt_at
		end)
		and not exists (
			select 1 from present p where p.task_id = s.task_id and p.ordinal = s.ordinal and p.claim = s.claim
		)
		order by s.state <> 'in_progress', s.task_id, s.ordinal -- what ran already goes before what never did
		limit nullif($8, 0)
	)
	insert into pgmq.%[1]s (msg_id, vt, message) overriding system value
	select %[2]s, case state
			when 'in_progress' then clock_timestamp() + make_interval(secs => $5)
			when 'waiting_for_retry' then greatest(next_attempt_at, clock_timestamp())
			else greatest(run_at, clock_timestamp())
		end, jsonb_build_object('task', task_id, 'step', ordinal, 'claim', claim)
			|| case when run_at is null then '{}' else '{"starts": true}' end::jsonb
	from lost`, table(queue), messageID(queue, "priority"))
}

// The same for reports: a step that has reported needs a pointer in the results
// queue until it is applied.
func resendReportsSQL(resultsQueue string) string {
	return fmt.Sprintf(`
	with present as materialized (
		select (q.message->>'task')::uuid as task_id, (q.message->>'step')::int as ordinal,
			(q.message->>'claim')::int as claim
		from pgmq.%[1]s q
	), lost as (
		select s.task_id, s.ordinal, s.claim, t.template_id
		from tasker.tasks t
		join tasker.steps s on s.task_id = t.task_id
		where t.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
		and s.state in ('enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')
		and s.finished_at <= now() - make_interval(secs => $1)
		and not exists (
			select 1 from present p where p.task_id = s.task_id and p.ordinal = s.ordinal and p.claim = s.claim
		)
		order by s.task_id, s.ordinal
	)
	insert into pgmq.%[1]s (vt, message)
	select clock_timestamp(), jsonb_build_object('task', task_id, 'step', ordinal, 'claim', claim, 'template', template_id)
	from lost`, table(resultsQueue))
}

// A StepQueue is the queue of a namespace with the templates whose steps go
// through it.
type StepQueue struct {
	Queue     string
	Templates []uuid.UUID
}

const listNamespaceTemplatesSQL = `select namespace, array_agg(template_id) from tasker.templates group by namespace`

// TemplatesByNamespace returns the ids of all definitions by namespace.
func TemplatesByNamespace(ctx context.Context, db DB) (map[string][]uuid.UUID, error) {
	rows, _ := db.Query(ctx, listNamespaceTemplatesSQL)
	byNamespace := map[string][]uuid.UUID{}
	var namespace string
	var ids []uuid.UUID
	_, err := pgx.ForEachRow(rows, []any{&namespace, &ids}, func() error {
		byNamespace[namespace] = ids
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list templates by namespace: %w", err)
	}
	return byNamespace, nil
}

// A joined look at whole tables wants the planner's own judgement.
const plannerSQL = `set local plan_cache_mode = auto; set local enable_seqscan = on;
	set local enable_hashjoin = on; set local enable_mergejoin = on`

// WithPlanner runs do in a transaction in which the planner is free to choose,
// for statements over whole tables. The statement timeout of the pool holds.
func WithPlanner(ctx context.Context, pool Pool, do func(DB) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, plannerSQL); err != nil {
			return fmt.Errorf("set planner options: %w", err)
		}
		return do(tx)
	})
}

// Two that resend at once would each find the same messages missing. The lock is
// a statement of its own, so that the next one sees what its holder has sent; it
// ends with the transaction.
const resendAloneSQL = `select pg_advisory_xact_lock(hashtext('tasker.resend'), hashtext($1))`

func resendAlone(ctx context.Context, db DB, queue string) error {
	if _, err := db.Exec(ctx, resendAloneSQL, queue); err != nil {
		return fmt.Errorf("lock the queue %s against other reconcilers: %w", queue, err)
	}
	return nil
}

// ResendSteps sends a message for every step of the queue's templates that
// waits, runs or is due for its retry, has rested long enough, and has none. A
// step in progress keeps its worker for one more lease. It returns how many it
// sent. It needs a transaction.
func ResendSteps(ctx context.Context, db DB, q StepQueue, rest Rest, lease time.Duration) (int, error) {
	if err := resendAlone(ctx, db, q.Queue); err != nil {
		return 0, err
	}
	tag, err := db.Exec(ctx, resendStepsSQL(q.Queue), q.Templates, seconds(rest.Enqueued), seconds(rest.InProgress),
		seconds(rest.Retrying), seconds(lease), rest.States, seconds(rest.MaxAge), rest.Limit)
	if err != nil {
		return 0, fmt.Errorf("resend lost messages of %s: %w", q.Queue, err)
	}
	return int(tag.RowsAffected()), nil
}

// ResendReports does the same for steps that have reported.
func ResendReports(ctx context.Context, db DB, resultsQueue string, rest Rest) (int, error) {
	if err := resendAlone(ctx, db, resultsQueue); err != nil {
		return 0, err
	}
	tag, err := db.Exec(ctx, resendReportsSQL(resultsQueue), seconds(rest.Reported))
	if err != nil {
		return 0, fmt.Errorf("resend lost messages of %s: %w", resultsQueue, err)
	}
	return int(tag.RowsAffected()), nil
}

// Open tasks whose state says that work goes on although no step can move, or
// that nothing can although a step could: a decision about them was lost, or
// somebody has changed a step by hand. Normal operation leaves none; the
// reconciler settles them again.
const unsettledSQL = `
	select p.namespace, t.task_id
	from tasker.tasks t
	join tasker.templates p on p.template_id = t.template_id
	where t.state not in ('complete', 'error', 'cancelled', 'resolved_manually', 'initializing')
	and t.paused_at is null and not exists (select from tasker.gated_steps g where g.task_id = t.task_id)
	and case t.state
		when 'blocked_by_failures' then
			(select max(s.finished_at) from tasker.steps s where s.task_id = t.task_id) <= now() - make_interval(secs => $3::float8)
			and exists (
				select
				from tasker.steps s
				where s.task_id = t.task_id and s.state = 'pending' and s.gates is null and not exists (
					select
					from unnest(s.depends_on) d (ordinal)
					join tasker.steps o on o.task_id = s.task_id and o.ordinal = d.ordinal
					where o.state not in ('complete', 'resolved_manually') and not (o.tolerated and o.state in ('error', 'cancelled'))
				)
			)
		else
			t.created_at <= now() - make_interval(secs => case t.state when 'enqueuing_steps' then $2::float8 else $1::float8 end)
			and not exists (
				select
				from tasker.steps s
				where s.task_id = t.task_id and s.state not in ('pending', 'complete', 'error', 'cancelled', 'resolved_manually')
			)
	end
	order by t.task_id
	limit $4`

// Unsettled says how long tasks may rest in a state before the reconciler asks
// whether they can move (orchestration.backoff.reenqueue_delays).
type Unsettled struct {
	Waiting   time.Duration // no step can move, since its creation
	Enqueuing time.Duration // the same, of one that says a limit holds it
	Blocked   time.Duration // a step could move, since its last step ended
}

// FindUnsettled returns, by namespace, open tasks whose state is not what their
// steps say.
func FindUnsettled(ctx context.Context, db DB, rest Unsettled, limit int) (map[string][]uuid.UUID, error) {
	rows, _ := db.Query(ctx, unsettledSQL, seconds(rest.Waiting), seconds(rest.Enqueuing), seconds(rest.Blocked), limit)
	found := map[string][]uuid.UUID{}
	var namespace string
	var task uuid.UUID
	_, err := pgx.ForEachRow(rows, []any{&namespace, &task}, func() error {
		found[namespace] = append(found[namespace], task)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find unsettled tasks: %w", err)
	}
	return found, nil
}

// recountSQL sets waiting_on of pending steps to what their dependencies say and
// lets go those that wait on nothing: to the queue, to their gates, or, when the
// time of their next attempt has not come, to wait for it. It says which went to
// the queue. Steps of paused tasks stay pending. A failure that is tolerated keeps
// nobody waiting.
func recountSQL(queue string) string {
	return fmt.Sprintf(`
	with recounted as (
		select s.task_id, s.ordinal, u.open
		from (select distinct unnest($1::uuid[]) as task_id) t
		cross join lateral (
			select s.task_id, s.ordinal, s.depends_on
			from tasker.steps s
			where s.task_id = t.task_id and s.state = 'pending'
			offset 0 -- a look-up per task, and below one per dependency
		) s
		cross join lateral (
			select count(*)::int as open
			from unnest(s.depends_on) d (ordinal)
			cross join lateral (
				select
				from tasker.steps p
				where p.task_id = s.task_id and p.ordinal = d.ordinal and p.state not in ('complete', 'resolved_manually')
				and not (p.tolerated and p.state in ('error', 'cancelled'))
				offset 0
			) p
		) u
	), moved as (
		update tasker.steps s
		set waiting_on = r.open,
			state = case
				when r.open > 0 or s.held then 'pending'
				when s.next_attempt_at > clock_timestamp() then 'waiting_for_retry'
				when s.gates is not null then 'pending'
				else 'enqueued'
			end::tasker.step_state,
			enqueued_at = case when r.open = 0 and not s.held and s.gates is null then clock_timestamp() else s.enqueued_at end
		from recounted r
		where s.task_id = any (array[r.task_id]) and s.ordinal = r.ordinal and s.state = 'pending'
		and (r.open = 0 and not s.held or s.waiting_on <> r.open)
		returning s.task_id, s.ordinal, s.claim, s.state, s.priority, s.gates, s.patience, s.next_attempt_at, r.open = 0 and not s.held as free
	), gated as (
		insert into tasker.gated_steps (task_id, ordinal, gates, priority, ready_at, due_at)
		select task_id, ordinal, gates, priority, greatest(next_attempt_at, clock_timestamp()),
			clock_timestamp() + make_interval(secs => patience)
		from moved
		where free and gates is not null
		on conflict do nothing
	)
	insert into pgmq.%s (msg_id, vt, message) overriding system value
	select %s, greatest(m.next_attempt_at, t.run_at, clock_timestamp()),
		jsonb_build_object('task', m.task_id, 'step', m.ordinal, 'claim', m.claim)
			|| case when t.run_at > clock_timestamp() then '{"starts": true}' else '{}' end::jsonb
	from moved m
	join tasker.tasks t on t.task_id = any (array[m.task_id])
	where m.free and m.gates is null
	returning (message->>'task')::uuid, (message->>'step')::int, (message->>'claim')::int`, table(queue), messageID(queue, "m.priority"))
}

// Settle evaluates tasks of one queue anew: recounts what their steps wait on,
// enqueues what turns out to be ready, gives back the slots of steps that are no
// longer under way, and sets the state of the tasks.
func Settle(ctx context.Context, db DB, queue string, tasks []uuid.UUID) error {
	b := &pgx.Batch{}
	b.Queue(lockTasksSQL, tasks)
	b.Queue(recountSQL(queue), tasks)
	b.Queue(announceSlotsSQL(), tasks)
	b.Queue(settleSQL, tasks, []uuid.UUID{})
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("settle %d tasks: %w", len(tasks), err)
	}
	return nil
}

const sentinelSQL = `select exists (select 1 from tasker.queue_sentinel)`

// QueuesIntact reports whether the unlogged queues are as they were left. A
// crash of the server empties them and the sentinel with them.
func QueuesIntact(ctx context.Context, db DB) (bool, error) {
	var intact bool
	if err := db.QueryRow(ctx, sentinelSQL).Scan(&intact); err != nil {
		return false, fmt.Errorf("look for the queue sentinel: %w", err)
	}
	return intact, nil
}

const setSentinelSQL = `insert into tasker.queue_sentinel values (true) on conflict do nothing`

// MarkQueuesIntact sets the sentinel, once the queues are rebuilt.
func MarkQueuesIntact(ctx context.Context, db DB) error {
	if _, err := db.Exec(ctx, setSentinelSQL); err != nil {
		return fmt.Errorf("set the queue sentinel: %w", err)
	}
	return nil
}
