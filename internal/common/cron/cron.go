// Package cron says when a schedule fires: it reads cron expressions and finds
// the times they mean in a time zone. It knows no clock and no database.
//
// An expression has five fields: minute, hour, day of the month, month and day of
// the week (crontab(5)). The smallest step is a minute. Where both days are
// restricted, either of them is enough.
//
// What happens when clocks are set depends on the hour field. With a fixed hour
// (9, 1-5, 0,12) a schedule means times of the day, and each of them comes once a
// day: one that clocks jump over comes at the end of the gap, one that they pass
// twice comes the first time. With every hour (*, */2) it follows the time that
// passes: it has no times in the gap and comes both times in the overlap. So a
// daily run is never lost or doubled, and an hourly one stays hourly.
package cron

import (
	"math/bits"
	"time"
	_ "time/tzdata" // so that a zone means the same on every host, whatever is installed there
)

// A Schedule is an expression in a time zone. It is a value: copies are equal
// and safe for concurrent use.
type Schedule struct {
	minutes, hours, days, months, weekdays set

	anyDay, anyWeekday bool // the field begins with *
	everyHour          bool // the hour field does
	zone               *time.Location
}

// A set of numbers below 64.
type set uint64

func (s set) has(n int) bool { return s&(1<<n) != 0 }

// next returns the lowest member that is at least n.
func (s set) next(n int) (int, bool) {
	rest := s >> n
	if rest == 0 {
		return 0, false
	}
	return n + bits.TrailingZeros64(uint64(rest)), true
}

// horizon is how many years ahead a time is looked for. The longest way between
// two that exist is from 29 February 2096 to that of 2104.
const horizon = 9

// Next returns the first time after t, or the zero time when there is none
// within nine years.
func (s Schedule) Next(t time.Time) time.Time {
	t = t.In(s.zone)
	until := t.Year() + horizon
	from := wall(t).Truncate(time.Minute).Add(time.Minute)
	if resumed, again := s.repeated(t); again && from.Before(resumed) {
		from = resumed
	}
	for at := t; ; {
		end := zoneEnd(at)
		found, ok := s.match(from, until)
		if !ok {
			return time.Time{}
		}
		if instant := found.Add(-offset(at)); end.IsZero() || instant.Before(end) {
			return instant.In(s.zone)
		}
		// The clock is set before that.
		before, after := wallAt(end, offset(at)), wall(end)
		if !s.everyHour && before.Before(after) {
			if lost, ok := s.match(ceil(before), until); ok && lost.Before(after) {
				return end
			}
		}
		at, from = end, ceil(after)
		if !s.everyHour && after.Before(before) {
			from = ceil(before)
		}
	}
}

// zoneEnd is when the clock is set next; the zero time when it never is. Of the
// last day of a leap year after 2037 time.ZoneBounds says that the clock was set
// before it; nothing is set there, and looking again a day later is enough.
func zoneEnd(t time.Time) time.Time {
	_, end := t.ZoneBounds()
	if !end.IsZero() && !end.After(t) {
		end = t.Add(24 * time.Hour)
	}
	return end
}

// repeated reports whether the clock has been set back to show, at t, times that
// a schedule with fixed hours has had already, and up to which.
func (s Schedule) repeated(t time.Time) (until time.Time, again bool) {
	begin, _ := t.ZoneBounds()
	if s.everyHour || begin.IsZero() {
		return time.Time{}, false
	}
	before := wallAt(begin, offset(begin.Add(-time.Nanosecond)))
	return ceil(before), wall(begin).Before(before)
}

// match returns the first time the clock can show, from the given one on, that
// the fields allow.
func (s Schedule) match(t time.Time, lastYear int) (time.Time, bool) {
	for t.Year() <= lastYear {
		year, month, day := t.Date()
		if !s.months.has(int(month)) {
			t = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		}
		if s.onDay(t) {
			if hour, minute, ok := s.inDay(t.Hour(), t.Minute()); ok {
				return time.Date(year, month, day, hour, minute, 0, 0, time.UTC), true
			}
		}
		t = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
	}
	return time.Time{}, false
}

func (s Schedule) onDay(t time.Time) bool {
	day, weekday := s.days.has(t.Day()), s.weekdays.has(int(t.Weekday()))
	if s.anyDay || s.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// inDay returns the first time of a day that is not before the given one.
func (s Schedule) inDay(hour, minute int) (int, int, bool) {
	h, ok := s.hours.next(hour)
	if !ok {
		return 0, 0, false
	}
	if h > hour {
		minute = 0
	}
	if m, ok := s.minutes.next(minute); ok {
		return h, m, true
	}
	if h, ok = s.hours.next(h + 1); !ok {
		return 0, 0, false
	}
	m, _ := s.minutes.next(0)
	return h, m, true
}

// What a clock shows is kept as a time in UTC, where no clock is ever set.

func wall(t time.Time) time.Time { return wallAt(t, offset(t)) }

func wallAt(t time.Time, east time.Duration) time.Time { return t.UTC().Add(east) }

// offset is how far the clock is ahead of UTC.
func offset(t time.Time) time.Duration {
	_, east := t.Zone()
	return time.Duration(east) * time.Second
}

// ceil is the first full minute that is not before t.
func ceil(t time.Time) time.Time {
	if whole := t.Truncate(time.Minute); !whole.Before(t) {
		return whole
	}
	return t.Truncate(time.Minute).Add(time.Minute)
}

// Upcoming returns the first n times after t, fewer when there are no more.
func (s Schedule) Upcoming(t time.Time, n int) []time.Time {
	var times []time.Time
	for range n {
		if t = s.Next(t); t.IsZero() {
			break
		}
		times = append(times, t)
	}
	return times
}

// Latest returns the last time that is after the first of two times and not
// after the second; the zero time when there is none. It looks from the end, in
// growing steps, so a long gap between the two costs little.
func (s Schedule) Latest(after, until time.Time) time.Time {
	for back := time.Hour; ; back *= 24 {
		from := until.Add(-back)
		whole := !from.After(after)
		if whole {
			from = after
		}
		var last time.Time
		for t := s.Next(from); !t.IsZero() && !t.After(until); t = s.Next(t) {
			last = t
		}
		if !last.IsZero() || whole || back > horizon*365*24*time.Hour { // then nothing is closer
			return last
		}
	}
}
