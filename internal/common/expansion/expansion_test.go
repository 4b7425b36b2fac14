package expansion_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/expansion"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

var limits = config.DecisionPoints{
	Enabled: true, MaxStepsPerDecision: 3, MaxDecisionDepth: 2, WarnThresholdSteps: 2, WarnThresholdDepth: 1,
}

// A run plays a template by hand: steps end in the order the test says.
type run struct {
	template *templates.Template
	graph    *templates.Graph
	siblings []expansion.Sibling
	names    map[int32]string
	deps     map[string][]string
	warnings []string
}

// fataler is a test, of package testing or of rapid.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func play(t fataler, steps string) *run {
	t.Helper()
	tpl, err := templates.Parse("test.yaml", []byte("name: t\nnamespace: test\nsteps:\n"+steps))
	if err != nil {
		t.Fatal(err)
	}
	r := &run{template: tpl, graph: tpl.Graph(), names: map[int32]string{}, deps: map[string][]string{}}
	for _, i := range r.graph.Initial {
		r.put(expansion.Step{Ordinal: int32(i) + 1, Name: tpl.Steps[i].Name, Definition: i})
		for _, p := range r.graph.Parents[i] {
			r.deps[tpl.Steps[i].Name] = append(r.deps[tpl.Steps[i].Name], tpl.Steps[p].Name)
		}
	}
	return r
}

func (r *run) put(s expansion.Step) {
	state := tasker.StepPending
	if s.Empty {
		state = tasker.StepComplete
	}
	r.siblings = append(r.siblings, expansion.Sibling{
		Ordinal: s.Ordinal, Definition: r.template.Steps[s.Definition].Name, State: state, Depth: s.Depth,
	})
	r.names[s.Ordinal] = s.Name
	for _, d := range s.DependsOn {
		r.deps[s.Name] = append(r.deps[s.Name], r.names[d])
	}
}

// end ends a step with a result and returns what came of it, as "name(deps)".
func (r *run) end(t fataler, name string, result any) ([]string, error) {
	t.Helper()
	raw, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.siblings {
		s := &r.siblings[i]
		if r.names[s.Ordinal] != name {
			continue
		}
		s.State = tasker.StepComplete
		place, _ := r.graph.Ordinal(s.Definition)
		if !expansion.Decides(&r.template.Steps[place]) {
			return nil, nil
		}
		growth, err := expansion.Grow(expansion.Origin{
			Template: r.template, Graph: r.graph, Siblings: r.siblings, Ordinal: s.Ordinal, Result: raw, Limits: limits,
		})
		if err != nil {
			return nil, err
		}
		var came []string
		for _, step := range growth.Steps {
			r.put(step)
			came = append(came, fmt.Sprintf("%s(%s)", step.Name, strings.Join(r.deps[step.Name], " ")))
		}
		r.warnings = growth.Warnings
		return came, nil
	}
	t.Fatalf("there is no step %s; there are %v", name, slices.Collect(maps.Values(r.names)))
	return nil, nil
}

const approval = `
  - {name: validate, handler: {callable: h}}
  - {name: route, type: decision, handler: {callable: h}, dependencies: [validate]}
  - {name: auto, handler: {callable: h}, dependencies: [route]}
  - {name: manager, handler: {callable: h}, dependencies: [route]}
  - {name: finance, handler: {callable: h}, dependencies: [route]}
  - {name: archive, handler: {callable: h}, dependencies: [finance]}
  - {name: finalize, type: deferred_convergence, handler: {callable: h}, dependencies: [auto, manager, finance]}
  - {name: notify, handler: {callable: h}, dependencies: [finalize]}
`

const nested = `
  - {name: first, type: decision, handler: {callable: h}}
  - {name: a, handler: {callable: h}, dependencies: [first]}
  - {name: second, type: decision, handler: {callable: h}, dependencies: [first]}
  - {name: b, handler: {callable: h}, dependencies: [second]}
  - {name: third, type: decision, handler: {callable: h}, dependencies: [second]}
  - {name: c, handler: {callable: h}, dependencies: [third]}
  - {name: end, type: deferred_convergence, handler: {callable: h}, dependencies: [a, b, c]}
`

const batch = `
  - {name: analyze, type: batchable, handler: {callable: h}}
  - {name: work, type: batch_worker, handler: {callable: h}, dependencies: [analyze], batch_config: {parallelism: 2, failure_strategy: fail_fast}}
  - {name: sum, type: deferred_convergence, handler: {callable: h}, dependencies: [work]}
`

// An ending is a step that ends, and what has to come of it.
type ending struct {
	step   string
	result any
	want   string // the steps, joined by a space
	err    string // part of the error
}

func TestGrow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, steps string
		ends        []ending
	}{
		{"one branch", approval, []ending{
			{"route", tasker.Branches("auto"), "auto(route) finalize(auto) notify(finalize)", ""},
		}},
		{"two branches and what lies behind them", approval, []ending{
			{"route", tasker.Branches("finance", "manager"), "manager(route) finance(route) archive(finance) finalize(manager finance) notify(finalize)", ""},
		}},
		{"no branches", approval, []ending{{"route", tasker.Branches(), "", ""}}},
		{"named twice is named once", approval, []ending{
			{"route", tasker.Branches("auto", "auto"), "auto(route) finalize(auto) notify(finalize)", ""},
		}},
		{"a step further down may be named", approval, []ending{
			{"route", tasker.Branches("archive"), "archive(route)", ""},
		}},
		{"with a result beside", approval, []ending{
			{"route", tasker.Decision{Steps: []string{"auto"}, Result: map[string]int{"amount": 3}}, "auto(route) finalize(auto) notify(finalize)", ""},
		}},
		{"no outcome", approval, []ending{{"route", map[string]int{"amount": 3}, "", "has no outcome"}}},
		{"unknown outcome", approval, []ending{
			{"route", json.RawMessage(`{"decision_point_outcome": {"type": "maybe"}}`), "", `unknown decision outcome "maybe"`},
		}},
		{"nothing named", approval, []ending{
			{"route", json.RawMessage(`{"decision_point_outcome": {"type": "create_steps", "step_names": []}}`), "", "names no steps"},
		}},
		{"bad names", approval, []ending{
			{"route", tasker.Branches("nobody", "validate", "finalize"), "", `no step "nobody"; step "validate" does not lie downstream`},
		}},
		{"too many", approval, []ending{
			{"route", tasker.Branches("auto", "manager", "finance", "archive"), "", "max_steps_per_decision is 3"},
		}},
		{"convergence waits for decisions to come", nested, []ending{
			{"first", tasker.Branches("a", "second"), "a(first) second(first)", ""},
			{"a", 1, "", ""},
			{"second", tasker.Branches("b"), "b(second) end(a b)", ""},
		}},
		{"a late decision without branches", nested, []ending{
			{"first", tasker.Branches("a", "second"), "a(first) second(first)", ""},
			{"second", tasker.Branches(), "end(a)", ""},
		}},
		{"too deep", nested, []ending{
			{"first", tasker.Branches("second"), "second(first)", ""},
			{"second", tasker.Branches("third"), "third(second)", ""},
			{"third", tasker.Branches("c"), "", "max_decision_depth is 2"},
		}},
		{"batches", batch, []ending{
			{"analyze", tasker.Batches{Cursors: tasker.Range(0, 25, 10)}, "work_001(analyze) work_002(analyze) work_003(analyze) sum(work_001 work_002 work_003)", ""},
		}},
		{"no batches", batch, []ending{{"analyze", tasker.Batches{}, "work_000(analyze) sum(work_000)", ""}}},
		{"unknown worker", batch, []ending{
			{"analyze", tasker.Batches{Worker: "sum", Cursors: tasker.Range(0, 1, 1)}, "", `names the worker "sum"`},
		}},
		{"wrong count", batch, []ending{
			{"analyze", json.RawMessage(`{"batch_processing_outcome": {"type": "create_batches", "worker_count": 2, "cursor_configs": [{"batch_id": "1", "start_cursor": 0, "end_cursor": 1}]}}`), "", "worker_count 2 and 1 cursors"},
		}},
		{"same id", batch, []ending{
			{"analyze", json.RawMessage(`{"batch_processing_outcome": {"type": "create_batches", "cursor_configs": [{"batch_id": "1", "start_cursor": 0, "end_cursor": 1}, {"batch_id": "1", "start_cursor": 1, "end_cursor": 2}]}}`), "", `batch_id "1"`},
		}},
		{"no bounds", batch, []ending{
			{"analyze", json.RawMessage(`{"batch_processing_outcome": {"type": "create_batches", "cursor_configs": [{"batch_id": "1", "start_cursor": 0}]}}`), "", "lacks start_cursor or end_cursor"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := play(t, tt.steps)
			for _, e := range tt.ends {
				came, err := r.end(t, e.step, e.result)
				if (err == nil) != (e.err == "") || err != nil && !strings.Contains(err.Error(), e.err) {
					t.Fatalf("%s: error %v, want %q", e.step, err, e.err)
				}
				if got := strings.Join(came, " "); got != e.want {
					t.Fatalf("%s brought about %q, want %q", e.step, got, e.want)
				}
			}
		})
	}
}

func TestTurnedOff(t *testing.T) {
	t.Parallel()
	r := play(t, approval)
	off := limits
	off.Enabled = false
	_, err := expansion.Grow(expansion.Origin{
		Template: r.template, Graph: r.graph, Siblings: r.siblings, Ordinal: 2,
		Result: json.RawMessage(`{"decision_point_outcome": {"type": "no_branches"}}`), Limits: off,
	})
	if err == nil || !strings.Contains(err.Error(), "turned off") {
		t.Errorf("got %v", err)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	r := play(t, approval)
	if _, err := r.end(t, "route", tasker.Branches("auto", "manager", "finance")); err != nil || len(r.warnings) != 1 {
		t.Errorf("three steps above a threshold of two: %v, %v", r.warnings, err)
	}
	r = play(t, nested)
	if _, err := r.end(t, "first", tasker.Branches("second")); err != nil || len(r.warnings) != 0 {
		t.Errorf("the first decision: %v, %v", r.warnings, err)
	}
	if _, err := r.end(t, "second", tasker.Branches("b")); err != nil || len(r.warnings) != 1 {
		t.Errorf("the second one on the path, with a threshold of one: %v, %v", r.warnings, err)
	}
}

// TestBatchShape: what the copies are given.
func TestBatchShape(t *testing.T) {
	t.Parallel()
	r := play(t, batch)
	raw, _ := json.Marshal(tasker.Batches{Cursors: tasker.Range(0, 3, 2)})
	growth, err := expansion.Grow(expansion.Origin{
		Template: r.template, Graph: r.graph, Siblings: r.siblings, Ordinal: 1, Result: raw, Limits: limits,
	})
	if err != nil {
		t.Fatal(err)
	}
	last := growth.Steps[1]
	if want := `{"batch_id":"002","start_cursor":2,"end_cursor":3,"batch_size":1,"cursor_field":"id"}`; string(last.Input) != want {
		t.Errorf("the last worker is given %s, want %s", last.Input, want)
	}
	if last.Limit != 2 || last.Tolerated {
		t.Errorf("got %+v, want 2 at once and no failure tolerated", last)
	}
}

// TestOrderDoesNotMatter plays random trees with convergence steps and random
// decisions in two random orders: the same steps come to exist with the same
// dependencies.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 10).Draw(rt, "steps")
		var steps strings.Builder
		names := make([]string, n)
		for i := range n {
			names[i] = fmt.Sprintf("s%d", i)
			kind := "standard"
			var deps []string
			for j := range i {
				if rapid.IntRange(0, 2).Draw(rt, "edge") == 0 {
					deps = append(deps, names[j])
				}
			}
			switch k := rapid.IntRange(0, 3).Draw(rt, "kind"); {
			case k == 0:
				kind = "decision"
			case k == 1 && len(deps) > 1:
				kind = "deferred_convergence"
			}
			if kind != "deferred_convergence" && len(deps) > 1 {
				deps = deps[:1] // with several, what the first decision finds would count
			}
			fmt.Fprintf(&steps, "  - {name: %s, type: %s, handler: {callable: h}, dependencies: [%s]}\n", names[i], kind, strings.Join(deps, ", "))
		}
		chosen := map[string][]string{} // what each decision names, drawn once
		for i, name := range names {
			for _, later := range names[i+1:] {
				if rapid.Bool().Draw(rt, "chosen") {
					chosen[name] = append(chosen[name], later)
				}
			}
		}
		first := finish(rt, play(t, steps.String()), chosen)
		second := finish(rt, play(t, steps.String()), chosen)
		if !maps.EqualFunc(first.deps, second.deps, func(a, b []string) bool {
			return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
		}) {
			rt.Fatalf("%s\nchosen %v\none order gives %v\nthe other %v", steps.String(), chosen, first.deps, second.deps)
		}
	})
}

// finish ends steps in a random order, decisions only once what they depend on
// has ended, until all have.
func finish(rt *rapid.T, r *run, chosen map[string][]string) *run {
	ended := map[string]bool{}
	for {
		var ready []string
		for _, name := range r.names {
			open := func(dep string) bool { return !ended[dep] }
			if !ended[name] && !slices.ContainsFunc(r.deps[name], open) {
				ready = append(ready, name)
			}
		}
		if len(ready) == 0 {
			return r
		}
		slices.Sort(ready)
		name := rapid.SampledFrom(ready).Draw(rt, "next")
		place, _ := r.graph.Ordinal(name)
		names := slices.Clone(chosen[name])
		names = slices.DeleteFunc(names, func(n string) bool { // only direct ones that may be named
			p, _ := r.graph.Ordinal(n)
			return r.template.Steps[p].Type == templates.StepDeferredConvergence || !slices.Contains(r.graph.Dependents[place], p)
		})
		if len(names) > limits.MaxStepsPerDecision {
			names = names[:limits.MaxStepsPerDecision]
		}
		if _, err := r.end(rt, name, tasker.Branches(names...)); err != nil && !strings.Contains(err.Error(), "max_decision_depth") {
			rt.Fatal(err)
		}
		ended[name] = true
	}
}
