package templates

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxProblems bounds a report on one template; who has more has not written a
// template.
const maxProblems = 100

// A Problem is one mistake in a template.
type Problem struct {
	File    string // as the caller named it
	Line    int    // from 1; 0 when unknown
	Column  int    // in characters, from 1; 0 when unknown
	Path    string // such as steps[2].retry.max_attempts; empty for the whole document
	Message string // what is wrong and, where one is known, the remedy
}

// String returns the problem as "file:line:column: path: message", leaving out
// what is not known.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	if p.Path != "" {
		b.WriteString(": " + p.Path)
	}
	b.WriteString(": " + p.Message)
	return b.String()
}

// Problems are all the mistakes that were found, by file and position. Find
// them in an error with errors.AsType[Problems].
type Problems []Problem

// Error returns the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sort brings the problems of one file into the order of reading.
func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// A report collects the problems of one document.
type report struct {
	file     string
	at       map[string]position   // where the value at a path stands
	free     map[string]*yaml.Node // the values of free shape, by path
	problems Problems
}

// A position is where something stands in a file.
type position struct{ line, column int }

// full reports that there are more problems than anyone reads. What is slow to
// find need not be looked for any more.
func (r *report) full() bool { return len(r.problems) > maxProblems }

// addf adds a problem with the value at path, unless it has one already: the
// second would follow from the first.
func (r *report) addf(path, format string, args ...any) {
	if slices.ContainsFunc(r.problems, func(p Problem) bool { return p.Path == path }) {
		return
	}
	r.addAt(r.position(path), path, format, args...)
}

// addAt adds a problem with the value at path that shows at pos.
func (r *report) addAt(pos position, path, format string, args ...any) {
	if r.full() {
		return
	}
	p := Problem{r.file, pos.line, pos.column, path, fmt.Sprintf(format, args...)}
	if len(r.problems) == maxProblems {
		p = Problem{File: r.file, Message: fmt.Sprintf("has more than %d problems; the rest is not shown", maxProblems)}
	}
	r.problems = append(r.problems, p)
}

// position returns where the value at path stands or, for a value that is not
// there, the nearest one around it.
func (r *report) position(path string) position {
	for {
		if pos, ok := r.at[path]; ok || path == "" {
			return pos
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}
