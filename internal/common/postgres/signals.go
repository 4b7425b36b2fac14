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

// A Signal is word from outside for a step that waits for it.
type Signal struct {
	Task    uuid.UUID
	Name    string
	Payload json.RawMessage // the result of the step
	Sender  string          // who sent it; empty: unknown
}

// Of several signals of a name the first counts, until a step has taken it.
const sendSignalSQL = `
	with asked as (
		select t.task_id, t.state
		from tasker.tasks t
		where t.task_id = $1
	), sent as (
		insert into tasker.signals (task_id, name, payload, sender)
		select a.task_id, $2, $3::jsonb, nullif($4, '')
		from asked a
		where a.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
		on conflict do nothing
		returning 1
	)
	select a.state, exists (select from sent)
	from asked a`

// SendSignal keeps a signal for the step that waits for it, or will. It reports
// false when one of the name is there already and this one changes nothing. The
// error wraps [ErrNotFound] without such a task and [ErrTaskOver] when it is
// over.
func SendSignal(ctx context.Context, db DB, s Signal) (bool, error) {
	var state tasker.TaskState
	var sent bool
	err := db.QueryRow(ctx, sendSignalSQL, s.Task, s.Name, string(s.Payload), s.Sender).Scan(&state, &sent)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = ErrNotFound
	case err == nil && state.Terminal():
		err = fmt.Errorf("%w: it is %s", ErrTaskOver, state)
	}
	if err != nil {
		return false, fmt.Errorf("send signal %s to task %s: %w", s.Name, s.Task, err)
	}
	return sent, nil
}

// ErrTaskOver says that a task has ended and takes nothing in any more.
var ErrTaskOver = errors.New("the task is over")

// passSignalsSQL lets steps go whose signal has come, with its payload as their
// result, and those whose time is over, with an error. They count as reported:
// the pointer in the results queue brings them to be applied as any other.
// What another transaction has locked is left for the next pass.
func passSignalsSQL(resultsQueue string) string {
	return fmt.Sprintf(`
	with come as materialized (
		select g.task_id, g.ordinal, i.name, i.payload
		from tasker.signals i
		cross join lateral (
			select g.task_id, g.ordinal
			from tasker.gated_steps g
			where g.task_id = i.task_id and g.gates = array['signal:' || i.name] and g.ready_at <= clock_timestamp()
			order by g.ordinal
			limit 1 -- of several that wait for one signal, one gets it
			for update skip locked
		) g
		order by g.task_id, g.ordinal
		limit $1
	), late as materialized (
		select g.task_id, g.ordinal
		from tasker.gated_steps g
		where g.due_at <= clock_timestamp() and not exists (select from come c where c.task_id = g.task_id and c.ordinal = g.ordinal)
		order by g.due_at
		limit $1
		for update skip locked
	), passing as (
		select task_id, ordinal, name, payload from come
		union all
		select task_id, ordinal, null, null from late
	), open as materialized (
		select s.task_id, s.ordinal, p.name, p.payload
		from passing p
		cross join lateral (
			select s.task_id, s.ordinal
			from tasker.steps s
			where s.task_id = p.task_id and s.ordinal = p.ordinal and s.state = 'pending' and not s.held
			for update skip locked -- also keeps it a look-up per step
		) s
		order by s.task_id, s.ordinal
	), passed as (
		update tasker.steps s
		set state = case when o.name is null then 'enqueued_as_error_for_orchestration' else 'enqueued_for_orchestration' end::tasker.step_state,
			claim = s.claim + 1, attempt = s.attempt + 1, started_at = clock_timestamp(), finished_at = clock_timestamp(),
			result = o.payload, error = case when o.name is null then $2::jsonb end
		from open o
		where s.task_id = any (array[o.task_id]) and s.ordinal = o.ordinal
		returning s.task_id, s.ordinal, s.claim
	), left_gate as (
		delete from tasker.gated_steps g
		using open o
		where g.task_id = any (array[o.task_id]) and g.ordinal = o.ordinal
	), taken as (
		delete from tasker.signals i
		using open o
		where i.task_id = any (array[o.task_id]) and i.name = o.name
	), sent as (
		insert into pgmq.%s (vt, message)
		select clock_timestamp(), jsonb_build_object('task', p.task_id, 'step', p.ordinal, 'claim', p.claim, 'template', t.template_id)
		from passed p
		join tasker.tasks t on t.task_id = any (array[p.task_id])
	)
	select count(*) from passed`, table(resultsQueue))
}

// PassSignals lets up to limit steps go whose signal has come, and up to as many
// whose time is over, which fail with the given error. It returns how many went.
func PassSignals(ctx context.Context, db DB, resultsQueue string, limit int, late json.RawMessage) (int, error) {
	var passed int
	if err := db.QueryRow(ctx, passSignalsSQL(resultsQueue), limit, string(late)).Scan(&passed); err != nil {
		return 0, fmt.Errorf("let steps pass that waited for a signal: %w", err)
	}
	return passed, nil
}

// The earliest time at which a step at a gate is due.
const nextGateSQL = `
	select extract(epoch from (select g.due_at from tasker.gated_steps g where g.due_at is not null order by g.due_at limit 1)
		- clock_timestamp())::float8`

// NextGate returns how long it is until the next step at a gate is due, and
// false when none ever is.
func NextGate(ctx context.Context, db DB) (time.Duration, bool, error) {
	var wait *float64
	if err := db.QueryRow(ctx, nextGateSQL).Scan(&wait); err != nil {
		return 0, false, fmt.Errorf("find the next due step at a gate: %w", err)
	}
	if wait == nil {
		return 0, false, nil
	}
	return time.Duration(max(0, *wait) * float64(time.Second)), true, nil
}

const listSignalsSQL = `
	select g.ordinal, s.name, substr(g.gates[1], 8), g.ready_at, g.due_at
	from tasker.gated_steps g
	join tasker.steps s on s.task_id = g.task_id and s.ordinal = g.ordinal
	where g.task_id = $1 and g.gates[1] like 'signal:%'
	order by g.ordinal`

// A Waiting is a step that waits for a signal.
type Waiting struct {
	Ordinal int32
	Step    string
	Signal  string
	Since   time.Time
	DueAt   *time.Time // nil: it waits for as long as it takes
}

// ListWaiting returns the steps of a task that wait for a signal.
func ListWaiting(ctx context.Context, db DB, task uuid.UUID) ([]Waiting, error) {
	rows, _ := db.Query(ctx, listSignalsSQL, task)
	waiting, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Waiting])
	if err != nil {
		return nil, fmt.Errorf("list what task %s waits for: %w", task, err)
	}
	return waiting, nil
}
