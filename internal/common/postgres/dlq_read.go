package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	tasker "github.com/tasker-systems/tasker-go"
)

// A DLQEntry is an entry of the dead letter queue as it is read back.
type DLQEntry struct {
	ID            uuid.UUID
	Task          uuid.UUID
	Template      uuid.UUID
	Namespace     string
	Name          string // of the template
	Version       string
	TaskState     *tasker.TaskState // now; nil: the task is archived
	OriginalState tasker.TaskState  // when it was set aside
	Reason        DLQReason
	EnteredAt     time.Time
	Resolution    DLQResolution
	ResolvedAt    *time.Time
	ResolvedBy    *string
	Notes         *string
	Overdue       bool    // pending for longer than it should
	Score         float64 // how urgent it is; only among others of a list
	Metadata      json.RawMessage
	Snapshot      json.RawMessage // nil in lists
}

// How urgent an entry is says its reason, and within the reason its age in
// minutes (the original, v_dlq_investigation_queue).
const entryColumnsSQL = `e.entry_id, e.task_id, e.template_id, p.namespace, p.name, p.version, t.state, e.original_state,
		e.reason::text, e.entered_at, e.resolution::text, e.resolved_at, e.resolved_by, e.notes,
		e.resolution = 'pending' and e.entered_at <= clock_timestamp() - make_interval(secs => $1) as overdue,
		case e.reason when 'dependency_cycle_detected' then 1000 when 'max_retries_exceeded' then 500
			when 'staleness_timeout' then 100 when 'worker_unavailable' then 50 else 10 end
			+ extract(epoch from clock_timestamp() - e.entered_at)::float8 / 60 as score,
		e.metadata`

const entryTablesSQL = `
	from tasker.dlq_entries e
	join tasker.templates p on p.template_id = e.template_id
	left join tasker.tasks t on t.task_id = any (array[e.task_id])`

const listEntriesSQL = `
	select ` + entryColumnsSQL + `, null::jsonb` + entryTablesSQL + `
	where ($2 = '' or e.resolution::text = $2) and ($3 = '' or e.reason::text = $3)
	and ($4::uuid is null or e.task_id = $4)
	order by e.entered_at desc, e.entry_id desc
	limit $5 offset $6`

// A DLQFilter narrows a list of entries; zero values do not narrow.
type DLQFilter struct {
	Resolution DLQResolution
	Reason     DLQReason
	Task       uuid.UUID
	Overdue    time.Duration // pending entries of that age are overdue
	Limit      int
	Offset     int
}

// ListDLQ returns entries, newest first, without their snapshots.
func ListDLQ(ctx context.Context, db DB, f DLQFilter) ([]DLQEntry, error) {
	var task *uuid.UUID
	if f.Task != uuid.Nil {
		task = &f.Task
	}
	rows, _ := db.Query(ctx, listEntriesSQL, seconds(f.Overdue), string(f.Resolution), string(f.Reason), task, f.Limit, f.Offset)
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[DLQEntry])
	if err != nil {
		return nil, fmt.Errorf("list the dead letter queue: %w", err)
	}
	return entries, nil
}

const investigationQueueSQL = `
	select ` + entryColumnsSQL + `, null::jsonb` + entryTablesSQL + `
	where e.resolution = 'pending'
	order by score desc, e.entry_id
	limit $2`

// InvestigationQueue returns the pending entries, the most urgent first, without
// their snapshots.
func InvestigationQueue(ctx context.Context, db DB, overdue time.Duration, limit int) ([]DLQEntry, error) {
	rows, _ := db.Query(ctx, investigationQueueSQL, seconds(overdue), limit)
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[DLQEntry])
	if err != nil {
		return nil, fmt.Errorf("list what to investigate: %w", err)
	}
	return entries, nil
}

const findEntrySQL = `
	select ` + entryColumnsSQL + `, e.snapshot` + entryTablesSQL + `
	where e.entry_id = $2`

// FindDLQEntry returns an entry, or wraps [ErrNotFound].
func FindDLQEntry(ctx context.Context, db DB, entry uuid.UUID, overdue time.Duration) (DLQEntry, error) {
	rows, _ := db.Query(ctx, findEntrySQL, seconds(overdue), entry)
	return oneEntry(rows, fmt.Sprintf("find entry %s of the dead letter queue", entry))
}

const findTaskEntrySQL = `
	select ` + entryColumnsSQL + `, e.snapshot` + entryTablesSQL + `
	where e.task_id = $2
	order by e.resolution = 'pending' desc, e.entered_at desc
	limit 1`

// FindTaskDLQEntry returns the entry of a task: the pending one, else the last.
// It wraps [ErrNotFound] when there is none.
func FindTaskDLQEntry(ctx context.Context, db DB, task uuid.UUID, overdue time.Duration) (DLQEntry, error) {
	rows, _ := db.Query(ctx, findTaskEntrySQL, seconds(overdue), task)
	return oneEntry(rows, fmt.Sprintf("find task %s in the dead letter queue", task))
}

func oneEntry(rows pgx.Rows, doing string) (DLQEntry, error) {
	entry, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[DLQEntry])
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return DLQEntry{}, fmt.Errorf("%s: %w", doing, err)
	}
	return entry, nil
}

// DLQStats are the figures of one reason.
type DLQStats struct {
	Reason            DLQReason
	Total             int
	Pending           int
	Overdue           int
	ManuallyResolved  int
	PermanentlyFailed int
	Cancelled         int
	Requeued          int
	Oldest            *time.Time // entered, among the pending
	Newest            *time.Time // entered, of all
	ResolutionMinutes *float64   // on average; nil: none is resolved
}

const dlqStatsSQL = `
	select e.reason::text, count(*),
		count(*) filter (where e.resolution = 'pending'),
		count(*) filter (where e.resolution = 'pending' and e.entered_at <= clock_timestamp() - make_interval(secs => $1)),
		count(*) filter (where e.resolution = 'manually_resolved'),
		count(*) filter (where e.resolution = 'permanently_failed'),
		count(*) filter (where e.resolution = 'cancelled'),
		count(*) filter (where e.resolution = 'requeued'),
		min(e.entered_at) filter (where e.resolution = 'pending'), max(e.entered_at),
		(avg(extract(epoch from e.resolved_at - e.entered_at)) / 60)::float8
	from tasker.dlq_entries e
	group by e.reason
	order by e.reason`

// SummarizeDLQ returns the figures of every reason that has entries.
func SummarizeDLQ(ctx context.Context, db DB, overdue time.Duration) ([]DLQStats, error) {
	rows, _ := db.Query(ctx, dlqStatsSQL, seconds(overdue))
	stats, err := pgx.CollectRows(rows, pgx.RowToStructByPos[DLQStats])
	if err != nil {
		return nil, fmt.Errorf("summarize the dead letter queue: %w", err)
	}
	return stats, nil
}

// Overdue entries are those that have been pending for too long.
const overdueSQL = `
	select count(*), coalesce(extract(epoch from clock_timestamp() - min(entered_at))::float8, 0)
	from tasker.dlq_entries
	where resolution = 'pending' and entered_at <= clock_timestamp() - make_interval(secs => $1)`

// CountOverdue returns how many entries have been pending for that long, and the
// age of the oldest.
func CountOverdue(ctx context.Context, db DB, overdue time.Duration) (n int, oldest time.Duration, err error) {
	var age float64
	if err := db.QueryRow(ctx, overdueSQL, seconds(overdue)).Scan(&n, &age); err != nil {
		return 0, 0, fmt.Errorf("look for overdue entries of the dead letter queue: %w", err)
	}
	return n, duration(age), nil
}
