package tomltree

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Parse reads a TOML document. The name stands in positions. The values of the
// keys in mask, at any depth, are never shown when a problem prints a line.
//
// The tree is never nil: beside problems it holds what could be read. A byte
// order mark and CRLF line ends are accepted. The tree shares the memory of data,
// which must not be changed any more.
func Parse(name string, data []byte, mask ...string) (*Value, []Problem) {
	return new(Arena).Parse(name, data, mask...)
}

// Parse is [Parse] with the memory of a.
func (a *Arena) Parse(name string, data []byte, mask ...string) (*Value, []Problem) {
	src := strings.TrimPrefix(unsafe.String(unsafe.SliceData(data), len(data)), "\ufeff") //nolint:gosec // data does not change
	scanner, _ := scanners.Get().(*unstable.Parser)
	p := &parser{Parser: scanner, arena: a, file: &file{name: name, src: src, mask: mask}}
	p.reserve()
	p.Reset(data[len(data)-len(src):])
	root := p.newTable(byHeader, 0, 0)
	p.document(root)
	p.Reset(nil)
	scanners.Put(scanner)
	return root, p.problems
}

// scanners keeps the memory of parsers that are done: half of what a small file
// needs.
var scanners = sync.Pool{New: func() any { return new(unstable.Parser) }}

type parser struct {
	*unstable.Parser

	file     *file
	within   string // the dotted path of the table that lines add to
	arena    *Arena
	problems []Problem
}

func (p *parser) document(root *Value) {
	table := root
	for p.NextExpression() {
		switch node := p.Expression(); node.Kind {
		case unstable.Table:
			table = p.header(root, node)
		case unstable.ArrayTable:
			table = p.arrayHeader(root, node)
		default: // a key with its value: comments are not kept
			p.keyValue(table, node)
		}
	}
	if err := p.Error(); err != nil {
		p.syntaxError(err)
	}
}

func (p *parser) syntaxError(err error) {
	at := Pos{p.file, uint32(len(p.file.src)), uint32(len(p.file.src))} //nolint:gosec // the parser has this limit too
	var perr *unstable.ParserError
	if errors.As(err, &perr) && len(perr.Highlight) > 0 {
		r := p.Range(perr.Highlight)
		at.start, at.end = r.Offset, r.Offset+r.Length
	}
	problem := Problem{Code: "syntax", Pos: at, Message: err.Error()}
	if strings.HasPrefix(p.file.src[at.start:], "${") {
		problem.Message = "a placeholder stands outside of quotes"
		problem.Fix = `put it in quotes, also where a number is wanted: "${NAME:-30}"`
	}
	p.problems = append(p.problems, problem)
}

// keyValue reads `a.b = value` into table and returns where it ends.
func (p *parser) keyValue(table *Value, node *unstable.Node) uint32 {
	it := node.Key()
	it.Next()
	start := it.Node().Raw.Offset
	for ; !it.IsLast(); it.Next() {
		table = p.dotted(table, it.Node(), start)
	}
	key := it.Node()
	name, at := p.keyText(key), p.afterEquals(end(key))
	var v *Value
	if node.Value().Kind == unstable.InlineTable {
		within := p.within
		p.within = p.dottedKey(start, key)
		v = p.value(node.Value(), at)
		p.within = within
	} else {
		v = p.value(node.Value(), at)
	}
	if first := table.find(name); first != nil {
		p.duplicate(key, p.dottedKey(start, key), "is defined twice", first)
	} else {
		p.add(table, key, name, v)
	}
	return v.end
}

// dotted returns the table that an inner part of a dotted key names; the key
// begins at the offset start.
func (p *parser) dotted(table *Value, part *unstable.Node, start uint32) *Value {
	name := p.keyText(part)
	e := table.find(name)
	if e == nil {
		t := p.newTable(byDots, part.Raw.Offset, end(part))
		p.add(table, part, name, t)
		return t
	}
	if e.value.kind == Table && e.value.role == byDots {
		return e.value
	}
	p.duplicate(part, p.dottedKey(start, part), "is complete and cannot be added to", e)
	return p.newTable(byDots, 0, 0)
}

// dottedKey returns the path of a key whose first part begins at the offset
// start and whose last one is part, from the root.
func (p *parser) dottedKey(start uint32, part *unstable.Node) string {
	text := p.file.src[start:end(part)]
	if p.within == "" {
		return text
	}
	return p.within + "." + text
}

func end(n *unstable.Node) uint32 { return n.Raw.Offset + n.Raw.Length }

// header returns the table that `[a.b]` opens.
func (p *parser) header(root *Value, node *unstable.Node) *Value {
	table, key, span := p.descend(root, node)
	name := p.keyText(key)
	e := table.find(name)
	switch {
	case e == nil:
		t := p.newTable(byHeader, span.start, span.end)
		t.entries = p.arena.room(p.keysFrom(span.end))
		p.add(table, key, name, t)
		return t
	case e.value.kind == Table && e.value.role == byPath:
		t := e.value
		t.role, t.start, t.end = byHeader, span.start, span.end
		return t
	default:
		p.duplicate(key, p.within, "is defined twice", e)
		return p.newTable(byHeader, span.start, span.end)
	}
}

// arrayHeader returns the new table that `[[a.b]]` opens.
func (p *parser) arrayHeader(root *Value, node *unstable.Node) *Value {
	table, key, span := p.descend(root, node)
	name := p.keyText(key)
	element := p.newTable(byHeader, span.start, span.end)
	e := table.find(name)
	switch {
	case e == nil:
		array := p.newValue(Array, span.start, span.end)
		array.role = byTables
		array.entries = append(array.entries, entry{value: element})
		p.add(table, key, name, array)
	case e.value.kind == Array && e.value.role == byTables:
		e.value.entries = append(e.value.entries, entry{value: element})
	default:
		p.duplicate(key, p.within, "is not an array of tables", e)
	}
	return element
}

// descend follows all parts of a header but the last, making the tables that
// are missing. It returns the table reached, the last part and the header's
// place, and notes the header's path.
func (p *parser) descend(root *Value, node *unstable.Node) (table *Value, last *unstable.Node, span Pos) {
	span.file = p.file
	for it := node.Key(); it.Next(); {
		last = it.Node()
		if span.end == 0 {
			span.start = last.Raw.Offset
		}
		span.end = end(last)
	}
	p.within = p.file.src[span.start:span.end]
	table = root
	it := node.Key()
	for it.Next() && !it.IsLast() {
		table = p.inner(table, it.Node(), span)
	}
	return table, last, span
}

// inner returns the table that an inner part of a header names.
func (p *parser) inner(table *Value, part *unstable.Node, span Pos) *Value {
	name := p.keyText(part)
	e := table.find(name)
	switch {
	case e == nil:
		t := p.newTable(byPath, span.start, span.end)
		p.add(table, part, name, t)
		return t
	case e.value.kind == Table && e.value.role != byBraces:
		return e.value
	case e.value.kind == Array && e.value.role == byTables:
		return e.value.entries[len(e.value.entries)-1].value
	default:
		p.duplicate(part, p.file.src[span.start:end(part)], "is complete and cannot be added to", e)
		return p.newTable(byPath, span.start, span.end)
	}
}

// value reads the value that begins at the offset at.
func (p *parser) value(node *unstable.Node, at uint32) *Value {
	switch node.Kind {
	case unstable.Array:
		v := p.newValue(Array, at, at)
		v.role = byBrackets
		at++
		for it := node.Children(); it.Next(); {
			element := p.value(it.Node(), p.nextItem(at))
			v.entries = append(v.entries, entry{value: element})
			at = element.end
		}
		v.end = p.nextItem(at) + 1
		return v
	case unstable.InlineTable:
		v := p.newTable(byBraces, at, at)
		at++
		for it := node.Children(); it.Next(); {
			at = p.keyValue(v, it.Node())
		}
		v.end = p.nextItem(at) + 1
		return v
	default:
		return p.scalar(node)
	}
}

func (p *parser) scalar(node *unstable.Node) *Value {
	raw := p.file.src[node.Raw.Offset:end(node)]
	v := p.newValue(String, node.Raw.Offset, end(node))
	v.text = raw
	ok := true
	switch node.Kind {
	case unstable.String:
		v.text = stringText(raw, node.Data)
	case unstable.Bool:
		v.kind = Bool
		if raw == "true" {
			v.bits = 1
		}
	case unstable.Integer:
		v.kind = Integer
		v.bits, ok = parseInteger(raw)
	case unstable.Float:
		v.kind = Float
		v.bits, ok = parseFloat(raw)
	default:
		v.kind = Datetime
		ok = isDatetime(raw)
	}
	if !ok {
		message := "the number does not fit into 64 bits"
		if v.kind == Datetime {
			message = "there is no such date or time"
		}
		p.problems = append(p.problems, Problem{Code: "syntax", Pos: v.Pos(), Message: message})
	}
	return v
}

// stringText returns the content of a string, sharing the file's memory unless
// an escape or a line end makes source and content differ.
func stringText(raw string, decoded []byte) string {
	if len(decoded) != len(raw)-2 || raw[0] == '"' && strings.Contains(raw, `\`) {
		return string(decoded)
	}
	return raw[1 : len(raw)-1]
}

func parseInteger(text string) (uint64, bool) {
	n, err := strconv.ParseInt(text, 0, 64)
	return uint64(n), err == nil //nolint:gosec // kept as bits
}

func parseFloat(text string) (uint64, bool) {
	if strings.HasSuffix(text, "nan") {
		return math.Float64bits(math.NaN()), true
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	return math.Float64bits(f), err == nil
}

// isDatetime reports whether text, which has the characters of a date or time,
// is one. Nothing decodes them, so the slow way will do.
func isDatetime(text string) bool {
	var doc struct{ V any }
	return toml.Unmarshal([]byte("V = "+text), &doc) == nil
}

// afterEquals returns where the value begins whose key ends at the offset at.
func (p *parser) afterEquals(at uint32) uint32 {
	at = p.skip(at, " \t") + 1
	return p.skip(at, " \t")
}

// nextItem returns where the next element of an array or inline table begins,
// or its closing bracket stands.
func (p *parser) nextItem(at uint32) uint32 {
	for {
		at = p.skip(at, " \t\r\n,")
		if p.file.src[at] != '#' {
			return at
		}
		at += uint32(strings.IndexByte(p.file.src[at:], '\n')) //nolint:gosec // a comment in brackets has a line end
	}
}

func (p *parser) skip(at uint32, blanks string) uint32 {
	for c := p.file.src[at]; c <= ',' && strings.IndexByte(blanks, c) >= 0; c = p.file.src[at] {
		at++
	}
	return at
}

func (p *parser) keyText(key *unstable.Node) string {
	raw := p.file.src[key.Raw.Offset:end(key)]
	if raw[0] == '"' || raw[0] == '\'' {
		return stringText(raw, key.Data)
	}
	return raw
}

func (p *parser) add(table *Value, key *unstable.Node, name string, v *Value) {
	if table.entries == nil {
		table.entries = p.arena.room(4)
	}
	table.entries = append(table.entries, entry{key: name, start: key.Raw.Offset, end: end(key), value: v})
}

func (p *parser) duplicate(part *unstable.Node, key, message string, first *entry) {
	p.problems = append(p.problems, Problem{
		Code: "duplicate-key", Key: key, Pos: Pos{p.file, part.Raw.Offset, end(part)}, Message: message,
		Also: []Place{{Pos: first.pos(), Note: "first defined here"}},
	})
}

func (p *parser) newTable(r role, start, end uint32) *Value {
	t := p.newValue(Table, start, end)
	t.role = r
	return t
}

// reserve makes room for the values and entries of the file: one for each key,
// and for each table half as many again as the inner parts of headers may need.
func (p *parser) reserve() {
	tables := strings.Count(p.file.src, "[")
	values := strings.Count(p.file.src, "=") + tables + tables/2 + 4
	p.arena.reserve(values, values)
}

// keysFrom returns how many keys the table has whose header ends at the offset
// at, about.
func (p *parser) keysFrom(at uint32) int {
	rest := p.file.src[at:]
	if end := strings.Index(rest, "\n["); end >= 0 {
		rest = rest[:end]
	}
	return strings.Count(rest, "=")
}

func (p *parser) newValue(kind Kind, start, end uint32) *Value {
	v := p.arena.value()
	v.kind, v.file, v.start, v.end = kind, p.file, start, end
	return v
}
