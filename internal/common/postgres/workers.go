package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A Worker is a process in the registry.
type Worker struct {
	Process    uuid.UUID
	Role       string // orchestration, worker or combined
	WorkerID   string // the label of worker.system.worker_id
	WorkerType string
	Host       string
	PID        int
	Namespaces []string
}

const registerWorkerSQL = `
	insert into tasker.workers (process_id, role, worker_id, worker_type, host, pid, namespaces)
	values ($1, $2, $3, $4, $5, $6, $7)
	on conflict (process_id) do update set role = excluded.role, worker_id = excluded.worker_id,
		worker_type = excluded.worker_type, namespaces = excluded.namespaces, last_seen_at = clock_timestamp()`

// RegisterWorker puts a process into the registry, or updates it there.
func RegisterWorker(ctx context.Context, db DB, w Worker) error {
	_, err := db.Exec(ctx, registerWorkerSQL, w.Process, w.Role, w.WorkerID, w.WorkerType, w.Host, w.PID, w.Namespaces)
	if err != nil {
		return fmt.Errorf("register the process: %w", err)
	}
	return nil
}

const touchWorkerSQL = `update tasker.workers set last_seen_at = clock_timestamp() where process_id = $1`

// TouchWorker says that the process lives.
func TouchWorker(ctx context.Context, db DB, process uuid.UUID) error {
	if _, err := db.Exec(ctx, touchWorkerSQL, process); err != nil {
		return fmt.Errorf("say that the process lives: %w", err)
	}
	return nil
}

const stopWorkerSQL = `update tasker.workers set stopped_at = clock_timestamp() where process_id = $1`

// StopWorker says that the process has ended in good order.
func StopWorker(ctx context.Context, db DB, process uuid.UUID) error {
	if _, err := db.Exec(ctx, stopWorkerSQL, process); err != nil {
		return fmt.Errorf("say that the process ends: %w", err)
	}
	return nil
}

// A lease goes to who asks when it is free, over, or already theirs.
const takeLeaseSQL = `
	insert into tasker.leases (name, process_id, expires_at)
	values ($1, $2, clock_timestamp() + make_interval(secs => $3))
	on conflict (name) do update set process_id = excluded.process_id, expires_at = excluded.expires_at
	where leases.process_id = excluded.process_id or leases.expires_at <= clock_timestamp()
	returning true`

// TakeLease takes or renews the named lease for the process and reports whether
// it has it now.
func TakeLease(ctx context.Context, db DB, name string, process uuid.UUID, holdFor time.Duration) (bool, error) {
	var taken bool
	err := db.QueryRow(ctx, takeLeaseSQL, name, process, seconds(holdFor)).Scan(&taken)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take the lease %s: %w", name, err)
	}
	return taken, nil
}

const leaseEndSQL = `select expires_at from tasker.leases where name = $1`

// LeaseEnd returns when the named lease runs out; the zero time when there is
// none.
func LeaseEnd(ctx context.Context, db DB, name string) (time.Time, error) {
	var end time.Time
	err := db.QueryRow(ctx, leaseEndSQL, name).Scan(&end)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, fmt.Errorf("look at the lease %s: %w", name, err)
	}
	return end, nil
}

const dropLeaseSQL = `delete from tasker.leases where name = $1 and process_id = $2`

// DropLease gives the named lease back, if the process has it.
func DropLease(ctx context.Context, db DB, name string, process uuid.UUID) error {
	if _, err := db.Exec(ctx, dropLeaseSQL, name, process); err != nil {
		return fmt.Errorf("drop the lease %s: %w", name, err)
	}
	return nil
}
