package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// NewTasks are tasks of one template, to be created together.
type NewTasks struct {
	Template uuid.UUID
	Queue    string // the step queue of the template's namespace
	Steps    []NewStep
	Tasks    []NewTask
}

// NewStep is a step every one of the tasks gets; its ordinal is its place in
// the slice, from 1.
type NewStep struct {
	Name        string
	DependsOn   []int32 // ordinals
	Dependents  []int32 // ordinals
	MaxAttempts int32
}

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
}

const insertTasksSQL = `
	insert into tasker.tasks (task_id, template_id, state, context, correlation_id, initiator, source_system, reason, tags)
	select r.task_id, $1, 'steps_in_process', r.context::jsonb, r.correlation_id, nullif(r.initiator, ''),
		nullif(r.source_system, ''), nullif(r.reason, ''), r.tags::text[]
	from unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[])
		r (task_id, context, correlation_id, initiator, source_system, reason, tags)`

// Every task gets the same steps, so the server multiplies them out. A step
// that depends on nothing is enqueued at birth.
const insertStepsSQL = `
	insert into tasker.steps (task_id, ordinal, name, state, waiting_on, depends_on, dependents, max_attempts, enqueued_at)
	select t.task_id, d.ordinal, d.name,
		case when d.depends_on is null then 'enqueued' else 'pending' end::tasker.step_state,
		coalesce(cardinality(d.depends_on::int[]), 0), d.depends_on::int[], d.dependents::int[], d.max_attempts,
		case when d.depends_on is null then now() end
	from unnest($1::uuid[]) t (task_id)
	cross join unnest($2::text[], $3::text[], $4::text[], $5::int[]) with ordinality
		d (name, depends_on, dependents, max_attempts, ordinal)`

// sendRootsSQL sends the messages of the steps that depend on nothing.
func sendRootsSQL(queue string) string {
	return fmt.Sprintf(`
	insert into pgmq.%s (vt, message)
	select clock_timestamp(), jsonb_build_object('task', t.task_id, 'step', r.ordinal, 'claim', 0)
	from unnest($1::uuid[]) with ordinality t (task_id, n)
	cross join unnest($2::int[]) r (ordinal)
	order by t.n, r.ordinal`, table(queue))
}

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
	ids, correlations := make([]uuid.UUID, n), make([]*uuid.UUID, n)
	contexts, initiators, sources, reasons := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	tags := make([]*string, n)
	for i, t := range g.Tasks {
		ids[i], contexts[i], correlations[i] = t.ID, string(t.Context), t.CorrelationID
		initiators[i], sources[i], reasons[i] = t.Initiator, t.SourceSystem, t.Reason
		tags[i] = arrayLiteral(t.Tags)
	}
	b.Queue(insertTasksSQL, g.Template, ids, contexts, correlations, initiators, sources, reasons, tags)

	names, attempts := make([]string, len(g.Steps)), make([]int32, len(g.Steps))
	dependsOn, dependents := make([]*string, len(g.Steps)), make([]*string, len(g.Steps))
	var roots []int32
	for i, s := range g.Steps {
		names[i], attempts[i] = s.Name, s.MaxAttempts
		dependsOn[i], dependents[i] = intsLiteral(s.DependsOn), intsLiteral(s.Dependents)
		if len(s.DependsOn) == 0 {
			roots = append(roots, int32(i)+1)
		}
	}
	b.Queue(insertStepsSQL, ids, names, dependsOn, dependents, attempts)
	b.Queue(sendRootsSQL(g.Queue), ids, roots)
}
