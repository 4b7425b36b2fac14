package templates

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"
)

// aDAG draws steps of which each may depend on those before it, then shuffles
// them. The steps are named s0, s1, … in an order that satisfies all.
func aDAG(t *rapid.T) []Step {
	n := rapid.IntRange(1, 30).Draw(t, "steps")
	types := []StepType{StepStandard, StepStandard, StepDecision, StepDeferredConvergence, StepBatchable, StepBatchWorker}
	steps := make([]Step, n)
	for i := range steps {
		steps[i] = Step{
			Name:    fmt.Sprintf("s%d", i),
			Type:    rapid.SampledFrom(types).Draw(t, "type"),
			Handler: Handler{Callable: "run"},
		}
		for j := range i {
			if rapid.IntRange(0, 3).Draw(t, "edge") == 0 {
				steps[i].Dependencies = append(steps[i].Dependencies, steps[j].Name)
			}
		}
	}
	return rapid.Permutation(steps).Draw(t, "shuffled")
}

// asYAML writes a template with the given steps; JSON is YAML.
func asYAML(t *rapid.T, steps []Step) []byte {
	data, err := json.Marshal(Template{Name: "n", Namespace: "test", Version: "1.0.0", IdentityStrategy: IdentityStrict, Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestGraphLaws checks the graph of random templates against what their steps
// say.
func TestGraphLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		steps := aDAG(t)
		tmpl, err := Parse("x.yaml", asYAML(t, steps))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(tmpl.Steps, steps) {
			t.Fatalf("parsed %+v", tmpl.Steps)
		}
		g := tmpl.Graph()
		if sorted := slices.Sorted(slices.Values(g.Order)); !slices.Equal(sorted, ordinals(len(steps))) {
			t.Fatalf("order %v is no permutation", g.Order)
		}
		for i, s := range steps {
			if len(g.Parents[i]) != len(s.Dependencies) {
				t.Fatalf("%s has parents %v, want %v", s.Name, g.Parents[i], s.Dependencies)
			}
			initial := s.Type != StepBatchWorker
			for _, name := range s.Dependencies {
				p, ok := g.Ordinal(name)
				if !ok || steps[p].Name != name || !slices.Contains(g.Parents[i], p) || !slices.Contains(g.Dependents[p], i) {
					t.Fatalf("the edge from %s to %s is missing", name, s.Name)
				}
				if slices.Index(g.Order, p) > slices.Index(g.Order, i) {
					t.Fatalf("%s stands before its dependency %s", s.Name, name)
				}
				initial = initial && steps[p].Type != StepDecision && slices.Contains(g.Initial, p)
			}
			if slices.Contains(g.Initial, i) != initial {
				t.Fatalf("initial steps are %v, want %d among them: %t", g.Initial, i, initial)
			}
		}
	})
}

// ordinals returns 0 to n-1.
func ordinals(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// TestBackEdgeIsACycle adds an edge from a step to one of its descendants or
// itself and wants a cycle reported whose every arrow is an edge.
func TestBackEdgeIsACycle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		steps := aDAG(t)
		g := (&Template{Steps: steps}).Graph()
		from := rapid.IntRange(0, len(steps)-1).Draw(t, "from")
		for to := from; ; {
			if len(g.Dependents[to]) == 0 || rapid.Bool().Draw(t, "stop") {
				steps[from].Dependencies = append(steps[from].Dependencies, steps[to].Name)
				break
			}
			to = rapid.SampledFrom(g.Dependents[to]).Draw(t, "to")
		}
		_, err := Parse("x.yaml", asYAML(t, steps))
		problems, ok := errors.AsType[Problems](err)
		if !ok || len(problems) == 0 {
			t.Fatalf("got %v, want a cycle", err)
		}
		edges := map[[2]string]bool{}
		for _, s := range steps {
			for _, d := range s.Dependencies {
				edges[[2]string{s.Name, d}] = true
			}
		}
		for _, p := range problems {
			if p.Message == fmt.Sprintf("step %q depends on itself", steps[from].Name) && edges[[2]string{steps[from].Name, steps[from].Name}] {
				continue
			}
			path, ok := strings.CutPrefix(strings.TrimSuffix(p.Message, " (→ depends on)"), "steps wait for each other: ")
			names := strings.Split(path, " → ")
			if !ok || len(names) < 3 || names[0] != names[len(names)-1] {
				t.Fatalf("got %q, want a cycle", p.Message)
			}
			for i := range names[1:] {
				if !edges[[2]string{names[i], names[i+1]}] {
					t.Fatalf("%q: %s does not depend on %s", p.Message, names[i], names[i+1])
				}
			}
		}
	})
}

// TestMergeLaws checks that overrides of initialization compose.
func TestMergeLaws(t *testing.T) {
	t.Parallel()
	leaf := rapid.Custom(func(t *rapid.T) any {
		return rapid.SampledFrom([]any{nil, true, "x", json.Number("1")}).Draw(t, "leaf")
	})
	object := func(value *rapid.Generator[any]) *rapid.Generator[any] {
		return rapid.Custom(func(t *rapid.T) any {
			return rapid.MapOfN(rapid.StringMatching("[abc]"), rapid.OneOf(leaf, value), 0, 3).Draw(t, "object")
		})
	}
	deep := object(object(object(leaf)))
	rapid.Check(t, func(t *rapid.T) {
		base, over := deep.Draw(t, "base").(map[string]any), deep.Draw(t, "over").(map[string]any)
		before := fmt.Sprint(base, over)
		merged := merge(base, over)
		if fmt.Sprint(base, over) != before {
			t.Fatal("merge changed its arguments")
		}
		if again := merge(merged, over); !reflect.DeepEqual(again, merged) {
			t.Fatalf("merging twice: got %v, want %v", again, merged)
		}
		if same := merge(base, nil); !reflect.DeepEqual(same, base) {
			t.Fatalf("merging nothing: got %v, want %v", same, base)
		}
	})
}

// FuzzParse checks that any document is either refused with positions inside
// it, or yields a template that can be stored, read back, drawn and overridden.
func FuzzParse(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.txtar") // the pattern is good
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(file.Data)
		}
	}
	f.Add([]byte("name: &n n\nnamespace: *n\nsteps: &s\n- &a {name: a, handler: {callable: c}}\n- *a\nmetadata: &m {a: *m, ? *n : <<}"))
	f.Add([]byte("---\n# comment\n? - key\n: value\n...\n%YAML 1.1\n--- !!set {a}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tmpl, err := Parse("x.yaml", data)
		if err != nil {
			problems, ok := errors.AsType[Problems](err)
			if !ok || len(problems) == 0 {
				t.Fatalf("got %v, want Problems", err)
			}
			for _, p := range problems {
				if p.Line > 1+len(data) || p.Message == "" {
					t.Fatalf("got %v for %d bytes", p, len(data))
				}
			}
			return
		}
		checkRoundTrip(t, tmpl)
		checkRoundTrip(t, tmpl.ForEnvironment("test"))
		if Mermaid(tmpl) == "" || Outline(tmpl) == "" {
			t.Fatal("drawn as nothing")
		}
	})
}
