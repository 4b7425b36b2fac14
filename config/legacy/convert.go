package legacy

import (
	"slices"
	"strings"
	"sync"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// A rule is an entry of the table, in parts.
type rule struct {
	*Former

	parts  []string // of the key
	target []string // of the key of now, nil for what was removed
}

// rules are the entries that say how v1 files are converted.
var rules = sync.OnceValue(func() []*rule {
	var list []*rule
	for i := range formers {
		f := &formers[i]
		if f.Layout == Landed || f.Key == "environment" { // which stays at the top, where it still may be
			continue
		}
		r := &rule{Former: f, parts: strings.Split(f.Key, ".")}
		if f.Now != "" {
			r.target = strings.Split(f.Now, ".")
		}
		list = append(list, r)
	}
	return list
})

// A fate is what becomes of a key.
type fate struct {
	rules   []*rule    // that decide; none for keys that v1 does not have
	targets [][]string // where the key goes; none if it is removed or not wanted
	why     string     // of a removal
}

// gone reports whether a key goes nowhere.
func (f fate) gone() bool { return f.why != "" || f.rules != nil && len(f.targets) == 0 }

// same reports whether a key shares the fate of the table around it, so that it
// simply stays in it.
func (f fate) same(outer fate) bool { return slices.Equal(f.rules, outer.rules) && f.why == outer.why }

// converter applies the rules to one file.
type converter struct {
	Scope

	alias    bool // the file has an environment at the top
	out      *tomltree.Value
	notes    []Note
	problems []tomltree.Problem
}

// Convert returns a tree of a v1 file in the present layout, with what became of
// its keys. Values keep their places in the file. Keys that v1 does not have
// stay where they are, for the decoder to name.
//
// The result may have sections that the file is not for: decision points stood
// in common.toml. Protected routes stay a table, so that layers merge route by
// route; [ListRoutes] turns the merged table into the array of now.
func Convert(tree *tomltree.Value, in Scope) (*tomltree.Value, []Note, []tomltree.Problem) {
	tree = tree.WithoutDocs()
	c := newConverter(tree, in)
	c.checkEnvironment(tree)
	rest := c.table(nil, tree, fate{})
	merged, problems := tomltree.Merge(rest, c.out)
	return merged, c.notes, append(c.problems, problems...)
}

func newConverter(tree *tomltree.Value, in Scope) *converter {
	return &converter{Scope: in, alias: tree.Lookup("environment") != nil, out: tree.Emptied()}
}

// fateOf says what becomes of a key.
func (c *converter) fateOf(path []string) fate {
	if len(path) == 1 && path[0] == "environment" && c.File != "" && c.File != "common" {
		return fate{why: "common.toml says it"}
	}
	path = v1Names(path)
	var f fate
	longest := 0
	for _, r := range rules() {
		if !c.reads(r) || len(r.parts) < longest || !hasPrefix(path, r.parts) {
			continue
		}
		if len(r.parts) > longest {
			longest, f.rules = len(r.parts), nil
		}
		f.rules = append(f.rules, r)
	}
	for _, r := range f.rules {
		switch {
		case r.target == nil && c.wants(r.File):
			f.why = r.Why
		case r.Now == "common.environment" && c.alias:
			f.why = "environment at the top of the file says it"
		case r.target != nil && c.wants(r.target[0]):
			f.targets = append(f.targets, slices.Concat(r.target, path[len(r.parts):]))
		}
	}
	return f
}

// reads reports whether a rule is about the file.
func (c *converter) reads(r *rule) bool { return c.File == "" || r.File == "" || c.File == r.File }

// wants reports whether a section is wanted; "" stands for any.
func (c *converter) wants(section string) bool {
	return section == "" || slices.Contains(c.Sections, section)
}

// divided reports whether some keys below path have a rule of their own.
func (c *converter) divided(path []string) bool {
	path = v1Names(path)
	return slices.ContainsFunc(rules(), func(r *rule) bool {
		return c.reads(r) && len(r.parts) > len(path) && hasPrefix(r.parts, path)
	})
}

// v1Names returns a path of the second phase with the names of v1. These tables
// of the second phase have rules of their own only where they differ otherwise.
func v1Names(path []string) []string {
	if len(path) == 0 || path[0] != "orchestration" && path[0] != "worker" {
		return path
	}
	return append([]string{path[0] + "_system"}, path[1:]...)
}

func hasPrefix(path, prefix []string) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}

// table places the keys of a table that do not share its fate, and returns the
// others.
func (c *converter) table(path []string, v *tomltree.Value, outer fate) *tomltree.Value {
	rest := v
	for _, key := range v.Keys() {
		at := append(slices.Clip(path), key)
		f := c.fateOf(at)
		child := v.Lookup(key)
		if child.Kind() == tomltree.Table && c.divided(at) {
			child = c.table(at, child, f)
		}
		switch {
		case f.rules == nil && isEmpty(child) && c.divided(at): // all that is left of it is its name
			rest = rest.Without(key)
		case !f.same(outer):
			rest = rest.Without(key)
			c.place(at, v.With(key, child), f)
		case child != v.Lookup(key):
			rest = rest.With(key, child)
		}
	}
	return rest
}

// place puts the last key of path, which is in table, where its fate says.
func (c *converter) place(path []string, table *tomltree.Value, f fate) {
	key := path[len(path)-1]
	v := table.Lookup(key)
	note := Note{Level: Warning, Pos: table.KeyPos(key), Path: tomltree.DottedKey(path...)}
	if f.why != "" && !isEmpty(v) {
		note.Action, note.Why = Removed, f.why
		c.notes = append(c.notes, note)
	}
	for i, target := range f.targets {
		note.Level, note.Action, note.Target = Info, Moved, tomltree.DottedKey(target...)
		note.Why = f.rules[0].Why
		if i > 0 {
			note.Level, note.Action, note.Why = Warning, Conflict, "v1 had one value for both roles"
		}
		if !isEmpty(v) {
			c.notes = append(c.notes, note)
		}
		c.lay(table.Pick(key, target...))
	}
}

// checkEnvironment reports a second environment that contradicts the first.
func (c *converter) checkEnvironment(tree *tomltree.Value) {
	outer, inner := tree.Lookup("environment"), tree.Lookup("execution", "environment")
	if outer == nil || inner == nil || outer.Text() == inner.Text() || strings.Contains(outer.Text()+inner.Text(), "$") {
		return
	}
	c.problems = append(c.problems, tomltree.Problem{
		Code: "environment-conflict", Key: "execution.environment", Pos: inner.Pos(),
		Message: "differs from environment in the same file", Fix: "keep environment only",
		Also: []tomltree.Place{{Pos: outer.Pos(), Note: "environment"}},
	})
}

func isEmpty(v *tomltree.Value) bool { return v.Kind() == tomltree.Table && len(v.Keys()) == 0 }

// lay adds a tree to the result. Two v1 keys may lead to one key of now, as
// long as they agree.
func (c *converter) lay(tree *tomltree.Value) {
	c.problems = append(c.problems, overlaps(nil, c.out, tree)...)
	merged, problems := tomltree.Merge(c.out, tree)
	c.out = merged
	c.problems = append(c.problems, problems...)
}

// overlaps reports the keys that two trees set differently.
func overlaps(path []string, a, b *tomltree.Value) []tomltree.Problem {
	var problems []tomltree.Problem
	for _, key := range b.Keys() {
		at := append(slices.Clip(path), key)
		one, other := a.Lookup(key), b.Lookup(key)
		switch {
		case one == nil:
		case one.Kind() == tomltree.Table && other.Kind() == tomltree.Table:
			problems = append(problems, overlaps(at, one, other)...)
		case one.Kind() != tomltree.Table && other.Kind() != tomltree.Table && one.Inline() != other.Inline():
			problems = append(problems, tomltree.Problem{
				Code: "legacy-conflict", Key: tomltree.DottedKey(at...), Pos: b.KeyPos(key),
				Message: "is set twice, under two names of v1, to different values", Fix: "keep one of them",
				Also: []tomltree.Place{{Pos: a.KeyPos(key), Note: "the other one"}},
			})
		}
	}
	return problems
}

// Overruled notes where decision_points.toml and common.toml of a merged tree
// differ: the latter counts.
func Overruled(merged *tomltree.Value) []Note {
	var notes []Note
	table := merged.Lookup("orchestration", "decision_points")
	if table == nil {
		return nil
	}
	for _, key := range table.Keys() {
		for v := table.Lookup(key); v.Under() != nil; v = v.Under() {
			below := v.Under()
			if !strings.HasSuffix(below.Pos().File(), "decision_points.toml") || below.Inline() == v.Inline() {
				continue
			}
			notes = append(notes, Note{
				Level: Warning, Action: Conflict, Pos: below.Pos(), Path: tomltree.DottedKey("decision_points", key),
				Target: tomltree.DottedKey("orchestration", "decision_points", key), Why: "the value at " + v.Pos().String() + " counts",
			})
		}
	}
	return notes
}
