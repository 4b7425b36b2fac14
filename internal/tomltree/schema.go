package tomltree

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A Schema is a Go struct type prepared for decoding. These tags of its fields
// count:
//
//	toml:"key"          the key of the field; fields without it are an error,
//	                    embedded structs excepted, whose keys belong to the outer
//	range:"1..1000"     bounds of a number, or of every number in a slice;
//	                    either side may be empty
//	len:"1..63"         bounds of the length of a string (in characters) or slice
//	enum:"a|b"          the strings allowed, also for every string in a slice
//	default:"'x'"       the value of an absent key, as TOML; without the tag
//	                    the key is required, save for pointers; placeholders
//	                    in it need [Schema.AddPlaceholders]
//	format:"name"       one of the formats given to [NewSchema], for a string
//	secret:"true"       the value never shows in a problem
//	reload:"live"       kept for programs that change values while they run
//
// A string whose key sounds like a secret, as password or api_key, is one unless
// it is tagged secret:"false".
//
// A field may be a bool, int, float or string type, a struct, a pointer to a
// struct (nil if the table is absent), a map of structs with string keys, or a
// slice of ints, strings or structs. A slice may also be written as a table
// with the keys 0, 1, 2, …. A blank field of type struct{} is a table that may
// be present and must be empty.
//
// A Schema may be used concurrently.
type Schema struct {
	plan    *structPlan
	root    *Node
	fields  []Field
	late    []lateDefault
	secrets map[string]bool // by key
}

// A lateDefault is a default with a placeholder in it.
type lateDefault struct {
	path   []string
	preset *Value
}

// A Format is a rule for strings that a tag cannot spell out.
type Format struct {
	Code    string // of the problem
	Message string // of the problem, goes on from the key: "is no URL"
	Fix     string // what to do about it
	Fits    func(text string) bool
	Pattern string // a regular expression that comes near, for editors; may be ""
}

// A Field is one leaf of a schema.
type Field struct {
	Key     string       // dotted; a map's own keys appear as *
	Type    reflect.Type // of the Go field
	Range   string       // the range tag
	Len     string       // the len tag
	Enum    []string     // nil where any string will do
	Format  string       // the format tag
	Default string       // the default tag, "" where the key is required
	Reload  string       // the reload tag
	Secret  bool
}

// IsLive reports whether the value may change while a program runs.
func (f *Field) IsLive() bool { return f.Reload == "live" }

// A Node is a key of a schema with what may stand below it.
type Node struct {
	Field // of a table, Key and Type only

	Kind     NodeKind
	Optional bool    // the key may be absent
	Below    []*Node // of a table in the order of the Go fields; of the others the one entry, called *
}

// A NodeKind says what a key holds.
type NodeKind uint8

// The kinds of nodes.
const (
	Leaf    NodeKind = iota // a scalar, or a list of them
	Section                 // a table with the keys below
	Named                   // a table of tables whose keys are free
	Rows                    // a list of tables
)

// child returns the node of a key right below n, or nil.
func (n *Node) child(key string) *Node {
	path := join(n.Key, key)
	for _, below := range n.Below {
		if below.Key == path {
			return below
		}
	}
	return nil
}

// NewSchema prepares struct type t. It panics if a tag or type is not as
// [Schema] says.
func NewSchema(t reflect.Type, formats map[string]Format) *Schema {
	p := planner{formats: formats}
	node := &Node{Kind: Section, Field: Field{Type: t}}
	s := &Schema{plan: p.structPlan(t, node), root: node, fields: p.fields, late: p.late, secrets: map[string]bool{}}
	for _, f := range p.fields {
		if f.Secret {
			s.secrets[f.Key] = true
		}
	}
	return s
}

// Fields lists the leaves in the order of the Go fields. Lists of tables have
// none.
func (s *Schema) Fields() []Field { return s.fields }

// Root returns the table of everything. It must not be changed.
func (s *Schema) Root() *Node { return s.root }

// Secrets lists the last parts of the secret keys, for [Parse] to mask.
func (s *Schema) Secrets() []string {
	var names []string
	for _, f := range s.fields {
		name := f.Key[strings.LastIndexByte(f.Key, '.')+1:]
		if f.Secret && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// IsSecret reports whether a dotted key holds a secret.
func (s *Schema) IsSecret(key string) bool { return s.secrets[key] }

// structPlan is a struct type with its fields, those of embedded structs
// included.
type structPlan struct {
	fields     []fieldPlan
	defaulting bool // every field has a default or may be absent
}

type fieldPlan struct {
	key      string
	index    []int
	typ      reflect.Type
	kind     fieldKind
	plan     *structPlan // of the struct, map's or slice's element
	elem     *fieldPlan  // of a slice of scalars
	optional bool
	secret   bool
	enum     []string
	bounds   *bounds
	length   *bounds
	format   *Format
	preset   *Value // the default
}

type fieldKind uint8

const (
	boolField fieldKind = iota
	intField
	floatField
	stringField
	structField
	pointerField
	mapField
	sliceField
	emptyField
)

// bounds are the ends of a range, both included.
type bounds struct {
	low, high float64
	text      string // as in a sentence: "1 to 1000", "at least 1"
}

func (b *bounds) holds(x float64) bool { return b == nil || b.low <= x && x <= b.high }

// index returns where the field of that key is, or -1.
func (p *structPlan) index(key string) int {
	for i := range p.fields {
		if p.fields[i].key == key {
			return i
		}
	}
	return -1
}

// indexNear is index for the i-th key of a table, which as a rule is also the
// i-th of the struct.
func (p *structPlan) indexNear(i int, key string) int {
	if i < len(p.fields) && p.fields[i].key == key {
		return i
	}
	return p.index(key)
}

// planner prepares types.
type planner struct {
	formats map[string]Format
	fields  []Field // the leaves so far
	late    []lateDefault
	inSlice bool // the keys of a slice's elements are no leaves
}

// structPlan prepares struct type t, whose keys come below node.
func (p *planner) structPlan(t reflect.Type, node *Node) *structPlan {
	plan := &structPlan{defaulting: true}
	p.collect(plan, t, nil, node)
	if len(plan.fields) > 64 {
		panic(fmt.Sprintf("tomltree: %s has more than 64 keys", t))
	}
	for i := range plan.fields {
		f := &plan.fields[i]
		structured := f.kind == structField && f.plan.defaulting
		absent := f.preset != nil || f.optional || structured
		plan.defaulting = plan.defaulting && absent
		if f.kind != emptyField {
			node.child(f.key).Optional = absent
		}
	}
	return plan
}

// collect adds the fields of t, found at index of the outer struct. Of two
// fields with one key, the outer counts.
func (p *planner) collect(plan *structPlan, t reflect.Type, index []int, node *Node) {
	var embedded []reflect.StructField
	for f := range t.Fields() {
		if f.Anonymous {
			embedded = append(embedded, f)
			continue
		}
		key := f.Tag.Get("toml")
		if key == "" {
			panic(fmt.Sprintf("tomltree: %s.%s has no toml tag", t, f.Name))
		}
		if plan.index(key) < 0 {
			plan.fields = append(plan.fields, p.fieldPlan(f, append(slices.Clip(index), f.Index...), node))
		}
	}
	for _, f := range embedded {
		p.collect(plan, f.Type, append(slices.Clip(index), f.Index...), node)
	}
}

func (p *planner) fieldPlan(f reflect.StructField, index []int, parent *Node) fieldPlan {
	plan := fieldPlan{
		key: f.Tag.Get("toml"), index: index, typ: f.Type,
		secret: isSecret(f),
		bounds: parseBounds(f.Tag.Get("range")), length: parseBounds(f.Tag.Get("len")),
		format: p.format(f),
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		plan.enum = strings.Split(enum, "|")
	}
	if text, ok := f.Tag.Lookup("default"); ok {
		plan.preset = parseDefault(f, text)
	}
	node := &Node{Field: Field{Key: join(parent.Key, plan.key), Type: f.Type}}
	switch t := f.Type; {
	case f.Name == "_" && t.Kind() == reflect.Struct:
		plan.kind, plan.plan, plan.optional = emptyField, &structPlan{}, true
		return plan
	case t.Kind() == reflect.Struct:
		node.Kind = Section
		plan.kind, plan.plan = structField, p.structPlan(t, node)
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		node.Kind = Section
		plan.kind, plan.plan, plan.optional = pointerField, p.structPlan(t.Elem(), node), true
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		node.Kind = Named
		plan.kind, plan.plan = mapField, p.structPlan(t.Elem(), node.entry(t.Elem()))
	case t.Kind() == reflect.Slice:
		plan.kind = sliceField
		p.leaf(node, f, &plan)
		p.setElement(&plan, node)
	default:
		plan.kind = scalarKind(t)
		p.leaf(node, f, &plan)
	}
	parent.Below = append(parent.Below, node)
	return plan
}

// isSecret goes by the tag, and by the name where there is none: a forgotten tag
// must not give a password away.
func isSecret(f reflect.StructField) bool {
	if tag := f.Tag.Get("secret"); tag != "" || f.Type.Kind() != reflect.String {
		return tag == "true"
	}
	key := f.Tag.Get("toml")
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(key, word) })
}

// secretWords are parts of keys that sound like a secret.
var secretWords = []string{"password", "passwd", "secret", "token", "credential", "api_key", "private_key"}

// leaf makes a leaf of node.
func (p *planner) leaf(node *Node, f reflect.StructField, plan *fieldPlan) {
	node.Range, node.Len, node.Format = f.Tag.Get("range"), f.Tag.Get("len"), f.Tag.Get("format")
	node.Enum, node.Default, node.Secret = plan.enum, f.Tag.Get("default"), plan.secret
	node.Reload = f.Tag.Get("reload")
	if !p.inSlice {
		p.fields = append(p.fields, node.Field)
		if plan.preset != nil && strings.Contains(plan.preset.text, "${") {
			p.late = append(p.late, lateDefault{strings.Split(node.Key, "."), plan.preset})
		}
	}
}

// setElement prepares the elements of a slice.
func (p *planner) setElement(plan *fieldPlan, node *Node) {
	t := node.Type.Elem()
	if t.Kind() == reflect.Struct {
		outer := p.inSlice
		p.inSlice = true
		node.Kind = Rows
		plan.plan = p.structPlan(t, node.entry(t))
		p.inSlice = outer
		return
	}
	plan.elem = &fieldPlan{
		key: plan.key, typ: t, kind: scalarKind(t),
		secret: plan.secret, enum: plan.enum, bounds: plan.bounds,
	}
}

// entry adds the node of any entry of a map or list of tables.
func (n *Node) entry(t reflect.Type) *Node {
	entry := &Node{Kind: Section, Field: Field{Key: n.Key + ".*", Type: t}}
	n.Below = []*Node{entry}
	return entry
}

func (p *planner) format(f reflect.StructField) *Format {
	name := f.Tag.Get("format")
	if name == "" {
		return nil
	}
	format, known := p.formats[name]
	if !known {
		panic("tomltree: unknown format " + name)
	}
	return &format
}

func scalarKind(t reflect.Type) fieldKind {
	switch t.Kind() {
	case reflect.Bool:
		return boolField
	case reflect.Int, reflect.Int64:
		return intField
	case reflect.Float64:
		return floatField
	case reflect.String:
		return stringField
	default:
		panic(fmt.Sprintf("tomltree: type %s cannot be decoded", t))
	}
}

func parseDefault(f reflect.StructField, text string) *Value {
	doc, problems := Parse("default of "+f.Tag.Get("toml"), []byte("v = "+text))
	if len(problems) > 0 {
		panic(fmt.Sprintf("tomltree: default of %s: %s", f.Name, problems[0].Message))
	}
	v := *doc.Lookup("v")
	v.file = nil // it stands in no file
	return &v
}

// parseBounds reads "1..10", "1.." or "..10".
func parseBounds(tag string) *bounds {
	if tag == "" {
		return nil
	}
	low, high, ok := strings.Cut(tag, "..")
	b := &bounds{low: parseEnd(low, tag, "-inf"), high: parseEnd(high, tag, "inf")}
	switch {
	case !ok || low == "" && high == "":
		panic("tomltree: bad range " + tag)
	case low == "":
		b.text = "at most " + high
	case high == "":
		b.text = "at least " + low
	default:
		b.text = low + " to " + high
	}
	return b
}

func parseEnd(text, tag, open string) float64 {
	if text == "" {
		text = open
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("tomltree: bad range " + tag)
	}
	return x
}
