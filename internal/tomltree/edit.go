package tomltree

import (
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// DottedKey joins the parts of a key as a file would write them: in quotes where
// they need them.
func DottedKey(parts ...string) string { return dotted(parts) }

// With returns table v in which child stands under key: in the place of what
// was there, else at the end.
func (v *Value) With(key string, child *Value) *Value {
	out := v.withEntries(append(make([]entry, 0, len(v.entries)+1), v.entries...))
	if e := out.find(key); e != nil {
		e.value = child
		return out
	}
	out.entries = append(out.entries, entry{key: key, start: child.start, end: child.end, value: child})
	return out
}

// Pick returns a tree that holds under path what stands under key in table v,
// and nothing else. Key and value keep their places in the file.
func (v *Value) Pick(key string, path ...string) *Value {
	e := *v.find(key)
	e.key = path[len(path)-1]
	t := &Value{kind: Table, file: e.value.file, start: e.value.start, end: e.value.end, entries: []entry{e}}
	return t.Nest(path[:len(path)-1]...)
}

// Emptied returns table v without its keys, in the same place.
func (v *Value) Emptied() *Value { return v.withEntries(nil) }

// StringAt returns a string that stands where v does.
func (v *Value) StringAt(text string) *Value {
	return &Value{kind: String, file: v.file, start: v.start, end: v.end, text: text}
}

// Elements returns the elements of an array, none of other values.
func (v *Value) Elements() []*Value {
	if v.kind != Array {
		return nil
	}
	out := make([]*Value, len(v.entries))
	for i := range v.entries {
		out[i] = v.entries[i].value
	}
	return out
}

// Inline returns v as it may stand behind an equals sign.
func (v *Value) Inline() string {
	var b strings.Builder
	encodeValue(&b, v)
	return b.String()
}

// Verbatim returns the text of a scalar, array or inline table that [Parse] made,
// comments in it included.
func (v *Value) Verbatim() string { return v.file.src[v.start:v.end] }

// A Statement is one header, or one key with its value, as text: offsets count
// bytes from the start of the file.
type Statement struct {
	Key              []string // in parts
	KeyStart, KeyEnd int      // of the key's text
	End              int      // of the value; of the key where there is none
	Tables           bool     // it is a [[header]]
	Value            *Value   // nil for headers
}

// Outline lists the statements of a document that [Parse] takes without a
// problem, and that begins with no byte order mark.
func Outline(data []byte) []Statement {
	p := &parser{Parser: new(unstable.Parser), arena: new(Arena), file: &file{src: string(data)}}
	p.Reset(data)
	var list []Statement
	for p.NextExpression() {
		node := p.Expression()
		var s Statement
		for it := node.Key(); it.Next(); {
			part := it.Node()
			if s.Key == nil {
				s.KeyStart = int(part.Raw.Offset)
			}
			s.KeyEnd = int(end(part))
			s.Key = append(s.Key, p.keyText(part))
		}
		s.End = s.KeyEnd
		switch node.Kind {
		case unstable.Table:
		case unstable.ArrayTable:
			s.Tables = true
		default: // a key with its value: comments are not kept
			holder := p.newTable(byHeader, 0, 0)
			s.End = int(p.keyValue(holder, node))
			s.Value = holder.Lookup(s.Key...)
		}
		list = append(list, s)
	}
	return list
}
