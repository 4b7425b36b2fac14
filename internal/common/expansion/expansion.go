// Package expansion says which steps come to exist when a decision or a
// batchable step has ended. It decides by the template and by the steps the
// task has at that moment, and does nothing: whoever locks the task puts the
// steps in.
//
// A step that lies downstream of a decision or of a batch does not exist until
// a result brings it about:
//
//   - the steps that a decision names, and those behind them all of whose
//     dependencies exist;
//   - a copy of the batch worker for each cursor;
//   - a convergence step once none of its dependencies can still come to exist;
//     it waits for those that do. If none does, it never exists.
//
// In which order results come makes no difference, but for a step that several
// decisions may name: it depends on what exists when the first one names it.
package expansion

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// A Sibling is a step that the task has.
type Sibling struct {
	Ordinal    int32
	Definition string // the step of the template
	State      tasker.StepState
	Depth      int16 // decisions above it
}

// A Step is one to put in.
type Step struct {
	Ordinal    int32
	Name       string
	Definition int     // its place in the template
	DependsOn  []int32 // ordinals, of steps that exist or are put in with it
	Depth      int16
	Input      json.RawMessage // of a batch worker
	Limit      int             // of a batch worker: how many of them may run at once
	Tolerated  bool            // its failure keeps no other step from running
	Empty      bool            // complete from the start: the worker of a batch without shares
}

// A Growth is what an outcome brings about.
type Growth struct {
	Steps    []Step
	Named    int      // steps that a decision named
	Warnings []string // thresholds that were passed
}

// Decides reports whether results of the step bring steps about.
func Decides(s *templates.Step) bool {
	return s.Type == templates.StepDecision || s.Type == templates.StepBatchable
}

// An Origin is a step that has just ended, among all steps of its task; its
// State there counts as complete.
type Origin struct {
	Template *templates.Template
	Graph    *templates.Graph
	Siblings []Sibling
	Ordinal  int32
	Result   json.RawMessage // nil when an operator resolved it: nothing is named
	Limits   config.DecisionPoints
}

// Grow says what the result of a step brings about. An error says what is wrong
// with the result: it fails the step for good.
func Grow(o Origin) (Growth, error) {
	g, err := newGrower(o)
	if err != nil {
		return Growth{}, err
	}
	definition := &o.Template.Steps[g.origin]
	if definition.Type == templates.StepBatchable {
		err = g.batches(o.Result)
	} else {
		err = g.decide(o.Result)
	}
	if err != nil {
		return Growth{}, err
	}
	g.close()
	if len(g.growth.Steps) > 0 && g.next-1 > taskid.MaxOrdinal {
		return Growth{}, fmt.Errorf("the task would have %d steps; at most %d are allowed", g.next-1, taskid.MaxOrdinal)
	}
	return g.growth, nil
}

// A grower collects what one outcome brings about.
type grower struct {
	Origin

	origin    int // the place of the step in the template
	depth     int16
	instances [][]int32 // ordinals of the steps that exist, by place
	undecided []bool    // by place: some instance has not ended
	depths    map[int32]int16
	requested map[int]bool
	next      int32 // the ordinal of the next copy
	growth    Growth
}

func newGrower(o Origin) (*grower, error) {
	n := len(o.Template.Steps)
	g := &grower{
		Origin: o, origin: -1, instances: make([][]int32, n), undecided: make([]bool, n),
		depths: map[int32]int16{}, requested: map[int]bool{}, next: int32(n) + 1, //nolint:gosec // at most templates.MaxSteps
	}
	for _, s := range o.Siblings {
		place, ok := o.Graph.Ordinal(s.Definition)
		if !ok {
			return nil, fmt.Errorf("the template has no step %q", s.Definition)
		}
		g.instances[place] = append(g.instances[place], s.Ordinal)
		g.depths[s.Ordinal] = s.Depth
		g.next = max(g.next, s.Ordinal+1)
		if s.Ordinal == o.Ordinal {
			g.origin, g.depth = place, s.Depth
			continue
		}
		// A failed one may be tried again and decide then.
		if s.State != tasker.StepComplete && s.State != tasker.StepResolvedManually && s.State != tasker.StepCancelled {
			g.undecided[place] = true
		}
	}
	if g.origin < 0 {
		return nil, fmt.Errorf("the task has no step %d", o.Ordinal)
	}
	return g, nil
}

// A decision is what a decision step says beside its result.
type decision struct {
	Outcome *struct {
		Type  string   `json:"type"`
		Names []string `json:"step_names"`
	} `json:"decision_point_outcome"`
}

const decisionForm = `it looks like {"decision_point_outcome": {"type": "create_steps", "step_names": ["…"]}}, or {"type": "no_branches"}`

// decide notes what a decision names.
func (g *grower) decide(result json.RawMessage) error {
	if result == nil {
		return nil
	}
	if !g.Limits.Enabled {
		return fmt.Errorf("decisions are turned off (orchestration.decision_points.enabled)")
	}
	var d decision
	if err := json.Unmarshal(result, &d); err != nil || d.Outcome == nil {
		return fmt.Errorf("the result of a decision step has no outcome; %s", decisionForm)
	}
	switch {
	case d.Outcome.Type == "no_branches" && len(d.Outcome.Names) == 0:
		return nil
	case d.Outcome.Type != "create_steps":
		return fmt.Errorf("unknown decision outcome %q with %d steps; %s", d.Outcome.Type, len(d.Outcome.Names), decisionForm)
	case len(d.Outcome.Names) == 0:
		return fmt.Errorf("the decision names no steps; say no_branches when that is meant")
	}
	return g.name(d.Outcome.Names)
}

func (g *grower) name(names []string) error {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if most := g.Limits.MaxStepsPerDecision; len(names) > most {
		return fmt.Errorf("the decision names %d steps; orchestration.decision_points.max_steps_per_decision is %d", len(names), most)
	}
	if most := g.Limits.MaxDecisionDepth; int(g.depth)+1 > most {
		return fmt.Errorf("the decision is number %d on its path; orchestration.decision_points.max_decision_depth is %d", g.depth+1, most)
	}
	if warn := g.Limits.WarnThresholdSteps; len(names) > warn {
		g.warnf("a decision names %d steps, above warn_threshold_steps = %d", len(names), warn)
	}
	if warn := g.Limits.WarnThresholdDepth; int(g.depth)+1 > warn {
		g.warnf("a decision is number %d on its path, above warn_threshold_depth = %d", g.depth+1, warn)
	}
	downstream := g.downstream(g.origin)
	var bad []string
	for _, name := range names {
		place, known := g.Graph.Ordinal(name)
		switch {
		case !known:
			bad = append(bad, fmt.Sprintf("the template has no step %q", name))
		case !downstream[place]:
			bad = append(bad, fmt.Sprintf("step %q does not lie downstream of the decision", name))
		case g.Template.Steps[place].Type == templates.StepBatchWorker:
			bad = append(bad, fmt.Sprintf("step %q is a batch worker, which a batchable step brings about", name))
		case g.Template.Steps[place].Type == templates.StepDeferredConvergence:
			bad = append(bad, fmt.Sprintf("step %q is a convergence step, which exists with what it converges", name))
		}
		g.requested[place] = true
	}
	if len(bad) > 0 {
		return fmt.Errorf("the decision cannot be carried out: %s", strings.Join(bad, "; "))
	}
	g.growth.Named = len(names)
	return nil
}

func (g *grower) warnf(format string, args ...any) {
	g.growth.Warnings = append(g.growth.Warnings, fmt.Sprintf(format, args...))
}

// downstream are the places of the steps that depend on the one at place,
// directly or not.
func (g *grower) downstream(place int) map[int]bool {
	found := map[int]bool{}
	for next := []int{place}; len(next) > 0; next = next[1:] {
		for _, d := range g.Graph.Dependents[next[0]] {
			if !found[d] {
				found[d] = true
				next = append(next, d)
			}
		}
	}
	return found
}

// close puts in the steps that exist because of what is there by now, in an
// order in which each comes after its dependencies.
func (g *grower) close() {
	for _, place := range g.Graph.Order {
		if len(g.instances[place]) > 0 {
			continue
		}
		switch g.Template.Steps[place].Type {
		case templates.StepBatchWorker: // copies come with their batch
		case templates.StepDeferredConvergence:
			g.converge(place)
		default:
			g.follow(place)
		}
	}
}

// follow puts in a step that was named, or one that no decision has to name and
// all of whose dependencies exist.
func (g *grower) follow(place int) {
	parents := g.Graph.Parents[place]
	for _, p := range parents {
		switch {
		case g.requested[place]:
		case g.Template.Steps[p].Type == templates.StepDecision, len(g.instances[p]) == 0:
			return
		}
	}
	g.add(place, parents)
}

// converge puts in a convergence step when none of its dependencies can come
// any more and at least one has come.
func (g *grower) converge(place int) {
	any := false
	for _, p := range g.Graph.Parents[place] {
		if len(g.instances[p]) > 0 {
			any = true
			continue
		}
		if g.mayCome(p) {
			return
		}
	}
	if any {
		g.add(place, g.Graph.Parents[place])
	}
}

// mayCome reports whether a step that does not exist still can: something
// upstream of it has yet to decide.
func (g *grower) mayCome(place int) bool {
	seen := map[int]bool{place: true}
	for next := []int{place}; len(next) > 0; next = next[1:] {
		for _, p := range g.Graph.Parents[next[0]] {
			if len(g.instances[p]) > 0 && g.undecided[p] && Decides(&g.Template.Steps[p]) {
				return true
			}
			if !seen[p] {
				seen[p] = true
				next = append(next, p)
			}
		}
	}
	return false
}

// add puts in the step at place; it depends on what exists of its parents. A
// named step of which none exists depends on the decision.
func (g *grower) add(place int, parents []int) {
	s := Step{Ordinal: int32(place) + 1, Name: g.Template.Steps[place].Name, Definition: place} //nolint:gosec // at most templates.MaxSteps
	for _, p := range parents {
		for _, ordinal := range g.instances[p] {
			s.DependsOn = append(s.DependsOn, ordinal)
			s.Depth = max(s.Depth, g.depths[ordinal])
		}
	}
	if len(s.DependsOn) == 0 {
		s.DependsOn = []int32{g.Ordinal}
	}
	if g.requested[place] {
		s.Depth = max(s.Depth, g.depth+1)
	}
	g.put(s)
}

func (g *grower) put(s Step) {
	g.growth.Steps = append(g.growth.Steps, s)
	g.instances[s.Definition] = append(g.instances[s.Definition], s.Ordinal)
	g.depths[s.Ordinal] = s.Depth
	if !s.Empty {
		g.undecided[s.Definition] = true
	}
}

// Names are the names of the steps.
func (g Growth) Names() []string {
	names := make([]string, len(g.Steps))
	for i, s := range g.Steps {
		names[i] = s.Name
	}
	return names
}
