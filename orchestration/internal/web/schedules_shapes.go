package web

import (
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/cron"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// A ScheduleRequest asks for a schedule.
type ScheduleRequest struct {
	Name          string     `json:"name" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$" doc:"Unique" example:"nightly-report"`
	Namespace     string     `json:"namespace" minLength:"1" doc:"Of the template"`
	Template      string     `json:"template" minLength:"1"`
	Version       string     `json:"version,omitempty" doc:"Of the template; without it the highest one when it fires"`
	Context       web.Object `json:"context,omitzero" doc:"The input of each task, an object of at most 1 MiB; without it {}"`
	TimeField     string     `json:"time_field,omitempty" doc:"The field of the context that gets the scheduled time, in RFC 3339 and UTC"`
	Priority      int        `json:"priority,omitempty" minimum:"-100" maximum:"100"`
	Tags          []string   `json:"tags,omitempty" nullable:"false"`
	Cron          string     `json:"cron" maxLength:"200" doc:"Five fields: minute, hour, day, month, weekday; or @hourly, @daily, @weekly, @monthly, @yearly" example:"30 2 * * *"`
	TimeZone      string     `json:"time_zone,omitempty" doc:"As in the IANA database; without it UTC" example:"Europe/Berlin"`
	Overlap       string     `json:"overlap,omitempty" enum:"skip,allow,buffer_one,cancel_other" doc:"While the task created last has not ended: create none (the default), another, one when it has ended, or another and cancel it"`
	CatchUp       string     `json:"catch_up,omitempty" enum:"none,last,all" doc:"Of the times that passed while nobody could fire start none, the last (the default), or all, which needs overlap allow"`
	CatchUpMax    int        `json:"catch_up_max,omitempty" minimum:"1" maximum:"100" doc:"How many runs all starts at most, the newest; without it 10"`
	CatchUpWindow int        `json:"catch_up_window_seconds,omitempty" minimum:"60" maximum:"2678400" doc:"How late all starts a run; without it a day"`
	Paused        bool       `json:"paused,omitempty"`
}

func (r *ScheduleRequest) spec() schedules.Spec {
	return schedules.Spec{
		Name: r.Name, Template: postgres.TemplateName{Namespace: r.Namespace, Name: r.Template, Version: r.Version},
		Context: r.Context.RawMessage, TimeField: r.TimeField, Priority: r.Priority, Tags: r.Tags, Cron: r.Cron, TimeZone: r.TimeZone,
		Overlap: r.Overlap, CatchUp: r.CatchUp, CatchUpMax: r.CatchUpMax, CatchUpWindow: time.Duration(r.CatchUpWindow) * time.Second,
		Paused: r.Paused,
	}
}

// A ScheduleChange changes a schedule; what it leaves out stays as it is.
type ScheduleChange struct {
	Namespace     *string     `json:"namespace,omitempty"`
	Template      *string     `json:"template,omitempty"`
	Version       *string     `json:"version,omitempty" doc:"Empty for the highest one"`
	Context       *web.Object `json:"context,omitempty"`
	TimeField     *string     `json:"time_field,omitempty" doc:"Empty for none"`
	Priority      *int        `json:"priority,omitempty" minimum:"-100" maximum:"100"`
	Tags          *[]string   `json:"tags,omitempty"`
	Cron          *string     `json:"cron,omitempty" maxLength:"200"`
	TimeZone      *string     `json:"time_zone,omitempty"`
	Overlap       *string     `json:"overlap,omitempty" enum:"skip,allow,buffer_one,cancel_other"`
	CatchUp       *string     `json:"catch_up,omitempty" enum:"none,last,all"`
	CatchUpMax    *int        `json:"catch_up_max,omitempty" minimum:"1" maximum:"100"`
	CatchUpWindow *int        `json:"catch_up_window_seconds,omitempty" minimum:"60" maximum:"2678400"`
	Paused        *bool       `json:"paused,omitempty"`
}

// apply changes a spec.
func (c *ScheduleChange) apply(s *schedules.Spec) {
	set(&s.Template.Namespace, c.Namespace)
	set(&s.Template.Name, c.Template)
	set(&s.Template.Version, c.Version)
	set(&s.TimeField, c.TimeField)
	set(&s.Priority, c.Priority)
	set(&s.Tags, c.Tags)
	set(&s.Cron, c.Cron)
	set(&s.TimeZone, c.TimeZone)
	set(&s.Overlap, c.Overlap)
	set(&s.CatchUp, c.CatchUp)
	set(&s.CatchUpMax, c.CatchUpMax)
	set(&s.Paused, c.Paused)
	if c.Context != nil {
		s.Context = c.Context.RawMessage
	}
	if c.CatchUpWindow != nil {
		s.CatchUpWindow = time.Duration(*c.CatchUpWindow) * time.Second
	}
}

func set[T any](value, to *T) {
	if to != nil {
		*value = *to
	}
}

// A Schedule is how a schedule stands.
type Schedule struct {
	ID            uuid.UUID   `json:"schedule_uuid" format:"uuid"`
	Name          string      `json:"name"`
	Namespace     string      `json:"namespace"`
	Template      string      `json:"template"`
	Version       *string     `json:"version,omitempty" doc:"Without it the highest one when it fires"`
	Context       web.Object  `json:"context"`
	TimeField     *string     `json:"time_field,omitempty"`
	Priority      int16       `json:"priority"`
	Tags          []string    `json:"tags,omitempty"`
	Cron          string      `json:"cron"`
	TimeZone      string      `json:"time_zone"`
	Overlap       string      `json:"overlap"`
	CatchUp       string      `json:"catch_up"`
	CatchUpMax    int32       `json:"catch_up_max"`
	CatchUpWindow int32       `json:"catch_up_window_seconds"`
	Paused        bool        `json:"paused"`
	NextRunAt     *time.Time  `json:"next_run_at,omitempty" doc:"Without it no time is left, or it is paused"`
	Upcoming      []time.Time `json:"upcoming,omitempty" doc:"The first times from next_run_at on, in its time zone"`
	LastRunAt     *time.Time  `json:"last_run_at,omitempty" doc:"The last scheduled time that was dealt with"`
	LastTaskID    *uuid.UUID  `json:"last_task_uuid,omitempty" format:"uuid" doc:"The last task that was created"`
	BufferedFor   *time.Time  `json:"buffered_for,omitempty" doc:"The scheduled time whose task is created when the last one has ended"`
	LastError     *string     `json:"last_error,omitempty" doc:"Why the last time made no task"`
	CreatedAt     time.Time   `json:"created_at"`
	UpdatedAt     time.Time   `json:"updated_at"`
}

// shownTimes is how many times to come a schedule is shown with.
const shownTimes = 5

func scheduleOf(s *postgres.Schedule) Schedule {
	out := Schedule{
		ID: s.ID, Name: s.Name, Namespace: s.Namespace, Template: s.Template, Version: s.Version, Context: web.Object{RawMessage: s.Context},
		TimeField: s.TimeField, Priority: s.Priority, Tags: s.Tags, Cron: s.Cron, TimeZone: s.TimeZone, Overlap: s.Overlap,
		CatchUp: s.CatchUp, CatchUpMax: s.CatchUpMax, CatchUpWindow: s.CatchUpWindow, Paused: s.Paused, NextRunAt: s.NextRunAt,
		LastRunAt: s.LastRunAt, LastTaskID: s.LastTaskID, LastError: s.LastError, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
		BufferedFor: s.BufferedFor,
	}
	if times, err := cron.Parse(s.Cron, s.TimeZone); err == nil && s.NextRunAt != nil {
		out.Upcoming = times.Upcoming(s.NextRunAt.Add(-time.Nanosecond), shownTimes)
	}
	return out
}

// A ScheduleRun is what became of one scheduled time.
type ScheduleRun struct {
	ScheduledFor time.Time  `json:"scheduled_for" doc:"Of a manual run: when it was asked for"`
	Manual       bool       `json:"manual"`
	Outcome      string     `json:"outcome" enum:"created,skipped,failed"`
	TaskID       *uuid.UUID `json:"task_uuid,omitempty" format:"uuid"`
	Reason       string     `json:"reason,omitempty" doc:"Why there is no task"`
	At           time.Time  `json:"at"`
}
