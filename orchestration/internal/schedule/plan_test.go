package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tasker-systems/tasker-go/internal/common/cron"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
)

func at(hour, minute, second int) time.Time {
	return time.Date(2026, 11, 24, hour, minute, second, 0, time.UTC)
}

// hourly is due since the given time.
func hourly(due time.Time) postgres.DueSchedule {
	return postgres.DueSchedule{Schedule: postgres.Schedule{
		ID: uuid.New(), Cron: "@hourly", TimeZone: "UTC", Overlap: schedules.OverlapAllow, CatchUp: schedules.CatchUpLast,
		CatchUpMax: 10, CatchUpWindow: 24 * 3600, NextRunAt: &due,
	}}
}

// TestPlan: what each policy makes of times that have passed, three hours of them
// or none.
func TestPlan(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		due    time.Time
		now    time.Time
		change func(*postgres.DueSchedule)
		want   string // what is started; what is recorded
	}{
		{"on time", at(12, 0, 0), at(12, 0, 1), nil, "12:00;"},
		{"last, 3 h", at(12, 0, 0), at(15, 20, 0), nil, "15:00; 12:00 skipped missed while nobody could start it; catch_up is last: the next one started is that of 2026-11-24T15:00:00Z"},
		{"last, a little late", at(12, 0, 0), at(12, 59, 0), nil, "12:00;"},
		{"none, on time", at(12, 0, 0), at(12, 1, 0), with(schedules.CatchUpNone), "12:00;"},
		{"none, late", at(12, 0, 0), at(12, 1, 1), with(schedules.CatchUpNone), "; 12:00 skipped missed while nobody could start it; catch_up is none"},
		{"none, 3 h", at(12, 0, 0), at(15, 20, 0), with(schedules.CatchUpNone), "; 12:00 skipped missed while nobody could start it; catch_up is none: so were the others up to 2026-11-24T15:00:00Z"},
		{"none, 3 h, and the newest on time", at(12, 0, 0), at(15, 0, 59), with(schedules.CatchUpNone), "15:00; 12:00 skipped missed while nobody could start it; catch_up is none: the next one started is that of 2026-11-24T15:00:00Z"},
		{"all, 3 h", at(12, 0, 0), at(15, 20, 0), with(schedules.CatchUpAll), "12:00 13:00 14:00 15:00;"},
		{
			"all, at most 2", at(12, 0, 0), at(15, 20, 0),
			func(d *postgres.DueSchedule) { d.CatchUp, d.CatchUpMax = schedules.CatchUpAll, 2 },
			"14:00 15:00; 12:00 skipped missed while nobody could start it; catch_up is all: the next one started is that of 2026-11-24T14:00:00Z",
		},
		{
			"all within 90 minutes", at(12, 0, 0), at(15, 20, 0),
			func(d *postgres.DueSchedule) { d.CatchUp, d.CatchUpWindow = schedules.CatchUpAll, 90*60 },
			"14:00 15:00; 12:00 skipped missed while nobody could start it; catch_up is all: the next one started is that of 2026-11-24T14:00:00Z",
		},
		{
			"all, but the window is over", at(12, 0, 0), at(12, 20, 0),
			func(d *postgres.DueSchedule) { d.CatchUp, d.CatchUpWindow = schedules.CatchUpAll, 600 },
			"; 12:00 skipped missed while nobody could start it; catch_up is all",
		},
		{"overlap allowed", at(12, 0, 0), at(12, 0, 1), func(d *postgres.DueSchedule) { d.LastOpen = true }, "12:00;"},
		{
			"overlap skipped", at(12, 0, 0), at(12, 0, 1),
			func(d *postgres.DueSchedule) {
				d.LastOpen, d.Overlap, d.LastTaskID = true, schedules.OverlapSkip, &uuid.UUID{}
			},
			"; 12:00 skipped task 00000000-0000-0000-0000-000000000000 has not ended",
		},
		{
			"overlap buffered", at(12, 0, 0), at(12, 0, 1),
			func(d *postgres.DueSchedule) { d.LastOpen, d.Overlap = true, schedules.OverlapBufferOne }, "; keeps 12:00",
		},
		{
			"overlap buffered, and the last ended", at(12, 0, 0), at(12, 0, 1),
			func(d *postgres.DueSchedule) { d.Overlap, d.BufferedFor = schedules.OverlapBufferOne, before(11) }, "11:00; keeps 12:00",
		},
		{
			"one is buffered already", at(12, 0, 0), at(12, 0, 1),
			func(d *postgres.DueSchedule) {
				d.LastOpen, d.Overlap, d.LastTaskID, d.BufferedFor = true, schedules.OverlapBufferOne, &uuid.UUID{}, before(11)
			},
			"; 12:00 skipped task 00000000-0000-0000-0000-000000000000 has not ended, and the run of 2026-11-24T11:00:00Z waits for it already; keeps 11:00",
		},
		{
			"overlap cancels", at(12, 0, 0), at(12, 0, 1),
			func(d *postgres.DueSchedule) {
				d.LastOpen, d.Overlap, d.LastTaskID = true, schedules.OverlapCancelOther, &uuid.UUID{}
			}, "12:00; cancels",
		},
		{"nothing overlaps and is buffered", at(12, 0, 0), at(12, 0, 1), func(d *postgres.DueSchedule) { d.Overlap = schedules.OverlapBufferOne }, "12:00;"},
		{"nothing overlaps and is cancelled", at(12, 0, 0), at(12, 0, 1), func(d *postgres.DueSchedule) { d.Overlap = schedules.OverlapCancelOther }, "12:00;"},
		{"nothing overlaps", at(12, 0, 0), at(12, 0, 1), func(d *postgres.DueSchedule) { d.Overlap = schedules.OverlapSkip }, "12:00;"},
	}
	for _, tt := range tests {
		d := hourly(tt.due)
		d.Now = tt.now
		if tt.change != nil {
			tt.change(&d)
		}
		p := planFor(&d)
		if got := show(&p); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
		if want := tt.now.Truncate(time.Hour).Add(time.Hour); !p.NextRunAt.Equal(want) || !p.LastRunAt.Equal(want.Add(-time.Hour)) {
			t.Errorf("%s: goes on at %s after %s", tt.name, p.NextRunAt, p.LastRunAt)
		}
	}
}

func with(policy string) func(*postgres.DueSchedule) {
	return func(d *postgres.DueSchedule) { d.CatchUp = policy }
}

func before(hour int) *time.Time {
	t := at(hour, 0, 0)
	return &t
}

func show(p *plan) string {
	var times []string
	for _, start := range p.start {
		times = append(times, start.Format("15:04"))
	}
	text := strings.Join(times, " ") + ";"
	for _, r := range p.Runs {
		text += fmt.Sprintf(" %s %s %s", r.ScheduledFor.Format("15:04"), r.Outcome, r.Reason)
	}
	text = strings.TrimSuffix(text, " ")
	if len(p.Runs) > 0 && p.BufferedFor != nil {
		text += ";"
	}
	if p.BufferedFor != nil {
		text += " keeps " + p.BufferedFor.Format("15:04")
	}
	if p.cancel != nil {
		text += " cancels"
	}
	return text
}

// TestPlanOfWhatWaited: a time that waited is started, and the schedule's times
// stay as they are, be it paused or not.
func TestPlanOfWhatWaited(t *testing.T) {
	t.Parallel()
	d := hourly(at(13, 0, 0))
	d.Now, d.Overlap, d.BufferedFor = at(12, 20, 0), schedules.OverlapBufferOne, before(12)
	if p := planFor(&d); show(&p) != "12:00;" || !p.NextRunAt.Equal(at(13, 0, 0)) || p.LastRunAt != nil {
		t.Errorf("%s, goes on at %v after %v", show(&p), p.NextRunAt, p.LastRunAt)
	}
	d.NextRunAt = nil
	if p := planFor(&d); show(&p) != "12:00;" || p.NextRunAt != nil || p.LastRunAt != nil {
		t.Errorf("without a next time: %s, goes on at %v after %v", show(&p), p.NextRunAt, p.LastRunAt)
	}
}

// TestPlanOfAZoneThatIsGone: the schedule fails for good, and says why.
func TestPlanOfAZoneThatIsGone(t *testing.T) {
	t.Parallel()
	d := hourly(at(12, 0, 0))
	d.Now, d.TimeZone = at(12, 0, 1), "Atlantis/Center"
	p := planFor(&d)
	if p.NextRunAt != nil || len(p.start) > 0 || len(p.Runs) != 1 || p.Runs[0].Outcome != failed || !strings.Contains(p.LastError, "Atlantis/Center") {
		t.Errorf("got %+v", p)
	}
}

// TestPlanLaws lets a clock run, stand still, be set back, and a schedule be
// fired, paused and resumed: what is started comes strictly in order and never
// early, a pause is never made up for, and without catch-up nothing is late.
func TestPlanLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 365*24*60).Draw(t, "start")) * time.Minute)
		text := rapid.SampledFrom([]string{"*/7 * * * *", "@hourly", "30 2 * * *", "0 */5 * * *", "15,45 1-3 * * 0", "0 0 1 * *"}).Draw(t, "cron")
		zone := rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}).Draw(t, "zone")
		times, err := cron.Parse(text, zone)
		if err != nil {
			t.Fatal(err)
		}
		s := postgres.Schedule{
			Cron: text, TimeZone: zone, Overlap: schedules.OverlapAllow, CatchUpMax: int32(rapid.IntRange(1, 5).Draw(t, "max")),
			CatchUp:       rapid.SampledFrom([]string{schedules.CatchUpNone, schedules.CatchUpLast, schedules.CatchUpAll}).Draw(t, "catch up"),
			CatchUpWindow: int32(rapid.IntRange(60, 7*24*3600).Draw(t, "window")),
		}
		resumed := now
		s.NextRunAt = schedules.Next(&s, times, now)
		var last time.Time
		for range 100 {
			span := rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, time.Minute, 7 * time.Minute, time.Hour, 5 * time.Hour, 24 * time.Hour}).Draw(t, "span")
			switch rapid.SampledFrom([]string{"pass", "pass", "fire", "fire", "fire", "set back", "pause", "resume", "resume"}).Draw(t, "step") {
			case "pass":
				now = now.Add(time.Duration(rapid.IntRange(1, 4).Draw(t, "spans")) * span)
			case "set back":
				now = now.Add(-min(span, 2*time.Hour))
			case "pause":
				s.Paused = true
				s.NextRunAt = schedules.Next(&s, times, now)
			case "resume":
				s.Paused, resumed = false, now
				s.NextRunAt = schedules.Next(&s, times, now)
			case "fire":
				if s.NextRunAt == nil || s.NextRunAt.After(now) {
					continue
				}
				p := planFor(&postgres.DueSchedule{Schedule: s, Now: now})
				checkStarts(t, &s, &p, now)
				for _, start := range p.start {
					if !start.After(last) || !start.After(resumed) {
						t.Fatalf("at %s starts %s after %s; resumed at %s", now, start, last, resumed)
					}
					last = start
				}
				s.NextRunAt, s.LastRunAt = p.NextRunAt, p.LastRunAt
			}
			if s.Paused != (s.NextRunAt == nil) {
				t.Fatalf("paused: %t, next: %v", s.Paused, s.NextRunAt)
			}
			if s.LastRunAt != nil && s.NextRunAt != nil && !s.NextRunAt.After(*s.LastRunAt) {
				t.Fatalf("goes on at %s after %s", s.NextRunAt, s.LastRunAt)
			}
		}
	})
}

// checkStarts holds a plan to the catch-up policy.
func checkStarts(t *rapid.T, s *postgres.Schedule, p *plan, now time.Time) {
	for _, start := range p.start {
		late := now.Sub(start)
		switch {
		case late < 0:
			t.Fatalf("at %s starts %s", now, start)
		case s.CatchUp == schedules.CatchUpNone && late > schedules.OnTime:
			t.Fatalf("at %s starts %s", now, start)
		case s.CatchUp == schedules.CatchUpAll && late > time.Duration(s.CatchUpWindow)*time.Second:
			t.Fatalf("at %s starts %s", now, start)
		}
	}
	if s.CatchUp == schedules.CatchUpLast && len(p.start) != 1 {
		t.Fatalf("starts %v", p.start)
	}
	if len(p.start) == 0 && len(p.Runs) == 0 {
		t.Fatal("neither starts nor records anything")
	}
	if p.NextRunAt == nil || !p.NextRunAt.After(now) {
		t.Fatalf("at %s goes on at %v", now, p.NextRunAt)
	}
}
