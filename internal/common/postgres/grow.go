package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	tasker "github.com/tasker-systems/tasker-go"
)

// A Grow has completed steps bring other steps about. What comes to exist
// depends on what the task has at that moment, so the tasks are locked first,
// their steps are read, and Plan decides: one more round trip than a batch of
// plain results, in one transaction with it.
type Grow struct {
	Steps []StepRef // completed steps of the batch
	// Plan says what a step brings about, given all steps of its task, itself
	// included. A refusal in its place fails the step for good.
	Plan func(step StepRef, siblings []Sibling) ([]GrownStep, *Refusal)
}

// A Refusal is why a result cannot be carried out, and the events that follow in
// place of those of its success.
type Refusal struct {
	Error  json.RawMessage
	Events []Event
}

// A Sibling is a step of a task that is about to grow.
type Sibling struct {
	Ordinal    int32
	Claim      int32
	Name       string
	Definition string // the step of the template
	State      tasker.StepState
	Depth      int16
}

// A GrownStep is a step that a result brings about.
type GrownStep struct {
	NewStep

	Declares   []Limit // limits that its gates name, or those of the steps that follow
	Definition string  // the step of the template it is a copy of; empty: the one of its name
	Depth      int16   // decisions above it
	Input      json.RawMessage
	Tolerated  bool // its failure keeps no other step from running
	Empty      bool // complete from the start
	AtOnce     int  // how many of those with the same origin may be under way at once; 0: any number
}

const siblingsSQL = `
	select t.task_id, s.ordinal, s.claim, s.name, coalesce(s.definition, s.name), s.state, s.depth
	from unnest($1::uuid[]) t (task_id)
	cross join lateral (
		select s.ordinal, s.claim, s.name, s.definition, s.state, s.depth
		from tasker.steps s
		where s.task_id = t.task_id
		offset 0 -- a look-up per task, whatever the size of the tables
	) s
	order by t.task_id, s.ordinal`

// growSQL puts steps in. They wait until recountSQL has looked at what they
// depend on. One that is there already, from a try whose answer got lost, stays
// as it is.
const growSQL = `
	insert into tasker.steps (task_id, ordinal, name, state, waiting_on, depends_on, max_attempts, priority, held, gates, patience,
		definition, depth, input, tolerated, result, finished_at)
	select g.task_id, g.ordinal, g.name, case when g.empty then 'complete' else 'pending' end::tasker.step_state,
		case when g.empty then 0 else cardinality(g.depends_on::int[]) end, g.depends_on::int[], g.max_attempts, t.priority,
		t.paused_at is not null, g.gates::text[], nullif(g.patience, 0), nullif(g.definition, ''), g.depth, g.input::jsonb,
		g.tolerated, case when g.empty then '{"no_op": true}'::jsonb end, case when g.empty then now() end
	from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::int[], $6::text[], $7::int[], $8::text[], $9::int2[], $10::text[],
		$11::bool[], $12::bool[])
		g (task_id, ordinal, name, depends_on, max_attempts, gates, patience, definition, depth, input, tolerated, empty)
	join tasker.tasks t on t.task_id = any (array[g.task_id])
	order by g.task_id, g.ordinal
	on conflict do nothing`

// linkSQL tells steps what depends on them now.
const linkSQL = `
	update tasker.steps p
	set dependents = (select array_agg(distinct d.ordinal order by d.ordinal) from unnest(p.dependents || e.children) d (ordinal))
	from (
		select task_id, parent, array_agg(child) as children
		from unnest($1::uuid[], $2::int[], $3::int[]) e (task_id, parent, child)
		group by task_id, parent
	) e
	where p.task_id = any (array[e.task_id]) and p.ordinal = e.parent`

// applyGrowing applies a batch some of whose results bring steps about.
func applyGrowing(ctx context.Context, pool Pool, batch Batch) (applied Applied, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		siblings, err := lockAndList(ctx, tx, batch)
		if err != nil {
			return err
		}
		g := growth{tasks: map[uuid.UUID][]GrownStep{}}
		g.plan(&batch, siblings)
		b := &pgx.Batch{}
		applied = Applied{}
		queueComplete(b, batch, &applied)
		g.queue(b)
		queueFail(b, batch, &applied)
		queueRest(b, batch, &applied, g.grown())
		applied.Grown = g.n
		return tx.SendBatch(ctx, b).Close()
	})
	return applied, err
}

// lockAndList locks the tasks of the batch and lists the steps of those that
// may grow.
func lockAndList(ctx context.Context, tx pgx.Tx, batch Batch) (map[uuid.UUID][]Sibling, error) {
	growing := map[uuid.UUID]bool{}
	var tasks []uuid.UUID
	for _, ref := range batch.Grow.Steps {
		if !growing[ref.Task] {
			growing[ref.Task] = true
			tasks = append(tasks, ref.Task)
		}
	}
	b := &pgx.Batch{}
	queueLock(b, batch)
	siblings := map[uuid.UUID][]Sibling{}
	b.Queue(siblingsSQL, tasks).Query(func(rows pgx.Rows) error {
		var task uuid.UUID
		var s Sibling
		_, err := pgx.ForEachRow(rows, []any{&task, &s.Ordinal, &s.Claim, &s.Name, &s.Definition, &s.State, &s.Depth}, func() error {
			siblings[task] = append(siblings[task], s)
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("list the steps of %d tasks: %w", len(tasks), err)
	}
	return siblings, nil
}

// A growth is what the steps of a batch bring about, by task.
type growth struct {
	tasks  map[uuid.UUID][]GrownStep
	limits []Limit
	n      int
}

// limit has the workers of a batch wait for each other when there are more of
// them than may be under way at once.
func (g *growth) limit(origin StepRef, steps []GrownStep) {
	name, workers, most := BatchLimit(origin.ID()), 0, int32(0)
	for i := range steps {
		if steps[i].AtOnce > 0 {
			workers++
			most = int32(steps[i].AtOnce) //nolint:gosec // at most 1,000
		}
	}
	if workers <= int(most) {
		return
	}
	for i := range steps {
		if steps[i].AtOnce > 0 {
			steps[i].Gates = append(slices.Clone(steps[i].Gates), LimitGate(name))
		}
	}
	g.limits = append(g.limits, Limit{Name: name, MaxConcurrent: &most})
}

// plan plans for each step whose claim still holds; what it refuses becomes a
// failure of the step. Of several steps of one task the later ones see what the
// earlier ones have brought about.
func (g *growth) plan(batch *Batch, siblings map[uuid.UUID][]Sibling) {
	refused := map[StepRef]bool{}
	var instead []Event
	for _, ref := range batch.Grow.Steps {
		all := siblings[ref.Task]
		at := sibling(all, ref)
		if at < 0 {
			continue // late: it will not count
		}
		steps, refusal := batch.Grow.Plan(ref, all)
		if refusal != nil {
			refused[ref] = true
			batch.Failed = append(batch.Failed, Failed{StepRef: ref, Error: refusal.Error, Final: true})
			instead = append(instead, refusal.Events...)
			continue
		}
		all[at].State = tasker.StepComplete
		for i := range steps {
			s := &steps[i]
			siblings[ref.Task] = append(siblings[ref.Task], s.sibling())
			g.limits = append(g.limits, s.Declares...)
		}
		g.limit(ref, steps)
		g.tasks[ref.Task] = append(g.tasks[ref.Task], steps...)
		g.n += len(steps)
	}
	batch.Completed = without(refused, batch.Completed, func(c *Completed) StepRef { return c.StepRef })
	batch.Events = append(without(refused, batch.Events, func(e *Event) StepRef { return e.StepRef }), instead...)
}

// without leaves out what belongs to some steps.
func without[T any](refused map[StepRef]bool, all []T, ref func(*T) StepRef) []T {
	var kept []T
	for i := range all {
		if !refused[ref(&all[i])] {
			kept = append(kept, all[i])
		}
	}
	return kept
}

func (s *GrownStep) sibling() Sibling {
	out := Sibling{Ordinal: s.Ordinal, Name: s.Name, Definition: s.Name, State: tasker.StepPending, Depth: s.Depth}
	if s.Definition != "" {
		out.Definition = s.Definition
	}
	if s.Empty {
		out.State = tasker.StepComplete
	}
	return out
}

// sibling is the place of the step among its siblings, negative when its claim
// was lost.
func sibling(all []Sibling, ref StepRef) int {
	for i := range all {
		s := &all[i]
		if s.Ordinal == ref.Ordinal && s.Claim == ref.Claim && (s.State == tasker.StepInProgress || s.State == tasker.StepReported) {
			return i
		}
	}
	return -1
}

// grown are the tasks that have new steps.
func (g *growth) grown() []uuid.UUID {
	var tasks []uuid.UUID
	for task, steps := range g.tasks {
		if len(steps) > 0 {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

func (g *growth) queue(b *pgx.Batch) {
	if g.n == 0 {
		return
	}
	tasks := make([]uuid.UUID, 0, g.n)
	ordinals, attempts, patience, depths := make([]int32, 0, g.n), make([]int32, 0, g.n), make([]int32, 0, g.n), make([]int16, 0, g.n)
	names, definitions := make([]string, 0, g.n), make([]string, 0, g.n)
	dependsOn, gates, inputs := make([]*string, 0, g.n), make([]*string, 0, g.n), make([]*string, 0, g.n)
	tolerated, empty := make([]bool, 0, g.n), make([]bool, 0, g.n)
	var linked []uuid.UUID
	var parents, children []int32
	for task, steps := range g.tasks {
		for i := range steps {
			s := &steps[i]
			tasks, ordinals, names, attempts = append(tasks, task), append(ordinals, s.Ordinal), append(names, s.Name), append(attempts, s.MaxAttempts)
			dependsOn, gates = append(dependsOn, intsLiteral(s.DependsOn)), append(gates, arrayLiteral(s.Gates))
			patience = append(patience, int32(s.Patience.Seconds()))
			definitions, depths, inputs = append(definitions, s.Definition), append(depths, s.Depth), append(inputs, text(s.Input))
			tolerated, empty = append(tolerated, s.Tolerated), append(empty, s.Empty)
			for _, parent := range s.DependsOn {
				linked, parents, children = append(linked, task), append(parents, parent), append(children, s.Ordinal)
			}
		}
	}
	queueLimits(b, g.limits)
	b.Queue(growSQL, tasks, ordinals, names, dependsOn, attempts, gates, patience, definitions, depths, inputs, tolerated, empty)
	b.Queue(linkSQL, linked, parents, children)
}
