package cli

import (
	"strings"
	"unicode/utf8"
)

// A column is the head of a table's column.
type column struct {
	title string
	right bool // its cells end, not begin, in one line
}

// A table is text in columns.
type table struct {
	columns []column
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// lines lays the table out for a screen. A cell that is a state has its colour.
func (t *table) lines(s *screen) []string {
	widths := make([]int, len(t.columns))
	head := make([]string, len(t.columns))
	for i, c := range t.columns {
		head[i] = strings.ToUpper(c.title)
		widths[i] = utf8.RuneCountInString(c.title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	lines := []string{t.line(head, widths, func(text string) string { return s.paint(bold, text) })}
	for _, row := range t.rows {
		lines = append(lines, t.line(row, widths, s.paintState))
	}
	return lines
}

// line pads the cells of a row. What only a terminal sees is added afterwards,
// so that it takes no room.
func (t *table) line(cells []string, widths []int, paint func(string) string) string {
	var b strings.Builder
	for i, text := range cells {
		padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
		if i > 0 {
			b.WriteString("  ")
		}
		if t.columns[i].right {
			b.WriteString(padding + paint(text))
		} else {
			b.WriteString(paint(text) + padding)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// stateColours are the colours of the states of tasks and steps, and of "ok"
// and "failed"; the others have none.
var stateColours = map[string]colour{
	"ok":                  green,
	"complete":            green,
	"resolved_manually":   green,
	"in_progress":         cyan,
	"steps_in_process":    cyan,
	"waiting_for_retry":   yellow,
	"blocked_by_failures": red,
	"error":               red,
	"failed":              red,
	"cancelled":           dim,
	"pending":             dim,
}

func (s *screen) paintState(text string) string { return s.paint(stateColours[text], text) }
