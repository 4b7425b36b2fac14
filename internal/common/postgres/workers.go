package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A Worker is a process in the registry, as it tells of itself. Orchestrators are
// there too: a role of their own, without capacity.
type Worker struct {
	Process     uuid.UUID
	Role        string // orchestration, worker or combined
	WorkerID    string // the label of worker.system.worker_id
	WorkerType  string
	ProcessName string // common.system.process_name
	Host        string
	PID         int
	Version     string // of the program
	Schema      int64  // the newest migration that the program knows
	Namespaces  []string
	Handlers    []string
	Templates   []string // as namespace/name/version
	Capacity    int      // how many steps may run at once
	Running     int      // how many do
	Draining    bool     // it takes on nothing more
	Beat        time.Duration
}

const beatSQL = `
	insert into tasker.workers (process_id, role, worker_id, worker_type, process_name, host, pid, version, schema,
		namespaces, handlers, templates, capacity, running, state, beat_seconds)
	values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, case when $15 then 'draining' else 'running' end, $16)
	on conflict (process_id) do update set namespaces = excluded.namespaces, handlers = excluded.handlers,
		templates = excluded.templates, running = excluded.running, state = excluded.state, last_seen_at = clock_timestamp()`

// Beat says that a process lives, and what it does: it comes into the registry
// or is updated there.
func Beat(ctx context.Context, db DB, w *Worker) error {
	_, err := db.Exec(ctx, beatSQL, w.Process, w.Role, w.WorkerID, w.WorkerType, w.ProcessName, w.Host, w.PID, w.Version, w.Schema,
		texts(w.Namespaces), texts(w.Handlers), texts(w.Templates), w.Capacity, w.Running, w.Draining, seconds(w.Beat))
	if err != nil {
		return fmt.Errorf("tell the registry that the process lives: %w", err)
	}
	return nil
}

// texts is never nil, which the database would take for null.
func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

const stopWorkerSQL = `update tasker.workers set running = 0, stopped_at = clock_timestamp() where process_id = $1`

// StopWorker says that the process has ended in good order.
func StopWorker(ctx context.Context, db DB, process uuid.UUID) error {
	if _, err := db.Exec(ctx, stopWorkerSQL, process); err != nil {
		return fmt.Errorf("say that the process ends: %w", err)
	}
	return nil
}

// The states of a process in the registry.
const (
	WorkerRunning  = "running"
	WorkerDraining = "draining" // it takes on nothing more
	WorkerStopped  = "stopped"  // in good order
	WorkerGone     = "gone"     // it has not been seen for three heartbeats
)

// workerState says how a row of the registry stands.
const workerState = `case when w.stopped_at is not null then 'stopped'
	when w.last_seen_at < clock_timestamp() - make_interval(secs => 3 * w.beat_seconds) then 'gone' else w.state end`

// A RegisteredWorker is a process as the registry shows it.
type RegisteredWorker struct {
	Worker

	State      string
	StartedAt  time.Time
	LastSeenAt time.Time
	StoppedAt  *time.Time
}

const workerColumns = `w.process_id, w.role, w.worker_id, w.worker_type, w.process_name, w.host, w.pid, w.version, w.schema,
	w.namespaces, w.handlers, w.templates, w.capacity, w.running, ` + workerState + `, w.started_at, w.last_seen_at, w.stopped_at`

func scanWorker(row pgx.CollectableRow) (w RegisteredWorker, err error) {
	err = row.Scan(&w.Process, &w.Role, &w.WorkerID, &w.WorkerType, &w.ProcessName, &w.Host, &w.PID, &w.Version, &w.Schema,
		&w.Namespaces, &w.Handlers, &w.Templates, &w.Capacity, &w.Running, &w.State, &w.StartedAt, &w.LastSeenAt, &w.StoppedAt)
	return w, err
}

// A WorkerFilter narrows a list of processes; empty fields do not.
type WorkerFilter struct {
	Role, Namespace string
	State           string    // empty: all that have not stopped in good order
	Before          uuid.UUID // only processes older than this one
	Limit           int
}

// Process ids grow with time.
const listWorkersSQL = `
	select ` + workerColumns + `
	from tasker.workers w
	where ($1 = '' or w.role = $1) and ($2 = '' or w.namespaces @> array[$2])
	and case when $3 = '' then w.stopped_at is null else ` + workerState + ` = $3 end
	and ($4::uuid = '00000000-0000-0000-0000-000000000000' or w.process_id < $4)
	order by w.process_id desc
	limit $5`

// ListWorkers returns processes of the registry, those first that started last.
func ListWorkers(ctx context.Context, db DB, f WorkerFilter) ([]RegisteredWorker, error) {
	rows, _ := db.Query(ctx, listWorkersSQL, f.Role, f.Namespace, f.State, f.Before, f.Limit) // CollectRows returns its error
	found, err := pgx.CollectRows(rows, scanWorker)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	return found, nil
}

const findWorkerSQL = `select ` + workerColumns + ` from tasker.workers w where w.process_id = $1`

// FindWorker returns a process of the registry, or [ErrNotFound].
func FindWorker(ctx context.Context, db DB, process uuid.UUID) (RegisteredWorker, error) {
	rows, _ := db.Query(ctx, findWorkerSQL, process) // CollectExactlyOneRow returns its error
	found, err := pgx.CollectExactlyOneRow(rows, scanWorker)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return RegisteredWorker{}, fmt.Errorf("find process %s: %w", process, err)
	}
	return found, nil
}

const dropWorkersSQL = `
	delete from tasker.workers w
	where coalesce(w.stopped_at, w.last_seen_at) < clock_timestamp() - make_interval(secs => $1)`

// DropWorkers removes processes that ended, or were seen last, longer ago than
// age, and returns how many.
func DropWorkers(ctx context.Context, db DB, age time.Duration) (int, error) {
	tag, err := db.Exec(ctx, dropWorkersSQL, seconds(age))
	if err != nil {
		return 0, fmt.Errorf("drop processes that ended long ago: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// A WorkerGroup counts the processes of a role, state and version.
type WorkerGroup struct {
	Role, State, Version string
	Processes            int
	Capacity, Running    int // of all of them
}

// A System is what the database knows of the installation.
type System struct {
	Server    string // the version of PostgreSQL
	Schema    int64  // the newest migration that it has
	Templates int    // registered, every version
	Pending   int    // entries of the dead letter queue
	Groups    []WorkerGroup
}

const describeSystemSQL = `
	select current_setting('server_version'), (select max(version_id) from tasker.migrations where is_applied),
		(select count(distinct (namespace, name, version)) from tasker.templates),
		(select count(*) from tasker.dlq_entries where resolution = 'pending')`

const countWorkersSQL = `
	select w.role, s.state, w.version, count(*), sum(w.capacity), sum(w.running)
	from tasker.workers w
	cross join lateral (select ` + workerState + ` as state) s
	where w.stopped_at is null
	group by w.role, s.state, w.version
	order by w.role, s.state, w.version`

// DescribeSystem reads what the database knows of the installation. Processes
// that have stopped in good order do not count.
func DescribeSystem(ctx context.Context, db DB) (System, error) {
	var s System
	b := &pgx.Batch{}
	b.Queue(describeSystemSQL).QueryRow(func(row pgx.Row) error {
		return row.Scan(&s.Server, &s.Schema, &s.Templates, &s.Pending)
	})
	b.Queue(countWorkersSQL).Query(func(rows pgx.Rows) (err error) {
		s.Groups, err = pgx.CollectRows(rows, pgx.RowToStructByPos[WorkerGroup])
		return err
	})
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return System{}, fmt.Errorf("describe the system: %w", err)
	}
	return s, nil
}
