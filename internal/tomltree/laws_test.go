package tomltree

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestDecodeLaws draws valid documents: what they decode to does not change when
// their keys come from two layers, when they are completed, or when they are
// written anew.
func TestDecodeLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		full, other := drawSample(t, "full"), drawSample(t, "other")
		var base, over strings.Builder
		for i, line := range full {
			if rapid.Bool().Draw(t, "in the overlay") {
				base.WriteString(other[i] + "\n") // hidden
				over.WriteString(line + "\n")
			} else {
				base.WriteString(line + "\n")
			}
		}
		want := decodeDrawn(t, "the document", expandDrawn(t, parseDrawn(t, strings.Join(full, "\n"))))
		layered := merge(t, parseDrawn(t, base.String()), parseDrawn(t, over.String()))
		completed := sampleSchema.Complete(expandDrawn(t, layered))
		for _, c := range []struct {
			what string
			tree *Value
		}{
			{"two layers", layered},
			{"two layers, completed", completed},
			{"two layers, completed twice", sampleSchema.Complete(completed)},
			{"two layers, encoded", parseDrawn(t, string(Encode(layered)))},
			{"two layers, completed and encoded", parseDrawn(t, string(Encode(completed)))},
		} {
			if got := decodeDrawn(t, c.what, expandDrawn(t, c.tree)); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s decode to\n%+v\nwant\n%+v", c.what, got, want)
			}
		}
	})
}

// TestDecodeLawOfFaults breaks one line of a valid document: there is one problem, at that key.
func TestDecodeLawOfFaults(t *testing.T) {
	t.Parallel()
	faults := []struct{ key, line string }{
		{"inner.size", "inner.size = %d"},
		{"inner.share", "inner.share = %d"},
		{"waits.0", "waits = [%d]"},
		{"named.a.size", "named.a.size = %d"},
		{"on", "on = %d"},
		{"name", "name = %d"},
		{"extra.depth", "extra.depth = %d"},
	}
	rapid.Check(t, func(t *rapid.T) {
		fault := rapid.SampledFrom(faults).Draw(t, "fault")
		line := fmt.Sprintf(fault.line, rapid.OneOf(rapid.IntRange(-1e9, -1), rapid.IntRange(101, 1e9)).Draw(t, "number"))
		tree := merge(t, parseDrawn(t, strings.Join(drawSample(t, "full"), "\n")), parseDrawn(t, line))
		unsure, problems := sampleSchema.Decode(expandDrawn(t, tree), &sample{})
		if len(problems) != 1 || len(unsure) != 1 || problems[0].Key != fault.key || unsure[0] != fault.key {
			t.Fatalf("%s gives %v, unsure %v", line, problems, unsure)
		}
	})
}

// drawSample returns the lines of a document that fits sample, a key each and
// always the same keys.
func drawSample(t *rapid.T, label string) []string {
	number := func(low, high int) int { return rapid.IntRange(low, high).Draw(t, label) }
	pick := func(texts ...string) string { return rapid.SampledFrom(texts).Draw(t, label) }
	lines := []string{
		"name = " + pick(`"n"`, `'müßig'`, `"\u00e9"`, "'''a\nb'''"),
		"on = " + pick("true", "false", `"${NONE:-true}"`),
		"level = " + pick(`"low"`, `"high"`, `"${NONE-high}"`),
		"password = " + pick(`""`, `"hunter2"`),
		"waits = " + pick("[1]", "[60, 0]", `["${NONE:-7}"]`, "{1 = 2, 0 = 3}"),
		fmt.Sprintf("inner.size = %d", number(1, 100)),
		"inner.share = " + pick("0", "1", "0.25", "1e-3", `"${NONE:-5e-1}"`),
		fmt.Sprintf("named.a = {size = %d, share = 1}", number(1, 100)),
		fmt.Sprintf("extra = {depth = %d}", number(1, 10)),
		"rows = " + pick("[]", "[{size = 1, share = 0}, {share = 1, size = 2}]"),
		"option = " + pick("{size = 1, share = 0.5}", "{share = 0, size = 9}"),
	}
	return lines
}

func parseDrawn(t *rapid.T, doc string) *Value {
	tree, problems := Parse("drawn", []byte(doc))
	if len(problems) > 0 {
		t.Fatal((&Report{Problems: problems}).Error())
	}
	return tree
}

func expandDrawn(t *rapid.T, tree *Value) *Value {
	tree, unset, problems := Expand(tree, Variables{
		Lookup: func(string) (string, bool) { return "", false }, Allowed: []string{"NONE"},
	})
	if len(unset)+len(problems) > 0 {
		t.Fatal((&Report{Problems: problems}).Error())
	}
	return tree
}

func decodeDrawn(t *rapid.T, what string, tree *Value) sample {
	var into sample
	if unsure, problems := sampleSchema.Decode(tree, &into); len(problems)+len(unsure) > 0 {
		t.Fatalf("%s gives\n%s", what, (&Report{Problems: problems}).Error())
	}
	return into
}
