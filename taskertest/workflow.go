package taskertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"testing"
	"testing/fstest"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// environment is the one whose overrides apply.
const environment = "test"

// YAML is a file system of templates that a test spells out, a document each.
func YAML(documents ...string) fs.FS {
	files := fstest.MapFS{}
	for i, d := range documents {
		files[fmt.Sprintf("template%d.yaml", i+1)] = &fstest.MapFile{Data: []byte(d)}
	}
	return files
}

// RunWorkflow runs a task from its creation until nothing in it can move, and
// returns what became of it. Templates are the *.yaml and *.yml in the root of
// fsys; name says which to run, as namespace/name or namespace/name/version,
// with its overrides for the test environment. Input is the context of the task,
// encoded as JSON; nil stands for {}.
//
// Steps run as the engine runs them: in parallel once all their dependencies are
// complete, each attempt with its timeout, a failed one again until attempts are
// used up or the error is permanent, branches that do not depend on a failed
// step to their end. Only the waits are left out: backoff and the delays that
// handlers ask for. Of step types there is only standard.
//
// What is wrong with the call itself ends the test: templates with problems, no
// such template, steps without a handler, a context that is not a JSON object or
// does not match the template's input_schema.
func RunWorkflow(t testing.TB, handlers *tasker.Handlers, fsys fs.FS, name string, input any) *Outcome {
	t.Helper()
	template, err := load(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := runnable(template, handlers); err != nil {
		t.Fatal(err)
	}
	if input == nil {
		input = struct{}{}
	}
	raw := encode(t, "the context", input)
	if !bytes.HasPrefix(raw, []byte("{")) {
		t.Fatalf("the context must be a JSON object, not %s", raw)
	}
	if err := checkInput(template, raw); err != nil {
		t.Fatal(err)
	}
	w := &workflow{
		log: logTo(t), handlers: handlers, template: template, graph: template.Graph(),
		input: raw, steps: make([]StepOutcome, len(template.Steps)),
	}
	w.task, w.ids = newIDs(len(w.steps))
	w.run(t.Context())
	return w.outcome()
}

// load finds the named template, in its highest version unless name has one.
func load(fsys fs.FS, name string) (*templates.Template, error) {
	all, err := templates.LoadFS(fsys)
	if err != nil {
		return nil, err
	}
	var found *templates.Template
	var names []string
	for _, t := range all {
		short := t.Namespace + "/" + t.Name
		names = append(names, short)
		if name != short && name != short+"/"+t.Version {
			continue
		}
		if found == nil || slices.Compare(numbers(t.Version), numbers(found.Version)) > 0 {
			found = t
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no template %q (namespace/name); there are %q", name, names)
	}
	return found.ForEnvironment(environment), nil
}

// numbers are the three numbers of a semantic version.
func numbers(version string) []int {
	n := make([]int, 3)
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &n[0], &n[1], &n[2]) // checked with the template
	return n
}

// runnable reports every step that could not run.
func runnable(t *templates.Template, handlers *tasker.Handlers) error {
	var problems []error
	for _, s := range t.Steps {
		if s.Type != templates.StepStandard {
			problems = append(problems, fmt.Errorf("step %q is of type %s; only standard steps can run", s.Name, s.Type))
		}
		if _, err := handlers.Resolve(s.Handler.Callable, s.Handler.Method, s.Handler.Resolver); err != nil {
			problems = append(problems, fmt.Errorf("step %q: %w", s.Name, err))
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("template %s/%s: %w", t.Namespace, t.Name, errors.Join(problems...))
	}
	return nil
}

// checkInput holds a context to the template's input_schema.
func checkInput(t *templates.Template, input json.RawMessage) error {
	if len(t.InputSchema) == 0 {
		return nil
	}
	schema, err := templates.CompileSchema(t.InputSchema)
	if err != nil {
		return err
	}
	if violations := schema.Check(input); len(violations) > 0 {
		return fmt.Errorf("the context does not match the input_schema of %s/%s:\n%w", t.Namespace, t.Name, violations)
	}
	return nil
}

// A workflow is a task under way. Steps are meant by their places in the
// template.
type workflow struct {
	log      *slog.Logger
	handlers *tasker.Handlers
	template *templates.Template
	graph    *templates.Graph
	input    json.RawMessage
	task     string        // its id
	ids      []string      // of the steps
	steps    []StepOutcome // the zero value stands for a step that did not run
}

// run runs steps until none is ready and none runs.
func (w *workflow) run(ctx context.Context) {
	type ended struct {
		place int
		step  StepOutcome
	}
	ends := make(chan ended)
	running := 0
	start := func(i int) {
		running++
		step := w.step(i)
		go func() { ends <- ended{i, w.attempts(ctx, i, step)} }()
	}
	waitingOn := make([]int, len(w.steps))
	for i, parents := range w.graph.Parents {
		if waitingOn[i] = len(parents); waitingOn[i] == 0 {
			start(i)
		}
	}
	for ; running > 0; running-- {
		e := <-ends
		w.steps[e.place] = e.step
		if e.step.State != tasker.StepComplete {
			continue
		}
		for _, i := range w.graph.Dependents[e.place] {
			if waitingOn[i]--; waitingOn[i] == 0 {
				start(i)
			}
		}
	}
}

// step is what the handler of the step at place i sees in its first attempt.
func (w *workflow) step(i int) tasker.Step {
	definition := &w.template.Steps[i]
	step := tasker.Step{
		Task: w.task, ID: w.ids[i], Name: definition.Name,
		Namespace: w.template.Namespace, Template: w.template.Name, Version: w.template.Version,
		Attempt: 1, MaxAttempts: definition.Retry.Attempts(templates.DefaultAttempts), Context: w.input,
	}
	if definition.Handler.Initialization != nil {
		raw, err := json.Marshal(definition.Handler.Initialization)
		if err != nil {
			panic("taskertest: " + err.Error()) // it was read from YAML into values that encode
		}
		step.Config = raw
	}
	for _, p := range w.graph.Parents[i] {
		if step.Results == nil {
			step.Results = make(map[string]json.RawMessage, len(w.graph.Parents[i]))
		}
		step.Results[w.template.Steps[p].Name] = w.steps[p].Result
	}
	return step
}

// attempts makes attempts at the step at place i until one succeeds or no other
// may follow.
func (w *workflow) attempts(ctx context.Context, i int, step tasker.Step) StepOutcome {
	definition := &w.template.Steps[i]
	handler, _ := w.handlers.Resolve(definition.Handler.Callable, definition.Handler.Method, definition.Handler.Resolver) // runnable has looked
	o := StepOutcome{State: tasker.StepError}
	for ; ; step.Attempt++ {
		seen := step // a handler may hold on to that of an earlier attempt
		result, failure := attempt(ctx, w.log, job{
			handler: handler, callable: definition.Handler.Callable, step: &seen, timeout: definition.Timeout.Duration(),
		})
		o.Attempts = step.Attempt
		if failure == nil {
			o.State, o.Result = tasker.StepComplete, result
			return o
		}
		o.Failures = append(o.Failures, failure)
		if failure.Permanent || step.LastAttempt() {
			return o
		}
	}
}

// outcome says what became of the task.
func (w *workflow) outcome() *Outcome {
	t := w.template
	o := &Outcome{
		Template: t.Namespace + "/" + t.Name + "/" + t.Version,
		State:    tasker.TaskComplete,
		Steps:    make(map[string]StepOutcome, len(w.steps)),
	}
	for i, s := range w.steps {
		switch {
		case s.Attempts == 0: // only because a step before it failed
			s.State = tasker.StepPending
			o.State = tasker.TaskBlockedByFailures
		case s.State == tasker.StepError && o.State == tasker.TaskComplete:
			o.State = tasker.TaskError
		}
		o.Steps[t.Steps[i].Name] = s
		o.names = append(o.names, t.Steps[i].Name)
	}
	return o
}
