package tomltree

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tasker-systems/tasker-go/internal/golden"
)

// TestMerge lays over.toml onto base.toml in every testdata/merge_*.txtar.
func TestMerge(t *testing.T) {
	t.Parallel()
	golden.Each(t, "testdata/merge_*.txtar", func(t *testing.T, c *golden.Case) {
		merged, problems := Merge(parse(t, "base.toml", c.Input("base.toml")), parse(t, "over.toml", c.Input("over.toml")))
		c.Want("want.toml", string(Encode(merged)))
		if len(problems) > 0 {
			c.Want("problems.txt", (&Report{Problems: problems}).Error())
		}
	})
}

func TestMergeRemembersWhatItReplaced(t *testing.T) {
	t.Parallel()
	low := parse(t, "low.toml", []byte("a = 1"))
	middle := parse(t, "middle.toml", []byte("a = 2"))
	high := parse(t, "high.toml", []byte("\na = 3"))
	merged, _ := Merge(low, middle)
	merged, _ = Merge(merged, high)
	got := ""
	for v := merged.Lookup("a"); v != nil; v = v.Under() {
		got += v.Pos().String() + "=" + v.Text() + " "
	}
	if want := "high.toml:2:5=3 middle.toml:1:5=2 low.toml:1:5=1 "; got != want {
		t.Errorf("the chain is %s, want %s", got, want)
	}
	if low.Lookup("a").Text() != "1" {
		t.Error("Merge changed its argument")
	}
}

// TestMergeLaws checks what holds for all trees of one shape: merging is
// associative, the empty tree changes nothing, and a tree over itself neither.
func TestMergeLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawTree(t, "a"), drawTree(t, "b"), drawTree(t, "c")
		empty, _ := Parse("empty.toml", nil)
		same(t, "empty over a", merge(t, a, empty), a)
		same(t, "a over empty", merge(t, empty, a), a)
		same(t, "a over a", merge(t, a, a), a)
		same(t, "c over (b over a)", merge(t, merge(t, a, b), c), merge(t, a, merge(t, b, c)))
		for _, key := range b.Keys() {
			if merge(t, a, b).Lookup(key) == nil {
				t.Fatalf("key %s of the overlay is lost", key)
			}
		}
	})
}

// drawTree makes a tree in which a key has one kind at a place wherever it
// appears, so that any two trees can be merged.
func drawTree(t *rapid.T, label string) *Value {
	var fill func(depth int) string
	fill = func(depth int) string {
		text := ""
		for _, key := range []string{"a", "b", "c"} {
			if rapid.Bool().Draw(t, label) {
				text += key + " = " + rapid.SampledFrom([]string{"1", "2", `"x"`, "[1, 2]", "true"}).Draw(t, label) + ", "
			}
		}
		for _, key := range []string{"t", "u"} {
			if depth < 3 && rapid.Bool().Draw(t, label) {
				text += key + " = " + fill(depth+1) + ", "
			}
		}
		return "{" + text + "}"
	}
	tree, problems := Parse(label, []byte("v = "+fill(0)))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

// failer is a test, of this package or of rapid.
type failer interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func merge(t failer, base, over *Value) *Value {
	merged, problems := Merge(base, over)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return merged
}

func same(t failer, what string, got, want *Value) {
	if !equal(got, want) {
		t.Fatalf("%s is\n%s\nwant\n%s", what, Encode(got), Encode(want))
	}
}

// equal compares content; tables have no order.
func equal(a, b *Value) bool {
	if a.kind != b.kind || len(a.entries) != len(b.entries) {
		return false
	}
	switch a.kind {
	case Table:
		for _, e := range a.entries {
			if other := b.find(e.key); other == nil || !equal(e.value, other.value) {
				return false
			}
		}
		return true
	case Array:
		for i := range a.entries {
			if !equal(a.entries[i].value, b.entries[i].value) {
				return false
			}
		}
		return true
	case String, Datetime:
		return a.text == b.text
	default:
		return a.bits == b.bits
	}
}

func parse(t testing.TB, name string, data []byte) *Value {
	t.Helper()
	tree, problems := Parse(name, data)
	if len(problems) > 0 {
		t.Fatal((&Report{Problems: problems}).Error())
	}
	return tree
}

// FuzzMerge checks on any two documents that Merge does not panic and that
// merging the result once more changes nothing.
func FuzzMerge(f *testing.F) {
	f.Add("a = 1\n[t]\nb = 2", "[t]\nc = 3")
	f.Add("t = {0 = 1}", "t = [1]")
	f.Add("t = 1", "[t.u]\nx = 1")
	f.Fuzz(func(t *testing.T, base, over string) {
		b, _ := Parse("base", []byte(base))
		o, _ := Parse("over", []byte(over))
		once, problems := Merge(b, o)
		if len(problems) > 0 {
			return
		}
		again, problems := Merge(once, o)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		same(t, "the overlay a second time", again, once)
	})
}
