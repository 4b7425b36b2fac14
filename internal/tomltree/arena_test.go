package tomltree

import (
	"fmt"
	"strings"
	"testing"
)

// TestArena parses and merges documents of several sizes with one arena: the
// trees are those that one has without it.
func TestArena(t *testing.T) {
	t.Parallel()
	document := func(tables int) string {
		var b strings.Builder
		for i := range tables {
			fmt.Fprintf(&b, "[a.t%d]\nx = %d\ny = [1, 2]\nz.w = 'x'\n", i, i)
		}
		return b.String()
	}
	var a Arena
	for range 3 {
		for _, n := range []int{1, 30, 3} {
			base, _ := a.Parse("base", []byte(document(n)))
			over, _ := a.Parse("over", []byte(document(2*n)+"[b]\nq = 1\n"))
			got, _ := a.Merge(base, over)
			plainBase, _ := Parse("base", []byte(document(n)))
			plainOver, _ := Parse("over", []byte(document(2*n)+"[b]\nq = 1\n"))
			want, _ := Merge(plainBase, plainOver)
			if g, w := string(Encode(got)), string(Encode(want)); g != w {
				t.Fatalf("%d tables: got\n%s\nwant\n%s", n, g, w)
			}
			a.Reset()
		}
	}
}

// TestArenaIsReused counts what is allocated. It does not run beside others.
func TestArenaIsReused(t *testing.T) {
	doc := []byte("[a]\nb = 1\nc = [1, 2]\n")
	var a Arena
	plain := testing.AllocsPerRun(20, func() { Parse("x", doc) })
	kept := testing.AllocsPerRun(20, func() { a.Parse("x", doc); a.Reset() })
	if kept >= plain {
		t.Errorf("%.0f allocations with an arena, %.0f without", kept, plain)
	}
}
