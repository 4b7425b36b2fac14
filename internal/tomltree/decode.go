package tomltree

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Decode fills the struct that into points to from tree, which was expanded.
//
// Decoding is strict. Unknown keys are problems, save _docs and <known
// key>_docs; so are absent ones without a default. Types must agree: a whole
// number does for a decimal field, and nothing else is converted, except a
// string that was one placeholder as a whole, whose content may become a number
// or boolean. NaN and infinities are refused.
//
// Values that others replaced in a merge must fit too, and so must the defaults
// of placeholders whose variable is set.
//
// Fields with a problem or an unset variable keep the value they had, and their
// keys are returned as unsure: a check that looks at them would judge what
// nobody wrote.
func (s *Schema) Decode(tree *Value, into any) (unsure []string, problems []Problem) {
	d := decoder{schema: s}
	d.table(s.plan, tree, reflect.ValueOf(into).Elem())
	return d.unsure, d.problems
}

type decoder struct {
	schema   *Schema
	path     []string
	aside    aside // zero where the effective value is decoded
	unsure   []string
	problems []Problem
}

// aside says that what is decoded has no effect at present.
type aside struct {
	top      *Value // the value in effect
	fallback bool   // what is decoded is the default of a placeholder in it
}

func (d *decoder) table(plan *structPlan, t *Value, into reflect.Value) {
	var seen uint64
	for i := range t.entries {
		e := &t.entries[i]
		j := plan.indexNear(i, e.key)
		if j < 0 {
			if !documents(plan, e.key) {
				d.unknown(plan, t, e)
			}
			continue
		}
		seen |= 1 << j
		f := &plan.fields[j]
		d.path = append(d.path, e.key)
		d.field(f, e.value, fieldOf(into, f))
		d.path = d.path[:len(d.path)-1]
	}
	for j := range plan.fields {
		if seen&(1<<j) == 0 {
			d.absent(&plan.fields[j], t, into)
		}
	}
}

// field decodes v and looks at what it hides.
func (d *decoder) field(f *fieldPlan, v *Value, into reflect.Value) {
	d.value(f, v, into)
	for under := v.under; under != nil; under = under.under {
		d.check(f, under, aside{top: v})
	}
	if v.expanded != nil && v.expanded.fallback != nil {
		d.check(f, v.withText(*v.expanded.fallback), aside{top: v, fallback: true})
	}
}

// check decodes v for its problems only.
func (d *decoder) check(f *fieldPlan, v *Value, why aside) {
	if d.aside.top != nil {
		return
	}
	d.aside = why
	into := reflect.Value{}
	if f.kind >= structField { // scalars are only looked at
		into = reflect.New(f.typ).Elem()
	}
	d.value(f, v, into)
	d.aside = aside{}
}

// withText returns string v as if text had been written.
func (v *Value) withText(text string) *Value {
	out := *v
	out.text, out.under = text, nil
	out.expanded = &sources{whole: v.expanded.whole}
	return &out
}

// fieldOf returns the Go field of f, the zero Value for a blank one.
func fieldOf(into reflect.Value, f *fieldPlan) reflect.Value {
	if f.kind == emptyField {
		return reflect.Value{}
	}
	for _, i := range f.index {
		into = into.Field(i)
	}
	return into
}

// documents reports whether key is documentation of one that plan knows.
func documents(plan *structPlan, key string) bool {
	return key == "_docs" || IsDocs(key) && plan.index(strings.TrimSuffix(key, "_docs")) >= 0
}

// absent fills in the default of f, which table t does not have.
func (d *decoder) absent(f *fieldPlan, t *Value, into reflect.Value) {
	d.path = append(d.path, f.key)
	defer func() { d.path = d.path[:len(d.path)-1] }()
	switch {
	case f.preset != nil:
		d.value(f, f.preset, fieldOf(into, f))
	case f.optional:
	case f.kind == structField && f.plan.defaulting:
		d.table(f.plan, &Value{kind: Table, file: t.file}, fieldOf(into, f))
	case f.kind == structField || f.kind == mapField:
		d.problem(nil, Problem{Code: "missing-key", Pos: t.Pos(), Message: "is a table and it is missing"})
	default:
		d.problem(nil, Problem{Code: "missing-key", Pos: t.Pos(), Message: "is missing"})
	}
}

func (d *decoder) value(f *fieldPlan, v *Value, into reflect.Value) {
	if v.unset {
		d.doubt(dotted(d.path))
		return
	}
	switch f.kind {
	case structField, emptyField:
		if d.is(f, v, Table) {
			d.table(f.plan, v, into)
		}
	case pointerField:
		if d.is(f, v, Table) {
			into.Set(reflect.New(f.typ.Elem()))
			d.table(f.plan, v, into.Elem())
		}
	case mapField:
		if d.is(f, v, Table) {
			d.mapping(f, v, into)
		}
	case sliceField:
		d.slice(f, v, into)
	default:
		d.scalar(f, v, into)
	}
}

// is reports whether v has a kind, and makes a problem of it if not.
func (d *decoder) is(f *fieldPlan, v *Value, kind Kind) bool {
	if v.kind != kind {
		d.mismatch(f, v, kind)
	}
	return v.kind == kind
}

func (d *decoder) mapping(f *fieldPlan, v *Value, into reflect.Value) {
	into.Set(reflect.MakeMapWithSize(f.typ, len(v.entries)))
	for _, e := range v.entries {
		if e.key == "_docs" {
			continue
		}
		d.path = append(d.path, e.key)
		if d.is(f, e.value, Table) {
			elem := reflect.New(f.typ.Elem()).Elem()
			d.table(f.plan, e.value, elem)
			into.SetMapIndex(reflect.ValueOf(e.key), elem)
		}
		d.path = d.path[:len(d.path)-1]
	}
}

func (d *decoder) slice(f *fieldPlan, v *Value, into reflect.Value) {
	if v.kind == Table {
		list, problems := v.Listed(dotted(d.path))
		for _, p := range problems {
			d.problem(v, p)
		}
		if len(problems) > 0 {
			return
		}
		v = list
	}
	if !d.is(f, v, Array) {
		return
	}
	if n := len(v.entries); !f.length.holds(float64(n)) {
		d.problem(v, Problem{Code: "out-of-range", Pos: v.Pos(), Message: fmt.Sprintf("has %d entries, want %s", n, f.length.text)})
		return
	}
	out := reflect.MakeSlice(f.typ, len(v.entries), len(v.entries))
	for i, e := range v.entries {
		d.path = append(d.path, strconv.Itoa(i))
		switch {
		case f.elem != nil:
			d.field(f.elem, e.value, out.Index(i))
		case d.is(f, e.value, Table):
			d.table(f.plan, e.value, out.Index(i))
		}
		d.path = d.path[:len(d.path)-1]
	}
	into.Set(out)
}

func (d *decoder) scalar(f *fieldPlan, v *Value, into reflect.Value) {
	if f.kind != stringField && v.kind == String && v.expanded != nil && v.expanded.whole {
		v = v.reread()
	}
	switch {
	case f.kind == boolField && d.is(f, v, Bool):
		if into.IsValid() {
			into.SetBool(v.bits == 1)
		}
	case f.kind == intField && d.is(f, v, Integer):
		n := int64(v.bits) //nolint:gosec // bits hold an int64
		switch {
		case !f.bounds.holds(float64(n)) || into.IsValid() && into.OverflowInt(n):
			d.outOfRange(f, v)
		case into.IsValid():
			into.SetInt(n)
		}
	case f.kind == floatField && v.kind == Integer, f.kind == floatField && d.is(f, v, Float):
		x := v.float()
		switch {
		case math.IsNaN(x) || math.IsInf(x, 0):
			d.unfit("X26", f, v, "a finite number", "")
		case !f.bounds.holds(x):
			d.outOfRange(f, v)
		case into.IsValid():
			into.SetFloat(x)
		}
	case f.kind == stringField && d.is(f, v, String):
		if d.text(f, v) && into.IsValid() {
			into.SetString(v.text)
		}
	}
}

// text checks a string against the tags of its field.
func (d *decoder) text(f *fieldPlan, v *Value) bool {
	if !utf8.ValidString(v.text) { // files are, variables need not be
		d.problem(v, Problem{Code: "wrong-type", Pos: v.Pos(), Message: "is not UTF-8, want a string"})
		return false
	}
	if n := utf8.RuneCountInString(v.text); !f.length.holds(float64(n)) {
		message := "is empty"
		if n > 0 {
			message = fmt.Sprintf("has %d characters, want %s", n, f.length.text)
		}
		d.problem(v, Problem{Code: "out-of-range", Pos: v.Pos(), Message: message})
		return false
	}
	if f.format != nil && !f.format.Fits(v.text) {
		d.problem(v, Problem{Code: f.format.Code, Pos: v.Pos(), Message: f.format.Message, Fix: f.format.Fix})
		return false
	}
	if f.enum == nil || slices.Contains(f.enum, v.text) {
		return true
	}
	fix := ""
	if near := Nearest(v.text, f.enum); near != "" && !f.hides(v) {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	d.unfit("not-allowed", f, v, "one of "+strings.Join(f.enum, ", "), fix)
	return false
}

// reread returns string v as the number or boolean that it spells, or v.
func (v *Value) reread() *Value {
	out := *v
	if v.text == "true" || v.text == "false" {
		out.kind, out.bits = Bool, 0
		if v.text == "true" {
			out.bits = 1
		}
		return &out
	}
	if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
		out.kind, out.bits = Integer, uint64(n) //nolint:gosec // kept as bits
		out.text = strconv.FormatInt(n, 10)
		return &out
	}
	if x, err := strconv.ParseFloat(v.text, 64); err == nil {
		out.kind, out.bits = Float, math.Float64bits(x)
		out.text = strconv.FormatFloat(x, 'g', -1, 64)
		return &out
	}
	return v
}

func (d *decoder) outOfRange(f *fieldPlan, v *Value) {
	want := "a number that fits"
	if f.bounds != nil {
		want = f.bounds.text
	}
	d.unfit("out-of-range", f, v, want, "")
}

// fieldWants names what a scalar field takes.
var fieldWants = [...]string{
	boolField: "true or false", intField: "a whole number", floatField: "a number", stringField: "a string",
}

// mismatch reports that v, of another kind than want, stands at field f.
func (d *decoder) mismatch(f *fieldPlan, v *Value, want Kind) {
	wanted := want.String()
	if want < Array {
		wanted = fieldWants[f.kind]
	}
	fix := ""
	switch {
	case v.kind >= Array || want >= Array || v.expanded != nil:
	case v.kind == String && v.reread().kind != String:
		fix = "write it without the quotes"
	case want == String:
		fix = "write it in quotes"
	}
	d.unfit("wrong-type", f, v, wanted, fix)
}

// unfit reports that v is not what field f wants. A secret and what a variable
// holds are not shown.
func (d *decoder) unfit(code string, f *fieldPlan, v *Value, want, fix string) {
	message := "has a value that does not fit, want " + want
	switch {
	case v.kind >= Array:
		message = "is " + v.kind.String() + ", want " + want
	case f.hides(v):
	case v.kind == String:
		message = "is " + maskUserinfo(strconv.Quote(v.text)) + ", want " + want
	default:
		message = "is " + v.text + ", want " + want
	}
	d.problem(v, Problem{Code: code, Pos: v.Pos(), Message: message, Fix: fix})
}

// hides reports whether v must not be shown.
func (f *fieldPlan) hides(v *Value) bool { return f.secret || v.fromVariable() }

// problem reports p of the key at hand, whose value is v, or nil if the key is
// absent.
func (d *decoder) problem(v *Value, p Problem) {
	if p.Key == "" {
		p.Key = dotted(d.path)
	}
	d.doubt(p.Key)
	top := v
	if d.aside.top != nil {
		top = d.aside.top
		d.explain(&p)
	}
	if top != nil {
		p.Chain = d.schema.Chain(p.Key, top)
	}
	d.problems = append(d.problems, p)
}

// doubt notes that the key in effect has no sound value.
func (d *decoder) doubt(key string) {
	if d.aside.top == nil {
		d.unsure = append(d.unsure, key)
	}
}

// explain says of a problem aside why it matters.
func (d *decoder) explain(p *Problem) {
	p.Hidden = true
	if !d.aside.fallback {
		p.Effect = "none here, where " + d.aside.top.Pos().String() + " hides it; it counts wherever that layer is absent"
		return
	}
	p.Message = "has a default that does not do: it " + p.Message
	p.Effect = "none here, where the variable is set; it counts in every process that lacks it"
}
