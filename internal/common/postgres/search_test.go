package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	tasker "github.com/tasker-systems/tasker-go"
)

// searchStatements are those by which people look for tasks.
func searchStatements() map[string]string {
	all := map[string]string{
		"checkPathSQL": checkPathSQL, "fingerprintsSQL": fingerprintsSQL, "listChangesSQL": listChangesSQL, "watchChangesSQL": watchChangesSQL, "listVersionsSQL": listVersionsSQL,
		"performanceSQL": performanceSQL, "slowStepsSQL": slowStepsSQL, "slowTasksSQL": slowTasksSQL, "utilizationSQL": utilizationSQL,
	}
	for name, from := range sources() {
		all["searchTasksSQL "+name] = searchTasksSQL(from)
	}
	return all
}

// sought are 300 tasks, a minute apart, of 2 namespaces with 3 templates each in 5
// states; some have tags, a correlation, or a context.
const sought = `
	with templates as (
		insert into tasker.templates (template_id, namespace, name, version, digest, definition)
		select md5('t' || i)::uuid, 'n' || i % 2, 't' || i % 3, '1.0.' || i % 2, '', '{}' from generate_series(0, 5) i
	)
	insert into tasker.tasks (task_id, template_id, state, context, created_at, finished_at, correlation_id, parent_correlation_id,
		initiator, source_system, tags)
	select overlay(md5(i::text) placing lpad(to_hex(1767225600000 + i * 60000), 12, '0') from 1 for 12)::uuid, md5('t' || i % 6)::uuid,
		(array['pending', 'steps_in_process', 'complete', 'error', 'cancelled'])[i % 5 + 1]::tasker.task_state,
		jsonb_build_object('n', i, 'even', i % 2 = 0), '2026-01-01Z'::timestamptz + make_interval(mins => i),
		case when i % 5 > 1 then '2026-01-01Z'::timestamptz + make_interval(mins => i + 5) end,
		case when i % 7 = 0 then md5('c' || i % 2)::uuid end, case when i % 11 = 0 then md5('p')::uuid end,
		case when i % 3 = 0 then 'ann' end, case when i % 4 = 0 then 'shop' end,
		nullif(array(select unnest(array['common', 'rare']) where i % 2 = 0 limit 1 + (i % 50 = 0)::int), '{}')
	from generate_series(1, 300) i`

// TestSearchFindsAll: whatever is looked for, the pages together hold what a plain
// statement finds, in order, each task once.
func TestSearchFindsAll(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	if _, err := conn.Exec(t.Context(), sought); err != nil {
		t.Fatal(err)
	}
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var some [4]uuid.UUID
	for i, text := range []string{"c0", "c1", "p", "none"} {
		if err := conn.QueryRow(t.Context(), `select md5($1)::uuid`, text).Scan(&some[i]); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		sometimes := func(what string, values ...string) string {
			return rapid.SampledFrom(append(make([]string, 3*len(values)), values...)).Draw(t, what)
		}
		when := func(what string) time.Time {
			if rapid.IntRange(0, 4).Draw(t, what+"?") > 0 {
				return time.Time{}
			}
			return first.Add(time.Duration(rapid.IntRange(0, 320).Draw(t, what)) * time.Minute)
		}
		which := func(what string) uuid.UUID {
			return rapid.SampledFrom(append(make([]uuid.UUID, 8), some[:]...)).Draw(t, what)
		}
		states := []tasker.TaskState{tasker.TaskPending, tasker.TaskStepsInProcess, tasker.TaskComplete, tasker.TaskError, tasker.TaskInitializing}
		s := TaskSearch{
			Namespace: sometimes("namespace", "n0", "n1", "n2"), Name: sometimes("name", "t0", "t1"), Version: sometimes("version", "1.0.0"),
			States:        rapid.SliceOfNDistinct(rapid.SampledFrom(states), 0, 2, rapid.ID).Draw(t, "states"),
			Tags:          rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"common", "rare", "none"}), 0, 2, rapid.ID).Draw(t, "tags"),
			CorrelationID: which("correlation"), ParentID: which("parent"), Initiator: sometimes("initiator", "ann", "bob"),
			SourceSystem: sometimes("source", "shop"), CreatedAfter: when("created after"), CreatedBefore: when("created before"),
			FinishedAfter: when("finished after"), FinishedBefore: when("finished before"),
			Context: sometimes("context", "$.even", "$.n > 200", "$.n ? (@ < 9)", `$.n starts with "x"`, "$.none"),
			Limit:   rapid.IntRange(1, 60).Draw(t, "limit"), room: rapid.SampledFrom([]int{2, 5, 40, 1000}).Draw(t, "room"),
		}
		var want []uuid.UUID
		rows, _ := conn.Query(context.Background(), `
			select task_id from tasker.tasks t join tasker.templates p using (template_id)
			where p.namespace like $1 and p.name like $2 and p.version like $3 and (cardinality($4::text[]) = 0 or state::text = any ($4))
			and coalesce(tags, '{}') @> $5 and ($6::uuid is null or correlation_id = $6) and ($7::uuid is null or parent_correlation_id = $7)
			and coalesce(initiator, '') like $8 and coalesce(source_system, '') like $9
			and ($10::timestamptz is null or created_at >= $10) and ($11::timestamptz is null or created_at < $11)
			and ($12::timestamptz is null or finished_at >= $12) and ($13::timestamptz is null or finished_at < $13)
			and case $14 when '' then true when '$.even' then (context->>'even')::bool when '$.n > 200' then (context->>'n')::int > 200
				when '$.n ? (@ < 9)' then (context->>'n')::int < 9 else false end
			order by task_id desc`,
			orAny(s.Namespace), orAny(s.Name), orAny(s.Version), words(s.States), append([]string{}, s.Tags...), orNull(s.CorrelationID), orNull(s.ParentID),
			orAny(s.Initiator), orAny(s.SourceSystem), orNull(s.CreatedAfter), orNull(s.CreatedBefore), orNull(s.FinishedAfter), orNull(s.FinishedBefore),
			s.Context)
		for rows.Next() {
			var id uuid.UUID
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			want = append(want, id)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		var got []uuid.UUID
		for pages := 0; ; pages++ {
			page, err := SearchTasks(context.Background(), conn, s)
			if err != nil || pages > 310 || len(page.Tasks) > s.Limit {
				t.Fatalf("page %d: %d tasks, %v", pages, len(page.Tasks), err)
			}
			for _, found := range page.Tasks {
				got = append(got, found.ID)
			}
			if page.Next == uuid.Nil {
				break
			}
			s.Before = page.Next
		}
		if !slices.Equal(got, want) {
			t.Fatalf("found %d, want %d:\n%s\n%s", len(got), len(want), got, want)
		}
	})
}

func orAny(s string) string {
	if s == "" {
		return "%"
	}
	return s
}

// TestSearchesKeepTheirPlans looks at the plans while the table is large: each
// source reads tasks by its index.
func TestSearchesKeepTheirPlans(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	if _, err := conn.Exec(t.Context(), strings.Replace(sought, "series(1, 300)", "series(1, 3000)", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "vacuum analyze tasker.tasks"); err != nil {
		t.Fatal(err)
	}
	for name, index := range map[string]string{
		"all tasks": "tasks_pkey", "a correlation": "tasks_correlation", "templates and states": "tasks_template_state", "tags": "tasks_tags",
	} {
		p := explain(t, conn, name, searchTasksSQL(sources()[name]))
		if !uses(p, index) {
			t.Errorf("a search of %s does not use %s: %+v", name, index, p)
		}
	}
}

func uses(p plan, index string) bool {
	return p.Index == index || slices.ContainsFunc(p.Plans, func(below plan) bool { return uses(below, index) })
}

func TestCheckPath(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	for path, fine := range map[string]bool{
		"$.a": true, `$.a[*] ? (@.b == "x")`: true, "": false, "$.": false, "a; drop table tasker.tasks": false,
		`$.a like_regex "("`: false, strings.Repeat("(", 100_000): false, "$.a\x00": false,
	} {
		err := CheckPath(t.Context(), conn, path)
		if _, refused := errors.AsType[*PathError](err); refused == fine || err != nil && !refused {
			t.Errorf("%.40q: got %v", path, err)
		}
	}
}
