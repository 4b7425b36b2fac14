// Package tomltree reads TOML in layers. It knows nothing of Tasker.
//
// A [Value] is a piece of parsed TOML that knows where it stands; a tree is a
// Value of kind Table. [Parse] makes one, [Merge] lays one over another, table
// by table, [Expand] fills ${NAME} and ${NAME:-default}, and a [Schema] decodes
// the result strictly into Go structs.
//
// The order of a load is fixed: parse, merge, expand, decode. Expanding after
// merging means a variable of the base that an overlay replaced is never looked
// up. No function changes its arguments, none stops at the first mistake: each
// returns what it made and the problems it met, and a [Report] prints them.
package tomltree

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
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
	variables []string // that supplied text
	whole     bool     // the string was one placeholder and nothing else
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

// Variables returns the variables that supplied text to v in [Expand].
func (v *Value) Variables() []string {
	if v.expanded == nil {
		return nil
	}
	return v.expanded.variables
}

// Origin names the variables that supplied text to v, for the end of a message;
// "" if there are none.
func (v *Value) Origin() string {
	names := v.Variables()
	if len(names) == 0 {
		return ""
	}
	return " (from " + strings.Join(names, ", ") + ")"
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
				Message: "is not an index", Hint: "number the entries 0, 1, 2, … or write an array",
			})
		case i >= len(v.entries):
			problems = append(problems, Problem{
				Code: "bad-index", Key: join(key, e.key), Pos: e.pos(),
				Message: "leaves a gap", Hint: "number the entries 0, 1, 2, … without gaps",
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

// A file is the text that positions point into.
type file struct {
	name string
	src  string
	mask []string // keys whose values are never shown
}

// A Pos is a stretch of text in a file. The zero Pos is no place.
type Pos struct {
	file       *file
	start, end uint32
}

// IsValid reports whether p is a place.
func (p Pos) IsValid() bool { return p.file != nil }

// File returns the name of the file, "" for no place.
func (p Pos) File() string {
	if p.file == nil {
		return ""
	}
	return p.file.name
}

// Line returns the line, counted from 1.
func (p Pos) Line() int {
	if p.file == nil {
		return 0
	}
	return 1 + strings.Count(p.file.src[:p.start], "\n")
}

// Column returns the column in characters, counted from 1.
func (p Pos) Column() int {
	if p.file == nil {
		return 0
	}
	return 1 + utf8.RuneCountInString(p.file.src[p.lineStart():p.start])
}

// String returns file:line:column, or "" for no place.
func (p Pos) String() string {
	if p.file == nil {
		return ""
	}
	return p.file.name + ":" + strconv.Itoa(p.Line()) + ":" + strconv.Itoa(p.Column())
}

func (p Pos) lineStart() int { return strings.LastIndexByte(p.file.src[:p.start], '\n') + 1 }

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
