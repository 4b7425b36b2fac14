package cron

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrInvalid marks an expression or a time zone that cannot be read.
var ErrInvalid = errors.New("invalid schedule")

// MaxLength is how long an expression may be, in bytes.
const MaxLength = 200

// macros are the names for common expressions.
var macros = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// A field is one of the five.
type field struct {
	name     string
	low, top int
	names    []string // of the numbers from low on; nil: they have none
}

var fields = []field{
	{name: "minute", low: 0, top: 59},
	{name: "hour", low: 0, top: 23},
	{name: "day of the month", low: 1, top: 31},
	{name: "month", low: 1, top: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{name: "day of the week", low: 0, top: 7, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}, // 7 is Sunday too
}

// Parse reads an expression: five fields, or @hourly, @daily, @weekly, @monthly
// or @yearly. A field is *, or a list of numbers, names and ranges, each of which
// may have a step, as in */15, 1-5 or mon,wed-fri. The zone is a name of the IANA
// database such as Europe/Berlin; "" is UTC. Errors wrap [ErrInvalid].
func Parse(expression, zone string) (Schedule, error) {
	location, err := parseZone(zone)
	if err != nil {
		return Schedule{}, err
	}
	s, err := parseFields(expression)
	if err != nil {
		return Schedule{}, fmt.Errorf("%w: cron %q: %w", ErrInvalid, clip(expression), err)
	}
	s.zone = location
	if s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, fmt.Errorf("%w: cron %q: there is no such day", ErrInvalid, expression)
	}
	return s, nil
}

func parseZone(name string) (*time.Location, error) {
	if name == "Local" { // means another zone on every host
		return nil, fmt.Errorf("%w: time zone %q: name a zone, such as Europe/Berlin or UTC", ErrInvalid, name)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%w: time zone %q is unknown; it looks like Europe/Berlin or UTC", ErrInvalid, clip(name))
	}
	return location, nil
}

func parseFields(expression string) (Schedule, error) {
	if len(expression) > MaxLength {
		return Schedule{}, fmt.Errorf("it has %d characters; at most %d are allowed", len(expression), MaxLength)
	}
	text := strings.TrimSpace(expression)
	if strings.HasPrefix(text, "@") {
		meant, known := macros[strings.ToLower(text)]
		if !known {
			return Schedule{}, errors.New("only @hourly, @daily, @weekly, @monthly and @yearly have names")
		}
		text = meant
	}
	parts := strings.Fields(text)
	if len(parts) != len(fields) {
		return Schedule{}, fmt.Errorf("it has %d fields and needs 5: minute, hour, day, month and weekday", len(parts))
	}
	sets := make([]set, len(fields))
	for i, f := range fields {
		var err error
		if sets[i], err = f.parse(parts[i]); err != nil {
			return Schedule{}, fmt.Errorf("%s %q: %w", f.name, parts[i], err)
		}
	}
	star := func(i int) bool { return strings.HasPrefix(parts[i], "*") }
	const sunday = 1 << 7 // the other one
	if sets[4]&sunday != 0 {
		sets[4] = sets[4]&^sunday | 1
	}
	return Schedule{
		minutes: sets[0], hours: sets[1], days: sets[2], months: sets[3], weekdays: sets[4],
		everyHour: star(1), anyDay: star(2), anyWeekday: star(4),
	}, nil
}

// parse reads the list that a field is.
func (f field) parse(text string) (set, error) {
	var all set
	for item := range strings.SplitSeq(text, ",") {
		some, err := f.item(item)
		if err != nil {
			return 0, err
		}
		all |= some
	}
	return all, nil
}

// item reads *, a number, a name or a range, with or without a step.
func (f field) item(text string) (set, error) {
	span, stepText, stepped := strings.Cut(text, "/")
	step := 1
	if stepped {
		var err error
		if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > f.top {
			return 0, fmt.Errorf("a step is a number from 1 to %d", f.top)
		}
	}
	low, high := f.low, f.top
	if span != "*" {
		first, last, ranged := strings.Cut(span, "-")
		var err error
		if low, err = f.number(first); err != nil {
			return 0, err
		}
		if high = low; ranged {
			if high, err = f.number(last); err != nil {
				return 0, err
			}
		} else if stepped {
			return 0, fmt.Errorf("a step needs * or a range before it, as in %d-%d/%d", low, f.top, step)
		}
		if high < low {
			return 0, fmt.Errorf("the range %s ends before it begins", span)
		}
	}
	var s set
	for n := low; n <= high; n += step {
		s |= 1 << n
	}
	return s, nil
}

// number reads a number or a name.
func (f field) number(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.low + i, nil
		}
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil || int(n) < f.low || int(n) > f.top {
		if f.names == nil {
			return 0, fmt.Errorf("%q is no number from %d to %d", clip(text), f.low, f.top)
		}
		return 0, fmt.Errorf("%q is no number from %d to %d and no name like %s", clip(text), f.low, f.top, f.names[0])
	}
	return int(n), nil
}

// clip shortens what an error quotes.
func clip(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
