// Package tomltree reads TOML in layers. It knows nothing of Tasker.
//
// A [Value] is a piece of parsed TOML that knows where it stands; a tree is a
// Value of kind Table. [Parse] makes one, [Merge] lays one over another, table
// by table, [Expand] fills placeholders like ${NAME:-default}, and a [Schema]
// decodes the result strictly into Go structs.
//
// The order of a load is fixed: parse, merge, expand, decode. Expanding after
// merging means a variable of the base that an overlay replaced is never looked
// up. What an overlay hides is checked all the same, since another overlay may
// not hide it.
//
// No function changes its arguments, none stops at the first mistake: each
// returns what it made and the problems it met, and a [Report] prints them.
package tomltree

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Kind is the type of a TOML value.
type Kind uint8

// The kinds. There is one for all dates and times: nothing decodes them.
const (
	String Kind = iota + 1
	Integer
	Float
	Bool
	Datetime
	Array
	Table
)

var kindNames = [...]string{
	String: "a string", Integer: "a whole number", Float: "a decimal number", Bool: "a boolean",
	Datetime: "a date or time", Array: "an array", Table: "a table",
}

// String names the kind with its article, as problems do.
func (k Kind) String() string { return kindNames[k] }

// A Value is one TOML value and the place it came from. Values are immutable
// and may be shared by several trees.
type Value struct {
	kind       Kind
	role       role
	unset      bool // a variable without a value stands in it
	start, end uint32
	file       *file
	text       string   // content of a string, source text of other scalars
	bits       uint64   // an integer, a float's bits, 1 for true
	entries    []entry  // of a table; of an array, with empty keys
	expanded   *sources // nil where nothing was filled in
	under      *Value   // what Merge replaced by this value
}

// An entry is a key of a table with its value.
type entry struct {
	key        string
	start, end uint32 // of the key, in the value's file
	value      *Value
}

// sources says what Expand put into a string.
type sources struct {
	written  string // the string before
	uses     []Use
	whole    bool    // the string was one placeholder and nothing else
	fallback *string // what it would be without any variable, where that differs
}

// A Use is a variable that a string refers to, and what it came to.
type Use struct {
	Variable string
	How      How
}

// How says what a placeholder came to.
type How uint8

// What a placeholder can come to.
const (
	Set          How = iota // the variable holds the value
	FromFile                // it names a file that does
	Empty                   // the variable is set, to nothing
	DefaultUnset            // the default, since the variable is not set
	DefaultEmpty            // the default, since the variable is empty
	Missing                 // nothing: the variable has no value and there is no default
)

// String goes on from the variable's name: "is set".
func (h How) String() string {
	return [...]string{
		"is set", "is read from the file that its _FILE names", "is empty", "is not set: its default",
		"is empty: its default", "has no value",
	}[h]
}

// A role says what made a table or array, which decides whether a later line of
// the same file may add to it.
type role uint8

const (
	byPath     role = iota // an inner part of a [header]
	byHeader               // a [header] of its own
	byDots                 // an inner part of a dotted key
	byBraces               // an inline table, closed
	byBrackets             // an array written as a value, closed
	byTables               // an array of [[tables]]
)

// Kind returns the type of v.
func (v *Value) Kind() Kind { return v.kind }

// Pos returns where v stands: a scalar or array at its text, a table at its
// header.
func (v *Value) Pos() Pos { return Pos{v.file, v.start, v.end} }

// Under returns what v replaced in a merge, or nil. The result may itself have
// replaced something.
func (v *Value) Under() *Value { return v.under }

// Uses returns the variables that v, or an entry of array v, refers to, after
// [Expand].
func (v *Value) Uses() []Use {
	if v.expanded != nil {
		return v.expanded.uses
	}
	var uses []Use
	if v.kind == Array {
		for _, e := range v.entries {
			uses = append(uses, e.value.Uses()...)
		}
	}
	return uses
}

// fromVariable reports whether a variable or a file that one names supplied text
// to v.
func (v *Value) fromVariable() bool {
	return slices.ContainsFunc(v.Uses(), func(u Use) bool { return u.How <= Empty })
}

// IsMissing reports whether v has no value: it needs a variable that is not set.
func (v *Value) IsMissing() bool { return v.unset }

// SameAs reports whether v and w were written to the same effect: as the same
// text, or as equal values without placeholders.
func (v *Value) SameAs(w *Value) bool {
	if v.file != nil && w.file != nil && v.kind != Table && w.kind != Table &&
		v.file.src[v.start:v.end] == w.file.src[w.start:w.end] {
		return true
	}
	if len(v.Uses())+len(w.Uses()) > 0 || len(v.entries) != len(w.entries) {
		return false
	}
	switch {
	case v.kind == Array && w.kind == Array:
		for i := range v.entries {
			if !v.entries[i].value.SameAs(w.entries[i].value) {
				return false
			}
		}
		return true
	case (v.kind == Integer || v.kind == Float) && (w.kind == Integer || w.kind == Float):
		return v.float() == w.float()
	default:
		return v.kind < Array && v.kind == w.kind && v.text == w.text
	}
}

// Text returns the content of a string, and the source text of another scalar.
func (v *Value) Text() string { return v.text }

// Keys returns the keys of a table in order of appearance.
func (v *Value) Keys() []string {
	keys := make([]string, len(v.entries))
	for i := range v.entries {
		keys[i] = v.entries[i].key
	}
	return keys
}

// Entries returns the values of an array.
func (v *Value) Entries() []*Value {
	list := make([]*Value, len(v.entries))
	for i := range v.entries {
		list[i] = v.entries[i].value
	}
	return list
}

// Lookup follows keys down from v and returns what is there, or nil.
func (v *Value) Lookup(keys ...string) *Value {
	for _, key := range keys {
		e := v.find(key)
		if e == nil {
			return nil
		}
		v = e.value
	}
	return v
}

// KeyPos returns where the key of v stands, or no place if v has no such key.
func (v *Value) KeyPos(key string) Pos {
	if e := v.find(key); e != nil {
		return e.pos()
	}
	return Pos{}
}

// Without returns table v without key.
func (v *Value) Without(key string) *Value {
	out := v.withEntries(make([]entry, 0, len(v.entries)))
	for _, e := range v.entries {
		if e.key != key {
			out.entries = append(out.entries, e)
		}
	}
	return out
}

// Nest returns a tree that holds v under keys and nothing else.
func (v *Value) Nest(keys ...string) *Value {
	for _, key := range slices.Backward(keys) {
		v = &Value{kind: Table, file: v.file, start: v.start, end: v.end, entries: []entry{
			{key: key, start: v.start, end: v.end, value: v},
		}}
	}
	return v
}

func (v *Value) find(key string) *entry {
	if v.kind != Table {
		return nil
	}
	for i := range v.entries {
		if v.entries[i].key == key {
			return &v.entries[i]
		}
	}
	return nil
}

// withEntries returns a copy of table or array v with other entries.
func (v *Value) withEntries(entries []entry) *Value {
	out := *v
	out.entries = entries
	return &out
}

func (v *Value) float() float64 {
	if v.kind == Integer {
		return float64(int64(v.bits)) //nolint:gosec // bits hold an int64
	}
	return math.Float64frombits(v.bits)
}

func (e *entry) pos() Pos { return Pos{e.value.file, e.start, e.end} }

// IsDocs reports whether key documents another one: it is _docs or ends so. A
// [Schema] accepts _docs and <known key>_docs in any table and ignores them.
func IsDocs(key string) bool { return strings.HasSuffix(key, "_docs") }

// WithoutDocs returns v without the keys that document others, at any depth.
func (v *Value) WithoutDocs() *Value {
	if v.kind != Table && v.kind != Array {
		return v
	}
	out := v.withEntries(make([]entry, 0, len(v.entries)))
	for _, e := range v.entries {
		if v.kind == Table && IsDocs(e.key) {
			continue
		}
		e.value = e.value.WithoutDocs()
		out.entries = append(out.entries, e)
	}
	return out
}

// Listed returns table v as an array. Its keys must be 0, 1, 2, … without gaps,
// in any order. An array is returned as it is.
func (v *Value) Listed(key string) (*Value, []Problem) {
	if v.kind != Table {
		return v, nil
	}
	out := v.withEntries(make([]entry, len(v.entries)))
	out.kind, out.role = Array, byBrackets
	var problems []Problem
	for _, e := range v.entries {
		i, err := strconv.Atoi(e.key)
		switch {
		case err != nil || i < 0 || strconv.Itoa(i) != e.key:
			problems = append(problems, Problem{
				Code: "bad-index", Key: join(key, e.key), Pos: e.pos(),
				Message: "is not an index", Fix: "number the entries 0, 1, 2, … or write an array",
			})
		case i >= len(v.entries):
			problems = append(problems, Problem{
				Code: "bad-index", Key: join(key, e.key), Pos: e.pos(),
				Message: "leaves a gap", Fix: "number the entries 0, 1, 2, … without gaps",
			})
		default:
			out.entries[i] = entry{value: e.value}
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return out, nil
}

// dotted joins the parts of a key.
func dotted(parts []string) string {
	path := ""
	for _, part := range parts {
		path = join(path, part)
	}
	return path
}

// join appends key to a dotted path, in quotes where it needs them.
func join(path, key string) string {
	if path == "" {
		return quoteKey(key)
	}
	return path + "." + quoteKey(key)
}
