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

// What operators do to tasks, in sets. The caller locks the tasks with
// [LockStandings], decides, calls what follows in the same transaction and, but
// for [EndTasks], ends with [Settle]. A step whose state or claim number has
// changed makes its old messages and results stale, so queues are left alone.

// A Standing is how a locked task stands.
type Standing struct {
	Task      uuid.UUID
	Template  uuid.UUID
	Namespace string
	State     tasker.TaskState
	PausedAt  *time.Time
}

// A row comes back as its last writer left it, but what else is to be read must
// be read by the next statement.
const lockStandingsSQL = `
	select t.task_id, t.template_id, p.namespace, t.state, t.paused_at
	from tasker.tasks t
	join tasker.templates p on p.template_id = t.template_id
	where t.task_id = any ($1)
	order by t.task_id
	for no key update of t`

// LockStandings locks the tasks that exist until the transaction ends, and says
// how they stand.
func LockStandings(ctx context.Context, db DB, tasks []uuid.UUID) ([]Standing, error) {
	rows, _ := db.Query(ctx, lockStandingsSQL, tasks) // CollectRows returns its error
	standings, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Standing])
	if err != nil {
		return nil, fmt.Errorf("lock %d tasks: %w", len(tasks), err)
	}
	return standings, nil
}

// A StepStanding is how a step of a locked task stands.
type StepStanding struct {
	Ordinal    int32
	Name       string
	Definition string // the step of the template
	State      tasker.StepState
	Built      bool // its failure was tolerated, and a step that depends on it has gone on
}

// A tolerated failure counts as satisfied: what has gone on since would have to
// be undone.
const builtSQL = `s.tolerated and exists (
			select
			from unnest(s.dependents) d (ordinal)
			join tasker.steps c on c.task_id = s.task_id and c.ordinal = d.ordinal
			where c.state not in ('pending', 'cancelled')
		)`

const findStepSQL = `
	select s.ordinal, s.name, coalesce(s.definition, s.name), s.state, ` + builtSQL + `
	from tasker.steps s
	where s.task_id = $1 and (s.ordinal = $2 or s.name = $3)`

// FindStep returns how a step stands that is named by its ordinal or, when that
// is zero, by its name; or [ErrNotFound].
func FindStep(ctx context.Context, db DB, task uuid.UUID, ordinal int32, name string) (StepStanding, error) {
	rows, _ := db.Query(ctx, findStepSQL, task, ordinal, name)
	steps, err := pgx.CollectRows(rows, pgx.RowToStructByPos[StepStanding])
	if err != nil {
		return StepStanding{}, fmt.Errorf("find step %s of task %s: %w", name, task, err)
	}
	if len(steps) == 0 {
		return StepStanding{}, fmt.Errorf("find step %s of task %s: %w", name, task, ErrNotFound)
	}
	return steps[0], nil
}

// Steps that are not over end with their task. An attempt that runs is logged as
// cancelled; its worker learns that the claim is lost.
const cancelStepsSQL = `
	with doomed as materialized (
		select s.task_id, s.ordinal, s.state, s.claim, s.attempt, s.process_id, s.started_at
		from tasker.steps s
		where s.task_id = any ($1) and s.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
		order by s.task_id, s.ordinal
		for no key update
	), cancelled as (
		update tasker.steps s
		set state = 'cancelled', finished_at = now(), next_attempt_at = null, held = false, result = null
		from doomed d
		where s.task_id = any (array[d.task_id]) and s.ordinal = d.ordinal
	), logged as (
		insert into tasker.step_attempts (task_id, ordinal, claim, attempt, process_id, started_at, finished_at, error)
		select task_id, ordinal, claim, attempt, process_id, started_at, now(),
			'{"kind": "cancelled", "message": "the task was cancelled"}'
		from doomed
		where state in ('in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')
		on conflict do nothing
	)
	delete from tasker.gated_steps g
	where g.task_id = any ($1)`

const endTasksSQL = `
	update tasker.tasks
	set state = $2, finished_at = now(), paused_at = null
	where task_id = any ($1) and state = any ($3::text[]::tasker.task_state[])`

// EndTasks puts tasks that are in one of the given states into a final state and
// cancels their steps that are not over.
func EndTasks(ctx context.Context, db DB, tasks []uuid.UUID, from []tasker.TaskState, to tasker.TaskState) error {
	b := &pgx.Batch{}
	b.Queue(endTasksSQL, tasks, to, words(from))
	b.Queue(cancelStepsSQL, tasks)
	b.Queue(announceSlotsSQL(), tasks)
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("end %d tasks: %w", len(tasks), err)
	}
	return nil
}

// An operator's change can leave a task whose state another step than a leaf
// decides about.
const troubleSQL = `update tasker.tasks set troubled = true where task_id = any ($1) and not troubled`

// MarkTroubled has the tasks settled whenever one of their steps ends, as those
// of which an attempt has failed.
func MarkTroubled(ctx context.Context, db DB, tasks []uuid.UUID) error {
	if _, err := db.Exec(ctx, troubleSQL, tasks); err != nil {
		return fmt.Errorf("mark %d tasks as troubled: %w", len(tasks), err)
	}
	return nil
}

const pauseTasksSQL = `update tasker.tasks set paused_at = now() where task_id = any ($1) and paused_at is null`

// What waits for a worker or a retry is pending again, under a new claim number,
// so that its message is stale. What runs goes on; what it sets free is held.
const holdStepsSQL = `
	with open as materialized (
		select s.task_id, s.ordinal, s.state in ('enqueued', 'waiting_for_retry') as waits
		from tasker.steps s
		where s.task_id = any ($1) and s.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
		order by s.task_id, s.ordinal
		for no key update
	), held as (
		update tasker.steps s
		set held = true, state = case when o.waits then 'pending' else s.state end,
			claim = s.claim + o.waits::int, enqueued_at = case when not o.waits then s.enqueued_at end
		from open o
		where s.task_id = any (array[o.task_id]) and s.ordinal = o.ordinal
	)
	delete from tasker.gated_steps g
	where g.task_id = any ($1)`

// PauseTasks keeps the steps of the tasks from starting.
func PauseTasks(ctx context.Context, db DB, tasks []uuid.UUID) error {
	b := &pgx.Batch{}
	b.Queue(pauseTasksSQL, tasks)
	b.Queue(holdStepsSQL, tasks)
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("pause %d tasks: %w", len(tasks), err)
	}
	return nil
}

const resumeTasksSQL = `update tasker.tasks set paused_at = null where task_id = any ($1)`

const unholdStepsSQL = `
	with held as materialized (
		select s.task_id, s.ordinal
		from tasker.steps s
		where s.task_id = any ($1) and s.held
		order by s.task_id, s.ordinal
		for no key update
	)
	update tasker.steps s
	set held = false
	from held h
	where s.task_id = any (array[h.task_id]) and s.ordinal = h.ordinal`

// ResumeTasks takes back what [PauseTasks] did; settling lets the steps go.
func ResumeTasks(ctx context.Context, db DB, tasks []uuid.UUID) error {
	b := &pgx.Batch{}
	b.Queue(resumeTasksSQL, tasks)
	b.Queue(unholdStepsSQL, tasks)
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("resume %d tasks: %w", len(tasks), err)
	}
	return nil
}

// A task in error is open again.
const reopenTasksSQL = `
	update tasker.tasks
	set state = 'evaluating_results', finished_at = null
	where task_id = any ($1) and state = any ($2::text[]::tasker.task_state[])`

// ReopenTasks opens tasks that are in one of the given states.
func ReopenTasks(ctx context.Context, db DB, tasks []uuid.UUID, from []tasker.TaskState) error {
	if _, err := db.Exec(ctx, reopenTasksSQL, tasks, words(from)); err != nil {
		return fmt.Errorf("reopen %d tasks: %w", len(tasks), err)
	}
	return nil
}

// resetStepsSQL makes steps pending as if they had never run, but for the claim
// number, which fences what is still under way of earlier attempts. Failed and
// cancelled ones without ordinals ($2: null), else those.
const resetStepsSQL = `
	with chosen as materialized (
		select s.task_id, s.ordinal,
			(select t.paused_at is not null from tasker.tasks t where t.task_id = any (array[s.task_id])) as held
		from tasker.steps s
		where s.task_id = any ($1) and s.state = any ($3::text[]::tasker.step_state[])
		and ($2::int[] is null and s.state in ('error', 'cancelled') or s.ordinal = any ($2))
		and not (` + builtSQL + `)
		order by s.task_id, s.ordinal
		for no key update of s
	), reset as (
		update tasker.steps s
		set state = 'pending', held = c.held, attempt = 0, lost = 0, claim = s.claim + 1, process_id = null,
			enqueued_at = null, started_at = null, finished_at = null, next_attempt_at = null, result = null, error = null
		from chosen c
		where s.task_id = any (array[c.task_id]) and s.ordinal = c.ordinal
		returning s.task_id, s.ordinal
	), ungated as (
		delete from tasker.gated_steps g
		using reset r
		where g.task_id = any (array[r.task_id]) and g.ordinal = r.ordinal
	)
	select count(*) from reset`

// ResetSteps resets steps that are in one of the given states: those with the
// ordinals or, when there are none, the failed and cancelled ones. It returns
// how many.
func ResetSteps(ctx context.Context, db DB, tasks []uuid.UUID, ordinals []int32, from []tasker.StepState) (int, error) {
	var n int
	if err := db.QueryRow(ctx, resetStepsSQL, tasks, ordinals, words(from)).Scan(&n); err != nil {
		return 0, fmt.Errorf("reset steps of %d tasks: %w", len(tasks), err)
	}
	return n, nil
}

// endStepSQL ends a step by hand. An attempt that runs is logged under the name
// of what ended it.
const endStepSQL = `
	with chosen as materialized (
		select s.task_id, s.ordinal, s.state, s.claim, s.attempt, s.process_id, s.started_at
		from tasker.steps s
		where s.task_id = $1 and s.ordinal = $2 and s.state = any ($3::text[]::tasker.step_state[])
		for no key update
	), ended as (
		update tasker.steps s
		set state = $4, result = $5::text::jsonb, error = null, finished_at = now(), next_attempt_at = null, held = false
		from chosen c
		where s.task_id = any (array[c.task_id]) and s.ordinal = c.ordinal
		returning s.task_id, s.ordinal
	), logged as (
		insert into tasker.step_attempts (task_id, ordinal, claim, attempt, process_id, started_at, finished_at, error)
		select task_id, ordinal, claim, attempt, process_id, started_at, now(),
			jsonb_build_object('kind', $4::tasker.step_state, 'message', 'an operator ended the step')
		from chosen
		where state in ('in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')
		on conflict do nothing
	), ungated as (
		delete from tasker.gated_steps g
		using ended e
		where g.task_id = any (array[e.task_id]) and g.ordinal = e.ordinal
	)
	select count(*) from ended`

// An End is how a step ends by hand.
type End struct {
	From   []tasker.StepState // the states in which it can
	To     tasker.StepState
	Result json.RawMessage // nil: none
}

// EndStep ends a step and reports whether its state allowed it.
func EndStep(ctx context.Context, db DB, step StepRef, end End) (bool, error) {
	var n int
	err := db.QueryRow(ctx, endStepSQL, step.Task, step.Ordinal, words(end.From), end.To, text(end.Result)).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("end step %s: %w", step.ID(), err)
	}
	return n == 1, nil
}

// submitSQL stores a result on a step as a worker does, under a claim number of
// its own, and sends the pointer to it.
func submitSQL(resultsQueue string) string {
	return fmt.Sprintf(`
	with chosen as materialized (
		select s.task_id, s.ordinal, s.state, s.claim, s.attempt, s.process_id, s.started_at
		from tasker.steps s
		where s.task_id = $1 and s.ordinal = $2 and s.state = any ($3::text[]::tasker.step_state[])
		for no key update
	), submitted as (
		update tasker.steps s
		set state = 'enqueued_for_orchestration', claim = s.claim + 1, result = $4::text::jsonb, error = null, finished_at = now(),
			next_attempt_at = null
		from chosen c
		where s.task_id = any (array[c.task_id]) and s.ordinal = c.ordinal
		returning s.task_id, s.ordinal, s.claim
	), logged as (
		insert into tasker.step_attempts (task_id, ordinal, claim, attempt, process_id, started_at, finished_at, error)
		select task_id, ordinal, claim, attempt, process_id, started_at, now(),
			'{"kind": "complete", "message": "an operator ended the step"}'
		from chosen
		where state in ('in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')
		on conflict do nothing
	), ungated as (
		delete from tasker.gated_steps g
		using submitted s
		where g.task_id = any (array[s.task_id]) and g.ordinal = s.ordinal
	), sent as (
		insert into pgmq.%s (vt, message)
		select clock_timestamp(), jsonb_build_object('task', task_id, 'step', ordinal, 'claim', claim, 'template', $5::uuid)
		from submitted
	)
	select count(*) from submitted`, table(resultsQueue))
}

// A Submission is a result by hand that an orchestrator is to apply.
type Submission struct {
	From         []tasker.StepState // the states in which a step takes one
	Result       json.RawMessage
	Template     uuid.UUID
	ResultsQueue string
}

// SubmitResult stores the result and reports whether the state of the step
// allowed it.
func SubmitResult(ctx context.Context, db DB, step StepRef, r Submission) (bool, error) {
	var n int
	err := db.QueryRow(ctx, submitSQL(r.ResultsQueue), step.Task, step.Ordinal, words(r.From), text(r.Result), r.Template).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("submit a result of step %s: %w", step.ID(), err)
	}
	return n == 1, nil
}

// words passes states as an array of text.
func words[S ~string](states []S) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	return out
}
