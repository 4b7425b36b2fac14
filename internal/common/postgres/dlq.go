package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	tasker "github.com/tasker-systems/tasker-go"
)

// A DLQReason says why a task is in the dead letter queue. Which reasons make
// entries is configured in orchestration.dlq.reasons.
type DLQReason string

// The reasons.
const (
	StalenessTimeout        DLQReason = "staleness_timeout"         // it stopped moving
	MaxRetriesExceeded      DLQReason = "max_retries_exceeded"      // a step failed for good
	DependencyCycleDetected DLQReason = "dependency_cycle_detected" // its steps wait for each other
	WorkerUnavailable       DLQReason = "worker_unavailable"        // a step lost its worker again and again
	ManualDLQ               DLQReason = "manual_dlq"                // an operator put it there
)

// A DeadLetter is a task to be set aside.
type DeadLetter struct {
	Task     uuid.UUID
	Reason   DLQReason
	Metadata json.RawMessage // an object; nil stands for {}
}

// An Entered is a new entry of the dead letter queue.
type Entered struct {
	Entry     uuid.UUID
	Task      uuid.UUID
	Namespace string
	Name      string // of the template
	State     tasker.TaskState
	Reason    DLQReason
}

// largestResult is the size in bytes beyond which a snapshot leaves out what a
// step returned: the step still has it.
const largestResult = 64 << 10

// mostSteps bounds the steps of a snapshot.
const mostSteps = 1000

// Results that are large are replaced by their size, so that no task is too large
// to be set aside. A second entry while one is pending is none. Webhooks that
// want to know are told with the new ones.
const enterSQL = `
	with entered as (
		insert into tasker.dlq_entries (entry_id, task_id, template_id, original_state, reason, snapshot, metadata)
		select r.entry_id, t.task_id, t.template_id, t.state, r.reason::tasker.dlq_reason,
			jsonb_build_object('task_id', t.task_id, 'template_id', t.template_id)
				|| case when $5 then ` + snapshotSQL + ` else '{}' end,
			coalesce(r.metadata::jsonb, '{}')
		from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) r (entry_id, task_id, reason, metadata)
		join tasker.tasks t on t.task_id = any (array[r.task_id])
		on conflict (task_id) where resolution = 'pending' do nothing
		returning entry_id, task_id, template_id, original_state, reason
	)
	select e.entry_id, e.task_id, p.namespace, p.name, e.original_state, e.reason::text
	from entered e
	join tasker.templates p on p.template_id = e.template_id
	cross join (select tasker.enqueue_deliveries('task.dead_lettered', array_agg(task_id)) from entered) told
	order by e.entry_id`

// snapshotSQL is task t with its steps and their attempts.
const snapshotSQL = `jsonb_build_object(
				'task', to_jsonb(t),
				'steps', (
					select jsonb_agg(case when octet_length(s.result::text) > $6
						then to_jsonb(s) - 'result' || jsonb_build_object('result_bytes', octet_length(s.result::text))
						else to_jsonb(s) end order by s.ordinal)
					from (select * from tasker.steps s where s.task_id = t.task_id order by s.ordinal limit $7) s
				),
				'attempts', (
					select jsonb_agg(to_jsonb(a) order by a.ordinal, a.claim)
					from (
						select * from tasker.step_attempts a where a.task_id = t.task_id order by a.ordinal, a.claim limit $7
					) a
				)
			)`

// Enter sets tasks aside: it makes an entry for each that has no pending one,
// with a snapshot of the whole task (without results above 64 KiB) or of its ids
// only, and returns those entries.
func Enter(ctx context.Context, db DB, letters []DeadLetter, full bool) ([]Entered, error) {
	if len(letters) == 0 {
		return nil, nil
	}
	entries, tasks := make([]uuid.UUID, len(letters)), make([]uuid.UUID, len(letters))
	reasons, metadata := make([]string, len(letters)), make([]*string, len(letters))
	for i, l := range letters {
		entries[i], tasks[i], reasons[i] = uuid.Must(uuid.NewV7()), l.Task, string(l.Reason)
		if l.Metadata != nil {
			text := string(l.Metadata)
			metadata[i] = &text
		}
	}
	rows, _ := db.Query(ctx, enterSQL, entries, tasks, reasons, metadata, full, largestResult, mostSteps)
	entered, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Entered])
	if err != nil {
		return nil, fmt.Errorf("set %d tasks aside: %w", len(letters), err)
	}
	return entered, nil
}

// An Unexamined is a task that failed and that the dead letter queue has not
// looked at.
type Unexamined struct {
	Task   uuid.UUID
	State  tasker.TaskState
	Failed []FailedStep // for good, the first to fail first
}

// A FailedStep is a step that failed for good.
type FailedStep struct {
	Step     string `json:"step"`
	Kind     string `json:"kind"`
	Message  string `json:"message"`
	Attempts int    `json:"attempts"`
	// Permanent says that the failure forbade another attempt; otherwise none was
	// left.
	Permanent bool `json:"permanent"`
}

// Whoever locks a task examines it; others pass it over. The state is part of
// what is locked, so the steps are as the failure left them.
const examineSQL = `
	with failed as (
		select t.task_id
		from tasker.tasks t
		where t.state in ('error', 'blocked_by_failures') and not t.examined
		order by t.task_id
		limit $1
		for no key update skip locked
	), examined as (
		update tasker.tasks t
		set examined = true
		from failed f
		where t.task_id = any (array[f.task_id])
		returning t.task_id, t.state
	)
	select e.task_id, e.state, coalesce((
		select jsonb_agg(jsonb_build_object('step', s.name, 'kind', coalesce(s.error->>'kind', ''),
			'message', coalesce(s.error->>'message', ''), 'attempts', s.attempt,
			'permanent', coalesce((s.error->>'permanent')::boolean, false)) order by s.finished_at, s.ordinal)
		from tasker.steps s
		where s.task_id = e.task_id and s.state = 'error'
	), '[]')
	from examined e
	order by e.task_id`

// Examine returns up to limit tasks that failed since they were last looked at,
// and marks them as looked at. It belongs in the transaction that makes their
// entries.
func Examine(ctx context.Context, db DB, limit int) ([]Unexamined, error) {
	rows, _ := db.Query(ctx, examineSQL, limit)
	tasks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Unexamined, error) {
		var u Unexamined
		err := row.Scan(&u.Task, &u.State, &u.Failed)
		return u, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for failed tasks: %w", err)
	}
	return tasks, nil
}

// resolveSQL closes a pending entry, or adds to what one says.
const resolveSQL = `
	update tasker.dlq_entries e
	set resolution = $2::tasker.dlq_resolution,
		resolved_at = case when $2 = 'pending' then null else coalesce(e.resolved_at, clock_timestamp()) end,
		resolved_by = coalesce(nullif($3, ''), e.resolved_by),
		notes = coalesce(nullif($4, ''), e.notes),
		metadata = e.metadata || coalesce($5::jsonb, '{}')
	where e.entry_id = $1 and (e.resolution = 'pending' or e.resolution = $2::tasker.dlq_resolution)`

// A Resolution is what an operator says about an entry.
type Resolution struct {
	Status   DLQResolution   // pending: the investigation goes on
	By       string          // empty: as before
	Notes    string          // empty: as before
	Metadata json.RawMessage // an object that is added; nil: nothing
}

// A DLQResolution is what became of an entry.
type DLQResolution string

// The resolutions.
const (
	DLQPending           DLQResolution = "pending"            // under investigation
	DLQManuallyResolved  DLQResolution = "manually_resolved"  // somebody put it right
	DLQPermanentlyFailed DLQResolution = "permanently_failed" // nobody can
	DLQCancelled         DLQResolution = "cancelled"          // there was nothing to investigate
	DLQRequeued          DLQResolution = "requeued"           // the task went back to work
)

// ErrResolved says that an entry is resolved already, and otherwise.
var ErrResolved = errors.New("the entry is resolved already")

// Resolve records what an operator says about an entry. It wraps [ErrNotFound],
// or [ErrResolved] when the entry has another resolution already.
func Resolve(ctx context.Context, db DB, entry uuid.UUID, r Resolution) error {
	tag, err := db.Exec(ctx, resolveSQL, entry, string(r.Status), r.By, r.Notes, r.Metadata)
	if err == nil && tag.RowsAffected() == 0 {
		if _, err = FindDLQEntry(ctx, db, entry, 0); err == nil {
			err = ErrResolved
		}
	}
	if err != nil {
		return fmt.Errorf("resolve entry %s of the dead letter queue: %w", entry, err)
	}
	return nil
}
