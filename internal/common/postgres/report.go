package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A Report is the outcome of a step on its way from a worker process to an
// orchestrator: a result, or an error.
type Report struct {
	Message  // of the step, in its queue; gone once the report is stored
	Template uuid.UUID
	Result   json.RawMessage // nil: it failed
	Error    json.RawMessage
	Events   json.RawMessage // domain events that follow once it is applied, an array; nil: none

	Correlation *uuid.UUID // of the task; nil: none
	Trace       string     // the span context of the attempt; empty: none
}

// reportSQL stores outcomes on their steps, sends a pointer to each to the
// results queue and deletes the messages of the steps: an accepted result
// survives whatever happens next.
func reportSQL(queue, resultsQueue string) string {
	return fmt.Sprintf(`
	with reported as materialized (
		select *
		from unnest($1::bigint[], $2::uuid[], $3::int[], $4::int[], $5::uuid[], $6::text[], $7::text[], $8::text[],
				$9::uuid[], $10::text[])
			with ordinality h (msg_id, task_id, ordinal, claim, template_id, result, error, events, correlation, trace, place)
	), stored as (
		update tasker.steps s
		set state = case when h.error is null then 'enqueued_for_orchestration'
				else 'enqueued_as_error_for_orchestration' end::tasker.step_state,
			result = h.result::jsonb, error = h.error::jsonb, events = h.events::jsonb, finished_at = now()
		from reported h
		where s.task_id = any (array[h.task_id]) and s.ordinal = h.ordinal and s.claim = h.claim
		and s.state = 'in_progress'
		returning s.task_id, s.ordinal, s.claim, h.template_id, h.correlation, h.trace, h.place
	), sent as (
		insert into pgmq.%[2]s (vt, message)
		select clock_timestamp(),
			jsonb_strip_nulls(jsonb_build_object('task', task_id, 'step', ordinal, 'claim', claim, 'template', template_id,
				'correlation', correlation, 'trace', trace))
		from stored
	), gone as (
		delete from pgmq.%[1]s q
		using reported h
		where q.msg_id = any (array[h.msg_id]) and `+saysSQL+`
	)
	select coalesce(array_agg(place::int - 1), '{}') from stored`, table(queue), table(resultsQueue))
}

// ReportSteps stores outcomes of steps of one queue and returns the places of
// those that counted; the others came after their claim was lost.
func ReportSteps(ctx context.Context, db DB, queue, resultsQueue string, reports []Report) ([]int, error) {
	ids := make([]int64, len(reports))
	templates := make([]uuid.UUID, len(reports))
	results, errs, events := make([]*string, len(reports)), make([]*string, len(reports)), make([]*string, len(reports))
	correlations, traces := make([]*uuid.UUID, len(reports)), make([]*string, len(reports))
	for i := range reports {
		r := &reports[i]
		ids[i], templates[i], correlations[i] = r.Message.ID, r.Template, r.Correlation
		if r.Trace != "" {
			traces[i] = &r.Trace
		}
		results[i], errs[i], events[i] = text(r.Result), text(r.Error), text(r.Events)
	}
	tasks, ordinals, claims := refs(reports, func(r *Report) StepRef { return r.StepRef })
	var stored []int
	err := db.QueryRow(ctx, reportSQL(queue, resultsQueue), ids, tasks, ordinals, claims, templates, results, errs, events,
		correlations, traces).Scan(&stored)
	if err != nil {
		return nil, fmt.Errorf("report %d steps: %w", len(reports), err)
	}
	return stored, nil
}

// text passes JSON as a text parameter; nil is null.
func text(raw json.RawMessage) *string {
	if raw == nil {
		return nil
	}
	s := string(raw)
	return &s
}

// A StoredReport is a report as an orchestrator reads it. The result itself
// stays on the step row.
type StoredReport struct {
	Message     // in the results queue
	Template    uuid.UUID
	Name        string
	Definition  string // as in ClaimedStep
	Attempt     int32
	MaxAttempts int32
	Leaf        bool
	Failed      bool
	Error       json.RawMessage // set when Failed
	Events      json.RawMessage // as in [Report]
	Reads       int32           // of the message, this one included
	Correlation *uuid.UUID      // as in [Report]
	Trace       string          // as in [Report]
	Stale       bool            // the step has moved on: nothing but the message is left
}

// readReportsSQL reads due pointers from the results queue together with the
// steps they point at.
func readReportsSQL(resultsQueue string) string {
	return fmt.Sprintf(`
	with due as materialized (
		select q.msg_id
		from pgmq.%[1]s q
		where q.vt <= clock_timestamp()
		order by q.msg_id
		limit $1
		for update skip locked
	), taken as (
		update pgmq.%[1]s q
		set vt = clock_timestamp() + make_interval(secs => $2), read_ct = q.read_ct + 1
		from due d
		where q.msg_id = any (array[d.msg_id])
		returning q.msg_id, (q.message->>'task')::uuid as task_id, (q.message->>'step')::int as ordinal,
			(q.message->>'claim')::int as claim, (q.message->>'template')::uuid as template_id,
			(q.message->>'correlation')::uuid as correlation, coalesce(q.message->>'trace', '') as trace, q.read_ct
	)
	select m.msg_id, m.task_id, m.ordinal, m.claim, m.template_id, coalesce(s.name, ''),
		coalesce(s.definition, ''), coalesce(s.attempt, 0),
		coalesce(s.max_attempts, 0), coalesce(s.dependents is null, false),
		coalesce(s.state = 'enqueued_as_error_for_orchestration', false), s.error, s.events,
		m.correlation, m.trace, m.read_ct, s.task_id is null
	from taken m
	left join tasker.steps s on s.task_id = any (array[m.task_id]) and s.ordinal = m.ordinal and s.claim = m.claim
		and s.state in ('enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')
	order by m.msg_id`, table(resultsQueue))
}

// ReadReports takes up to limit reports from the results queue; they come again
// after visibility unless they are applied or deleted before.
func ReadReports(ctx context.Context, db DB, resultsQueue string, limit int, visibility time.Duration) ([]StoredReport, error) {
	rows, _ := db.Query(ctx, readReportsSQL(resultsQueue), limit, seconds(visibility))
	reports, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (StoredReport, error) {
		var r StoredReport
		err := row.Scan(&r.Message.ID, &r.Task, &r.Ordinal, &r.Claim, &r.Template, &r.Name, &r.Definition, &r.Attempt, &r.MaxAttempts,
			&r.Leaf, &r.Failed, &r.Error, &r.Events, &r.Correlation, &r.Trace, &r.Reads, &r.Stale)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read results from %s: %w", resultsQueue, err)
	}
	return reports, nil
}

// The results of steps that have reported and whose claims still hold.
const readResultsSQL = `
	select r.task_id, r.ordinal, r.claim, s.result
	from unnest($1::uuid[], $2::int[], $3::int[]) r (task_id, ordinal, claim)
	join tasker.steps s on s.task_id = any (array[r.task_id]) and s.ordinal = r.ordinal and s.claim = r.claim
	where s.state = 'enqueued_for_orchestration'`

// ReadResults returns the results of reported steps, of those whose claim still
// holds.
func ReadResults(ctx context.Context, db DB, steps []StepRef) (map[StepRef]json.RawMessage, error) {
	tasks, ordinals, claims := refs(steps, func(r *StepRef) StepRef { return *r })
	rows, _ := db.Query(ctx, readResultsSQL, tasks, ordinals, claims)
	results := make(map[StepRef]json.RawMessage, len(steps))
	var ref StepRef
	var result []byte
	_, err := pgx.ForEachRow(rows, []any{&ref.Task, &ref.Ordinal, &ref.Claim, &result}, func() error {
		results[ref] = bytes.Clone(result)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the results of %d steps: %w", len(steps), err)
	}
	return results, nil
}

const readContextsSQL = `select task_id, context from tasker.tasks where task_id = any ($1)`

// ReadContexts returns the contexts of tasks.
func ReadContexts(ctx context.Context, db DB, tasks []uuid.UUID) (map[uuid.UUID]json.RawMessage, error) {
	rows, _ := db.Query(ctx, readContextsSQL, tasks) // ForEachRow returns its error
	contexts := make(map[uuid.UUID]json.RawMessage, len(tasks))
	var task uuid.UUID
	var input []byte
	_, err := pgx.ForEachRow(rows, []any{&task, &input}, func() error {
		contexts[task] = bytes.Clone(input)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the contexts of %d tasks: %w", len(tasks), err)
	}
	return contexts, nil
}
