package cli

import (
	"fmt"
	"math"
	"time"
)

// A demoReport is the outcome of the demo, as --json prints it.
type demoReport struct {
	OK        bool           `json:"ok"`
	Workflows []demoWorkflow `json:"workflows"`
	Burst     demoBurst      `json:"burst"`
}

// A demoWorkflow is the outcome of one workflow.
type demoWorkflow struct {
	Workflow  string  `json:"workflow"`
	Template  string  `json:"template"`
	Task      string  `json:"task_uuid"`
	Steps     int     `json:"steps"`
	Result    string  `json:"result"`            // what it must come to
	Problem   string  `json:"problem,omitempty"` // what is wrong, if anything
	LatencyMS float64 `json:"latency_ms"`        // from the call that created it to the news of its end

	took time.Duration
}

// A demoBurst is the outcome of the burst.
type demoBurst struct {
	Tasks          int     `json:"tasks"`
	Steps          int     `json:"steps"`
	Wrong          int     `json:"wrong"`             // tasks with a problem
	Problem        string  `json:"problem,omitempty"` // of one of these
	Seconds        float64 `json:"seconds"`           // from the first insert to the last completion
	TasksPerSecond float64 `json:"tasks_per_second"`
	StepsPerSecond float64 `json:"steps_per_second"`

	took time.Duration
}

func (w *demoWorkflow) verdict() string { return okIf(w.Problem == "") }

func (b *demoBurst) verdict() string { return okIf(b.Wrong == 0) }

func okIf(well bool) string { //nolint:revive // flag-parameter: the flag is what is put into words
	if well {
		return "ok"
	}
	return "failed"
}

func (r *demoReport) add(w demoWorkflow) {
	r.Workflows = append(r.Workflows, w)
	r.OK = r.OK && w.Problem == ""
}

func (r *demoReport) addBurst(b demoBurst) {
	r.Burst = b
	r.OK = r.OK && b.Wrong == 0
}

// inMilliseconds rounds to what is worth reading.
func inMilliseconds(d time.Duration) float64 {
	return math.Round(float64(d.Microseconds())/10) / 100
}

// print prints the report for people, and where to look next.
func (r *demoReport) print(env Env) {
	s := newScreen(env, env.Stdout)
	t := table{columns: []column{
		{title: "workflow"}, {title: "steps", right: true}, {title: "check"}, {title: "latency", right: true}, {title: "result"},
	}}
	for i := range r.Workflows {
		w := &r.Workflows[i]
		t.add(w.Workflow, thousands(w.Steps), w.verdict(), milliseconds(w.took), problemOr(w.Problem, w.Result))
	}
	b := &r.Burst
	t.add(fmt.Sprintf("burst of %s diamonds", thousands(b.Tasks)), thousands(b.Steps), b.verdict(), milliseconds(b.took),
		problemOr(b.Problem, "every result as of one diamond"))
	for _, line := range t.lines(s) {
		s.printf("%s", line)
	}
	s.printf("\nThe burst ran at %s tasks/s, which is %s steps/s.",
		s.paint(bold, thousands(int(b.TasksPerSecond))), s.paint(bold, thousands(int(b.StepsPerSecond))))
	if !r.OK {
		return
	}
	s.printf("\nWhere to look next:")
	for _, next := range [][2]string{
		{"make dev", "the same, staying up, with its HTTP API"},
		{"make bench", "how fast it is on this machine"},
		{"internal/demo", "these workflows: templates in YAML, handlers in Go"},
		{"examples/orders", "a worker of your own, in a file"},
		{"README.md", "everything else"},
	} {
		s.printf("  %-16s %s", next[0], next[1])
	}
}

// problemOr is a problem in one line or, where there is none, the result.
func problemOr(problem, result string) string {
	if problem != "" {
		return problem
	}
	return result
}
