// Package schedules keeps what starts tasks by the clock: it creates, changes and
// triggers schedules for the API and package client. What fires them is in
// orchestration/internal/schedule.
package schedules

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/cron"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// ErrInvalid marks what is wrong with a schedule itself.
var ErrInvalid = cron.ErrInvalid

// What to do when a time comes while the task created last has not ended.
const (
	OverlapSkip  = "skip"  // create no task, and say so in the history
	OverlapAllow = "allow" // create one all the same
	// OverlapBufferOne keeps the time and creates its task when the other has
	// ended. One time is kept, the first; those that come meanwhile are skipped.
	OverlapBufferOne = "buffer_one"
	// OverlapCancelOther cancels the other and creates one.
	OverlapCancelOther = "cancel_other"
)

// What to do about times that passed while nobody could fire.
const (
	CatchUpNone = "none" // only the newest, and only within [OnTime]
	CatchUpLast = "last" // only the newest, however late
	CatchUpAll  = "all"  // each within CatchUpWindow, the newest CatchUpMax of them
)

// OnTime is how late a run may start and still not count as missed: long enough
// for an orchestrator to restart or another to take over.
const OnTime = time.Minute

// The bounds of what [CatchUpAll] may do, and what it does unless told.
const (
	MaxCatchUp           = 100 // runs
	MaxCatchUpWindow     = 31 * 24 * time.Hour
	DefaultCatchUp       = 10
	DefaultCatchUpWindow = 24 * time.Hour
)

// A Spec is what people say of a schedule.
type Spec struct {
	Name          string // unique; letters, digits and . _ -
	Template      postgres.TemplateName
	Context       json.RawMessage // a JSON object; empty stands for {}
	TimeField     string          // the field of the context that gets the scheduled time; empty: none
	Priority      int
	Tags          []string
	Cron          string
	TimeZone      string        // empty stands for UTC
	Overlap       string        // empty stands for skip
	CatchUp       string        // empty stands for last
	CatchUpMax    int           // 0 stands for [DefaultCatchUp]
	CatchUpWindow time.Duration // 0 stands for [DefaultCatchUpWindow]
	Paused        bool
}

var nameShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// row checks a spec and makes it a row, without a next time. All problems are
// reported.
func (s *Spec) row() (postgres.Schedule, cron.Schedule, error) {
	s.fillIn()
	times, err := cron.Parse(s.Cron, s.TimeZone)
	problems := []error{err}
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	refuse(!nameShape.MatchString(s.Name), "the name must be 1 to 128 letters, digits, dots, dashes and underscores, the first a letter or digit")
	refuse(s.Template.Namespace == "" || s.Template.Name == "", "the template needs a namespace and a name")
	refuse(s.Priority < -intake.MaxPriority || s.Priority > intake.MaxPriority,
		"the priority is %d; it must be -%d to %d", s.Priority, intake.MaxPriority, intake.MaxPriority)
	var object map[string]json.RawMessage
	refuse(len(s.Context) > intake.MaxContext || json.Unmarshal(s.Context, &object) != nil || object == nil,
		"the context must be a JSON object of at most %d bytes", intake.MaxContext)
	refuse(!slices.Contains([]string{OverlapSkip, OverlapAllow, OverlapBufferOne, OverlapCancelOther}, s.Overlap),
		"overlap is %q; it must be skip, allow, buffer_one or cancel_other", s.Overlap)
	refuse(s.CatchUp != CatchUpNone && s.CatchUp != CatchUpLast && s.CatchUp != CatchUpAll,
		"catch_up is %q; it must be none, last or all", s.CatchUp)
	refuse(s.CatchUp == CatchUpAll && s.Overlap != OverlapAllow,
		"catch_up all starts several tasks at once, so it needs overlap allow")
	refuse(s.CatchUpMax < 1 || s.CatchUpMax > MaxCatchUp, "the most runs to catch up is %d; it must be 1 to %d", s.CatchUpMax, MaxCatchUp)
	refuse(s.CatchUpWindow < OnTime || s.CatchUpWindow > MaxCatchUpWindow,
		"the window to catch up is %s; it must be %s to %s", s.CatchUpWindow, OnTime, MaxCatchUpWindow)
	if err := errors.Join(problems...); err != nil {
		return postgres.Schedule{}, cron.Schedule{}, err
	}
	return postgres.Schedule{
		ID: uuid.Must(uuid.NewV7()), Name: s.Name, Namespace: s.Template.Namespace, Template: s.Template.Name,
		Version: orNil(s.Template.Version), Context: s.Context, TimeField: orNil(s.TimeField), Priority: int16(s.Priority), Tags: s.Tags, //nolint:gosec // checked
		Cron: s.Cron, TimeZone: s.TimeZone, Overlap: s.Overlap, CatchUp: s.CatchUp,
		CatchUpMax: int32(s.CatchUpMax), CatchUpWindow: int32(s.CatchUpWindow / time.Second), Paused: s.Paused, //nolint:gosec // checked
	}, times, nil
}

// fillIn replaces what is empty by what it stands for.
func (s *Spec) fillIn() {
	if len(bytes.TrimSpace(s.Context)) == 0 {
		s.Context = json.RawMessage(`{}`)
	}
	for _, f := range []struct {
		value   *string
		instead string
	}{{&s.TimeZone, "UTC"}, {&s.Overlap, OverlapSkip}, {&s.CatchUp, CatchUpLast}} {
		if *f.value == "" {
			*f.value = f.instead
		}
	}
	if s.CatchUpMax == 0 {
		s.CatchUpMax = DefaultCatchUp
	}
	if s.CatchUpWindow == 0 {
		s.CatchUpWindow = DefaultCatchUpWindow
	}
}

// specOf is the inverse of row.
func specOf(r *postgres.Schedule) Spec {
	return Spec{
		Name: r.Name, Template: Template(r), Context: r.Context, TimeField: orEmpty(r.TimeField), Priority: int(r.Priority),
		Tags: r.Tags, Cron: r.Cron, TimeZone: r.TimeZone, Overlap: r.Overlap, CatchUp: r.CatchUp, CatchUpMax: int(r.CatchUpMax),
		CatchUpWindow: time.Duration(r.CatchUpWindow) * time.Second, Paused: r.Paused,
	}
}

// Template names the template that a schedule starts.
func Template(r *postgres.Schedule) postgres.TemplateName {
	return postgres.TemplateName{Namespace: r.Namespace, Name: r.Template, Version: orEmpty(r.Version)}
}

func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// Create stores a new schedule. It fires first at the first time after now, by
// the clock of the database. The template need not be registered yet. Errors
// wrap [ErrInvalid] or [postgres.ErrExists].
func Create(ctx context.Context, db postgres.DB, spec Spec) (postgres.Schedule, error) {
	row, times, err := spec.row()
	if err != nil {
		return postgres.Schedule{}, err
	}
	now, err := postgres.Clock(ctx, db)
	if err != nil {
		return postgres.Schedule{}, err
	}
	row.NextRunAt = Next(&row, times, now)
	created, err := postgres.CreateSchedule(ctx, db, row)
	return created, stored(err)
}

// Update changes a schedule, whose name stays. A change of its times, or its
// resumption, makes the first time after now the next one: what passed before is
// not made up for. Errors wrap [ErrInvalid] or [postgres.ErrNotFound].
func Update(ctx context.Context, db postgres.Pool, name string, change func(*Spec)) (postgres.Schedule, error) {
	var updated postgres.Schedule
	err := postgres.InTx(ctx, db, func(tx postgres.Pool) error {
		old, err := postgres.LockSchedule(ctx, tx, name)
		if err != nil {
			return err
		}
		spec := specOf(&old)
		change(&spec)
		spec.Name = name
		row, times, err := spec.row()
		if err != nil {
			return err
		}
		now, err := postgres.Clock(ctx, tx)
		if err != nil {
			return err
		}
		row.ID, row.LastRunAt, row.NextRunAt = old.ID, old.LastRunAt, old.NextRunAt
		if row.Cron != old.Cron || row.TimeZone != old.TimeZone || row.Paused != old.Paused {
			row.NextRunAt = Next(&row, times, now)
		}
		updated, err = postgres.UpdateSchedule(ctx, tx, row)
		return stored(err)
	})
	return updated, err
}

// Next returns when a schedule is due: the first time after now that is also
// after all that was dealt with, so that nothing fires a second time should the
// clock be set back. Nil: it is paused, or no time is left.
func Next(r *postgres.Schedule, times cron.Schedule, now time.Time) *time.Time {
	if r.Paused {
		return nil
	}
	if r.LastRunAt != nil && r.LastRunAt.After(now) {
		now = *r.LastRunAt
	}
	if at := times.Next(now); !at.IsZero() {
		return &at
	}
	return nil
}

// stored says of a value that PostgreSQL refuses that it is the caller's.
func stored(err error) error {
	if err != nil && postgres.IsDataError(err) {
		return fmt.Errorf("%w: PostgreSQL cannot store it: %s", ErrInvalid, postgres.Reason(err))
	}
	return err
}

// Trigger creates a task of a schedule now, paused or not, whatever its overlap
// policy says. Its times stay as they are. Errors are those of [intake.Accept],
// and [postgres.ErrNotFound].
func Trigger(ctx context.Context, db postgres.Pool, d intake.Door, name string) (intake.Accepted, error) {
	var accepted intake.Accepted
	err := postgres.InTx(ctx, db, func(tx postgres.Pool) error {
		s, err := postgres.LockSchedule(ctx, tx, name)
		if err != nil {
			return err
		}
		now, err := postgres.Clock(ctx, tx)
		if err != nil {
			return err
		}
		request := Request(&s, now)
		request.Reason = "triggered by hand"
		request.IdempotencyKey += " by hand " + uuid.NewString()
		if accepted, err = intake.Accept(ctx, tx, d, []intake.Request{request}); err != nil {
			return err
		}
		task := &accepted.IDs[0]
		return postgres.MoveSchedules(ctx, tx, []postgres.Fired{{
			Schedule: s.ID, NextRunAt: s.NextRunAt, BufferedFor: s.BufferedFor, LastTask: task, LastError: orEmpty(s.LastError),
			Runs: []postgres.ScheduleRun{{Schedule: s.ID, ScheduledFor: now, Manual: true, Outcome: "created", TaskID: task}},
		}})
	})
	return accepted, err
}

// Request asks for the task of a schedule for one of its times. Each time has a
// task of its own, whatever identity its template gives to tasks: all of a
// schedule have the same context.
func Request(s *postgres.Schedule, at time.Time) intake.Request {
	return intake.Request{
		Template: Template(s), Context: withTime(s, at), Priority: int(s.Priority), Tags: s.Tags,
		Initiator: "schedule " + s.Name, Reason: "scheduled for " + at.UTC().Format(time.RFC3339),
		IdempotencyKey: "schedule " + s.ID.String() + " " + at.UTC().Format(time.RFC3339),
	}
}

// withTime is the context of a schedule with the scheduled time in it, where the
// schedule wants that: in UTC, to the second.
func withTime(s *postgres.Schedule, at time.Time) json.RawMessage {
	if s.TimeField == nil {
		return s.Context
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(s.Context, &object); err != nil {
		return s.Context // intake says what is wrong with it
	}
	object[*s.TimeField] = json.RawMessage(at.UTC().Format(`"` + time.RFC3339 + `"`))
	raw, err := json.Marshal(object)
	if err != nil {
		return s.Context
	}
	return raw
}
