package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	tasker "github.com/tasker-systems/tasker-go"
)

// A TaskSearch says which tasks are looked for; zero values do not narrow it.
type TaskSearch struct {
	Namespace, Name, Version string             // of the template
	States                   []tasker.TaskState // any of them
	Tags                     []string           // all of them
	CorrelationID, ParentID  uuid.UUID
	Initiator, SourceSystem  string
	CreatedAfter             time.Time // or at
	CreatedBefore            time.Time
	FinishedAfter            time.Time // or at
	FinishedBefore           time.Time
	// Context is an SQL/JSON path into the context: the first item it finds must be
	// neither false nor null. See [CheckPath].
	Context string

	Before uuid.UUID // only tasks older than this one: the next page
	Limit  int

	room int // in place of searchBudget, in tests
}

// A TaskPage is a part of what a search finds.
type TaskPage struct {
	Tasks []Task
	// Next, unless Nil, is where to look on: there may be more tasks before it.
	Next uuid.UUID
}

// A search looks at so many tasks that an index has led it to, then answers with
// what it has found: its cost does not depend on how rare a match is. Of a tag
// that fewer tasks have, all of them are looked at.
const searchBudget = 10_000

// A source is where the candidates of a search come from: the newest most tasks
// that an index leads to, between two ids. Most is at least a page, $3, or what
// the budget, $4, allows; while it says less, there are no further candidates.
type source struct{ most, candidates string }

const lanesSQL = `
		from tasker.templates p
		cross join unnest(coalesce($8::text[]::tasker.task_state[], enum_range(null::tasker.task_state))) s (state)
		where ($5 = '' or p.namespace = $5) and ($6 = '' or p.name = $6) and ($7 = '' or p.version = $7)`

// sources are the sources by name.
func sources() map[string]source {
	// Repeats the condition of the indexes for searches: see migration 0014.
	const between = ` and t.task_id < $1 and t.task_id >= $2 and t.task_id > '00000000-0000-0000-0000-000000000000'`
	const most = `select greatest($3::int, $4::int) as n`
	return map[string]source{
		"all tasks": {most, `
		select t.* from tasker.tasks t
		where t.task_id < $1 and t.task_id >= $2
		order by t.task_id desc
		limit (select n from most)`},

		"a correlation": {most, `
		select t.* from tasker.tasks t
		where t.correlation_id = $10` + between + `
		order by t.task_id desc
		limit (select n from most)`},

		// The newest of each template in each state, and of these the newest.
		"templates and states": {`select greatest($3::int, $4::int / greatest(count(*)::int, 1)) as n` + lanesSQL, `
		select t.*
		from (select p.template_id, s.state` + lanesSQL + `) lane
		cross join lateral (
			select t.* from tasker.tasks t
			where t.template_id = lane.template_id and t.state = lane.state` + between + `
			order by t.task_id desc
			limit (select n from most)
		) t
		order by t.task_id desc
		limit (select n from most)`},

		// Rare tags lead to their tasks; common ones are met soon on a walk.
		"tags": {`select case when (select count(*) from tagged) > $4 then $4 else $4 + 1 end as n`, `
		(select t.*
		from tagged g
		join tasker.tasks t on t.task_id = any (array[g.task_id])
		where (select n from most) > $4 and g.task_id < $1 and g.task_id >= $2)
		union all
		(select t.* from tasker.tasks t
		where (select n from most) <= $4 and t.task_id < $1 and t.task_id >= $2
		order by t.task_id desc
		limit $4)`},
	}
}

// searchTasksSQL looks through candidates. The first two columns of its rows,
// of which there is one also when no task matches, say whether there may be more
// candidates and which was the last.
func searchTasksSQL(from source) string {
	return `
	with path as materialized (
		select $18::text::jsonpath as path
	), tagged as materialized (
		select t.task_id from tasker.tasks t where t.tags is not null and t.tags @> $9::text[] limit $4::int + 1
	), most as materialized (` + from.most + `
	), candidates as materialized (` + from.candidates + `
	), matching as materialized (
		select t.*
		from candidates t
		join tasker.templates p on p.template_id = t.template_id
		cross join path
		where ($5 = '' or p.namespace = $5) and ($6 = '' or p.name = $6) and ($7 = '' or p.version = $7)
		and ($8::text[] is null or t.state = any ($8::text[]::tasker.task_state[]))
		and ($9::text[] is null or t.tags @> $9)
		and ($10::uuid is null or t.correlation_id = $10) and ($11::uuid is null or t.parent_correlation_id = $11)
		and ($12 = '' or t.initiator = $12) and ($13 = '' or t.source_system = $13)
		and ($14::timestamptz is null or t.created_at >= $14) and ($15::timestamptz is null or t.created_at < $15)
		and ($16::timestamptz is null or t.finished_at >= $16) and ($17::timestamptz is null or t.finished_at < $17)
		and (path.path is null
			or coalesce(jsonb_path_query_first(t.context, path.path, '{}', true) not in ('false', 'null'), false))
		order by t.task_id desc
		limit $3
	)
	select seen.n >= most.n, seen.last, found.*
	from most
	cross join (select count(*) as n, (array_agg(task_id order by task_id))[1] as last from candidates) seen
	left join (
		select ` + taskColumns + `
		from matching t
		join tasker.templates p on p.template_id = t.template_id` + countsSQL + `
	) found on true
	order by found.task_id desc`
}

// SearchTasks returns a page of the tasks that are looked for, newest first. A
// page may hold fewer than the limit, even none, and not be the last.
func SearchTasks(ctx context.Context, db DB, s TaskSearch) (TaskPage, error) {
	var page TaskPage
	var more bool
	var last *uuid.UUID
	rows, _ := db.Query(ctx, searchTasksSQL(sources()[s.source()]), s.args()...) // the loop ends at once, with its error
	defer rows.Close()
	for rows.Next() {
		var found Task
		into := append([]any{&more, &last}, taskTargets(&found)...)
		if matches := rows.RawValues()[2] != nil; !matches {
			clear(into[2:]) // which has them passed over
		}
		if err := rows.Scan(into...); err != nil {
			return TaskPage{}, fmt.Errorf("search tasks: %w", err)
		}
		if found.ID != uuid.Nil {
			page.Tasks = append(page.Tasks, found)
		}
	}
	if err := rows.Err(); err != nil {
		return TaskPage{}, fmt.Errorf("search tasks: %w", err)
	}
	switch {
	case len(page.Tasks) > s.Limit:
		page.Tasks = page.Tasks[:s.Limit]
		page.Next = page.Tasks[s.Limit-1].ID
	case more:
		page.Next = *last
	}
	return page, nil
}

// source is the most telling of the indexes.
func (s *TaskSearch) source() string {
	switch {
	case s.CorrelationID != uuid.Nil:
		return "a correlation"
	case len(s.Tags) > 0:
		return "tags"
	case s.Namespace+s.Name+s.Version != "" || len(s.States) > 0:
		return "templates and states"
	}
	return "all tasks"
}

// budget is how many candidates are looked at beyond a page: none when every
// candidate matches.
func (s *TaskSearch) budget() int {
	if s.matchesAll() && s.CorrelationID == uuid.Nil && len(s.Tags) == 0 {
		return 0
	}
	return cmp.Or(s.room, searchBudget)
}

// matchesAll reports whether nothing narrows the search but what a source may go
// by.
func (s *TaskSearch) matchesAll() bool {
	return s.ParentID == uuid.Nil && s.Initiator+s.SourceSystem+s.Context == "" &&
		s.CreatedAfter.IsZero() && s.CreatedBefore.IsZero() && s.FinishedAfter.IsZero() && s.FinishedBefore.IsZero()
}

// clockSkew is how far the clock by which an id was made and that of the database
// may be apart.
const clockSkew = time.Hour

func (s *TaskSearch) args() []any {
	before, from := uuid.Max, uuid.Nil
	if !s.CreatedBefore.IsZero() {
		before = idAt(s.CreatedBefore.Add(clockSkew))
	}
	if !s.CreatedAfter.IsZero() {
		from = idAt(s.CreatedAfter.Add(-clockSkew))
	}
	if s.Before != uuid.Nil && bytes.Compare(s.Before[:], before[:]) < 0 {
		before = s.Before
	}
	tags, states := s.Tags, words(s.States)
	if len(tags) == 0 {
		tags = nil
	}
	if len(states) == 0 {
		states = nil
	}
	return []any{
		before, from, s.Limit + 1, s.budget(), s.Namespace, s.Name, s.Version, states, tags,
		orNull(s.CorrelationID), orNull(s.ParentID), s.Initiator, s.SourceSystem,
		orNull(s.CreatedAfter), orNull(s.CreatedBefore), orNull(s.FinishedAfter), orNull(s.FinishedBefore), orNull(s.Context),
	}
}

// orNull passes a value to SQL, null for its zero value.
func orNull[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

// idAt is the least id of a task made at a time: see package taskid.
func idAt(at time.Time) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:8], uint64(max(at.UnixMilli(), 0))<<16)
	return id
}

const checkPathSQL = `select $1::text::jsonpath is null`

// A PathError says why a path is none.
type PathError struct{ Problem string }

func (e *PathError) Error() string { return "no SQL/JSON path: " + e.Problem }

// CheckPath returns a [*PathError] unless path is an SQL/JSON path.
func CheckPath(ctx context.Context, db DB, path string) error {
	var null bool
	err := db.QueryRow(ctx, checkPathSQL, path).Scan(&null)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && !IsUnavailable(err) {
		return &PathError{pgErr.Message}
	}
	if err != nil {
		return fmt.Errorf("check a path: %w", err)
	}
	return nil
}
