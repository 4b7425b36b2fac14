package tomltree

import (
	"fmt"
	"reflect"
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
//	                    the key is required, save for pointers
//	secret:"true"       the value never shows in a problem
//
// A field may be a bool, int, float or string type, a struct, a pointer to a
// struct (nil if the table is absent), a map of structs with string keys, or a
// slice of ints, strings or structs. A slice may also be written as a table
// with the keys 0, 1, 2, …. A blank field of type struct{} is a table that may
// be present and must be empty.
//
// A Schema may be used concurrently.
type Schema struct {
	root   *structPlan
	fields []Field
}

// A Field is one leaf of a schema.
type Field struct {
	Key     string       // dotted; a map's own keys appear as *
	Type    reflect.Type // of the Go field
	Range   string       // the range tag
	Len     string       // the len tag
	Enum    []string     // nil where any string will do
	Default string       // the default tag, "" where the key is required
	Secret  bool
}

// NewSchema prepares struct type t. It panics if a tag or type is not as
// [Schema] says.
func NewSchema(t reflect.Type) *Schema {
	s := &Schema{}
	s.root = s.structPlan(t, "", false)
	return s
}

// Fields lists the leaves in the order of the Go fields.
func (s *Schema) Fields() []Field { return s.fields }

// Secrets lists the last parts of the secret keys, for [Parse] to mask.
func (s *Schema) Secrets() []string {
	var names []string
	for _, f := range s.fields {
		if f.Secret {
			names = append(names, f.Key[strings.LastIndexByte(f.Key, '.')+1:])
		}
	}
	return names
}

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

func (s *Schema) structPlan(t reflect.Type, path string, preset bool) *structPlan {
	plan := &structPlan{defaulting: true}
	s.collect(plan, t, nil, path, preset)
	if len(plan.fields) > 64 {
		panic(fmt.Sprintf("tomltree: %s has more than 64 keys", t))
	}
	for i := range plan.fields {
		f := &plan.fields[i]
		structured := f.kind == structField && f.plan.defaulting
		plan.defaulting = plan.defaulting && (f.preset != nil || f.optional || structured)
	}
	return plan
}

// collect adds the fields of t, found at index of the outer struct. Of two
// fields with one key, the outer counts.
func (s *Schema) collect(plan *structPlan, t reflect.Type, index []int, path string, preset bool) {
	var embedded []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			embedded = append(embedded, f)
			continue
		}
		key := f.Tag.Get("toml")
		if key == "" {
			panic(fmt.Sprintf("tomltree: %s.%s has no toml tag", t, f.Name))
		}
		if plan.index(key) < 0 {
			at := append(index[:len(index):len(index)], i)
			plan.fields = append(plan.fields, s.fieldPlan(f, at, join(path, key), preset))
		}
	}
	for _, f := range embedded {
		s.collect(plan, f.Type, append(index[:len(index):len(index)], f.Index...), path, preset)
	}
}

// fieldPlan prepares one field. Where preset is set, an element of a slice is
// prepared, whose keys are no leaves of the schema.
func (s *Schema) fieldPlan(f reflect.StructField, index []int, path string, preset bool) fieldPlan {
	p := fieldPlan{
		key: f.Tag.Get("toml"), index: index, typ: f.Type,
		secret: f.Tag.Get("secret") == "true",
		bounds: parseBounds(f.Tag.Get("range")), length: parseBounds(f.Tag.Get("len")),
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		p.enum = strings.Split(enum, "|")
	}
	if text, ok := f.Tag.Lookup("default"); ok {
		p.preset = parseDefault(f, text)
	}
	s.setKind(&p, f, path, preset)
	leaf := p.kind <= stringField || p.kind == sliceField
	if leaf && !preset {
		s.fields = append(s.fields, Field{
			Key: path, Type: f.Type, Range: f.Tag.Get("range"), Len: f.Tag.Get("len"),
			Enum: p.enum, Default: f.Tag.Get("default"), Secret: p.secret,
		})
	}
	return p
}

func (s *Schema) setKind(p *fieldPlan, f reflect.StructField, path string, preset bool) {
	t := f.Type
	switch {
	case f.Name == "_" && t.Kind() == reflect.Struct:
		p.kind, p.plan, p.optional = emptyField, &structPlan{}, true
	case t.Kind() == reflect.Struct:
		p.kind, p.plan = structField, s.structPlan(t, path, preset)
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		p.kind, p.plan, p.optional = pointerField, s.structPlan(t.Elem(), path, preset), true
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		p.kind, p.plan = mapField, s.structPlan(t.Elem(), path+".*", preset)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		p.kind, p.plan = sliceField, s.structPlan(t.Elem(), path, true)
	case t.Kind() == reflect.Slice:
		p.kind = sliceField
		p.elem = &fieldPlan{
			key: p.key, typ: t.Elem(), kind: scalarKind(t.Elem()),
			secret: p.secret, enum: p.enum, bounds: p.bounds,
		}
	default:
		p.kind = scalarKind(t)
	}
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
	return doc.Lookup("v")
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
