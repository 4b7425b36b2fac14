package cron

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const layout = "2006-01-02 15:04 -07"

func parse(t *testing.T, expression, zone string) Schedule {
	t.Helper()
	s, err := Parse(expression, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestNext: fields, days, and what happens when clocks are set. Times are given
// and wanted in the zone of the schedule.
func TestNext(t *testing.T) {
	t.Parallel()
	const berlin, newYork, saoPaulo, lordHowe, apia = "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia"
	tests := []struct {
		name, cron, zone, after string
		want                    []string
	}{
		{"every minute", "* * * * *", "", "2026-01-31 23:58 +00", []string{"2026-01-31 23:59 +00", "2026-02-01 00:00 +00"}},
		{"steps", "5-59/20 * * * *", "UTC", "2026-01-01 00:25 +00", []string{"2026-01-01 00:45 +00", "2026-01-01 01:05 +00"}},
		{"working hours", "30 9-17/4 * * mon-fri", "UTC", "2026-11-20 13:30 +00", []string{"2026-11-20 17:30 +00", "2026-11-23 09:30 +00"}},
		{"either day", "0 0 13 * 5", "UTC", "2026-11-06 00:00 +00", []string{"2026-11-13 00:00 +00", "2026-11-20 00:00 +00"}},
		{"either day, the other", "0 0 12 * 5", "UTC", "2026-11-06 00:00 +00", []string{"2026-11-12 00:00 +00", "2026-11-13 00:00 +00"}},
		{"both days where one has a star", "0 0 */2 * 5", "UTC", "2026-11-01 00:00 +00", []string{"2026-11-13 00:00 +00", "2026-11-27 00:00 +00"}},
		{"Sunday is 7", "0 0 * * 6-7", "UTC", "2026-11-23 00:00 +00", []string{"2026-11-28 00:00 +00", "2026-11-29 00:00 +00"}},
		{"leap day across 2100", "0 0 29 2 *", "UTC", "2096-02-29 00:00 +00", []string{"2104-02-29 00:00 +00"}},
		{"after 2037 in a zone with rules", "0 0 29 2 *", "Europe/Berlin", "2040-02-29 00:00 +01", []string{"2044-02-29 00:00 +01", "2048-02-29 00:00 +01"}},
		{"last of months", "0 0 31 * *", "UTC", "2026-01-31 00:00 +00", []string{"2026-03-31 00:00 +00", "2026-05-31 00:00 +00"}},
		{"macro", "@weekly", "UTC", "2026-11-24 00:00 +00", []string{"2026-11-29 00:00 +00"}},

		{"gap: daily comes at its end", "30 2 * * *", berlin, "2026-03-28 02:30 +01", []string{"2026-03-29 03:00 +02", "2026-03-30 02:30 +02"}},
		{"gap: several become one", "0,20,40 2 * * *", berlin, "2026-03-29 00:00 +01", []string{"2026-03-29 03:00 +02", "2026-03-30 02:00 +02"}},
		{"gap: one that is at its end anyway", "0 2,3 * * *", berlin, "2026-03-29 00:00 +01", []string{"2026-03-29 03:00 +02", "2026-03-30 02:00 +02"}},
		{"gap: hourly goes on", "30 * * * *", berlin, "2026-03-29 00:30 +01", []string{"2026-03-29 01:30 +01", "2026-03-29 03:30 +02"}},
		{"gap: every two hours has none in it", "0 */2 * * *", berlin, "2026-03-29 00:00 +01", []string{"2026-03-29 04:00 +02"}},
		{"gap: from inside what the clock jumps over", "30 2 * * *", berlin, "2026-03-29 03:00 +02", []string{"2026-03-30 02:30 +02"}},
		{"gap at midnight", "0 0 * * *", saoPaulo, "2018-11-03 00:00 -03", []string{"2018-11-04 01:00 -02", "2018-11-05 00:00 -02"}},
		{"gap at midnight, weekday", "0 0 * * 0", saoPaulo, "2018-10-28 00:00 -03", []string{"2018-11-04 01:00 -02", "2018-11-11 00:00 -02"}},
		{"gap of a day", "0 9 * * *", apia, "2011-12-29 09:00 -10", []string{"2011-12-31 00:00 +14", "2011-12-31 09:00 +14"}},

		{"overlap: daily comes the first time", "30 2 * * *", berlin, "2026-10-24 02:30 +02", []string{"2026-10-25 02:30 +02", "2026-10-26 02:30 +01"}},
		{"overlap: from within its second pass", "*/20 2 * * *", berlin, "2026-10-25 02:10 +01", []string{"2026-10-26 02:00 +01"}},
		{"overlap: the end of it comes once", "0 3 * * *", berlin, "2026-10-25 02:10 +02", []string{"2026-10-25 03:00 +01"}},
		{"overlap: hourly comes both times", "30 * * * *", berlin, "2026-10-25 01:30 +02", []string{"2026-10-25 02:30 +02", "2026-10-25 02:30 +01", "2026-10-25 03:30 +01"}},
		{"overlap: at midnight", "0 0 * * *", saoPaulo, "2018-02-17 00:00 -02", []string{"2018-02-18 00:00 -03"}},
		{"overlap: an hour before midnight comes once", "30 23 * * *", saoPaulo, "2018-02-17 12:00 -02", []string{"2018-02-17 23:30 -02", "2018-02-18 23:30 -03"}},
		{"New York, both ways", "30 1 * * *", newYork, "2026-10-31 01:30 -04", []string{"2026-11-01 01:30 -04", "2026-11-02 01:30 -05"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := parse(t, tt.cron, tt.zone)
			after, err := time.Parse(layout, tt.after)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(s.Upcoming(after, len(tt.want))); !slices.Equal(got, tt.want) {
				t.Errorf("%s in %s after %s:\ngot  %v\nwant %v", tt.cron, tt.zone, tt.after, got, tt.want)
			}
		})
	}
	half := parse(t, "15 2 * * *", lordHowe) // the clock is set by half an hour
	got := half.Next(time.Date(2026, 10, 3, 12, 0, 0, 0, time.UTC))
	if want := time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("a gap of half an hour: got %s, want %s", got, want)
	}
}

func show(times []time.Time) []string {
	out := make([]string, len(times))
	for i, t := range times {
		out[i] = t.Format(layout)
	}
	return out
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ cron, zone, want string }{
		{"", "", `cron "": it has 0 fields and needs 5`},
		{"0 0 * * * *", "", "it has 6 fields and needs 5"},
		{"60 * * * *", "", `minute "60": "60" is no number from 0 to 59`},
		{"* 24 * * *", "", `hour "24": "24" is no number from 0 to 23`},
		{"* * 0 * *", "", `day of the month "0": "0" is no number from 1 to 31`},
		{"* * * 13 *", "", `month "13": "13" is no number from 1 to 12 and no name like jan`},
		{"* * * * 8", "", `day of the week "8": "8" is no number from 0 to 7 and no name like sun`},
		{"5/15 * * * *", "", `minute "5/15": a step needs * or a range before it, as in 5-59/15`},
		{"*/0 * * * *", "", `minute "*/0": a step is a number from 1 to 59`},
		{"30-10 * * * *", "", `minute "30-10": the range 30-10 ends before it begins`},
		{"1,,2 * * * *", "", `minute "1,,2": "" is no number from 0 to 59`},
		{"-1 * * * *", "", `minute "-1": "" is no number from 0 to 59`},
		{"0 0 30 2 *", "", `cron "0 0 30 2 *": there is no such day`},
		{"@reboot", "", "only @hourly, @daily, @weekly, @monthly and @yearly have names"},
		{"TZ=UTC 0 0 * * *", "", "it has 6 fields and needs 5"},
		{strings.Repeat("1,", 100) + "1 * * * *", "", "it has 209 characters; at most 200 are allowed"},
		{"@daily", "Mars/Olympus", `time zone "Mars/Olympus" is unknown; it looks like Europe/Berlin or UTC`},
		{"@daily", "Local", `time zone "Local": name a zone`},
		{"@daily", "../../etc/passwd", "is unknown"},
	}
	for _, tt := range tests {
		_, err := Parse(tt.cron, tt.zone)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q in %q: got %v, want %q", tt.cron, tt.zone, err, tt.want)
		}
	}
}

func TestLatest(t *testing.T) {
	t.Parallel()
	s := parse(t, "0 12 * * mon", "UTC")
	monday := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	year := 365 * 24 * time.Hour
	for _, tt := range []struct{ after, until, want time.Time }{
		{monday.Add(-year), monday, monday},
		{monday.Add(-year), monday.Add(-time.Second), monday.AddDate(0, 0, -7)},
		{monday.Add(-year), monday.Add(6 * 24 * time.Hour), monday},
		{monday, monday.Add(time.Hour), time.Time{}},
		{monday.Add(-time.Second), monday, monday},
		{monday, monday.Add(-time.Hour), time.Time{}},
		{time.Time{}, monday, monday},
	} {
		if got := s.Latest(tt.after, tt.until); !got.Equal(tt.want) {
			t.Errorf("after %s until %s: got %s, want %s", tt.after, tt.until, got, tt.want)
		}
	}
}
