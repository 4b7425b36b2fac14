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

// NewTasks are tasks of one template, to be created together.
type NewTasks struct {
	Template uuid.UUID
	Queue    string // the step queue of the template's namespace
	Steps    []NewStep
	Tasks    []NewTask
	Limits   []Limit // declared with them
	Stage    Stage
}

// A Stage says which part of creating tasks to do.
type Stage int

// The stages.
const (
	Whole  Stage = iota // the tasks with their steps
	Accept              // the tasks alone: initializing
	Expand              // the steps of tasks that are initializing
)

// NewStep is a step every one of the tasks gets.
type NewStep struct {
	Ordinal     int32 // from 1
	Name        string
	DependsOn   []int32 // ordinals
	Dependents  []int32 // ordinals
	MaxAttempts int32
	Gates       []string      // see [SignalGate]; nil: none
	Limits      []int32       // further gates: places, from 1, in the Keys of a task
	Patience    time.Duration // how long it waits at its gates; 0: for ever
}

// SignalGate is the gate of a step that waits for a signal.
func SignalGate(signal string) string { return "signal:" + signal }

// NewTask is what tells one task from the other. Empty strings and nil are
// stored as null.
type NewTask struct {
	ID            uuid.UUID
	Context       json.RawMessage
	CorrelationID *uuid.UUID
	Initiator     string
	SourceSystem  string
	Reason        string
	Tags          []string
	Priority      int16      // -100 to 100
	RunAt         time.Time  // no step starts before; zero: at once
	ParentID      *uuid.UUID // the correlation id of what caused it
	Keys          []string   // of the limits that its steps pass: see [KeyLimit]
}

// A task whose first steps all wait at gates has nothing to run yet.
const insertTasksSQL = `
	insert into tasker.tasks (task_id, template_id, state, context, correlation_id, initiator, source_system, reason, tags,
		priority, run_at, parent_correlation_id)
	select r.task_id, $1,
		case when r.run_at > clock_timestamp() and $2 <> 'initializing' then 'pending' else $2 end::tasker.task_state,
		r.context::jsonb, r.correlation_id, nullif(r.initiator, ''), nullif(r.source_system, ''), nullif(r.reason, ''),
		r.tags::text[], r.priority, r.run_at, r.parent
	from unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int2[],
		$11::timestamptz[], $12::uuid[])
		r (task_id, context, correlation_id, initiator, source_system, reason, tags, priority, run_at, parent)`

// Tasks that were initializing have their steps now.
const expandTasksSQL = `
	update tasker.tasks
	set state = case when run_at > clock_timestamp() then 'pending' else $2 end::tasker.task_state
	where task_id = any ($1)`

// Every task gets the same steps, so the server multiplies them out. A step
// that depends on nothing is enqueued at birth, unless it waits at a gate.
func insertStepsSQL(gates string) string {
	return `
	insert into tasker.steps (task_id, ordinal, name, state, waiting_on, depends_on, dependents, max_attempts, enqueued_at,
		priority, gates, patience)
	select t.task_id, d.ordinal, d.name,
		case when d.depends_on is null and g.gates is null then 'enqueued' else 'pending' end::tasker.step_state,
		coalesce(cardinality(d.depends_on::int[]), 0), d.depends_on::int[], d.dependents::int[], d.max_attempts,
		case when d.depends_on is null and g.gates is null then now() end, t.priority, g.gates, nullif(d.patience, 0)
	from unnest($1::uuid[], $2::int2[], $10::text[]) t (task_id, priority, keys)
	cross join unnest($3::int[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::int[], $11::text[])
		d (ordinal, name, depends_on, dependents, max_attempts, gates, patience, limits)
	cross join lateral (select ` + gates + ` as gates) g`
}

// What the gates of step d of task t are: its own, which are the same for every
// task, and those of the limits whose keys the task has. Two keys may be equal.
const (
	ownGates     = `d.gates::text[]`
	limitedGates = `nullif(d.gates::text[] || array(
			select distinct '` + limitGate + keyLimits + `' || (t.keys::text[])[l.place] from unnest(d.limits::int[]) l (place)
		), '{}')`
)

// sendRootsSQL sends the messages of the steps that depend on nothing, due when
// their task may start.
func sendRootsSQL(queue string) string {
	return fmt.Sprintf(`
	insert into pgmq.%s (msg_id, vt, message) overriding system value
	select %s, greatest(t.run_at, clock_timestamp()),
		jsonb_build_object('task', t.task_id, 'step', r.ordinal, 'claim', 0)
			|| case when t.run_at is null then '{}' else '{"starts": true}' end::jsonb
	from unnest($1::uuid[], $2::int2[], $3::timestamptz[]) with ordinality t (task_id, priority, run_at, n)
	cross join unnest($4::int[]) r (ordinal)
	order by t.n, r.ordinal`, table(queue), messageID(queue, "t.priority"))
}

// Steps that depend on nothing and wait at a gate.
func gateRootsSQL(gates string) string {
	return `
	insert into tasker.gated_steps (task_id, ordinal, gates, priority, ready_at, due_at)
	select t.task_id, d.ordinal, g.gates, t.priority, greatest(t.run_at, clock_timestamp()),
		greatest(t.run_at, clock_timestamp()) + make_interval(secs => nullif(d.patience, 0))
	from unnest($1::uuid[], $2::int2[], $3::timestamptz[], $7::text[]) t (task_id, priority, run_at, keys)
	cross join unnest($4::int[], $5::text[], $6::float8[], $8::text[]) d (ordinal, gates, patience, limits)
	cross join lateral (select ` + gates + ` as gates) g`
}

// CreateTasks inserts tasks with their steps and enqueues the first of them, in
// one round trip and, when db is no transaction already, in one transaction.
// Nobody is woken.
func CreateTasks(ctx context.Context, db DB, groups []NewTasks) error {
	b := &pgx.Batch{}
	n := 0
	var limits []Limit
	for i := range groups {
		limits = append(limits, groups[i].Limits...)
	}
	queueLimits(b, limits)
	for i := range groups {
		queueCreate(b, &groups[i])
		n += len(groups[i].Tasks)
	}
	if n == 0 {
		return fmt.Errorf("create tasks: %w", errEmptyBatch)
	}
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("create %d tasks: %w", n, err)
	}
	return nil
}

func queueCreate(b *pgx.Batch, g *NewTasks) {
	n := len(g.Tasks)
	ids, correlations, parents := make([]uuid.UUID, n), make([]*uuid.UUID, n), make([]*uuid.UUID, n)
	contexts, initiators, sources, reasons := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	tags, priorities, starts := make([]*string, n), make([]int16, n), make([]*time.Time, n)
	for i := range g.Tasks {
		t := &g.Tasks[i]
		ids[i], contexts[i], correlations[i], parents[i] = t.ID, string(t.Context), t.CorrelationID, t.ParentID
		initiators[i], sources[i], reasons[i] = t.Initiator, t.SourceSystem, t.Reason
		tags[i], priorities[i] = arrayLiteral(t.Tags), t.Priority
		if !t.RunAt.IsZero() {
			starts[i] = &t.RunAt
		}
	}
	roots, gated := rootsOf(g.Steps)
	state := firstState(roots, gated)
	switch g.Stage {
	case Expand:
		b.Queue(expandTasksSQL, ids, state)
	case Accept:
		state = tasker.TaskInitializing
		fallthrough
	case Whole:
		b.Queue(insertTasksSQL, g.Template, state, ids, contexts, correlations, initiators, sources, reasons, tags,
			priorities, starts, parents)
	}
	if g.Stage == Accept {
		return
	}
	gates, keys := ownGates, keysOf(g)
	if keys != nil {
		gates = limitedGates
	}
	queueSteps(b, g, stepColumns{ids, priorities, keys}, gates)
	if len(roots) > 0 {
		b.Queue(sendRootsSQL(g.Queue), ids, priorities, starts, roots)
	}
	if len(gated) > 0 {
		ordinals, own, patience := make([]int32, len(gated)), make([]*string, len(gated)), make([]float64, len(gated))
		limits := make([]*string, len(gated))
		for i, s := range gated {
			ordinals[i], own[i], patience[i], limits[i] = s.Ordinal, arrayLiteral(s.Gates), seconds(s.Patience), intsLiteral(s.Limits)
		}
		b.Queue(gateRootsSQL(gates), ids, priorities, starts, ordinals, own, patience, keys, limits)
	}
}

// keysOf are the keys of the tasks, an array a task; nil when no step has a limit
// by a key.
func keysOf(g *NewTasks) []*string {
	if !slices.ContainsFunc(g.Steps, func(s NewStep) bool { return len(s.Limits) > 0 }) {
		return nil
	}
	keys := make([]*string, len(g.Tasks))
	for i := range g.Tasks {
		keys[i] = arrayLiteral(g.Tasks[i].Keys)
	}
	return keys
}

// stepColumns are the columns of new tasks that their steps need.
type stepColumns struct {
	ids        []uuid.UUID
	priorities []int16
	keys       []*string
}

// queueSteps gives every one of the tasks the same steps.
func queueSteps(b *pgx.Batch, g *NewTasks, tasks stepColumns, gates string) {
	n := len(g.Steps)
	ordinals, names, attempts := make([]int32, n), make([]string, n), make([]int32, n)
	dependsOn, dependents, own, limits := make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n)
	patience := make([]int32, n)
	for i := range g.Steps {
		s := &g.Steps[i]
		ordinals[i], names[i], attempts[i] = s.Ordinal, s.Name, s.MaxAttempts
		dependsOn[i], dependents[i] = intsLiteral(s.DependsOn), intsLiteral(s.Dependents)
		own[i], limits[i], patience[i] = arrayLiteral(s.Gates), intsLiteral(s.Limits), int32(s.Patience.Seconds())
	}
	b.Queue(insertStepsSQL(gates), tasks.ids, tasks.priorities, ordinals, names, dependsOn, dependents, attempts, own, patience,
		tasks.keys, limits)
}

// rootsOf are the ordinals of the steps that are enqueued at birth, and the
// steps that wait at a gate from birth.
func rootsOf(steps []NewStep) (free []int32, gated []*NewStep) {
	for i := range steps {
		switch s := &steps[i]; {
		case len(s.DependsOn) > 0:
		case len(s.Gates)+len(s.Limits) > 0:
			gated = append(gated, s)
		default:
			free = append(free, s.Ordinal)
		}
	}
	return free, gated
}

// firstState is the state of a task that may start at once.
func firstState(free []int32, gated []*NewStep) tasker.TaskState {
	if len(free) > 0 {
		return tasker.TaskStepsInProcess
	}
	for _, s := range gated {
		if len(s.Limits) > 0 || limited(s.Gates) {
			return tasker.TaskEnqueuingSteps
		}
	}
	return tasker.TaskWaitingForDependencies
}
