package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/tasker-go/internal/common/taskid"
)

// An Invariant is a rule that every committed state of the database keeps, so
// that nothing is ever stuck. Its query returns what breaks the rule.
//
// A query is one statement and so looks at one moment. State and message of a
// step change in one transaction: what it finds on a live system is broken, and
// not merely under way.
type Invariant struct {
	ID   string // the number in the design, and a letter
	Says string // what is wrong with a row that the query returns
	SQL  string // returns (task_id, ordinal); a null ordinal means the task itself
}

// Queues are the queues that steps and results travel through.
type Queues struct {
	Steps   map[string]string // by namespace
	Results string
}

// A Violation is a task or a step that breaks an invariant.
type Violation struct {
	Invariant string // its ID
	Says      string // what is wrong
	Task      uuid.UUID
	Step      uuid.UUID // the nil UUID when the task itself is meant
}

// String is the violation as a sentence.
func (v Violation) String() string {
	if v.Step == uuid.Nil {
		return fmt.Sprintf("%s: task %s %s", v.Invariant, v.Task, v.Says)
	}
	return fmt.Sprintf("%s: step %s %s", v.Invariant, v.Step, v.Says)
}

// violationsShown bounds what one invariant adds to the report.
const violationsShown = 100

// Check looks for whatever breaks an invariant and returns up to 100 violations
// of each. It may run at any time, and takes time in proportion to the tables.
// A queue that does not exist counts as empty.
func Check(ctx context.Context, pool *pgxpool.Pool, queues Queues) (found []Violation, err error) {
	err = WithPlanner(ctx, pool, func(db DB) error {
		if _, err := db.Exec(ctx, unhurriedSQL); err != nil {
			return err
		}
		found, err = check(ctx, db, queues)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check the invariants: %w", err)
	}
	return found, nil
}

func check(ctx context.Context, db DB, queues Queues) ([]Violation, error) {
	present, err := presentQueues(ctx, db, queues)
	if err != nil {
		return nil, err
	}
	var found []Violation
	for _, inv := range Invariants(present) {
		broken, err := violations(ctx, db, inv)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", inv.ID, err)
		}
		found = append(found, broken...)
	}
	return found, nil
}

// The tables may be large: the statement timeout of the pool is for the engine.
const unhurriedSQL = `set local statement_timeout = 0`

const listQueuesSQL = `select queue_name from pgmq.list_queues()`

// presentQueues leaves out the queues that do not exist.
func presentQueues(ctx context.Context, db DB, queues Queues) (Queues, error) {
	rows, _ := db.Query(ctx, listQueuesSQL) // CollectRows returns its error
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return Queues{}, fmt.Errorf("list queues: %w", err)
	}
	present := Queues{Steps: map[string]string{}}
	for namespace, queue := range queues.Steps {
		if slices.Contains(names, queue) {
			present.Steps[namespace] = queue
		}
	}
	if slices.Contains(names, queues.Results) {
		present.Results = queues.Results
	}
	return present, nil
}

func violations(ctx context.Context, db DB, inv Invariant) ([]Violation, error) {
	rows, _ := db.Query(ctx, shownSQL(inv), violationsShown)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Violation, error) {
		v := Violation{Invariant: inv.ID, Says: inv.Says}
		var ordinal *int32
		err := row.Scan(&v.Task, &ordinal)
		if ordinal != nil {
			v.Step = taskid.Step(v.Task, *ordinal)
		}
		return v, err
	})
}

// shownSQL is the query of an invariant as it is run.
func shownSQL(inv Invariant) string {
	return `select task_id, ordinal from (` + inv.SQL + `) violations (task_id, ordinal) order by 1, 2 limit $1`
}

// Invariants are the rules for a database with the given queues, which must
// exist; an empty name stands for an empty queue. The numbers are those of the
// design: I1 state and message change together; I2 transitions happen once;
// I3 a claim has a lease; I4 an open task can move; I5 the graph of a task is
// whole; I6 what is over is over, and counters are right; I7 what is set aside
// or archived is whole; I8 limits are kept, and lose no slot.
func Invariants(queues Queues) []Invariant {
	return slices.Concat(messageInvariants(queues), taskInvariants, stepInvariants, limitInvariants, housekeepingInvariants)
}

// messageInvariants tie the states of steps to the messages that move them.
func messageInvariants(queues Queues) []Invariant {
	steps, results := stepMessages(queues), resultMessages(queues)
	return []Invariant{
		{"I1a", "is enqueued and has no message in the queue of its namespace", withoutMessage(steps, `'enqueued'`)},
		{"I1b", "waits for its retry and has no message to bring it", withoutMessage(steps, `'waiting_for_retry'`) + ` and s.gates is null`},
		{"I1d", "waits at a gate that does not know of it", `
		select s.task_id, s.ordinal
		from tasker.steps s
		left join tasker.gated_steps g on g.task_id = s.task_id and g.ordinal = s.ordinal
		where s.gates is not null and not s.held and (s.state = 'pending' and s.waiting_on = 0 or s.state = 'waiting_for_retry')
		and g.task_id is null`},
		{"I1e", "is known to a gate at which it does not wait", `
		select g.task_id, g.ordinal
		from tasker.gated_steps g
		left join tasker.steps s on s.task_id = g.task_id and s.ordinal = g.ordinal
			and (s.state = 'pending' and s.waiting_on = 0 and not s.held or s.state = 'waiting_for_retry')
		where s.task_id is null`},
		{
			"I1c", "has reported and has no message in the results queue",
			withoutMessage(results, `'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration'`),
		},
		{"I2a", "has several messages for one claim", repeatedMessages(steps,
			`'enqueued', 'in_progress', 'waiting_for_retry'`)},
		{"I2b", "has reported several times under one claim", repeatedMessages(results,
			`'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration'`)},
		{"I3a", "is in progress and has no message that holds its lease", withoutMessage(steps, `'in_progress'`)},
	}
}

// taskInvariants are about tasks as a whole.
var taskInvariants = []Invariant{
	{"I4a", "is open, neither blocked by failures nor paused, and none of its steps can move", `
		select t.task_id, null::int
		from tasker.tasks t
		where ` + taskIsOpen + ` and t.state not in ('blocked_by_failures', 'initializing') and t.paused_at is null
		and not ` + aStepCanMove},
	{"I4b", "is blocked by failures and no step has failed, none waits, or one can move", `
		select t.task_id, null::int
		from tasker.tasks t
		where t.state = 'blocked_by_failures' and (` + aStepCanMove + `
			or not exists (select from tasker.steps s where s.task_id = t.task_id and s.state = 'error')
			or not exists (select from tasker.steps s where s.task_id = t.task_id and s.state = 'pending'))`},
	{"I5a", "has no template", `
		select t.task_id, null::int
		from tasker.tasks t
		where not exists (select from tasker.templates p where p.template_id = t.template_id)`},
	{"I5b", "has no steps", `
		select t.task_id, null::int
		from tasker.tasks t
		where t.state not in ('initializing', 'cancelled') and not exists (select from tasker.steps s where s.task_id = t.task_id)`},
	{"I6a", "is final without the time of its end, or open with one", `
		select t.task_id, null::int
		from tasker.tasks t
		where (t.finished_at is null) <> (` + taskIsOpen + `)`},
	{"I6b", "is in error and none of its steps has failed or was cancelled with it", `
		select t.task_id, null::int
		from tasker.tasks t
		where t.state = 'error'
		and not exists (select from tasker.steps s where s.task_id = t.task_id and s.state in ('error', 'cancelled'))
		and exists (select from tasker.steps s where s.task_id = t.task_id)`},
}

// stepInvariants are about single steps and their places in the graph.
var stepInvariants = []Invariant{
	{"I2c", "has begun more attempts than it may or than it was claimed for", `
		select s.task_id, s.ordinal
		from tasker.steps s
		where s.attempt > s.max_attempts or s.attempt > s.claim`},
	{"I5c", "belongs to no task", `
		select s.task_id, s.ordinal
		from tasker.steps s
		where not exists (select from tasker.tasks t where t.task_id = s.task_id)`},
	{"I5d", "shares its name with another step of the task", `
		select task_id, ordinal
		from (select s.task_id, s.ordinal, count(*) over (partition by s.task_id, s.name) as namesakes from tasker.steps s) n
		where namesakes > 1`},
	{"I5e", "depends on a step that does not list it among its dependents", `
		select s.task_id, s.ordinal
		from tasker.steps s
		cross join lateral unnest(s.depends_on) d (ordinal)
		left join tasker.steps p on p.task_id = s.task_id and p.ordinal = d.ordinal and s.ordinal = any (p.dependents)
		where p.task_id is null`},
	{"I5f", "lists a dependent that does not depend on it", `
		select s.task_id, s.ordinal
		from tasker.steps s
		cross join lateral unnest(s.dependents) d (ordinal)
		left join tasker.steps c on c.task_id = s.task_id and c.ordinal = d.ordinal and s.ordinal = any (c.depends_on)
		where c.task_id is null`},
	{"I6c", "is not final although its task is", `
		select s.task_id, s.ordinal
		from tasker.tasks t
		join tasker.steps s on s.task_id = t.task_id
		where not (` + taskIsOpen + `) and s.state not in ('complete', 'error', 'cancelled', 'resolved_manually')`},
	{"I6d", "is not complete although its task is", `
		select s.task_id, s.ordinal
		from tasker.tasks t
		join tasker.steps s on s.task_id = t.task_id
		where t.state = 'complete' and s.state not in ('complete', 'resolved_manually')
		and not (s.tolerated and s.state = 'cancelled')`},
	{"I6e", "is pending and waits on another number of steps than its dependencies say, or on nothing at all", `
		select s.task_id, s.ordinal
		from tasker.steps s` + unsatisfiedDependencies + `
		where s.state = 'pending'
		and (s.waiting_on <> u.unsatisfied or u.unsatisfied = 0 and not s.held and s.gates is null)`},
	{"I6f", "has left pending although a dependency is not satisfied", `
		select s.task_id, s.ordinal
		from tasker.steps s` + unsatisfiedDependencies + `
		where s.state not in ('pending', 'cancelled', 'resolved_manually') and (s.waiting_on <> 0 or u.unsatisfied <> 0)
		and not (s.state = 'complete' and s.attempt = 0)`}, // completed by hand, before its time
	{"I6g", "is over and lacks its result, its error or the time of its end", `
		select s.task_id, s.ordinal
		from tasker.steps s
		where s.state = 'complete' and (s.result is null or s.error is not null or s.finished_at is null)
		or s.state = 'error' and (s.error is null or s.finished_at is null)`},
}

// taskIsOpen holds while task t is not final.
const taskIsOpen = `t.state not in ('complete', 'error', 'cancelled', 'resolved_manually')`

// aStepCanMove holds while a message, a lease or a timer will move a step of task t.
const aStepCanMove = `exists (
			select
			from tasker.steps s
			where s.task_id = t.task_id and (s.state in ('enqueued', 'in_progress', 'enqueued_for_orchestration',
				'enqueued_as_error_for_orchestration', 'waiting_for_retry')
				or s.state = 'pending' and s.waiting_on = 0 and s.gates is not null)
		)`

// unsatisfiedDependencies counts the dependencies that step s still has to wait for.
const unsatisfiedDependencies = `
		cross join lateral (
			select count(*) as unsatisfied
			from unnest(s.depends_on) d (ordinal)
			join tasker.steps p on p.task_id = s.task_id and p.ordinal = d.ordinal
			where p.state not in ('complete', 'resolved_manually') and not (p.tolerated and p.state in ('error', 'cancelled'))
		) u`

// withoutMessage finds steps in the given states that no message speaks of.
func withoutMessage(messages, states string) string {
	return `
		with messages as materialized (` + messages + `)
		select s.task_id, s.ordinal
		from tasker.steps s
		join tasker.tasks t on t.task_id = s.task_id
		join tasker.templates p on p.template_id = t.template_id
		left join messages m on m.task_id = s.task_id and m.ordinal = s.ordinal and m.claim = s.claim
			and coalesce(m.namespace, p.namespace) = p.namespace
		where s.state in (` + states + `) and m.task_id is null`
}

// repeatedMessages finds steps in the given states that several messages speak
// of.
func repeatedMessages(messages, states string) string {
	return `
		select s.task_id, s.ordinal
		from (` + messages + `) m
		join tasker.steps s on s.task_id = m.task_id and s.ordinal = m.ordinal and s.claim = m.claim
		where s.state in (` + states + `)
		group by s.task_id, s.ordinal
		having count(*) > 1`
}

// stepMessages is what the messages in all step queues say.
func stepMessages(queues Queues) string {
	var all []string
	for namespace, queue := range queues.Steps {
		all = append(all, said(queue, `'`+strings.ReplaceAll(namespace, `'`, `''`)+`'`))
	}
	if len(all) == 0 {
		return nothingSaid
	}
	slices.Sort(all)
	return strings.Join(all, "\n\t\tunion all")
}

// resultMessages is what the messages in the results queue say; it serves all
// namespaces.
func resultMessages(queues Queues) string {
	if queues.Results == "" {
		return nothingSaid
	}
	return said(queues.Results, `null`)
}

// said is what the messages of one queue say.
func said(queue, namespace string) string {
	return `
		select ` + namespace + `::text as namespace, (q.message->>'task')::uuid as task_id, (q.message->>'step')::int as ordinal,
			(q.message->>'claim')::int as claim
		from pgmq.` + table(queue) + ` q`
}

const nothingSaid = `
		select null::text as namespace, null::uuid as task_id, null::int as ordinal, null::int as claim
		where false`
