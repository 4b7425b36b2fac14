// Package legacy turns configuration files of the v1 layout, and of its second
// phase, into the present one: as trees, for a load ([Convert]), and as text,
// for good ([Rewrite]). The layout that the first Tasker shipped as its v2 is
// recognised and not converted.
//
// What became of every key is data, in mapping.go; start there. The package reads
// no files and knows no settings: package config loads what it returns.
package legacy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// A Level is how much a [Note] matters.
type Level string

// The levels.
const (
	Info    Level = "info"    // nothing changes
	Warning Level = "warning" // somebody should look at it
)

// An Action is what happened to a key.
type Action string

// The actions.
const (
	Moved     Action = "moved"     // it has another name
	Removed   Action = "removed"   // it is gone, and its value with it
	Defaulted Action = "defaulted" // it is new, and got the built-in value
	Conflict  Action = "conflict"  // its value is not the only claim to one place
)

// A Note says what became of one key or table of the v1 layout, with all that
// is below it.
type Note struct {
	Level  Level
	Action Action
	Pos    tomltree.Pos // in the v1 file; no place for what is new
	Path   string       // the dotted v1 key; "" for what is new
	Target string       // the dotted key of now; "" for what is gone
	Why    string       // may be ""
}

// String returns the note as one line: place, key, what became of it and why.
func (n Note) String() string {
	parts := []string{string(n.Action)}
	if n.Pos.IsValid() {
		parts = []string{n.Pos.String() + ":", string(n.Action)}
	}
	if n.Path != "" {
		parts = append(parts, n.Path)
	}
	if n.Target != "" {
		if n.Path != "" {
			parts = append(parts, "->")
		}
		parts = append(parts, n.Target)
	}
	text := strings.Join(parts, " ")
	if n.Why != "" {
		text += ": " + n.Why
	}
	return text
}

// Sort orders notes by place; those without one come first.
func Sort(notes []Note) {
	slices.SortStableFunc(notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.Pos.File(), b.Pos.File()), cmp.Compare(a.Pos.Line(), b.Pos.Line()))
	})
}

// A Scope says what a file is for, and what of it is wanted.
type Scope struct {
	// File is the section that the file is for: common, orchestration, worker
	// or decision_points. Empty means a single file with everything in it.
	File string

	// Sections are the top-level tables that are wanted. Keys that end up in
	// another one are passed over in silence.
	Sections []string
}

// SectionsOf returns the sections that a single file of the v1 layout has keys
// for, in the order common, orchestration, worker. Decision points alone do not
// make an orchestrator.
func SectionsOf(tree *tomltree.Value) []string {
	sections := []string{"common"}
	for _, section := range []string{"orchestration", "worker"} {
		speaks := func(r *rule) bool { return r.speaksFor(section) && tree.Lookup(r.parts...) != nil }
		if tree.Lookup(section) != nil || slices.ContainsFunc(rules(), speaks) {
			sections = append(sections, section)
		}
	}
	return sections
}

// speaksFor reports whether a key shows that a file is for a section.
func (r *rule) speaksFor(section string) bool {
	shared := r.Layout == V1 && r.parts[0] == "mpsc_channels" || r.parts[0] == "decision_points"
	return !shared && r.target != nil && r.target[0] == section
}
