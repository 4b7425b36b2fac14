package config

import (
	_ "embed" // of the texts
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// Entry is a key of the tree, a table or a setting, with what there is to say of
// it. Everything comes from the Go field, its tags and its comment, save the
// base value, which is that of the shipped tree.
type Entry struct {
	*tomltree.Node

	Doc       string   // what it is for, and why one would change it
	Component string   // what reads it
	Type      string   // "whole number", "list of texts", "table"
	Unit      string   // "seconds"; empty where it has none
	Bounds    string   // "1 to 1000", "1 to 63 characters"; empty where it has none
	Choices   []Choice // the texts allowed; nil where any will do
	Pattern   string   // a regular expression that comes near to the format of a text; empty where it has none
	Base      string   // the value of the shipped base as TOML, else the default; empty where it has none
	Entries   []*Entry // what is below a table
}

// Choice is one of the texts that a setting may have.
type Choice struct {
	Text string `json:"text"`
	Doc  string `json:"doc,omitempty"`
}

// Reference returns the entry of the whole tree. It must not be changed.
func Reference() *Entry { return reference() }

// FindEntry returns the entry of a dotted key, or nil. In the key a name of
// one's own may stand for *.
func FindEntry(key string) *Entry {
	if e := entries()[key]; e != nil {
		return e
	}
	for pattern, e := range entries() {
		if strings.Contains(pattern, "*") && sameKey(pattern, key) {
			return e
		}
	}
	return nil
}

// entries are all entries by key.
var entries = sync.OnceValue(func() map[string]*Entry {
	all := map[string]*Entry{}
	Reference().Walk(func(e *Entry) { all[e.Key] = e })
	return all
})

// sameKey compares keys part by part; * in the first stands for any part.
func sameKey(pattern, key string) bool {
	a, b := strings.Split(pattern, "."), strings.Split(key, ".")
	return len(a) == len(b) && slices.EqualFunc(a, b, func(p, k string) bool { return p == k || p == "*" })
}

// Walk calls visit for e and everything below it, in the order of the documents.
func (e *Entry) Walk(visit func(*Entry)) {
	visit(e)
	for _, below := range e.Entries {
		below.Walk(visit)
	}
}

// Name returns the last part of the key.
func (e *Entry) Name() string { return e.Key[strings.LastIndexByte(e.Key, '.')+1:] }

// IsTable reports whether there are keys below e.
func (e *Entry) IsTable() bool { return e.Kind != tomltree.Leaf }

// text is what the comments of the Go code say of one key.
type text struct {
	Doc    string            `json:"doc"`
	Values map[string]string `json:"values,omitempty"`
}

// textsJSON holds the comments of the fields by key; a test writes it.
//
//go:embed fields_gen.json
var textsJSON []byte

var reference = sync.OnceValue(func() *Entry {
	var texts map[string]text
	if err := json.Unmarshal(textsJSON, &texts); err != nil {
		panic("config: fields_gen.json: " + err.Error())
	}
	return newEntry(schema().Root(), texts, Base())
})

// Base returns the shipped base of all sections, with the placeholders in it and
// with defaults filled in.
func Base() *tomltree.Value {
	base := shippedBase("common")
	for _, section := range ContextComplete.sections()[1:] {
		base, _ = tomltree.Merge(base, shippedBase(section))
	}
	return schema().Complete(base)
}

func newEntry(n *tomltree.Node, texts map[string]text, base *tomltree.Value) *Entry {
	e := &Entry{Node: n, Doc: texts[n.Key].Doc, Component: componentOf(n.Key), Type: typeName(n), Unit: unitOf(n.Type), Bounds: boundsOf(n)}
	e.Pattern = formats[n.Format].Pattern
	for _, choice := range n.Enum {
		e.Choices = append(e.Choices, Choice{choice, texts[n.Key].Values[choice]})
	}
	if n.Kind == tomltree.Leaf || n.Kind == tomltree.Rows {
		if e.Base = n.Default; n.Default == "" && !strings.Contains(n.Key, "*") {
			e.Base = written(base.Lookup(strings.Split(n.Key, ".")...))
		}
	}
	for _, below := range n.Below {
		e.Entries = append(e.Entries, newEntry(below, texts, base))
	}
	return e
}

// written returns v as TOML, "" for nil; a secret's placeholder stays one.
func written(v *tomltree.Value) string {
	if v == nil {
		return ""
	}
	return v.Inline()
}

// typeName says in words what a key holds.
func typeName(n *tomltree.Node) string {
	switch n.Kind {
	case tomltree.Rows:
		return "list of tables"
	case tomltree.Section:
		return "table"
	case tomltree.Named:
		return "table of tables"
	default:
		t := n.Type
		if t.Kind() == reflect.Slice {
			return "list of " + scalarName(t.Elem()) + "s"
		}
		return scalarName(t)
	}
}

func scalarName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.String:
		return "text"
	default:
		return "whole number"
	}
}

// units are the units of the types in units.go.
var units = map[reflect.Type]string{
	reflect.TypeFor[Milliseconds]():   "milliseconds",
	reflect.TypeFor[Seconds]():        "seconds",
	reflect.TypeFor[DecimalSeconds](): "seconds",
	reflect.TypeFor[Minutes]():        "minutes",
	reflect.TypeFor[Hours]():          "hours",
	reflect.TypeFor[Days]():           "days",
	reflect.TypeFor[Megabytes]():      "megabytes",
	reflect.TypeFor[Fraction]():       "a share from 0 to 1",
	reflect.TypeFor[Percent]():        "percent",
}

func unitOf(t reflect.Type) string {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return units[t]
}

// boundsOf says in words what range and length a key may have.
func boundsOf(n *tomltree.Node) string {
	var parts []string
	if n.Range != "" {
		parts = append(parts, inWords(n.Range))
	}
	if n.Len != "" {
		noun := "characters"
		if n.Type.Kind() == reflect.Slice {
			noun = "entries"
		}
		if n.Len == "1.." {
			parts = append(parts, "not empty")
		} else {
			parts = append(parts, inWords(n.Len)+" "+noun)
		}
	}
	return strings.Join(parts, ", ")
}

func inWords(bounds string) string {
	low, high, _ := strings.Cut(bounds, "..")
	switch {
	case high == "":
		return "at least " + low
	case low == "":
		return "at most " + high
	default:
		return fmt.Sprintf("%s to %s", low, high)
	}
}
