package tomltree

import (
	"math"
	"strings"
	"testing"

	burntsushi "github.com/BurntSushi/toml"
	"github.com/pelletier/go-toml/v2"

	"github.com/tasker-systems/tasker-go/internal/golden"
)

// TestPositions checks where keys and values are said to stand.
func TestPositions(t *testing.T) {
	t.Parallel()
	const src = "\ufeffa.b . c = 1\r\n" + // the byte order mark is no column
		"text = 'ü' # [\n" +
		"\"quoted key\" = \"\"\"\nx\"\"\"\n" +
		"[t.u]\n" +
		"\tlist = [ # ]\n" +
		"  1, # ,\n" +
		"  [2, {x = 3}] ]\n" +
		"  in = { one = 1, two.three = [ ] }\n" +
		"[[rows]]\n" +
		"n = -1.5\n" +
		"[[rows]]\n" +
		"'ü' = 0\n"
	tree := parse(t, "f.toml", []byte(src))
	list := tree.Lookup("t", "u", "list")
	rows := tree.Lookup("rows")
	for _, c := range []struct {
		what string
		got  Pos
		want string
	}{
		{"a", tree.KeyPos("a"), "f.toml:1:1"},
		{"a.b.c", tree.Lookup("a", "b").KeyPos("c"), "f.toml:1:7"},
		{"value of a.b.c", tree.Lookup("a", "b", "c").Pos(), "f.toml:1:11"},
		{"value of text", tree.Lookup("text").Pos(), "f.toml:2:8"},
		{"quoted key", tree.KeyPos("quoted key"), "f.toml:3:1"},
		{"value of quoted key", tree.Lookup("quoted key").Pos(), "f.toml:3:16"},
		{"t", tree.Lookup("t").Pos(), "f.toml:5:2"},
		{"t.u", tree.Lookup("t", "u").Pos(), "f.toml:5:2"},
		{"key t.u", tree.Lookup("t").KeyPos("u"), "f.toml:5:4"},
		{"list", list.Pos(), "f.toml:6:9"},
		{"list[0]", list.entries[0].value.Pos(), "f.toml:7:3"},
		{"list[1]", list.entries[1].value.Pos(), "f.toml:8:3"},
		{"list[1][1]", list.entries[1].value.entries[1].value.Pos(), "f.toml:8:7"},
		{"list[1][1].x", list.entries[1].value.entries[1].value.Lookup("x").Pos(), "f.toml:8:12"},
		{"in.one", tree.Lookup("t", "u", "in").KeyPos("one"), "f.toml:9:10"},
		{"in.two.three", tree.Lookup("t", "u", "in", "two", "three").Pos(), "f.toml:9:31"},
		{"rows[0].n", rows.entries[0].value.Lookup("n").Pos(), "f.toml:11:5"},
		{"rows[1]", rows.entries[1].value.Pos(), "f.toml:12:3"},
		{"no place", tree.KeyPos("none"), ""},
	} {
		if c.got.String() != c.want {
			t.Errorf("%s is at %q, want %q", c.what, c.got, c.want)
		}
	}
	if got := src[3:][list.start:list.end]; got != "[ # ]\n  1, # ,\n  [2, {x = 3}] ]" {
		t.Errorf("the text of the array is %q", got)
	}
}

// TestParseProblems prints the problems of every testdata/parse_*.txtar.
func TestParseProblems(t *testing.T) {
	t.Parallel()
	golden.Each(t, "testdata/parse_*.txtar", func(t *testing.T, c *golden.Case) {
		_, problems := Parse("file.toml", c.Input("file.toml"), "password")
		c.Want("problems.txt", (&Report{Problems: problems}).Error())
	})
}

// sampleDocuments are seeds and cases for the comparison with other parsers.
var sampleDocuments = []string{
	"", "a = 1", "a = 1\na = 2", "[a]\n[a]", "[a]\n[a.b]\n[a]", "[a.b]\n[a]\nb.c = 1", "a.b = 1\n[a]",
	"a.b = 1\na.c = 2\n[a.d]", "a = {b = 1}\na.c = 2", "a = {b = 1}\n[a.c]", "a = []\n[[a]]", "[[a]]\n[a.b]\n[[a]]\n[a.b]",
	"[[a]]\n[[a.b]]\n[a.b.c]\nx = 1", "[a]\n[[a]]", "[[a]]\n[a]", "a = {b.c = 1, b.d = 2}", "a = {b = 1, b = 2}",
	"a = 0x_1", "a = 0x1F", "a = 1__0", "a = 1_000", "a = 012", "a = +5", "a = 9223372036854775808", "a = 1e400",
	"a = inf", "a = -nan", "a = 1.5e3", "a = 0o17", "a = 0b11", "a = 1979-05-27", "a = 1979-02-30", "a = 07:32:00.5",
	"a = 1979-05-27 07:32:00Z", "a = 1979-05-27T25:00:00", "a = '''\nx''y'''", `a = "\u00e9\n"`, `a = "\q"`,
	"a = \"\"\"\\\n  x\"\"\"", "'a b'.\"c\\n\" = 1", "a = [1, 'x', {y = 2}, [3]]", "a = [1,,2]", "a = ${X}", "[a", "a", "\xff",
}

// FuzzParse compares Parse with the decoder of go-toml: both accept the same
// documents and find the same values. What Encode writes parses to the same.
func FuzzParse(f *testing.F) {
	for _, doc := range sampleDocuments {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		tree, problems := Parse("f.toml", []byte(doc))
		var want map[string]any
		err := toml.Unmarshal([]byte(strings.TrimPrefix(doc, "\ufeff")), &want)
		if (err == nil) != (len(problems) == 0) {
			t.Fatalf("problems %v, go-toml says %v", problems, err)
		}
		for _, p := range problems {
			_ = p.String()
		}
		if err != nil {
			return
		}
		if !agrees(tree, want) {
			t.Fatalf("got\n%s\nwant %v", Encode(tree), want)
		}
		again, problems := Parse("encoded.toml", Encode(tree))
		if len(problems) > 0 || !equal(again, tree) {
			t.Fatalf("encoded\n%s\nproblems %v", Encode(tree), problems)
		}
	})
}

// TestParseAgreesWithBurntSushi compares the values of the documents with a
// second library. It takes some that the specification forbids: these are left
// out.
func TestParseAgreesWithBurntSushi(t *testing.T) {
	t.Parallel()
	for _, doc := range sampleDocuments {
		var want map[string]any
		if _, err := burntsushi.Decode(doc, &want); err != nil {
			continue
		}
		if tree, problems := Parse("f.toml", []byte(doc)); len(problems) == 0 && !agrees(tree, want) {
			t.Errorf("%q gives\n%s\nwant %v", doc, Encode(tree), want)
		}
	}
}

// agrees compares a tree with what a library made of the same text. Dates are
// not compared.
func agrees(v *Value, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		if v.kind != Table || len(v.entries) != len(want) {
			return false
		}
		for key, w := range want {
			if e := v.find(key); e == nil || !agrees(e.value, w) {
				return false
			}
		}
		return true
	case []map[string]any:
		list := make([]any, len(want))
		for i := range want {
			list[i] = want[i]
		}
		return agrees(v, list)
	case []any:
		if v.kind != Array || len(v.entries) != len(want) {
			return false
		}
		for i, w := range want {
			if !agrees(v.entries[i].value, w) {
				return false
			}
		}
		return true
	case string:
		return v.kind == String && v.text == want
	case int64:
		return v.kind == Integer && int64(v.bits) == want
	case float64:
		return v.kind == Float && (v.float() == want || math.IsNaN(v.float()) && math.IsNaN(want))
	case bool:
		return v.kind == Bool && (v.bits == 1) == want
	default:
		return v.kind == Datetime
	}
}
