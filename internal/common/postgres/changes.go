package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	tasker "github.com/tasker-systems/tasker-go"
)

// ChangesChannel is notified when changes of tasks have been noted.
const ChangesChannel = "tasker_changes"

// Somebody watches: from now on, and for two minutes, changes are noted. Those
// that are older than ten minutes are forgotten. The log is continuous back to
// since, unless it was dropped; a place in it is a transaction and a number.
const watchChangesSQL = `
	with dropped as (
		delete from tasker.changes where at < clock_timestamp() - interval '10 minutes'
		returning xid
	)
	insert into tasker.change_watch as w (one, since, until)
	values (true, pg_current_xact_id(), clock_timestamp() + interval '2 minutes')
	on conflict (one) do update set until = excluded.until,
		since = case when w.until < clock_timestamp() then excluded.since
			else greatest(w.since, (select max(xid::text::numeric)::text::xid8 from dropped)) end
	returning since::text, pg_snapshot_xmin(pg_current_snapshot())::text`

// WatchChanges has changes noted and returns where to read on: at the place that
// the caller knows, or, when the log does not reach back to it, at a fresh one.
func WatchChanges(ctx context.Context, db DB, known string) (at string, fresh bool, err error) {
	var since, now string
	if err := db.QueryRow(ctx, watchChangesSQL).Scan(&since, &now); err != nil {
		return "", false, fmt.Errorf("ask for changes to be noted: %w", err)
	}
	xid, _, ok := place(known)
	first, _ := strconv.ParseUint(since, 10, 64) // the server's own
	current, _ := strconv.ParseUint(now, 10, 64) // likewise
	if ok && xid >= first && xid <= current {
		return known, false, nil
	}
	return strconv.FormatUint(max(current, 1)-1, 10) + "-0", true, nil
}

// place reads the id of a change.
func place(id string) (xid uint64, n int64, ok bool) {
	transaction, number, ok := strings.Cut(id, "-")
	xid, err := strconv.ParseUint(transaction, 10, 63)
	n, err2 := strconv.ParseInt(number, 10, 64)
	return xid, n, ok && err == nil && err2 == nil && n >= 0
}

// A Change is something that became of a task.
type Change struct {
	ID                       string // its place in the log
	Kind                     string // task.created or task.changed
	Task                     uuid.UUID
	State                    tasker.TaskState // after it
	At                       time.Time
	Namespace, Name, Version string
	Correlation              *uuid.UUID
}

// A ChangeFilter narrows what is listed; empty fields do not.
type ChangeFilter struct{ Namespace, Name string }

// What a transaction notes is shown once all that began before it have ended:
// else one of them could still put something before what was shown already.
const listChangesSQL = `
	select c.xid::text || '-' || c.n, c.kind, c.task_id, c.state, c.at, p.namespace, p.name, p.version, t.correlation_id
	from tasker.changes c
	join tasker.tasks t on t.task_id = any (array[c.task_id])
	join tasker.templates p on p.template_id = t.template_id
	where (c.xid, c.n) > ($1::text::xid8, $2::bigint) and c.xid < pg_snapshot_xmin(pg_current_snapshot())
	and ($3 = '' or p.namespace = $3) and ($4 = '' or p.name = $4)
	order by c.xid, c.n
	limit 200`

// ListChanges returns the next changes after a place in the log.
func ListChanges(ctx context.Context, db DB, after string, f ChangeFilter) ([]Change, error) {
	xid, n, _ := place(after)
	rows, _ := db.Query(ctx, listChangesSQL, strconv.FormatUint(xid, 10), n, f.Namespace, f.Name) // CollectRows returns its error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Change])
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	return found, nil
}
