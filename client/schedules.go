package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
)

// Errors about schedules, besides [ErrNotFound].
var (
	ErrInvalidSchedule = schedules.ErrInvalid // the schedule itself is wrong
	ErrExists          = postgres.ErrExists   // the name is taken
)

// What a schedule does when a time comes while the task it created last has not
// ended.
const (
	OverlapSkip  = schedules.OverlapSkip  // it creates no task
	OverlapAllow = schedules.OverlapAllow // it creates another
	// OverlapBufferOne keeps the time and creates its task when the other has
	// ended; times that come while one is kept are skipped.
	OverlapBufferOne   = schedules.OverlapBufferOne
	OverlapCancelOther = schedules.OverlapCancelOther // it creates another and cancels that one
)

// What a schedule does about times that passed while no orchestrator ran.
const (
	CatchUpNone = schedules.CatchUpNone // nothing, but for one not more than a minute ago
	CatchUpLast = schedules.CatchUpLast // it creates a task for the last of them
	CatchUpAll  = schedules.CatchUpAll  // it creates a task for each within CatchUpWindow, for CatchUpMax of them; needs OverlapAllow
)

// A Schedule creates tasks at the times of a cron expression.
type Schedule struct {
	// Name is unique: 1 to 128 letters, digits and . _ -
	Name string
	// Task is what it creates. RunAt does not count, and Initiator, SourceSystem
	// and Reason are set when it fires.
	Task Request
	// TimeField is the field of the context that gets the scheduled time, in
	// RFC 3339 and UTC; empty means none.
	TimeField string
	// Cron is five fields (minute, hour, day, month, weekday) or one of @hourly,
	// @daily, @weekly, @monthly and @yearly.
	Cron string
	// TimeZone is a name of the IANA database; empty means UTC.
	TimeZone string
	// Overlap is one of the constants; empty means OverlapSkip.
	Overlap string
	// CatchUp is one of the constants; empty means CatchUpLast.
	CatchUp string
	// CatchUpMax is 1 to 100 and CatchUpWindow a minute to 31 days; zero means 10
	// and a day.
	CatchUpMax    int
	CatchUpWindow time.Duration
	Paused        bool

	// How it stands; ignored when it is created.
	NextRunAt  time.Time // zero: paused, or no time is left
	LastRunAt  time.Time // the last scheduled time that was dealt with
	LastTaskID string    // the last task that was created
	// BufferedFor is the time that waits for that task to end; zero: none.
	BufferedFor time.Time
	LastError   string // why the last time made no task
}

// CreateSchedule creates a schedule and returns it as it stands. The template
// need not be registered yet. Errors wrap [ErrInvalidSchedule] or [ErrExists].
func (c *Client) CreateSchedule(ctx context.Context, s Schedule) (*Schedule, error) {
	spec := schedules.Spec{
		Name: s.Name, Template: postgres.TemplateName{Namespace: s.Task.Namespace, Name: s.Task.Template, Version: s.Task.Version},
		TimeField: s.TimeField, Priority: s.Task.Priority, Tags: s.Task.Tags, Cron: s.Cron, TimeZone: s.TimeZone,
		Overlap: s.Overlap, CatchUp: s.CatchUp, CatchUpMax: s.CatchUpMax, CatchUpWindow: s.CatchUpWindow, Paused: s.Paused,
	}
	if s.Task.Context != nil {
		raw, err := json.Marshal(s.Task.Context)
		if err != nil {
			return nil, fmt.Errorf("%w: encode the context: %w", ErrInvalidSchedule, err)
		}
		spec.Context = raw
	}
	created, err := schedules.Create(ctx, c.pool, spec)
	if err != nil {
		return nil, err
	}
	c.notifier.Wake(c.names.SchedulesChannel())
	return scheduleOf(&created), nil
}

// Schedule reads a schedule. It wraps [ErrNotFound] when there is none.
func (c *Client) Schedule(ctx context.Context, name string) (*Schedule, error) {
	found, err := postgres.FindSchedule(ctx, c.pool, name)
	if err != nil {
		return nil, err
	}
	return scheduleOf(&found), nil
}

// PauseSchedule pauses a schedule.
func (c *Client) PauseSchedule(ctx context.Context, name string) error {
	return c.pause(ctx, name, true)
}

// ResumeSchedule resumes a schedule. What it missed meanwhile is not made up for.
func (c *Client) ResumeSchedule(ctx context.Context, name string) error {
	return c.pause(ctx, name, false)
}

func (c *Client) pause(ctx context.Context, name string, paused bool) error {
	if _, err := schedules.Update(ctx, c.pool, name, func(s *schedules.Spec) { s.Paused = paused }); err != nil {
		return err
	}
	c.notifier.Wake(c.names.SchedulesChannel())
	return nil
}

// TriggerSchedule creates a task of a schedule now, paused or not, and returns
// its id.
func (c *Client) TriggerSchedule(ctx context.Context, name string) (string, error) {
	accepted, err := schedules.Trigger(ctx, c.pool, c.door(), name)
	if err != nil {
		return "", err
	}
	for _, channel := range accepted.Channels(c.names) {
		c.notifier.Wake(channel)
	}
	return accepted.IDs[0].String(), nil
}

// DeleteSchedule deletes a schedule and its history, not its tasks.
func (c *Client) DeleteSchedule(ctx context.Context, name string) error {
	return postgres.DeleteSchedule(ctx, c.pool, name)
}

func scheduleOf(s *postgres.Schedule) *Schedule {
	name := schedules.Template(s)
	out := &Schedule{
		Name: s.Name, Cron: s.Cron, TimeZone: s.TimeZone, Overlap: s.Overlap, CatchUp: s.CatchUp, CatchUpMax: int(s.CatchUpMax),
		CatchUpWindow: time.Duration(s.CatchUpWindow) * time.Second, Paused: s.Paused,
		Task: Request{
			Namespace: name.Namespace, Template: name.Name, Version: name.Version, Context: s.Context,
			Priority: int(s.Priority), Tags: s.Tags,
		},
	}
	fill(&out.TimeField, s.TimeField)
	fill(&out.NextRunAt, s.NextRunAt)
	fill(&out.LastRunAt, s.LastRunAt)
	fill(&out.LastError, s.LastError)
	fill(&out.BufferedFor, s.BufferedFor)
	if s.LastTaskID != nil {
		out.LastTaskID = s.LastTaskID.String()
	}
	return out
}

func fill[T any](value, from *T) {
	if from != nil {
		*value = *from
	}
}
