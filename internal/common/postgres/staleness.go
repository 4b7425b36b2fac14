package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	tasker "github.com/tasker-systems/tasker-go"
)

// Thresholds say for how long tasks may rest in a state, and live, where their
// template does not (orchestration.staleness_detection.thresholds).
type Thresholds struct {
	StepsInProcess         time.Duration
	WaitingForDependencies time.Duration
	WaitingForRetry        time.Duration
	Lifetime               time.Duration
}

// A Resting is an open task with how long it has rested.
type Resting struct {
	Task        uuid.UUID
	Namespace   string
	Name        string // of the template
	Version     string
	State       tasker.TaskState
	Rest        time.Duration   // since a step was last enqueued, started or ended, or a retry was due
	Limit       time.Duration   // of the rest; zero: the state has none
	Age         time.Duration   // since it was created, or was to start
	Lifetime    time.Duration   // the limit of the age
	Running     bool            // one of its steps is in progress
	Paused      bool            // by an operator
	DeadLetters bool            // it has a pending entry in the dead letter queue
	Lifecycle   json.RawMessage // what its template says; nil: nothing
}

// A task rests since the last time something happened to one of its steps: a
// chain of long steps moves. A retry that is not due yet keeps its task from
// resting. Templates are read once, however many tasks there are.
const restingSQL = `
	with templates as materialized (
		select p.template_id, p.namespace, p.name, p.version, l.lifecycle,
			coalesce((l.lifecycle->>'max_steps_in_process_minutes')::float8 * 60, $1::float8) as in_process,
			coalesce((l.lifecycle->>'max_waiting_for_dependencies_minutes')::float8 * 60, $2::float8) as for_dependencies,
			coalesce((l.lifecycle->>'max_waiting_for_retry_minutes')::float8 * 60, $3::float8) as for_retry,
			coalesce((l.lifecycle->>'max_duration_minutes')::float8 * 60, $4::float8) as lifetime
		from tasker.templates p
		cross join lateral (select p.definition->'lifecycle' as lifecycle) l
	), page as materialized (
		select t.task_id, t.template_id, t.state, greatest(t.created_at, t.run_at) as began, t.paused_at
		from tasker.tasks t
		where t.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
		and t.task_id > $5 and ($6::uuid[] is null or t.task_id = any ($6))
		order by t.task_id
		limit $7
	), resting as (
		select p.task_id, d.namespace, d.name, d.version, p.state,
			extract(epoch from clock_timestamp() - greatest(p.began, s.moved))::float8 as rest,
			case p.state when 'steps_in_process' then d.in_process when 'waiting_for_dependencies' then d.for_dependencies
				when 'waiting_for_retry' then d.for_retry end as rest_limit,
			extract(epoch from clock_timestamp() - p.began)::float8 as age, d.lifetime,
			s.running, p.paused_at is not null as paused,
			exists (select from tasker.dlq_entries e where e.task_id = p.task_id and e.resolution = 'pending') as dead_letters,
			d.lifecycle
		from page p
		join templates d on d.template_id = p.template_id
		cross join lateral (
			select coalesce(bool_or(s.state = 'in_progress'), false) as running,
				greatest(max(s.enqueued_at), max(s.started_at), max(s.finished_at),
					max(s.next_attempt_at) filter (where s.state = 'waiting_for_retry')) as moved
			from tasker.steps s
			where s.task_id = p.task_id
			offset 0 -- a look-up per task
		) s
	)
	select l.last, r.*
	from (select (select task_id from page order by task_id desc limit 1) as last) l
	left join resting r on r.age >= r.lifetime * $8::float8 or r.rest >= r.rest_limit * $8::float8
	order by r.task_id`

// RestingQuery says which of the open tasks to look at.
type RestingQuery struct {
	Thresholds Thresholds
	After      uuid.UUID   // only tasks with a higher id, which are newer
	Tasks      []uuid.UUID // only these; nil: all
	Page       int         // at most so many open tasks
	Share      float64     // only those that have used up this share of a limit
}

// FindResting looks at one page of the open tasks, oldest first. It returns
// those that have used up the share of a limit, and the id to go on after; the
// nil UUID when there are no more open tasks. It wants [WithPlanner].
func FindResting(ctx context.Context, db DB, q RestingQuery) (found []Resting, last uuid.UUID, err error) {
	t := q.Thresholds
	rows, _ := db.Query(ctx, restingSQL, seconds(t.StepsInProcess), seconds(t.WaitingForDependencies), seconds(t.WaitingForRetry),
		seconds(t.Lifetime), q.After, q.Tasks, q.Page, q.Share)
	for rows.Next() {
		var end, task *uuid.UUID
		var namespace, name, version *string
		var state *tasker.TaskState
		var rest, limit, age, lifetime *float64
		var running, paused, deadLetters *bool
		var lifecycle json.RawMessage
		if err := rows.Scan(&end, &task, &namespace, &name, &version, &state, &rest, &limit, &age, &lifetime,
			&running, &paused, &deadLetters, &lifecycle); err != nil {
			return nil, uuid.Nil, fmt.Errorf("read a resting task: %w", err)
		}
		if end != nil {
			last = *end
		}
		if task == nil {
			continue // nothing rests
		}
		r := Resting{
			Task: *task, Namespace: *namespace, Name: *name, Version: *version, State: *state,
			Rest: duration(*rest), Age: duration(*age), Lifetime: duration(*lifetime),
			Running: *running, Paused: *paused, DeadLetters: *deadLetters, Lifecycle: lifecycle,
		}
		if limit != nil {
			r.Limit = duration(*limit)
		}
		found = append(found, r)
	}
	if err := rows.Err(); err != nil {
		return nil, uuid.Nil, fmt.Errorf("find resting tasks: %w", err)
	}
	return found, last, nil
}

// A lease is a message that is not due, of a step that is in progress under the
// same claim.
func leasedSQL(queue string) string {
	return fmt.Sprintf(`
	select distinct s.task_id
	from pgmq.%s q
	join tasker.steps s on s.task_id = (q.message->>'task')::uuid and s.ordinal = (q.message->>'step')::int
		and s.claim = (q.message->>'claim')::int
	where q.vt > clock_timestamp() and (q.message->>'task')::uuid = any ($1) and s.state = 'in_progress'`, table(queue))
}

// FindLeased returns those of the tasks that have a step with a live lease: a
// worker runs it and says so. It reads the whole queue and wants [WithPlanner].
func FindLeased(ctx context.Context, db DB, queue string, tasks []uuid.UUID) ([]uuid.UUID, error) {
	rows, _ := db.Query(ctx, leasedSQL(queue), tasks)
	leased, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("look for leases in %s: %w", queue, err)
	}
	return leased, nil
}

// LockTasks locks tasks against everybody else who decides about them, until the
// transaction ends. Decide in the next statement.
func LockTasks(ctx context.Context, db DB, tasks []uuid.UUID) error {
	if _, err := db.Exec(ctx, lockTasksSQL, tasks); err != nil {
		return fmt.Errorf("lock %d tasks: %w", len(tasks), err)
	}
	return nil
}

// A GivenUp is an open task to be ended in error.
type GivenUp struct {
	Task  uuid.UUID
	Error json.RawMessage // of the steps it could not go on with: kind, message, permanent
	Actor string          // who decided so, for the audit
}

// Steps that were on their way have failed, and those that never came to be
// ready are cancelled. What a running handler still returns comes too late.
const giveUpStepsSQL = `
	with doomed as materialized (
		select s.task_id, s.ordinal, s.state, s.claim, s.attempt, s.process_id, s.started_at, r.error::jsonb as error
		from unnest($1::uuid[], $2::text[]) r (task_id, error)
		join tasker.steps s on s.task_id = any (array[r.task_id])
		where s.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
		order by s.task_id, s.ordinal
		for update of s
	), ended as (
		update tasker.steps s
		set state = case when s.state = 'pending' then 'cancelled' else 'error' end::tasker.step_state,
			error = d.error, result = null, next_attempt_at = null, held = false, finished_at = clock_timestamp()
		from doomed d
		where s.task_id = any (array[d.task_id]) and s.ordinal = d.ordinal
	)
	insert into tasker.step_attempts (task_id, ordinal, claim, attempt, process_id, started_at, finished_at, error)
	select task_id, ordinal, claim, attempt, process_id, started_at, clock_timestamp(), error
	from doomed
	where state = 'in_progress'
	on conflict do nothing`

// The dead letter queue has its say where the task is ended.
const giveUpTasksSQL = `
	with ended as (
		update tasker.tasks t
		set state = 'error', finished_at = clock_timestamp(), troubled = true, examined = true, paused_at = null
		from unnest($1::uuid[], $2::text[], $3::text[]) r (task_id, error, actor)
		where t.task_id = any (array[r.task_id]) and t.finished_at is null
		returning t.task_id, r.error, r.actor
	), ungated as (
		delete from tasker.gated_steps g using ended e where g.task_id = any (array[e.task_id])
	)
	insert into tasker.task_events (task_id, kind, actor, reason, detail)
	select task_id, 'task.given_up', actor, error::jsonb->>'message', error::jsonb
	from ended`

// GiveUp ends open tasks in error with what is left of their steps, in one round
// trip. It needs a transaction that has locked the tasks, and wants [WithPlanner].
// Their messages are stale then; workers learn at their next heartbeat that claims
// are lost, or sooner when they are told to look.
func GiveUp(ctx context.Context, db DB, given []GivenUp) error {
	tasks := make([]uuid.UUID, len(given))
	errs, actors := make([]string, len(given)), make([]string, len(given))
	for i, g := range given {
		tasks[i], errs[i], actors[i] = g.Task, string(g.Error), g.Actor
	}
	b := &pgx.Batch{}
	b.Queue(giveUpStepsSQL, tasks, errs)
	b.Queue(announceSlotsSQL(), tasks)
	b.Queue(giveUpTasksSQL, tasks, errs, actors)
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("give up %d tasks: %w", len(given), err)
	}
	return nil
}

const notifyPayloadsSQL = `select pg_notify($1, p) from unnest($2::text[]) with ordinality u (p, n) order by n`

// NotifyPayloads sends messages of at most 7,999 bytes to the listeners of a
// channel, when the transaction commits.
func NotifyPayloads(ctx context.Context, db DB, channel string, payloads []string) error {
	if _, err := db.Exec(ctx, notifyPayloadsSQL, channel, payloads); err != nil {
		return fmt.Errorf("notify the listeners of %s: %w", channel, err)
	}
	return nil
}

// A Cycle is a task whose steps wait for each other.
type Cycle struct {
	Task      uuid.UUID
	Namespace string
	Steps     []string // those that wait for themselves, by way of others
}

// A step is part of a cycle when it is pending and reached from itself through
// dependencies that are pending. Each pair of steps is visited once.
const cyclesSQL = `
	with recursive reach as (
		select s.task_id, s.ordinal as start, d.ordinal
		from tasker.steps s
		cross join lateral unnest(s.depends_on) d (ordinal)
		where s.task_id = any ($1) and s.state = 'pending'
		union
		select r.task_id, r.start, d.ordinal
		from reach r
		join tasker.steps s on s.task_id = r.task_id and s.ordinal = r.ordinal and s.state = 'pending'
		cross join lateral unnest(s.depends_on) d (ordinal)
	)
	select t.task_id, p.namespace, array_agg(s.name order by s.ordinal)
	from reach r
	join tasker.steps s on s.task_id = r.task_id and s.ordinal = r.start
	join tasker.tasks t on t.task_id = r.task_id
	join tasker.templates p on p.template_id = t.template_id
	where r.start = r.ordinal and t.finished_at is null
	group by t.task_id, p.namespace
	order by t.task_id`

// FindCycles returns those of the tasks whose steps wait for each other, so that
// nothing will ever move them. No template makes such a task; a damaged graph
// does. It wants [WithPlanner].
func FindCycles(ctx context.Context, db DB, tasks []uuid.UUID) ([]Cycle, error) {
	rows, _ := db.Query(ctx, cyclesSQL, tasks)
	cycles, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Cycle])
	if err != nil {
		return nil, fmt.Errorf("look for cycles in %d tasks: %w", len(tasks), err)
	}
	return cycles, nil
}
