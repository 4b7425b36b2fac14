package taskertest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"

	tasker "github.com/tasker-systems/tasker-go"
)

// An Outcome is a task that has come to rest.
type Outcome struct {
	// Template is the template that ran, as namespace/name/version.
	Template string
	// State is complete, error, or blocked_by_failures when steps wait on one
	// that failed for good.
	State tasker.TaskState
	// Steps are all steps of the template, by name.
	Steps map[string]StepOutcome

	names []string // of the steps, in the order of the template
}

// A StepOutcome is a step that cannot move any more.
type StepOutcome struct {
	// State is complete, error, or pending when a step before it failed.
	State tasker.StepState
	// Attempts is how many attempts were made.
	Attempts int
	// Result is what a complete step returned.
	Result json.RawMessage
	// Failures are the failed attempts, first to last.
	Failures []*Failure
}

// Results returns the results of all complete steps, by step name.
func (o *Outcome) Results() map[string]json.RawMessage {
	results := map[string]json.RawMessage{}
	for name, step := range o.Steps {
		if step.State == tasker.StepComplete {
			results[name] = step.Result
		}
	}
	return results
}

// String shows the outcome, a line for each step, for the message of a test
// that fails.
func (o *Outcome) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", o.Template, o.State)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, name := range o.names {
		step := o.Steps[name]
		last := string(step.Result)
		if n := len(step.Failures); n > 0 && step.State == tasker.StepError {
			last = step.Failures[n-1].Error()
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\tattempts: %d\t%s\n", name, step.State, step.Attempts, last) // into memory
	}
	_ = w.Flush()
	return b.String()
}

// Result returns the result of a complete step, decoded into Out. It ends the
// test when there is no such step, it is not complete, or its result does not
// decode.
func Result[Out any](t testing.TB, o *Outcome, step string) Out {
	t.Helper()
	var out Out
	s, ok := o.Steps[step]
	switch {
	case !ok:
		t.Fatalf("template %s has no step %q; it has %q", o.Template, step, o.names)
	case s.State != tasker.StepComplete:
		t.Fatalf("step %q is %s and has no result; %s", step, s.State, o)
	}
	if err := json.Unmarshal(s.Result, &out); err != nil {
		t.Fatalf("decode the result %s of step %q: %v", s.Result, step, err)
	}
	return out
}
