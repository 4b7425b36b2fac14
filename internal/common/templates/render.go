package templates

import (
	"fmt"
	"strings"
)

// shapes are the Mermaid shapes of the step types; %s is the label.
var shapes = map[StepType]string{
	StepStandard:            `["%s"]`,
	StepDecision:            `{"%s"}`,
	StepDeferredConvergence: `(["%s"])`,
	StepBatchable:           `[/"%s"/]`,
	StepBatchWorker:         `[["%s"]]`,
}

// Mermaid draws the steps of a checked template as a Mermaid flowchart. Steps
// that results create have a dashed border.
func Mermaid(t *Template) string {
	g := t.Graph()
	var b strings.Builder
	fmt.Fprintf(&b, "---\ntitle: %s/%s %s\n---\nflowchart TD\n", t.Namespace, t.Name, t.Version)
	for i, s := range t.Steps {
		fmt.Fprintf(&b, "    s%d"+shapes[s.Type]+"\n", i, s.Name)
	}
	for i, dependents := range g.Dependents {
		for _, d := range dependents {
			fmt.Fprintf(&b, "    s%d --> s%d\n", i, d)
		}
	}
	if late := lateSteps(g); len(late) > 0 {
		fmt.Fprintf(&b, "    classDef late stroke-dasharray: 5 5\n    class %s late\n", strings.Join(late, ","))
	}
	return b.String()
}

// lateSteps lists the Mermaid names of the steps that results create.
func lateSteps(g *Graph) []string {
	initial := make([]bool, len(g.Order))
	for _, i := range g.Initial {
		initial[i] = true
	}
	var late []string
	for i := range initial {
		if !initial[i] {
			late = append(late, fmt.Sprintf("s%d", i))
		}
	}
	return late
}

// Outline draws the steps of a checked template as plain text, a line each,
// indented by their distance from the roots and followed by their type, unless
// it is standard, and their dependencies.
func Outline(t *Template) string {
	g := t.Graph()
	depth := make([]int, len(t.Steps))
	var b strings.Builder
	for _, i := range g.Order {
		s := t.Steps[i]
		for _, p := range g.Parents[i] {
			depth[i] = max(depth[i], depth[p]+1)
		}
		b.WriteString(strings.Repeat("  ", depth[i]) + s.Name)
		if s.Type != StepStandard {
			fmt.Fprintf(&b, " (%s)", s.Type)
		}
		if len(s.Dependencies) > 0 {
			b.WriteString(" ← " + strings.Join(s.Dependencies, ", "))
		}
		b.WriteString("\n")
	}
	return b.String()
}
