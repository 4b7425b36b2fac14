package cli

import (
	"fmt"
	"slices"
	"strings"
)

// edit is a line of one text or of both.
type edit struct {
	sign byte // ' ' for a line of both, '-' of the old text, '+' of the new one
	line string
}

// unifiedDiff returns the differences of two texts as a patch with three lines
// of context, "" if there are none.
func unifiedDiff(oldName, newName string, before, after []byte) string {
	const context = 3
	edits := editScript(splitLines(before), splitLines(after))
	var b strings.Builder
	oldLine, newLine := 1, 1
	for i := 0; i < len(edits); {
		end := hunkEnd(edits, i, context)
		if end == i { // no change within reach
			oldLine, newLine, i = oldLine+1, newLine+1, i+1
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "--- %s\n+++ %s\n", oldName, newName)
		}
		hunk := edits[i:end]
		olds, news := countSides(hunk)
		fmt.Fprintf(&b, "@@ -%s +%s @@\n", hunkRange(oldLine, olds), hunkRange(newLine, news))
		for _, e := range hunk {
			b.WriteString(string(e.sign) + e.line)
			if !strings.HasSuffix(e.line, "\n") {
				b.WriteString("\n\\ No newline at end of file\n")
			}
		}
		oldLine, newLine, i = oldLine+olds, newLine+news, end
	}
	return b.String()
}

// hunkEnd returns where a hunk that begins at start ends, start if none does:
// changes less than two contexts apart are in one hunk.
func hunkEnd(edits []edit, start, context int) int {
	end := start
	for i := start; i < len(edits) && i-end < 2*context; i++ {
		if edits[i].sign == ' ' {
			continue
		}
		if end == start && i-start > context {
			return start
		}
		end = i + 1
	}
	if end == start {
		return start
	}
	return min(end+context, len(edits))
}

func countSides(hunk []edit) (olds, news int) {
	for _, e := range hunk {
		if e.sign != '+' {
			olds++
		}
		if e.sign != '-' {
			news++
		}
	}
	return olds, news
}

// hunkRange is the first line and the number of lines; a range without lines
// begins behind the line before it.
func hunkRange(first, lines int) string {
	if lines == 0 {
		first--
	}
	return fmt.Sprintf("%d,%d", first, lines)
}

func splitLines(text []byte) []string {
	return slices.Collect(strings.Lines(string(text)))
}

// editScript turns a into b with the fewest lines removed and added: Myers, An
// O(ND) Difference Algorithm and Its Variations.
func editScript(a, b []string) []edit {
	limit := len(a) + len(b)
	reach := make([]int, 2*limit+2) // by diagonal x-y, shifted by limit: the farthest x
	var trace [][]int
	for d := 0; ; d++ {
		trace = append(trace, slices.Clone(reach))
		for k := -d; k <= d; k += 2 {
			x := reach[max(limit+k-1, 0)] + 1
			if k == -d || k != d && reach[limit+k-1] < reach[limit+k+1] {
				x = reach[limit+k+1]
			}
			y := x - k
			for x < len(a) && y < len(b) && a[x] == b[y] {
				x, y = x+1, y+1
			}
			reach[limit+k] = x
			if x >= len(a) && y >= len(b) {
				return walkBack(trace, a, b)
			}
		}
	}
}

// walkBack follows the trace of an edit script from its end.
func walkBack(trace [][]int, a, b []string) []edit {
	limit := len(a) + len(b)
	x, y := len(a), len(b)
	var script []edit
	for d, reach := range slices.Backward(trace) {
		k := x - y
		before := k - 1
		if k == -d || k != d && reach[limit+k-1] < reach[limit+k+1] {
			before = k + 1
		}
		fromX := reach[limit+before]
		fromY := fromX - before
		for x > max(fromX, 0) && y > max(fromY, 0) {
			x, y = x-1, y-1
			script = append(script, edit{' ', a[x]})
		}
		switch {
		case d == 0:
		case x == fromX:
			y--
			script = append(script, edit{'+', b[y]})
		default:
			x--
			script = append(script, edit{'-', a[x]})
		}
	}
	slices.Reverse(script)
	return script
}
