package schedule

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/cron"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
)

// What became of a run.
const (
	created = "created"
	skipped = "skipped"
	failed  = "failed"
)

// A plan is what is to happen with a schedule that is due.
type plan struct {
	postgres.Fired

	schedule *postgres.Schedule
	start    []time.Time // the times to create tasks for, oldest first
	cancel   *uuid.UUID  // the task to cancel once another is created
}

// planFor decides by the policies of a schedule. It looks at nothing else, so
// whoever fires decides the same.
func planFor(d *postgres.DueSchedule) plan {
	p := plan{schedule: &d.Schedule, Fired: postgres.Fired{Schedule: d.ID, NextRunAt: d.NextRunAt, BufferedFor: d.BufferedFor}}
	if d.BufferedFor != nil && !d.LastOpen {
		p.start, p.BufferedFor = []time.Time{*d.BufferedFor}, nil
	}
	if d.NextRunAt == nil || d.NextRunAt.After(d.Now) {
		return p // only the time that waited
	}
	due := *d.NextRunAt
	p.LastRunAt, p.NextRunAt = &due, nil
	times, err := cron.Parse(d.Cron, d.TimeZone)
	if err != nil { // was valid when it was stored: the zone is gone, or somebody wrote to the table
		p.record(due, failed, err.Error())
		return p
	}
	if next := times.Next(d.Now); !next.IsZero() {
		p.NextRunAt = &next
	}
	newest := times.Latest(due.Add(-time.Nanosecond), d.Now)
	if newest.IsZero() { // the rules of the zone have changed since
		newest = due
	}
	p.LastRunAt = &newest
	start := toStart(d, times, newest)
	if len(start) == 0 || start[0].After(due) {
		p.record(due, skipped, missed(d, start, newest))
	}
	if len(start) > 0 && (d.LastOpen || len(p.start) > 0) {
		start = p.overlapping(d, start)
	}
	p.start = append(p.start, start...)
	return p
}

// overlapping returns the times for which the overlap policy starts a run all the
// same, while the last task, or one that is to be created before, is open.
func (p *plan) overlapping(d *postgres.DueSchedule, start []time.Time) []time.Time {
	switch d.Overlap {
	case schedules.OverlapSkip:
		p.record(start[0], skipped, fmt.Sprintf("task %s has not ended", d.LastTaskID))
		return nil
	case schedules.OverlapBufferOne:
		if p.BufferedFor == nil {
			p.BufferedFor = &start[0]
		} else {
			p.record(start[0], skipped, fmt.Sprintf("task %s has not ended, and the run of %s waits for it already",
				d.LastTaskID, p.BufferedFor.UTC().Format(time.RFC3339)))
		}
		return nil
	case schedules.OverlapCancelOther:
		p.cancel = d.LastTaskID
	}
	return start
}

// record notes a time for which no task is created.
func (p *plan) record(at time.Time, outcome, reason string) {
	p.Runs = append(p.Runs, postgres.ScheduleRun{Schedule: p.Schedule, ScheduledFor: at, Outcome: outcome, Reason: reason})
	p.LastError = reason
}

// toStart returns the times for which the catch-up policy starts a run.
func toStart(d *postgres.DueSchedule, times cron.Schedule, newest time.Time) []time.Time {
	switch d.CatchUp {
	case schedules.CatchUpNone:
		if d.Now.Sub(newest) > schedules.OnTime {
			return nil
		}
	case schedules.CatchUpAll:
		return all(d, times)
	}
	return []time.Time{newest}
}

// all returns the times within the window, the newest as many as may be.
func all(d *postgres.DueSchedule, times cron.Schedule) []time.Time {
	from := d.Now.Add(-time.Duration(d.CatchUpWindow) * time.Second)
	if from.Before(*d.NextRunAt) {
		from = d.NextRunAt.Add(-time.Nanosecond)
	}
	var found []time.Time
	for at := times.Next(from); !at.IsZero() && !at.After(d.Now); at = times.Next(at) {
		found = append(found, at)
	}
	return found[max(0, len(found)-int(d.CatchUpMax)):]
}

// missed says why nothing is started for the time a schedule was due at first.
func missed(d *postgres.DueSchedule, start []time.Time, newest time.Time) string {
	text := "missed while nobody could start it; catch_up is " + d.CatchUp
	switch {
	case len(start) > 0:
		return fmt.Sprintf("%s: the next one started is that of %s", text, start[0].UTC().Format(time.RFC3339))
	case newest.After(*d.NextRunAt):
		return fmt.Sprintf("%s: so were the others up to %s", text, newest.UTC().Format(time.RFC3339))
	}
	return text
}
