package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newTaskVisualizeCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var format string
	cmd := r.completes(r.command(&cobra.Command{
		Use:   "visualize ID",
		Short: "Draw the steps of a task, what they depend on, and their states",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		if format != "text" && format != "mermaid" {
			return view{}, usage(fmt.Errorf("unknown format %q; want mermaid or text", format))
		}
		task, err := c.FindTask(ctx, args[0], 0)
		if err != nil {
			return view{}, err
		}
		steps := inOrder(task.Steps)
		return view{raw: task.JSON, lines: func(s *screen) []string {
			if format == "mermaid" {
				return mermaidLines(task, steps)
			}
			return outlineLines(s, task, steps)
		}}, nil
	}), taskIDs)
	cmd.Flags().StringVar(&format, "format", "text", "mermaid or text")
	completeFlag(cmd, "format", func(*cobra.Command) []string { return []string{"mermaid", "text"} })
	r.watchFlag(cmd)
	return cmd
}

// A placedStep is a step with its distance from the steps that depend on none.
type placedStep struct {
	*apiclient.Step

	depth int
}

// inOrder puts each step behind those it depends on, and otherwise leaves the
// order as it is.
func inOrder(steps []apiclient.Step) []placedStep {
	byName := map[string]*apiclient.Step{}
	for i := range steps {
		byName[steps[i].Name] = &steps[i]
	}
	depths := map[string]int{}
	var placed []placedStep
	var place func(*apiclient.Step) int
	place = func(s *apiclient.Step) int {
		if depth, done := depths[s.Name]; done {
			return depth
		}
		depth := 0
		for _, d := range s.DependsOn {
			if parent := byName[d]; parent != nil { // a template has no cycle
				depth = max(depth, place(parent)+1)
			}
		}
		depths[s.Name] = depth
		placed = append(placed, placedStep{s, depth})
		return depth
	}
	for i := range steps {
		place(&steps[i])
	}
	return placed
}

// outlineLines draws steps as text, a line each, indented by their depth.
func outlineLines(s *screen, task *apiclient.Task, steps []placedStep) []string {
	lines := []string{templateOf(task) + ", " + s.paintState(string(task.State))}
	width := 0
	for _, p := range steps {
		width = max(width, 2*p.depth+len([]rune(p.Name)))
	}
	for _, p := range steps {
		name := strings.Repeat("  ", p.depth) + p.Name
		line := "  " + name + strings.Repeat(" ", width-len([]rune(name))) + "  " + s.paintState(string(p.State))
		if p.Attempts > 1 {
			line += ", attempt " + attempts(p.Step)
		}
		if len(p.DependsOn) > 0 {
			line += "  ← " + strings.Join(p.DependsOn, ", ")
		}
		lines = append(lines, line)
	}
	return lines
}

// mermaidColours are how Mermaid fills the steps of a state.
var mermaidColours = map[string]string{
	"complete":          "fill:#c8e6c9",
	"resolved_manually": "fill:#c8e6c9",
	"in_progress":       "fill:#b3e5fc",
	"waiting_for_retry": "fill:#fff9c4",
	"error":             "fill:#ffcdd2",
	"cancelled":         "fill:#eeeeee,stroke-dasharray:5 5",
}

// mermaidLines draws steps as a Mermaid flowchart, each with its state.
func mermaidLines(task *apiclient.Task, steps []placedStep) []string {
	lines := []string{"---", fmt.Sprintf("title: %s %s", templateOf(task), task.State), "---", "flowchart TD"}
	number := map[string]int{}
	var states []string
	for i, p := range steps {
		number[p.Name] = i
		lines = append(lines, fmt.Sprintf(`    s%d["%s<br/>%s"]:::%s`, i, p.Name, p.State, p.State))
		states = append(states, string(p.State))
	}
	for i, p := range steps {
		for _, d := range p.DependsOn {
			if from, known := number[d]; known {
				lines = append(lines, fmt.Sprintf("    s%d --> s%d", from, i))
			}
		}
	}
	slices.Sort(states)
	for _, state := range slices.Compact(states) {
		if style := mermaidColours[state]; style != "" {
			lines = append(lines, "    classDef "+state+" "+style)
		}
	}
	return lines
}
