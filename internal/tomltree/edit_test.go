package tomltree

import (
	"slices"
	"testing"
)

// TestOutline finds each statement of a file as text.
func TestOutline(t *testing.T) {
	t.Parallel()
	const text = "a.'b c' = [ # x\n 1, 2 ]\n[ t . u ]\nk = {x = 1}  # y\n[[w]]\nm = '''\n=\n'''"
	want := []struct {
		key       string
		text, val string
	}{
		{`a."b c"`, "a.'b c' = [ # x\n 1, 2 ]", "[1, 2]"},
		{"t.u", "t . u", ""},
		{"k", "k = {x = 1}", "{x = 1}"},
		{"w", "w", ""},
		{"m", "m = '''\n=\n'''", `"=\n"`},
	}
	list := Outline([]byte(text))
	if len(list) != len(want) {
		t.Fatalf("there are %d statements", len(list))
	}
	for i, s := range list {
		val := ""
		if s.Value != nil {
			val = s.Value.Inline()
		}
		if got := text[s.KeyStart:s.End]; DottedKey(s.Key...) != want[i].key || got != want[i].text || val != want[i].val || s.Tables != (want[i].key == "w") {
			t.Errorf("statement %d is %s, %q, %s", i, DottedKey(s.Key...), got, val)
		}
	}
}

// TestEdit changes a tree without changing the one it came from.
func TestEdit(t *testing.T) {
	t.Parallel()
	tree, problems := Parse("x", []byte("a = 1\n[b]\nc = [1,\n2]\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a := tree.Lookup("a")
	edited := tree.With("a", a.StringAt("one")).With("d", a).With("b", tree.Lookup("b").Emptied())
	if got, want := string(Encode(edited)), "a = \"one\"\nd = 1\n\n[b]\n"; got != want {
		t.Errorf("the edited tree is\n%s", got)
	}
	if got, want := string(Encode(tree)), "a = 1\n\n[b]\nc = [1, 2]\n"; got != want {
		t.Errorf("the tree became\n%s", got)
	}
	picked := tree.Lookup("b").Pick("c", "x", "y")
	if got, want := string(Encode(picked)), "[x]\ny = [1, 2]\n"; got != want {
		t.Errorf("the picked tree is\n%s", got)
	}
	if got := picked.Lookup("x").KeyPos("y").String(); got != "x:3:1" {
		t.Errorf("the picked key stands at %s", got)
	}
	if got := picked.Lookup("x", "y"); got.Verbatim() != "[1,\n2]" || len(got.Elements()) != 2 || a.Elements() != nil {
		t.Errorf("the picked value is %s", got.Verbatim())
	}
	if got := edited.Keys(); !slices.Equal(got, []string{"a", "b", "d"}) {
		t.Errorf("the keys are %v", got)
	}
}
