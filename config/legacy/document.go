package legacy

import (
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// document is a file as text in pieces: strung together they are the file.
type document struct {
	start  string // a byte order mark, or nothing
	eol    string // how lines end
	blocks []*block
	tail   string // comments behind everything else
}

// block is a table: its header and the keys that stand below it.
type block struct {
	lead  string   // comments and blank lines before the header
	path  []string // of the table; none at the top of a file
	array bool     // [[path]]
	head  line     // the header; the zero line at the top of a file
	items []item
}

// append puts a key behind the others, before comments that stand for what went.
func (b *block) append(it item) {
	at := len(b.items)
	for at > 0 && b.items[at-1].key == nil {
		at--
	}
	b.items = slices.Insert(b.items, at, it)
}

// item is a key with its value, or a comment in the place of one.
type item struct {
	lead  string   // comments and blank lines before it
	key   []string // relative to the block; none for a comment
	line  line
	value *tomltree.Value
}

// opened returns the comments on an inline table, to stand before its keys.
func (it item) opened(eol string) string {
	if comment := it.line.comment(); comment != "" {
		return it.lead + comment + eol
	}
	return it.lead
}

// line is a statement as text, with the line ends and comments on its lines.
type line struct {
	text             string
	keyStart, keyEnd int
	statementEnd     int // where a comment may begin
}

// withKey returns the line with another key.
func (l line) withKey(key ...string) line {
	text := tomltree.DottedKey(key...)
	grown := len(text) - (l.keyEnd - l.keyStart)
	return line{
		text:     l.text[:l.keyStart] + text + l.text[l.keyEnd:],
		keyStart: l.keyStart, keyEnd: l.keyStart + len(text), statementEnd: l.statementEnd + grown,
	}
}

// comment returns the comment behind the statement, "" if there is none.
func (l line) comment() string { return strings.TrimSpace(l.text[l.statementEnd:]) }

// parseDocument takes a file apart, which [tomltree.Parse] takes without a
// problem.
func parseDocument(data []byte) *document {
	const mark = "\ufeff"
	text := strings.TrimPrefix(string(data), mark)
	d := &document{start: string(data[:len(data)-len(text)]), eol: "\n", blocks: []*block{{}}}
	if first, _, _ := strings.Cut(text, "\n"); strings.HasSuffix(first, "\r") {
		d.eol = "\r\n"
	}
	at := 0 // where the text begins that is in no block yet
	for _, s := range tomltree.Outline([]byte(text)) {
		begin := strings.LastIndexByte(text[:s.KeyStart], '\n') + 1
		end := len(text)
		if i := strings.IndexByte(text[s.End:], '\n'); i >= 0 {
			end = s.End + i + 1
		}
		lead := text[at:begin]
		l := line{text[begin:end], s.KeyStart - begin, s.KeyEnd - begin, s.End - begin}
		if end == len(text) && !strings.HasSuffix(text, "\n") {
			l.text += d.eol
		}
		if s.Value == nil {
			l.statementEnd += strings.IndexByte(l.text[l.keyEnd:], ']') + 1
			if s.Tables {
				l.statementEnd++
			}
			d.blocks = append(d.blocks, &block{lead: lead, path: s.Key, array: s.Tables, head: l})
		} else {
			last := d.blocks[len(d.blocks)-1]
			last.items = append(last.items, item{lead: lead, key: s.Key, line: l, value: s.Value})
		}
		at = end
	}
	d.tail = text[at:]
	return d
}

// bytes strings the pieces together.
func (d *document) bytes() []byte {
	var b strings.Builder
	b.WriteString(d.start)
	for _, block := range d.blocks {
		b.WriteString(block.lead + block.head.text)
		for _, i := range block.items {
			b.WriteString(i.lead + i.line.text)
		}
	}
	b.WriteString(d.tail)
	return []byte(b.String())
}

// find returns the block of a table, nil if it has no header yet.
func (d *document) find(path []string) *block {
	for _, b := range d.blocks {
		if !b.array && slices.Equal(b.path, path) {
			return b
		}
	}
	return nil
}

// add puts a block behind the others, or its keys into the one that the table
// has already. Tables within the elements of an array may come again.
func (d *document) add(b *block) {
	first := d.find(b.path)
	if first == nil || b.array || d.inArray(b.path) {
		b.lead = d.tail + b.lead
		d.tail = ""
		d.blocks = append(d.blocks, b)
		return
	}
	if comment := b.head.comment(); comment != "" {
		b.lead += comment + d.eol
	}
	first.items = append(first.items, item{lead: b.lead})
	first.items = append(first.items, b.items...)
}

// set puts a key at the end of a table: below its header, beside the dotted keys
// that make it, or else below a header of its own.
func (d *document) set(path []string, key string, it item) {
	at := append(slices.Clip(path), key)
	for _, b := range d.blocks {
		if d.find(path) == nil && len(b.path) < len(path) && hasPrefix(path, b.path) && d.makesTable(b, path) {
			it.key = at[len(b.path):]
			it.line = it.line.withKey(it.key...)
			b.append(it)
			return
		}
	}
	d.setBelowHeader(path, key, it)
}

// makesTable reports whether dotted keys of a block make a table, or an inline
// table is around it: which is dotted keys then.
func (d *document) makesTable(b *block, path []string) bool {
	for i, it := range b.items {
		at := slices.Concat(b.path, it.key)
		switch {
		case it.key == nil:
		case hasPrefix(path, at) && it.value.Kind() == tomltree.Table && !isEmpty(it.value):
			d.unfoldItem(b, i)
			return true
		case hasPrefix(at, path):
			return true
		}
	}
	return false
}

// setBelowHeader puts a key at the end of a table that has a header, or gets one.
func (d *document) setBelowHeader(path []string, key string, it item) {
	it.key = []string{key}
	it.line = it.line.withKey(key)
	if b := d.find(path); b != nil {
		b.append(it)
		return
	}
	d.add(&block{lead: d.eol, path: path, head: d.header(path), items: []item{it}})
}

// settle brings the keys of a table together that came from several places, as
// far as TOML demands it: an inline table is closed and becomes dotted keys, a
// table with a header takes no dotted keys from elsewhere, dotted keys do not add
// to tables with headers, and no key comes twice.
func (d *document) settle() {
	for again := true; again; {
		d.unfold()
		d.dropCopies()
		again = d.bringHome() || d.giveHeaders()
	}
}

// bringHome moves dotted keys below the header of the innermost table around
// them, and reports whether there were any.
func (d *document) bringHome() bool {
	moved := false
	for _, b := range d.blocks {
		if d.inArray(b.path) {
			continue
		}
		b.items = slices.DeleteFunc(b.items, func(it item) bool {
			at := slices.Concat(b.path, it.key)
			home := d.home(b, at)
			if it.key == nil || home == b {
				return false
			}
			it.key = at[len(home.path):]
			it.line = it.line.withKey(it.key...)
			home.items = append(home.items, it)
			moved = true
			return true
		})
	}
	return moved
}

// giveHeaders gives dotted keys a header of their own if they would add to a
// table that an earlier header made, and reports whether there were any.
func (d *document) giveHeaders() bool {
	for i, b := range d.blocks {
		for j, it := range b.items {
			if len(it.key) < 2 {
				continue
			}
			at := slices.Concat(b.path, it.key)
			adds := func(other *block) bool { return hasPrefix(other.path, at[:len(b.path)+1]) }
			if slices.ContainsFunc(d.blocks[:i], adds) && !d.inArray(b.path) {
				b.items = slices.Delete(b.items, j, j+1)
				d.setBelowHeader(at[:len(at)-1], at[len(at)-1], it)
				return true
			}
		}
	}
	return false
}

// dropCopies turns keys that are set already into comments.
func (d *document) dropCopies() {
	seen := map[string]bool{}
	for _, b := range d.blocks {
		for i, it := range b.items {
			if it.key == nil || d.inArray(b.path) {
				continue
			}
			key := tomltree.DottedKey(slices.Concat(b.path, it.key)...)
			if seen[key] {
				b.items[i] = item{lead: it.lead + "# It is set already." + d.eol, line: line{text: commentOut(it.line.text)}}
			}
			seen[key] = true
		}
	}
}

// home returns the block of the innermost table with a header around a key of
// block b.
func (d *document) home(b *block, key []string) *block {
	home := b
	for _, other := range d.blocks {
		if !other.array && len(other.path) > len(home.path) && len(other.path) < len(key) && hasPrefix(key, other.path) {
			home = other
		}
	}
	return home
}

// inArray reports whether a table is an element of an array, or in one.
func (d *document) inArray(path []string) bool {
	return slices.ContainsFunc(d.blocks, func(b *block) bool { return b.array && hasPrefix(path, b.path) })
}

// unfold turns the inline tables that have keys elsewhere into dotted keys.
func (d *document) unfold() {
	for _, b := range d.blocks {
		for i := 0; i < len(b.items); i++ {
			it := b.items[i]
			if it.value != nil && it.value.Kind() == tomltree.Table && d.shares(b, i) {
				d.unfoldItem(b, i)
			}
		}
	}
}

// unfoldItem turns the inline table that item i of b is into dotted keys.
func (d *document) unfoldItem(b *block, i int) {
	it := b.items[i]
	parts := d.dotted(it.key, it.value)
	if lead := it.opened(d.eol); lead != "" {
		parts = append([]item{{lead: lead}}, parts...)
	}
	b.items = slices.Replace(b.items, i, i+1, parts...)
}

// shares reports whether other keys or headers are in, or at, the table that
// item i of b is.
func (d *document) shares(b *block, i int) bool {
	path := slices.Concat(b.path, b.items[i].key)
	for _, other := range d.blocks {
		if other != b && hasPrefix(other.path, path) && !d.inArray(path) {
			return true
		}
		for j, it := range other.items {
			if (other != b || j != i) && it.key != nil && hasPrefix(slices.Concat(other.path, it.key), path) {
				return true
			}
		}
	}
	return false
}

// dotted returns the keys of an inline table one by one.
func (d *document) dotted(key []string, v *tomltree.Value) []item {
	if v.Kind() != tomltree.Table {
		return []item{{key: key, line: d.assignment(key, v.Verbatim()), value: v}}
	}
	var out []item
	for _, k := range v.Keys() {
		out = append(out, d.dotted(append(slices.Clip(key), k), v.Lookup(k))...)
	}
	return out
}

// header returns the header of a table.
func (d *document) header(path []string) line {
	key := tomltree.DottedKey(path...)
	return line{"[" + key + "]" + d.eol, 1, 1 + len(key), 2 + len(key)}
}

// assignment returns a line that sets a key.
func (d *document) assignment(key []string, value string) line {
	left := tomltree.DottedKey(key...)
	return line{left + " = " + value + d.eol, 0, len(left), len(left) + 3 + len(value)}
}

// has reports whether a key is set.
func (d *document) has(path []string) bool {
	for _, b := range d.blocks {
		for _, it := range b.items {
			at := slices.Concat(b.path, it.key)
			switch {
			case it.value == nil:
			case hasPrefix(at, path), hasPrefix(path, at) && it.value.Lookup(path[len(at):]...) != nil:
				return true
			}
		}
	}
	return false
}

// commentOut returns lines as comments. Those that are comments stay as they are.
func commentOut(text string) string {
	var b strings.Builder
	for l := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(l); trimmed != "" && trimmed[0] != '#' {
			b.WriteString("# ")
		}
		b.WriteString(l)
	}
	return b.String()
}
