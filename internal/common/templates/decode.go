package templates

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A decoder fills a Template from YAML nodes. It reports what is wrong and
// goes on, so that one run finds everything.
type decoder struct {
	*report
	budget int // what may still be read, so that aliases cannot multiply forever
}

// enter follows aliases and pays for the node. It returns nil, after reporting
// why, when the budget is spent or the node is none of YAML's own types.
func (d *decoder) enter(n *yaml.Node, path string) *yaml.Node {
	pos := position{n.Line, n.Column}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.budget < 0 {
		return nil
	}
	if d.budget -= nodeCost + len(n.Value); d.budget < 0 {
		d.addAt(pos, path, "the template is too large with its aliases expanded")
		return nil
	}
	if tag := n.ShortTag(); n.Kind != yaml.ScalarNode && tag != "!!map" && tag != "!!seq" {
		d.addAt(pos, path, "the tag %s is not supported", tag)
		return nil
	}
	return n
}

// value decodes n into v, which is at path and has the given tags.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	d.at[path] = position{n.Line, n.Column}
	if n = d.enter(n, path); n == nil {
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.scalarOrStruct(n, v.Elem(), path, tag)
	case v.Type() == reflect.TypeFor[Object]():
		if d.isKind(n, yaml.MappingNode, path) {
			d.report.free[path] = n
			if m := d.mapping(n, path, 0); len(m) > 0 {
				v.Set(reflect.ValueOf(Object(m)))
			}
		}
	case v.Kind() == reflect.Map:
		d.table(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalarOrStruct(n, v, path, tag)
	}
}

// scalarOrStruct decodes n into a struct, text, number or truth value.
func (d *decoder) scalarOrStruct(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	var ok bool
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
		return
	case reflect.String:
		var s string
		if s, ok = d.text(n, path); ok {
			v.SetString(s)
		}
	case reflect.Int:
		var i int64
		if ok = n.ShortTag() == "!!int" && n.Decode(&i) == nil; ok {
			v.SetInt(i)
		} else {
			d.addAt(position{n.Line, n.Column}, path, "must be a whole number, is %s", describe(n))
		}
	case reflect.Bool:
		var b bool
		if ok = n.ShortTag() == "!!bool" && n.Decode(&b) == nil; ok {
			v.SetBool(b)
		} else {
			d.addAt(position{n.Line, n.Column}, path, "must be true or false, is %s", describe(n))
		}
	default:
		panic("templates: no YAML for " + v.Type().String())
	}
	if problem := complaint(tag, v); ok && problem != "" {
		d.addf(path, "%s", problem)
	}
}

// structure decodes a mapping into a struct, then looks for what is missing.
func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	if !d.isKind(n, yaml.MappingNode, path) {
		return
	}
	fields := fieldsOf(v.Type())
	set := make([]bool, len(fields))
	for key, value := range d.pairs(n, path) {
		f := find(fields, key.Value)
		if f == nil {
			d.addAt(position{key.Line, key.Column}, join(path, key.Value), "unknown key%s", didYouMean(key.Value, keysOf(fields)))
			continue
		}
		if set[f.index] {
			d.addAt(position{key.Line, key.Column}, join(path, f.key), "is set twice, as %s and as %s", f.key, f.alias)
			continue
		}
		if isNull(value) {
			continue // the same as leaving the key out
		}
		set[f.index] = true
		d.value(value, v.Field(f.index), join(path, f.key), f.tag)
	}
	for _, f := range fields {
		if set[f.index] {
			continue
		}
		if !f.mayLack(v, fields) && d.budget >= 0 {
			d.addAt(position{n.Line, n.Column}, join(path, f.key), "is required")
		}
		if value := f.tag.Get("default"); value != "" {
			setDefault(v.Field(f.index), value)
		}
	}
}

// list decodes a sequence into a slice; an empty one is nil.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if !d.isKind(n, yaml.SequenceNode, path) || len(n.Content) == 0 {
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, 0)
	for i, item := range n.Content {
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(item, element, fmt.Sprintf("%s[%d]", path, i), "")
		out = reflect.Append(out, element)
	}
	v.Set(out)
}

// table decodes a mapping with free keys into a map; an empty one is nil.
func (d *decoder) table(n *yaml.Node, v reflect.Value, path string) {
	if !d.isKind(n, yaml.MappingNode, path) {
		return
	}
	out := reflect.MakeMap(v.Type())
	for key, value := range d.pairs(n, path) {
		if isNull(value) {
			continue
		}
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(value, element, join(path, key.Value), "")
		d.at[join(path, key.Value)] = position{key.Line, key.Column} // the key is what may be wrong
		out.SetMapIndex(reflect.ValueOf(key.Value), element)
	}
	if out.Len() > 0 {
		v.Set(out)
	}
}

// free decodes a value of any shape, as Object describes it.
func (d *decoder) free(n *yaml.Node, path string, depth int) any {
	pos := position{n.Line, n.Column}
	if n = d.enter(n, path); n == nil {
		return nil
	}
	if depth > maxDepth {
		d.addAt(pos, path, "is nested more than %d deep", maxDepth)
		d.budget = -1 // an alias of itself never ends
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return d.mapping(n, path, depth)
	case yaml.SequenceNode:
		items := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			items = append(items, d.free(item, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
		return items
	default:
		return d.scalar(n, path)
	}
}

// mapping decodes a mapping of any shape.
func (d *decoder) mapping(n *yaml.Node, path string, depth int) map[string]any {
	m := make(map[string]any, len(n.Content)/2)
	for key, value := range d.pairs(n, path) {
		m[key.Value] = d.free(value, join(path, key.Value), depth+1)
	}
	return m
}

// scalar decodes a single value of any type JSON has.
func (d *decoder) scalar(n *yaml.Node, path string) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool", "!!int", "!!float":
		var value any
		if err := n.Decode(&value); err != nil {
			break
		}
		if b, ok := value.(bool); ok {
			return b
		}
		if number, ok := plainNumber(value); ok {
			return number
		}
	default:
		s, _ := d.text(n, path)
		return s
	}
	d.addAt(position{n.Line, n.Column}, path, "%.80q is no value that JSON has; quote it", n.Value)
	return nil
}

// text returns the text of a scalar, or reports that n is none.
func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	pos := position{n.Line, n.Column}
	switch tag := n.ShortTag(); {
	case n.Kind != yaml.ScalarNode:
		d.addAt(pos, path, "must be text, is %s", describe(n))
	case tag != "!!str" && tag != "!!timestamp" && tag != "!!merge":
		d.addAt(pos, path, "must be text, is %s; quote it", describe(n))
	case strings.ContainsRune(n.Value, 0):
		d.addAt(pos, path, "contains a NUL character, which the database cannot store")
	default:
		return n.Value, true
	}
	return "", false
}

// pairs yields the keys and values of a mapping. Keys that are no text, too
// long, or not the first of their name are reported and left out.
func (d *decoder) pairs(n *yaml.Node, path string) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		first := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := d.key(n.Content[i], path)
			if key == nil {
				continue
			}
			if line, ok := first[key.Value]; ok {
				d.addAt(position{key.Line, key.Column}, join(path, key.Value), "key is already set on line %d", line)
				continue
			}
			first[key.Value] = key.Line
			if !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

// key returns the node of a key, or nil after reporting what is wrong with it.
func (d *decoder) key(n *yaml.Node, path string) *yaml.Node {
	key := d.enter(n, path)
	switch {
	case key == nil:
		return nil
	case key.ShortTag() == "!!merge":
		d.addAt(position{n.Line, n.Column}, path, "merge keys (<<) are not supported; write the keys out, or use an alias for the whole value")
		return nil
	case len(key.Value) > maxKeyBytes:
		d.addAt(position{n.Line, n.Column}, path, "a key is longer than %d bytes", maxKeyBytes)
		return nil
	}
	if _, ok := d.text(key, path+" (a key)"); !ok {
		return nil
	}
	return key
}

// isKind reports whether n is of the kind wanted, and what it is if not.
func (d *decoder) isKind(n *yaml.Node, want yaml.Kind, path string) bool {
	if n.Kind == want {
		return true
	}
	wanted := "a mapping"
	if want == yaml.SequenceNode {
		wanted = "a list"
	}
	d.addAt(position{n.Line, n.Column}, path, "must be %s, is %s", wanted, describe(n))
	return false
}

// isNull reports whether n is a key without a value.
func isNull(n *yaml.Node) bool {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// describe names what n is, for an error.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default: // a scalar
	}
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return "empty"
	case "!!str":
		return fmt.Sprintf("the text %.80q", n.Value)
	case "!!int", "!!float":
		return fmt.Sprintf("the number %.80s", n.Value)
	case "!!bool", "!!timestamp":
		return fmt.Sprintf("%.80s", n.Value)
	default:
		return "tagged " + tag
	}
}

// find returns the field that key or an alias of it names, or nil.
func find(fields []field, key string) *field {
	for i, f := range fields {
		if key == f.key || f.alias != "" && key == f.alias {
			return &fields[i]
		}
	}
	return nil
}

// keysOf lists the keys of fields, aliases included.
func keysOf(fields []field) []string {
	var keys []string
	for _, f := range fields {
		keys = append(keys, f.key)
		if f.alias != "" {
			keys = append(keys, f.alias)
		}
	}
	return keys
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
