package tomltree

import (
	"slices"
	"strings"
	"testing"
)

var testVariables = map[string]string{
	"A": "aval", "EMPTY": "", "PH": "p${A}q", "REC": "x${REC}y", "BS": `a\b`, "INJ": "p\"w\\n\n[common.system]",
}

func lookup(name string) (string, bool) {
	value, set := testVariables[name]
	return value, set
}

// B, C and D are allowed and not set.
var allowed = []string{"A", "B", "C", "D", "EMPTY", "PH", "REC", "BS", "INJ"}

func TestExpand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"${A}", "aval"},
		{"<${A}|${A}>", "<aval|aval>"},
		{"${B:-}", ""},
		{"${EMPTY}", ""},
		{"${EMPTY:-d}", "d"},
		{"${B:-a:b}", "a:b"},
		{"${B:-http://h:1/x}", "http://h:1/x"},
		{"${B:-{x}}", "{x}"},
		{"${A:-{x}}", "aval"},
		{"${B:-${A:-c}}", "aval"},
		{"${A:-${B:-c}}", "aval"},
		{"${A:-${B}}", "aval"},
		{"${B:-${C:-${D:-x}}}", "x"},
		{"${PH}", "p${A}q"},
		{"${REC}", "x${REC}y"},
		{"${INJ}", testVariables["INJ"]},
		{"${A-d}", "aval"},
		{"${B-d}", "d"},
		{"${EMPTY-d}", ""},
		{"${B-}", ""},
		{"${B-${EMPTY:-{d}}}", "{d}"},
		{"${B:--1}", "-1"},
		{"${A:?say why}", "aval"},
		{"${A:?}", "aval"},
		{"${B:-${A:?say why}}", "aval"},
		{"$${A}", "${A}"},
		{"${B:-$${A}}", "${A}"},
		{"$$${A}", "$${A}"},
		{"$A $ $$ $", "$A $ $$ $"},
		{"}{", "}{"},
		{"a}${A}{", "a}aval{"},
	} {
		tree := parse(t, "f.toml", []byte("v = '"+c.in+"'"))
		out, unset, problems := Expand(tree, Variables{Lookup: lookup, Allowed: allowed})
		if got := out.Lookup("v").Text(); got != c.want || len(unset)+len(problems) > 0 {
			t.Errorf("%s gives %q, unset %v, problems %v; want %q", c.in, got, unset, problems, c.want)
		}
		if tree.Lookup("v").Text() != c.in {
			t.Errorf("%s: Expand changed its argument", c.in)
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"${A", "is not closed"},
		{"${", "is not closed"},
		{"${B:-x", "is not closed"},
		{"${B:-{x}", "is not closed"},
		{"${B:-${A}", "is not closed"},
		{"${}", "names no variable"},
		{"${:-d}", "names no variable"},
		{"${A?err}", "form that is not supported"},
		{"${A:d}", "form that is not supported"},
		{"${A:+d}", "form that is not supported"},
		{"${A:?err", "is not closed"},
		{"${B-x", "is not closed"},
		{"${:?err}", "names no variable"},
		{"${-d}", "names no variable"},
		{"${ A }", "form that is not supported"},
		{"${1A}", "form that is not supported"},
		{"${A:-${B?c}}", "form that is not supported"},
		{"${HOME}", "HOME, which is not allowed"},
		{"${HOME:?x}", "HOME, which is not allowed"},
		{"${HOME:-x}", "HOME, which is not allowed"},
		{"${A:-${HOME:-x}}", "HOME, which is not allowed"},
		{strings.Repeat("${B:-", 9) + strings.Repeat("}", 9), "more than 8 deep"},
	} {
		tree := parse(t, "f.toml", []byte("[t]\nv = ['"+c.in+"']"))
		_, unset, problems := Expand(tree, Variables{Lookup: func(name string) (string, bool) {
			if name == "HOME" {
				t.Errorf("%s: a forbidden variable was looked up", c.in)
			}
			return lookup(name)
		}, Allowed: allowed})
		if len(problems) != 1 || !strings.Contains(problems[0].Message, c.want) || len(unset) > 0 {
			t.Errorf("%s gives unset %v and problems %v, want one about %q", c.in, unset, problems, c.want)
			continue
		}
		if p := problems[0]; p.Key != "t.v.0" || p.Pos.String() != "f.toml:2:6" {
			t.Errorf("%s is reported for %s at %s", c.in, p.Key, p.Pos)
		}
	}
}

// TestExpandReportsAll checks that a missing variable hides neither another one
// nor what can be filled in.
func TestExpandReportsAll(t *testing.T) {
	t.Parallel()
	tree := parse(t, "f.toml", []byte("a = '${B} ${C:?say why}'\nb = '${A}'\n[t]\nc = ['x', '${D}', '${EMPTY:?say so}', '${HOEM}']"))
	out, unset, problems := Expand(tree, Variables{Lookup: lookup, Allowed: append(allowed, "HOME")})
	var names []string
	for _, u := range unset {
		names = append(names, u.Variable+"@"+u.Key+":"+u.Message)
	}
	if want := []string{"B@a:", "C@a:say why", "D@t.c.1:", "EMPTY@t.c.2:say so"}; !slices.Equal(names, want) {
		t.Errorf("unset are %v, want %v", names, want)
	}
	if out.Lookup("b").Text() != "aval" {
		t.Error("b is not filled in")
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Fix, "did you mean HOME?") {
		t.Errorf("problems are %v", problems)
	}
}

// FuzzExpand checks on any string: no panic, no problem shows a value, a value
// is never read for placeholders, and text without a dollar sign stays.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"${A}", "${A:-b}", "$${A}", "${A:-${B:-{c}}}", "${A", "${}", "a$b}{", "${A:?x}"} {
		f.Add(seed)
	}
	const secret = "${A}hunter2${"
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "hunter2") {
			return
		}
		tree := &Value{kind: Table, file: &file{name: "f"}}
		tree.entries = []entry{{key: "v", value: &Value{kind: String, text: text, file: tree.file}}}
		lookups := 0
		out, unset, problems := Expand(tree, Variables{Lookup: func(name string) (string, bool) {
			lookups++
			return secret, name == "A"
		}, Allowed: []string{"A", "B"}})
		if lookups > strings.Count(text, "${") {
			t.Fatalf("%d lookups in %q", lookups, text)
		}
		got := out.Lookup("v").Text()
		if !strings.Contains(text, "$") && got != text {
			t.Fatalf("%q became %q", text, got)
		}
		for _, p := range problems {
			if strings.Contains(p.String(), "hunter2") {
				t.Fatalf("a value shows: %s", p)
			}
		}
		if len(problems)+len(unset) == 0 && strings.Count(got, secret) > strings.Count(text, "${A") {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
