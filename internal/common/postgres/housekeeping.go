package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A job goes to who asks when its last run began an interval ago and nobody
// runs it.
const takeJobSQL = `
	insert into tasker.housekeeping as h (job, process_id, held_until, started_at)
	values ($1, $2, clock_timestamp() + make_interval(secs => $4), clock_timestamp())
	on conflict (job) do update
	set process_id = excluded.process_id, held_until = excluded.held_until, started_at = excluded.started_at
	where (h.held_until is null or h.held_until <= clock_timestamp())
	and (h.last_run_at is null or h.last_run_at + make_interval(secs => $3) <= clock_timestamp())
	returning true`

// A JobClaim asks for a job.
type JobClaim struct {
	Job      string
	Process  uuid.UUID     // who asks
	Interval time.Duration // from the begin of a run to that of the next
	Hold     time.Duration // how long the process has the job unless it keeps it: see [KeepJob]
}

// TakeJob takes a job for a process when it is due and nobody has it, and reports
// whether the process has it now.
func TakeJob(ctx context.Context, db DB, c JobClaim) (bool, error) {
	var taken bool
	err := db.QueryRow(ctx, takeJobSQL, c.Job, c.Process, seconds(c.Interval), seconds(c.Hold)).Scan(&taken)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take the job %s: %w", c.Job, err)
	}
	return taken, nil
}

const jobDueSQL = `
	select extract(epoch from greatest(held_until, last_run_at + make_interval(secs => $2)) - clock_timestamp())::float8
	from tasker.housekeeping
	where job = $1`

// JobDue returns how long it is until the job may be taken; zero when it may be
// now.
func JobDue(ctx context.Context, db DB, job string, interval time.Duration) (time.Duration, error) {
	var wait *float64
	err := db.QueryRow(ctx, jobDueSQL, job, seconds(interval)).Scan(&wait)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("ask when the job %s is due: %w", job, err)
	}
	if wait == nil || *wait < 0 {
		return 0, nil
	}
	return time.Duration(*wait * float64(time.Second)), nil
}

const keepJobSQL = `
	update tasker.housekeeping
	set held_until = clock_timestamp() + make_interval(secs => $3)
	where job = $1 and process_id = $2 and held_until is not null`

// KeepJob makes the process hold its job for so long from now, and reports
// whether it still has it.
func KeepJob(ctx context.Context, db DB, job string, process uuid.UUID, holdFor time.Duration) (bool, error) {
	tag, err := db.Exec(ctx, keepJobSQL, job, process, seconds(holdFor))
	if err != nil {
		return false, fmt.Errorf("keep the job %s: %w", job, err)
	}
	return tag.RowsAffected() == 1, nil
}

const endJobSQL = `
	update tasker.housekeeping
	set held_until = null, last_run_at = started_at, runs = runs + 1, report = $3
	where job = $1 and process_id = $2 and held_until is not null`

// EndJob says that the run of a job which the process has is over, and what it
// did. It changes nothing when another process has taken the job meanwhile.
func EndJob(ctx context.Context, db DB, job string, process uuid.UUID, report json.RawMessage) error {
	if _, err := db.Exec(ctx, endJobSQL, job, process, report); err != nil {
		return fmt.Errorf("end the job %s: %w", job, err)
	}
	return nil
}

const askForJobSQL = `
	insert into tasker.housekeeping (job) values ($1)
	on conflict (job) do update set last_run_at = null`

// AskForJob makes a job due, whatever its interval.
func AskForJob(ctx context.Context, db DB, job string) error {
	if _, err := db.Exec(ctx, askForJobSQL, job); err != nil {
		return fmt.Errorf("ask for the job %s: %w", job, err)
	}
	return nil
}

// A Job is what is known of the runs of a job.
type Job struct {
	Name      string
	Running   bool
	StartedAt *time.Time // of the last run that began
	LastRunAt *time.Time // when the last run began that ended; nil: it is due
	Runs      int64      // that ended
	Report    json.RawMessage
}

const listJobsSQL = `
	select job, coalesce(held_until > clock_timestamp(), false), started_at, last_run_at, runs, report
	from tasker.housekeeping
	order by job`

// ListJobs returns the jobs that ever ran, or were asked for, by name.
func ListJobs(ctx context.Context, db DB) ([]Job, error) {
	rows, _ := db.Query(ctx, listJobsSQL)
	jobs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Job])
	if err != nil {
		return nil, fmt.Errorf("list the housekeeping jobs: %w", err)
	}
	return jobs, nil
}
