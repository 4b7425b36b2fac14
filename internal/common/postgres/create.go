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

// NewTasks are tasks of one template, to be created together.
type NewTasks struct {
	Template uuid.UUID
	Queue    string // the step queue of the template's namespace
	Steps    []NewStep
	Tasks    []NewTask
}

// NewStep is a step every one of the tasks gets.
type NewStep struct {
	Ordinal     int32 // from 1
	Name        string
	DependsOn   []int32 // ordinals
	Dependents  []int32 // ordinals
	MaxAttempts int32
	Gates       []string      // see [SignalGate]; nil: none
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
}

// A task whose first steps all wait at gates has nothing to run yet.
const insertTasksSQL = `
	insert into tasker.tasks (task_id, template_id, state, context, correlation_id, initiator, source_system, reason, tags,
		priority, run_at, parent_correlation_id)
	select r.task_id, $1, case when r.run_at > clock_timestamp() then 'pending' else $2 end::tasker.task_state,
		r.context::jsonb, r.correlation_id, nullif(r.initiator, ''), nullif(r.source_system, ''), nullif(r.reason, ''),
		r.tags::text[], r.priority, r.run_at, r.parent
	from unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int2[],
		$11::timestamptz[], $12::uuid[])
		r (task_id, context, correlation_id, initiator, source_system, reason, tags, priority, run_at, parent)`

// Every task gets the same steps, so the server multiplies them out. A step
// that depends on nothing is enqueued at birth, unless it waits at a gate.
const insertStepsSQL = `
	insert into tasker.steps (task_id, ordinal, name, state, waiting_on, depends_on, dependents, max_attempts, enqueued_at,
		priority, gates, patience)
	select t.task_id, d.ordinal, d.name,
		case when d.depends_on is null and d.gates is null then 'enqueued' else 'pending' end::tasker.step_state,
		coalesce(cardinality(d.depends_on::int[]), 0), d.depends_on::int[], d.dependents::int[], d.max_attempts,
		case when d.depends_on is null and d.gates is null then now() end, t.priority, d.gates::text[], nullif(d.patience, 0)
	from unnest($1::uuid[], $2::int2[]) t (task_id, priority)
	cross join unnest($3::int[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::int[])
		d (ordinal, name, depends_on, dependents, max_attempts, gates, patience)`

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
const gateRootsSQL = `
	insert into tasker.gated_steps (task_id, ordinal, gates, priority, ready_at, due_at)
	select t.task_id, r.ordinal, r.gates::text[], t.priority, greatest(t.run_at, clock_timestamp()),
		greatest(t.run_at, clock_timestamp()) + make_interval(secs => nullif(r.patience, 0))
	from unnest($1::uuid[], $2::int2[], $3::timestamptz[]) t (task_id, priority, run_at)
	cross join unnest($4::int[], $5::text[], $6::float8[]) r (ordinal, gates, patience)`

// CreateTasks inserts tasks with their steps and enqueues the first of them, in
// one round trip and, when db is no transaction already, in one transaction.
// Nobody is woken.
func CreateTasks(ctx context.Context, db DB, groups []NewTasks) error {
	b := &pgx.Batch{}
	n := 0
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
	b.Queue(insertTasksSQL, g.Template, firstState(roots, gated), ids, contexts, correlations, initiators, sources, reasons, tags,
		priorities, starts, parents)
	queueSteps(b, g.Steps, ids, priorities)
	if len(roots) > 0 {
		b.Queue(sendRootsSQL(g.Queue), ids, priorities, starts, roots)
	}
	if len(gated) > 0 {
		ordinals, gates, patience := make([]int32, len(gated)), make([]*string, len(gated)), make([]float64, len(gated))
		for i, s := range gated {
			ordinals[i], gates[i], patience[i] = s.Ordinal, arrayLiteral(s.Gates), seconds(s.Patience)
		}
		b.Queue(gateRootsSQL, ids, priorities, starts, ordinals, gates, patience)
	}
}

// queueSteps gives every one of the tasks the same steps.
func queueSteps(b *pgx.Batch, steps []NewStep, tasks []uuid.UUID, priorities []int16) {
	n := len(steps)
	ordinals, names, attempts, patience := make([]int32, n), make([]string, n), make([]int32, n), make([]int32, n)
	dependsOn, dependents, gates := make([]*string, n), make([]*string, n), make([]*string, n)
	for i := range steps {
		s := &steps[i]
		ordinals[i], names[i], attempts[i] = s.Ordinal, s.Name, s.MaxAttempts
		dependsOn[i], dependents[i], gates[i] = intsLiteral(s.DependsOn), intsLiteral(s.Dependents), arrayLiteral(s.Gates)
		patience[i] = int32(s.Patience.Seconds())
	}
	b.Queue(insertStepsSQL, tasks, priorities, ordinals, names, dependsOn, dependents, attempts, gates, patience)
}

// rootsOf are the ordinals of the steps that are enqueued at birth, and the
// steps that wait at a gate from birth.
func rootsOf(steps []NewStep) (free []int32, gated []*NewStep) {
	for i := range steps {
		switch s := &steps[i]; {
		case len(s.DependsOn) > 0:
		case len(s.Gates) > 0:
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
		if limited(s.Gates) {
			return tasker.TaskEnqueuingSteps
		}
	}
	return tasker.TaskWaitingForDependencies
}
