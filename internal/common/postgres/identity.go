package postgres

import (
	"bytes"
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// As insertTasksSQL, for tasks with an identity: one that exists keeps out the
// new one, of several in the call the first. Waiting for another transaction that
// inserts the same identities, in the same order, is part of no deadlock.
const insertDistinctTasksSQL = `
	insert into tasker.tasks (task_id, template_id, state, context, correlation_id, initiator, source_system, reason, tags,
		priority, run_at, parent_correlation_id, trace_context, identity)
	select r.task_id, $1,
		case when r.run_at > clock_timestamp() and $2 <> 'initializing' then 'pending' else $2 end::tasker.task_state,
		r.context::jsonb, r.correlation_id, nullif(r.initiator, ''), nullif(r.source_system, ''), nullif(r.reason, ''),
		r.tags::text[], r.priority, r.run_at, r.parent, r.trace, r.identity
	from unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int2[],
		$11::timestamptz[], $12::uuid[], $13::text[], $14::bytea[]) with ordinality
		r (task_id, context, correlation_id, initiator, source_system, reason, tags, priority, run_at, parent, trace, identity, n)
	order by r.identity, r.n
	on conflict (identity) where identity is not null do nothing`

// created leaves out, of the tasks t of a statement, those that were not
// created because of their identity.
const created = `
	where (select true from tasker.tasks k where k.task_id = any (array[t.task_id]))`

// Which tasks exist in place of those that were not created; null for one that
// vanished meanwhile.
const existingTasksSQL = `
	select task_id, existing
	from (
		select g.task_id, (select k.task_id from tasker.tasks k where k.identity = any (array[g.identity]) and k.identity is not null) existing
		from unnest($1::uuid[], $2::bytea[]) g (task_id, identity)
		where g.identity is not null
		offset 0
	) g
	where existing is distinct from task_id`

// errVanished says that a task was deleted while another was not created because
// of it.
var errVanished = errors.New("the same task existed a moment ago and is gone; try again")

// inOrder sorts groups by template, and so identities alike for all who create
// tasks.
func inOrder(groups []NewTasks) []NewTasks {
	groups = slices.Clone(groups)
	slices.SortFunc(groups, func(a, b NewTasks) int { return bytes.Compare(a.Template[:], b.Template[:]) })
	return groups
}

// identitiesOf are the identities of the tasks; nil when none has one.
func identitiesOf(g *NewTasks) [][]byte {
	if !slices.ContainsFunc(g.Tasks, func(t NewTask) bool { return t.Identity != nil }) {
		return nil
	}
	identities := make([][]byte, len(g.Tasks))
	for i := range g.Tasks {
		identities[i] = g.Tasks[i].Identity
	}
	return identities
}

// queueExisting looks up the tasks that exist in place of new ones.
func queueExisting(b *pgx.Batch, ids []uuid.UUID, identities [][]byte, existing map[uuid.UUID]uuid.UUID) {
	b.Queue(existingTasksSQL, ids, identities).Query(func(rows pgx.Rows) error {
		var instead *uuid.UUID
		var id uuid.UUID
		_, err := pgx.ForEachRow(rows, []any{&id, &instead}, func() error {
			if instead == nil {
				return errVanished
			}
			existing[id] = *instead
			return nil
		})
		return err
	})
}
