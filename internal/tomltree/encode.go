package tomltree

import (
	"fmt"
	"strings"
)

// Encode returns table v as a TOML document: its keys in their order, scalars
// and arrays before tables, numbers as they were written. Comments are not kept.
// Equal trees give equal bytes.
func Encode(v *Value) []byte {
	return Annotate(v, func(string, *Value) string { return "" })
}

// Annotate is [Encode] with a comment behind every scalar and array. Comment
// gets its dotted key; an empty text makes no comment.
func Annotate(v *Value, comment func(key string, v *Value) string) []byte {
	e := encoder{comment: comment}
	e.table(v, "")
	return []byte(e.out.String())
}

type encoder struct {
	out     strings.Builder
	comment func(key string, v *Value) string
}

func (e *encoder) table(v *Value, path string) {
	scalars := 0
	for _, below := range v.entries {
		if below.value.kind != Table {
			scalars++
		}
	}
	if path != "" && (scalars > 0 || len(v.entries) == 0) {
		if e.out.Len() > 0 {
			e.out.WriteByte('\n')
		}
		fmt.Fprintf(&e.out, "[%s]\n", path)
	}
	for _, below := range v.entries {
		if below.value.kind == Table {
			continue
		}
		e.out.WriteString(quoteKey(below.key) + " = ")
		encodeValue(&e.out, below.value)
		if text := e.comment(join(path, below.key), below.value); text != "" {
			e.out.WriteString(" # " + text)
		}
		e.out.WriteByte('\n')
	}
	for _, below := range v.entries {
		if below.value.kind == Table {
			e.table(below.value, join(path, below.key))
		}
	}
}

func encodeValue(b *strings.Builder, v *Value) {
	switch v.kind {
	case String:
		quote(b, v.text)
	case Array:
		b.WriteByte('[')
		for i, e := range v.entries {
			if i > 0 {
				b.WriteString(", ")
			}
			encodeValue(b, e.value)
		}
		b.WriteByte(']')
	case Table:
		b.WriteByte('{')
		for i, e := range v.entries {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quoteKey(e.key) + " = ")
			encodeValue(b, e.value)
		}
		b.WriteByte('}')
	default:
		b.WriteString(v.text)
	}
}

// quote writes text as a basic string.
func quote(b *strings.Builder, text string) {
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// quoteKey returns key as it stands in a file: bare if it can be.
func quoteKey(key string) string {
	bare := key != ""
	for i := range len(key) {
		c := key[i]
		if c != '_' && c != '-' && (c < '0' || c > '9') && (lower(c) < 'a' || lower(c) > 'z') {
			bare = false
		}
	}
	if bare {
		return key
	}
	var b strings.Builder
	quote(&b, key)
	return b.String()
}
