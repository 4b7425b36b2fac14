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
	Identity      []byte     // of two tasks with the same one, the second is not created; nil: it is like no other
	Trace         string     // the span context that its steps belong to; empty: none is stored
}

// A task whose first steps all wait at gates has nothing to run yet.
const insertTasksSQL = `
	insert into tasker.tasks (task_id, template_id, state, context, correlation_id, initiator, source_system, reason, tags,
		priority, run_at, parent_correlation_id, trace_context)
	select r.task_id, $1,
		case when r.run_at > clock_timestamp() and $2 <> 'initializing' then 'pending' else $2 end::tasker.task_state,
		r.context::jsonb, r.correlation_id, nullif(r.initiator, ''), nullif(r.source_system, ''), nullif(r.reason, ''),
		r.tags::text[], r.priority, r.run_at, r.parent, r.trace
	from unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int2[],
		$11::timestamptz[], $12::uuid[], $13::text[])
		r (task_id, context, correlation_id, initiator, source_system, reason, tags, priority, run_at, parent, trace)`

// Tasks that were initializing have their steps now.
const expandTasksSQL = `
	update tasker.tasks
	set state = case when run_at > clock_timestamp() then 'pending' else $2 end::tasker.task_state
	where task_id = any ($1)`

// Every task gets the same steps, so the server multiplies them out. A step
// that depends on nothing is enqueued at birth, unless it waits at a gate.
func insertStepsSQL(gates, only string) string {
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
	cross join lateral (select ` + gates + ` as gates) g` + only
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
func sendRootsSQL(queue, only string) string {
	return fmt.Sprintf(`
	insert into pgmq.%s (msg_id, vt, message) overriding system value
	select %s, greatest(t.run_at, clock_timestamp()),
		jsonb_build_object('task', t.task_id, 'step', r.ordinal, 'claim', 0)
			|| case when t.run_at is null then '{}' else '{"starts": true}' end::jsonb
	from unnest($1::uuid[], $2::int2[], $3::timestamptz[]) with ordinality t (task_id, priority, run_at, n)
	cross join unnest($4::int[]) r (ordinal)%s
	order by t.n, r.ordinal`, table(queue), messageID(queue, "t.priority"), only)
}

// Steps that depend on nothing and wait at a gate.
func gateRootsSQL(gates, only string) string {
	return `
	insert into tasker.gated_steps (task_id, ordinal, gates, priority, ready_at, due_at)
	select t.task_id, d.ordinal, g.gates, t.priority, greatest(t.run_at, clock_timestamp()),
		greatest(t.run_at, clock_timestamp()) + make_interval(secs => nullif(d.patience, 0))
	from unnest($1::uuid[], $2::int2[], $3::timestamptz[], $7::text[]) t (task_id, priority, run_at, keys)
	cross join unnest($4::int[], $5::text[], $6::float8[], $8::text[]) d (ordinal, gates, patience, limits)
	cross join lateral (select ` + gates + ` as gates) g` + only
}

// CreateTasks inserts tasks with their steps and enqueues the first of them, in
// one round trip and, when db is no transaction already, in one transaction.
// Nobody is woken. For a task that was not created, since one with its identity
// exists, it returns the id of that one.
func CreateTasks(ctx context.Context, db DB, groups []NewTasks) (existing map[uuid.UUID]uuid.UUID, err error) {
	b := &pgx.Batch{}
	n := 0
	groups = inOrder(groups)
	existing = map[uuid.UUID]uuid.UUID{}
	var limits []Limit
	for i := range groups {
		limits = append(limits, groups[i].Limits...)
	}
	queueLimits(b, limits)
	for i := range groups {
		queueCreate(b, &groups[i], existing)
		n += len(groups[i].Tasks)
	}
	if n == 0 {
		return nil, fmt.Errorf("create tasks: %w", errEmptyBatch)
	}
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("create %d tasks: %w", n, err)
	}
	return existing, nil
}

func queueCreate(b *pgx.Batch, g *NewTasks, existing map[uuid.UUID]uuid.UUID) {
	columns := stepColumns{keys: keysOf(g), gates: ownGates}
	if columns.keys != nil {
		columns.gates = limitedGates
	}
	roots, gated := rootsOf(g.Steps)
	state := firstState(roots, gated)
	if g.Stage == Accept {
		state = tasker.TaskInitializing
	}
	values := columns.take(g, state)
	identities := identitiesOf(g)
	switch {
	case g.Stage == Expand:
		b.Queue(expandTasksSQL, columns.ids, state)
	case identities != nil:
		b.Queue(insertDistinctTasksSQL, append(values, identities)...)
		queueExisting(b, columns.ids, identities, existing)
		columns.only = created
	default:
		b.Queue(insertTasksSQL, values...)
	}
	if g.Stage == Accept {
		return
	}
	queueSteps(b, g, columns)
	if len(roots) > 0 {
		b.Queue(sendRootsSQL(g.Queue, columns.only), columns.ids, columns.priorities, columns.starts, roots)
	}
	if len(gated) > 0 {
		ordinals, own, patience := make([]int32, len(gated)), make([]*string, len(gated)), make([]float64, len(gated))
		limits := make([]*string, len(gated))
		for i, s := range gated {
			ordinals[i], own[i], patience[i], limits[i] = s.Ordinal, arrayLiteral(s.Gates), seconds(s.Patience), intsLiteral(s.Limits)
		}
		b.Queue(gateRootsSQL(columns.gates, columns.only), columns.ids, columns.priorities, columns.starts, ordinals, own, patience,
			columns.keys, limits)
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

// stepColumns are what the statements about steps need of new tasks.
type stepColumns struct {
	ids        []uuid.UUID
	priorities []int16
	starts     []*time.Time
	keys       []*string
	gates      string // what the gates of a step are, in SQL
	only       string // for which of the tasks, in SQL; empty: for all
}

// take fills the columns and returns the values of insertTasksSQL.
func (c *stepColumns) take(g *NewTasks, state tasker.TaskState) []any {
	n := len(g.Tasks)
	c.ids, c.priorities, c.starts = make([]uuid.UUID, n), make([]int16, n), make([]*time.Time, n)
	correlations, parents, tags := make([]*uuid.UUID, n), make([]*uuid.UUID, n), make([]*string, n)
	contexts, initiators, sources, reasons := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	traces := make([]*string, n)
	for i := range g.Tasks {
		t := &g.Tasks[i]
		c.ids[i], contexts[i], correlations[i], parents[i] = t.ID, string(t.Context), t.CorrelationID, t.ParentID
		initiators[i], sources[i], reasons[i] = t.Initiator, t.SourceSystem, t.Reason
		tags[i], c.priorities[i] = arrayLiteral(t.Tags), t.Priority
		if !t.RunAt.IsZero() {
			c.starts[i] = &t.RunAt
		}
		if t.Trace != "" {
			traces[i] = &t.Trace
		}
	}
	return []any{g.Template, state, c.ids, contexts, correlations, initiators, sources, reasons, tags, c.priorities, c.starts, parents, traces}
}

// queueSteps gives every one of the tasks the same steps.
func queueSteps(b *pgx.Batch, g *NewTasks, tasks stepColumns) {
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
	b.Queue(insertStepsSQL(tasks.gates, tasks.only), tasks.ids, tasks.priorities, ordinals, names, dependsOn, dependents, attempts, own, patience,
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
