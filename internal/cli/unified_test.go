package cli

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestUnifiedDiff(t *testing.T) {
	t.Parallel()
	const before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\nend"
	const after = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\n12a\n13\nend"
	const want = `--- a
+++ b
@@ -2,7 +2,7 @@
 2
 3
 4
-5
+five
 6
 7
 8
@@ -10,5 +10,6 @@
 10
 11
 12
+12a
 13
 end
\ No newline at end of file
`
	if got := unifiedDiff("a", "b", []byte(before), []byte(after)); got != want {
		t.Errorf("the patch is\n%s\nwant\n%s", got, want)
	}
	if got, want := unifiedDiff("a", "b", nil, []byte("x\n")), "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+x\n"; got != want {
		t.Errorf("the patch of a new file is\n%s", got)
	}
	if got := unifiedDiff("a", "b", []byte("x"), []byte("x")); got != "" {
		t.Errorf("the patch of equal files is\n%s", got)
	}
}

// TestEditScript checks that a script holds both texts, and no line that could
// be left out of it.
func TestEditScript(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "c\n"}), 0, 8)
		a, b := lines.Draw(t, "a"), lines.Draw(t, "b")
		var olds, news []string
		common := 0
		for _, e := range editScript(a, b) {
			if e.sign != '+' {
				olds = append(olds, e.line)
			}
			if e.sign != '-' {
				news = append(news, e.line)
			}
			if e.sign == ' ' {
				common++
			}
		}
		if !slices.Equal(olds, a) || !slices.Equal(news, b) {
			t.Fatalf("the script holds %q and %q", olds, news)
		}
		if want := longestCommon(a, b); common != want {
			t.Fatalf("the script keeps %d lines, %d could be kept", common, want)
		}
	})
}

// longestCommon counts the lines of the longest common subsequence.
func longestCommon(a, b []string) int {
	switch {
	case len(a) == 0 || len(b) == 0:
		return 0
	case a[0] == b[0]:
		return 1 + longestCommon(a[1:], b[1:])
	default:
		return max(longestCommon(a[1:], b), longestCommon(a, b[1:]))
	}
}
