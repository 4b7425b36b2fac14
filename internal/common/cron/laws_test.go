package cron

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// zones set their clocks in many ways: in spring, in autumn, at midnight, by half
// an hour, by a day, for Ramadan, or never.
var zones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca",
	"Africa/Cairo", "Asia/Kolkata", "America/St_Johns", "Europe/Dublin", "America/Scoresbysund",
}

// anyField draws the text of a field.
func anyField(f field) *rapid.Generator[string] {
	number := rapid.IntRange(f.low, f.top)
	item := rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0, 1:
			return "*"
		case 2:
			return fmt.Sprintf("*/%d", rapid.IntRange(1, f.top).Draw(t, "step"))
		case 3:
			a, b := number.Draw(t, "a"), number.Draw(t, "b")
			return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
		case 4:
			if f.names != nil {
				return rapid.SampledFrom(f.names).Draw(t, "name")
			}
		}
		return fmt.Sprint(number.Draw(t, "n"))
	})
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(item, 1, 3).Draw(t, "items"), ",")
	})
}

func anySchedule(t *rapid.T) Schedule {
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = anyField(f).Draw(t, f.name)
	}
	s, err := Parse(strings.Join(parts, " "), rapid.SampledFrom(zones).Draw(t, "zone"))
	if err != nil {
		t.Skip(err) // a day that does not exist
	}
	return s
}

// TestNextLaws: for any expression in any zone the times grow strictly, each is
// one that the clock shows and the fields allow, or the end of a gap, and what is
// between two was no time: a walk over every minute finds the same.
func TestNextLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := anySchedule(t)
		start := time.Unix(rapid.Int64Range(time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC).Unix()).Draw(t, "start"), 0)
		if rapid.Bool().Draw(t, "near a change of the clock") {
			if _, end := start.In(s.zone).ZoneBounds(); !end.IsZero() {
				start = end.Add(time.Duration(rapid.IntRange(-200, 100).Draw(t, "minutes")) * time.Minute)
			}
		}
		const days = 3
		until := start.Add(days * 24 * time.Hour)
		var got []time.Time
		for at := s.Next(start); !at.IsZero() && !at.After(until); at = s.Next(at) {
			if !at.After(start) || len(got) > 0 && !at.After(got[len(got)-1]) {
				t.Fatalf("%s follows %v", at, got)
			}
			got = append(got, at)
		}
		if want := walk(s, start, until); !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Fatalf("from %s:\ngot  %v\nwant %v", start.In(s.zone), got, want)
		}
		if last := s.Latest(start, until); len(got) > 0 && !last.Equal(got[len(got)-1]) || len(got) == 0 && !last.IsZero() {
			t.Fatalf("the latest is %s of %v", last, got)
		}
		// From any moment on, the rest is the same.
		middle := start.Add(time.Duration(rapid.IntRange(0, days*24*3600).Draw(t, "middle")) * time.Second)
		rest := slices.IndexFunc(got, func(at time.Time) bool { return at.After(middle) })
		if next := s.Next(middle); rest >= 0 && !next.Equal(got[rest]) {
			t.Fatalf("after %s comes %s, not %s", middle, next, got[rest])
		}
	})
}

// walk looks at every minute, as a clock would: the definition that Next must
// keep, without its arithmetic.
func walk(s Schedule, start, until time.Time) []time.Time {
	var found []time.Time
	for at := start.Truncate(time.Minute).Add(time.Minute); !at.After(until); at = at.Add(time.Minute) {
		now, before := at.In(s.zone), at.Add(-time.Minute).In(s.zone)
		_, east := now.Zone()
		_, was := before.Zone()
		fires := s.allows(now)
		switch {
		case s.everyHour:
		case fires && s.shownBefore(now):
			fires = false
		case east > was: // the clock has just jumped: over what?
			for lost := at.Add(time.Duration(was) * time.Second).UTC(); lost.Before(at.Add(time.Duration(east) * time.Second).UTC()); lost = lost.Add(time.Minute) {
				fires = fires || s.allows(lost)
			}
		}
		if fires {
			found = append(found, at)
		}
	}
	return found
}

func (s Schedule) allows(t time.Time) bool {
	if !s.months.has(int(t.Month())) || !s.hours.has(t.Hour()) || !s.minutes.has(t.Minute()) {
		return false
	}
	return s.onDay(t)
}

// shownBefore reports whether the clock has shown the same time within the three
// hours before.
func (s Schedule) shownBefore(t time.Time) bool {
	const face = "2006-01-02 15:04"
	for back := time.Minute; back <= 3*time.Hour; back += time.Minute {
		if t.Add(-back).Format(face) == t.Format(face) {
			return true
		}
	}
	return false
}

// FuzzParse: whatever is given, Parse does not panic; what it accepts has times
// that grow, and a text of the fields it understood.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"* * * * *", "*/15 9-17 1,15 jan-mar mon", "@daily", "0 0 29 2 *", "5-59/20 * * * 7", "1-2-3 * * * *", "*/* * * * *", "@"} {
		f.Add(seed, "Europe/Berlin")
	}
	f.Add("0 0 * * *", "")
	f.Fuzz(func(t *testing.T, expression, zone string) {
		s, err := Parse(expression, zone)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without a text")
			}
			return
		}
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for _, next := range s.Upcoming(at, 5) {
			if !next.After(at) {
				t.Errorf("%q in %q: %s is not after %s", expression, zone, next, at)
			}
			at = next
		}
	})
}
