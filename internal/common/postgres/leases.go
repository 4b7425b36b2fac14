package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

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
