package tomltree

import "strings"

// AddPlaceholders returns tree with the defaults that name variables, for
// [Expand] to fill in. A table that is absent stays so.
func (s *Schema) AddPlaceholders(tree *Value) *Value {
	for _, d := range s.late {
		if tree.Lookup(d.path[:len(d.path)-1]...) != nil && tree.Lookup(d.path...) == nil {
			tree, _ = Merge(tree, d.preset.Nest(d.path...)) // never clashes: it was missing
		}
	}
	return tree
}

// Complete returns tree, which [Schema.Decode] found sound, as its reader sees
// it: defaults filled in, numbers and booleans in place of the placeholders that
// stood for them, numbered tables as lists, no keys that document others. Where
// a variable is missing, its placeholder stays. The keys are in the order of the
// schema.
func (s *Schema) Complete(tree *Value) *Value { return s.plan.complete(tree) }

func (p *structPlan) complete(t *Value) *Value {
	out := t.withEntries(make([]entry, 0, len(p.fields)))
	for i := range p.fields {
		f := &p.fields[i]
		e := t.find(f.key)
		if e == nil {
			e = &entry{key: f.key, value: f.preset}
		}
		if e.value == nil && f.kind == structField {
			e.value = &Value{kind: Table, file: t.file}
		}
		if e.value != nil {
			out.entries = append(out.entries, entry{e.key, e.start, e.end, f.complete(e.value)})
		}
	}
	return out
}

func (f *fieldPlan) complete(v *Value) *Value {
	switch f.kind {
	case structField, pointerField, emptyField:
		return f.plan.complete(v)
	case mapField:
		out := v.withEntries(make([]entry, 0, len(v.entries)))
		for _, e := range v.entries {
			if e.key != "_docs" {
				e.value = f.plan.complete(e.value)
				out.entries = append(out.entries, e)
			}
		}
		return out
	case sliceField:
		list, _ := v.Listed(f.key)
		out := list.withEntries(make([]entry, len(list.entries)))
		for i, e := range list.entries {
			if f.elem != nil {
				e.value = f.elem.complete(e.value)
			} else {
				e.value = f.plan.complete(e.value)
			}
			out.entries[i] = e
		}
		return out
	default:
		return f.typed(v)
	}
}

// typed returns scalar v with the type of field f.
func (f *fieldPlan) typed(v *Value) *Value {
	if v.unset && v.expanded != nil {
		out := *v
		out.text = v.expanded.written
		return &out
	}
	if f.kind != stringField && v.kind == String && !v.unset {
		return v.reread()
	}
	return v
}

// Redact returns tree with what must not be shown replaced by stars: secrets,
// and the user and password of URLs. Empty secrets stay. It also returns the
// keys of what it replaced.
func (s *Schema) Redact(tree *Value) (redacted *Value, keys []string) {
	r := redactor{schema: s}
	return r.value(tree, ""), r.keys
}

// hiddenText stands for what must not be shown.
const hiddenText = "***"

type redactor struct {
	schema *Schema
	keys   []string
}

func (r *redactor) value(v *Value, path string) *Value {
	if v.kind == Table || v.kind == Array {
		out := v.withEntries(make([]entry, len(v.entries)))
		for i, e := range v.entries {
			below := path
			if v.kind == Table {
				below = join(path, e.key)
			}
			e.value = r.value(e.value, below)
			out.entries[i] = e
		}
		return out
	}
	if v.kind != String || v.text == "" || v.unset && isPlaceholder(v.text) {
		return v
	}
	text := hiddenText
	if !r.schema.IsSecret(path) {
		text = maskUserinfo(v.text)
	}
	if text == v.text {
		return v
	}
	r.keys = append(r.keys, path)
	out := *v
	out.text = text
	return &out
}

// isPlaceholder reports whether text is ${NAME}, which shows nothing.
func isPlaceholder(text string) bool {
	name, ok := strings.CutPrefix(text, "${")
	return ok && name[nameLength(name):] == "}"
}

// Blend returns old with the values that over has for the keys take says yes to.
// Both are trees that [Schema.Complete] returned. A key that only one of them has
// is as in old.
func Blend(old, over *Value, take func(key string) bool) *Value { return blend(old, over, "", take) }

func blend(old, over *Value, path string, take func(key string) bool) *Value {
	out := old.withEntries(make([]entry, len(old.entries)))
	for i, e := range old.entries {
		key := join(path, e.key)
		other := over.find(e.key)
		switch {
		case other == nil:
		case e.value.kind == Table && other.value.kind == Table:
			e.value = blend(e.value, other.value, key, take)
		case take(key):
			e = *other
		}
		out.entries[i] = e
	}
	return out
}

// Leaves calls visit for every scalar and list in tree, with its dotted key.
// Empty tables are passed over.
func Leaves(tree *Value, visit func(key string, v *Value)) { leaves(tree, "", visit) }

func leaves(v *Value, path string, visit func(key string, v *Value)) {
	if v.kind != Table {
		visit(path, v)
		return
	}
	for _, e := range v.entries {
		leaves(e.value, join(path, e.key), visit)
	}
}
