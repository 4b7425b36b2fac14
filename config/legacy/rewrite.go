package legacy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// A File is a configuration file as text.
type File struct {
	Name    string // in notes and problems; "" if the file is new
	Section string // as in [Scope]
	Data    []byte // nil if the file is gone
}

// A New is a key that v1 did not have, or a table of such keys.
type New struct {
	Path  []string
	Value *tomltree.Value
}

// A Layer is the files of one directory of a tree, or a single file.
type Layer struct {
	Files []File

	// Sections are the sections that the tree is for.
	Sections []string

	// Below are the files of the layer below. An array of this layer has to
	// repeat what it does not mean to replace.
	Below []File

	// New are keys to add.
	New []New
}

// ConvertFiles converts the files of a layer and lays them over each other.
func ConvertFiles(files []File, sections []string) (*tomltree.Value, []Note, []tomltree.Problem) {
	merged, _ := tomltree.Parse("", nil)
	var notes []Note
	var problems []tomltree.Problem
	for _, f := range slices.Backward(byPrecedence(files)) {
		tree, faults := tomltree.Parse(f.Name, f.Data)
		converted, said, conflicts := Convert(tree, Scope{File: f.Section, Sections: sections})
		var clashes []tomltree.Problem
		merged, clashes = tomltree.Merge(merged, converted)
		problems = slices.Concat(problems, faults, conflicts, clashes)
		notes = append(notes, said...)
	}
	return merged, append(notes, Overruled(merged)...), problems
}

// Rewrite turns the files of a v1 layer into files of the present layout. It
// changes headers and keys where they stand and leaves everything else alone:
// values, comments, order. Removed keys become comments; keys that belong to
// another file now go there with their comments.
//
// The files may not be changed if there are problems. That the result means the
// same is for the caller to prove, by loading both.
func Rewrite(layer Layer) ([]File, []Note, []tomltree.Problem) {
	tree, notes, problems := ConvertFiles(layer.Files, layer.Sections)
	below, _, more := ConvertFiles(layer.Below, layer.Sections)
	problems = append(problems, more...)
	routes, more := allRoutes(below.Lookup(routesKey...), tree.Lookup(routesKey...))
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, nil, problems
	}
	r := &rewriter{docs: map[string]*document{}, routes: routes, repeats: len(layer.Below) > 0}
	files := byPrecedence(layer.Files)
	for _, f := range files {
		r.file(f, layer.Sections)
	}
	for _, n := range layer.New {
		r.addNew(n)
	}
	return r.files(files), append(notes, r.foreign...), nil
}

// byPrecedence orders files by whose word counts: a key that two files have, one
// of them for another section, is the other file's.
func byPrecedence(files []File) []File {
	order := []string{"", "orchestration", "worker", "common", "decision_points"}
	return slices.SortedStableFunc(slices.Values(files), func(a, b File) int {
		return slices.Index(order, a.Section) - slices.Index(order, b.Section)
	})
}

// allRoutes returns the routes of a layer over those below as an array, or nil
// if the layer has no table of them.
func allRoutes(below, own *tomltree.Value) (*tomltree.Value, []tomltree.Problem) {
	if own == nil || own.Kind() != tomltree.Table {
		return nil, nil
	}
	if below != nil && below.Kind() == tomltree.Table {
		if isEmpty(own) {
			return nil, nil
		}
		own, _ = tomltree.Merge(below, own)
	}
	return routeList(own)
}

// rewriter carries the pieces of files to where they belong.
type rewriter struct {
	*converter // of the file in work

	tree    *tomltree.Value      // the file in work
	foreign []Note               // on keys of sections that are not wanted
	docs    map[string]*document // what becomes of the files, by section
	out     *document            // what becomes of the file in work
	pending string               // comments of it whose table went
	gone    string               // why the last piece was removed
	tabled  bool                 // it has protected routes as a table
	routes  *tomltree.Value      // they as an array, nil if they are written already
	repeats bool                 // and some of them are those of the layers below
	leads   map[string]string    // comments on routes, by name
}

// A piece is a key with its place in v1.
type piece struct {
	item

	path []string
}

// file rewrites one file.
func (r *rewriter) file(f File, sections []string) {
	tree, _ := tomltree.Parse(f.Name, f.Data)
	scope := Scope{File: f.Section, Sections: sections}
	r.converter, r.tree = newConverter(tree, scope), tree
	now, _, _ := Convert(tree, scope)
	routes := now.Lookup(routesKey...)
	r.tabled = routes != nil && routes.Kind() == tomltree.Table
	in := parseDocument(f.Data)
	r.out = &document{start: in.start, eol: in.eol}
	r.docs[f.Section] = r.out
	r.leads = map[string]string{}
	for _, b := range in.blocks {
		r.noteRoutes(b)
	}
	for _, b := range in.blocks {
		r.block(b)
	}
	r.out.tail = r.pending + in.tail
	r.pending = ""
}

// files returns the documents as files, in the order of the files they were.
func (r *rewriter) files(before []File) []File {
	var out []File
	for _, f := range before {
		if f.Section == "decision_points" {
			f.Data = nil
		} else {
			r.docs[f.Section].settle()
			f.Data = r.docs[f.Section].bytes()
		}
		delete(r.docs, f.Section)
		out = append(out, f)
	}
	for _, section := range []string{"common", "orchestration", "worker"} {
		if d := r.docs[section]; d != nil {
			d.settle()
			out = append(out, File{Section: section, Data: []byte(strings.TrimLeft(string(d.bytes()), "\r\n"))})
		}
	}
	return out
}

// doc returns the document of a section.
func (r *rewriter) doc(section string) *document {
	if d := r.docs[""]; d != nil {
		return d
	}
	if r.docs[section] == nil {
		r.docs[section] = &document{eol: r.out.eol}
	}
	return r.docs[section]
}

// block rewrites a table.
func (r *rewriter) block(b *block) {
	f := fate{}
	if b.path != nil {
		f = r.fateOf(b.path)
	}
	b.lead = r.pending + b.lead
	r.pending = ""
	switch {
	case r.isRoutes(f):
		r.writeRoutes(f, item{lead: b.lead, line: b.head})
	case f.rules == nil:
		r.container(b)
	case len(f.targets) == 0:
		r.remove(b, r.whyGone(f, b.path))
	default:
		for i, target := range f.targets {
			r.move(b, target, i > 0)
		}
	}
}

// whyGone says why a key is removed. That it belongs to a role that the tree is
// not for is noted here: a load passes over it.
func (r *rewriter) whyGone(f fate, path []string) string {
	if f.why != "" {
		return f.why
	}
	const why = "these files are not for the role that it belongs to"
	note := Note{Level: Warning, Action: Removed, Path: tomltree.DottedKey(path...), Why: why}
	last := len(path) - 1
	if around := r.tree.Lookup(path[:last]...); around != nil {
		note.Pos = around.KeyPos(path[last])
	}
	r.foreign = append(r.foreign, note)
	return why
}

// container rewrites the top of a file, or a table that v1 only had for what is
// below it.
func (r *rewriter) container(b *block) {
	kept := &block{lead: b.lead, path: b.path, array: b.array, head: b.head}
	if b.path == nil {
		r.out.add(kept)
	}
	var moved []piece
	for _, p := range r.pieces(b) {
		f := r.fateOf(p.path)
		switch {
		case f.gone():
			kept.items = append(kept.items, r.removed(p.item, r.whyGone(f, p.path)))
		case f.rules == nil:
			kept.items = append(kept.items, p.item)
		case b.path == nil && !r.isRoutes(f) && len(f.targets) == 1 && r.doc(f.targets[0][0]) == r.out:
			p.key, p.line = f.targets[0], p.line.withKey(f.targets[0]...)
			kept.items = append(kept.items, p.item)
			r.gone = ""
		default:
			moved = append(moved, p)
		}
	}
	switch {
	case b.path == nil:
	case len(kept.items) > 0:
		r.out.add(kept)
	default:
		r.pending = item{lead: kept.lead, line: b.head}.opened(r.out.eol)
	}
	r.moveAway(moved)
}

// remove turns a table into comments.
func (r *rewriter) remove(b *block, why string) {
	last := r.out.blocks[len(r.out.blocks)-1]
	last.items = append(last.items, r.removed(item{lead: b.lead, line: b.head}, why))
	var moved []piece
	for _, p := range r.pieces(b) {
		if f := r.fateOf(p.path); len(f.targets) > 0 {
			moved = append(moved, p)
		} else {
			last.items = append(last.items, r.removed(p.item, cmp.Or(f.why, why)))
		}
	}
	r.moveAway(moved)
}

// removed turns a key into a comment, and says why where that is news.
func (r *rewriter) removed(it item, why string) item {
	lead := it.lead
	if why != r.gone {
		lead += "# Removed since v1: " + why + "." + r.out.eol
	}
	r.gone = why
	return item{lead: lead, line: line{text: commentOut(it.line.text)}}
}

// move rewrites a table that has another name. Of a table that goes to two
// places, the second is a copy.
func (r *rewriter) move(b *block, target []string, again bool) {
	r.gone = ""
	doc := r.doc(target[0])
	kept := &block{lead: b.lead, path: target, array: b.array, head: b.head.withKey(target...)}
	switch {
	case again:
		kept.lead = doc.eol + "# v1 had one value for both roles." + doc.eol
	case doc != r.out:
		r.pending, kept.lead = splitLead(b.lead)
	}
	var moved []piece
	for _, p := range r.pieces(b) {
		f := r.fateOf(p.path)
		at := slices.Concat(target, p.key)
		here := slices.ContainsFunc(f.targets, func(t []string) bool { return slices.Equal(t, at) })
		switch {
		case here && !r.isRoutes(f):
			if doc == r.out || !doc.has(at) {
				kept.items = append(kept.items, p.item)
			}
		case again:
		case len(f.targets) == 0:
			kept.items = append(kept.items, r.removed(p.item, r.whyGone(f, p.path)))
		default:
			moved = append(moved, p)
		}
	}
	if doc == r.out || len(kept.items) > 0 {
		doc.add(kept)
	}
	r.moveAway(moved)
}

// moveAway puts keys into other tables than the one they stood in. A key that a
// file of higher precedence has is dropped.
func (r *rewriter) moveAway(pieces []piece) {
	for _, p := range pieces {
		if f := r.fateOf(p.path); r.isRoutes(f) {
			r.writeRoutes(f, p.item)
			continue
		}
		leaves := r.explode(p.key, p.path, p.value)
		if leaves[0].lead = p.lead; p.value.Kind() == tomltree.Table {
			leaves[0].lead = p.opened(r.out.eol)
		} else {
			leaves[0].line = p.line
		}
		for _, leaf := range leaves {
			for _, target := range r.fateOf(leaf.path).targets {
				last := len(target) - 1
				if doc := r.doc(target[0]); doc == r.out || !doc.has(target) {
					doc.set(target[:last], target[last], leaf.item)
				}
			}
		}
	}
}

// pieces returns the keys of a table, inline tables in parts where these have
// fates of their own.
func (r *rewriter) pieces(b *block) []piece {
	var out []piece
	for _, it := range b.items {
		at := slices.Concat(b.path, it.key)
		if !r.parts(at, it.value) {
			out = append(out, piece{it, at})
			continue
		}
		parts := r.explode(it.key, at, it.value)
		parts[0].lead = it.opened(r.out.eol)
		out = append(out, parts...)
	}
	return out
}

// parts reports whether a value is a table whose keys have fates of their own.
func (r *rewriter) parts(path []string, v *tomltree.Value) bool {
	return v.Kind() == tomltree.Table && !isEmpty(v) && (r.divided(path) || r.leadsToRoutes(path))
}

// explode returns the keys of a table one by one, protected routes as one.
func (r *rewriter) explode(key, path []string, v *tomltree.Value) []piece {
	switch {
	case isEmpty(v) || r.isRoutes(r.fateOf(path)):
		return []piece{{item{key: key, line: r.out.assignment(key, v.Inline()), value: v}, path}}
	case v.Kind() != tomltree.Table:
		return []piece{{item{key: key, line: r.out.assignment(key, v.Verbatim()), value: v}, path}}
	}
	var out []piece
	for _, k := range v.Keys() {
		out = append(out, r.explode(append(slices.Clip(key), k), append(slices.Clip(path), k), v.Lookup(k))...)
	}
	return out
}

// addNew adds a key that v1 did not have, or the keys of a table.
func (r *rewriter) addNew(n New) {
	if n.Value.Kind() == tomltree.Table {
		for _, key := range n.Value.Keys() {
			r.addNew(New{append(slices.Clip(n.Path), key), n.Value.Lookup(key)})
		}
		return
	}
	doc, last := r.doc(n.Path[0]), len(n.Path)-1
	l := doc.assignment(n.Path[last:], n.Value.Inline())
	l.text = strings.TrimSuffix(l.text, doc.eol) + " # new since v1: the built-in value" + doc.eol
	doc.set(n.Path[:last], n.Path[last], item{line: l, value: n.Value})
}

// splitLead divides the comments before a table into those that go on from what
// stands above, and those that belong to the table.
func splitLead(lead string) (above, own string) {
	at := 0
	for l := range strings.Lines(lead) {
		if strings.TrimSpace(l) == "" {
			return lead[:at], lead[at:]
		}
		at += len(l)
	}
	return "", lead
}
