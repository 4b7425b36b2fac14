package scenarios_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/big"
	"slices"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
)

// A scenario is a task and what must become of it.
type scenario struct {
	template string
	input    string // JSON
	state    tasker.TaskState
	steps    string // name:state:attempts of each, sorted
	results  map[string]string
}

// sixTo returns six to a power, as JSON.
func sixTo(exponent int64) string {
	return new(big.Int).Exp(big.NewInt(6), big.NewInt(exponent), nil).String()
}

// done spells steps that completed at the first attempt.
func done(names ...string) string {
	for i := range names {
		names[i] += ":complete:1"
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// handlersFor registers our handlers under the callables of templates.
func handlersFor(all []*templates.Template) enginetest.Handlers {
	handlers := enginetest.Handlers{}
	for _, tmpl := range all {
		for _, s := range tmpl.Steps {
			handlers[s.Handler.Callable] = handlerOf(s.Name)
		}
	}
	return handlers
}

// play runs scenarios of all templates, all at once, in each deployment.
func play(t *testing.T, files fs.FS, scenarios []scenario) {
	t.Helper()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		for _, tmpl := range playIn(t, d, files, scenarios) {
			if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.template == tmpl.Name }) {
				t.Errorf("no scenario plays %s", tmpl.Name)
			}
		}
	})
}

// playIn runs scenarios, all at once, and returns the templates that it found.
func playIn(t *testing.T, d enginetest.Deployment, files fs.FS, scenarios []scenario) []*templates.Template {
	t.Helper()
	all, err := templates.LoadFS(files)
	if err != nil {
		t.Fatal(err)
	}
	namespaces := map[string]string{}
	for _, tmpl := range all {
		namespaces[tmpl.Name] = tmpl.Namespace
	}
	e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: files, Handlers: handlersFor(all), Events: publishers()})
	ids := make([]string, len(scenarios))
	for i, s := range scenarios {
		ids[i] = create(t, e, s, namespaces[s.template])
	}
	for i, s := range scenarios {
		s.check(t, e.Wait(ids[i]))
	}
	return all
}

// create creates the task of a scenario and returns its id.
func create(t *testing.T, e *enginetest.Engine, s scenario, namespace string) string {
	t.Helper()
	id, err := e.Client.CreateTask(t.Context(), client.Request{Namespace: namespace, Template: s.template, Context: json.RawMessage(s.input)})
	if err != nil {
		t.Fatalf("%s: %v", s.template, err)
	}
	return id
}

// check compares a task with what must have become of it. That a step waited for
// all it depends on shows in its result, which is made of theirs.
func (s scenario) check(t *testing.T, task *client.Task) {
	t.Helper()
	what := s.template + " " + s.input
	if task.State != s.state {
		t.Errorf("%s: the task is %s, want %s", what, task.State, s.state)
	}
	var got []string
	for i := range task.Steps {
		step := &task.Steps[i]
		got = append(got, fmt.Sprintf("%s:%s:%d", step.Name, step.State, step.Attempt))
	}
	slices.Sort(got)
	if all := strings.Join(got, " "); all != s.steps {
		t.Errorf("%s: got\n%s, want\n%s", what, all, s.steps)
	}
	for name, want := range s.results {
		if step := task.Step(name); step == nil || !sameJSON(string(step.Result), want) {
			t.Errorf("%s: %s is %+v, want the result %s", what, name, step, want)
		}
	}
}

// sameJSON compares two texts but for white space and the order of keys.
func sameJSON(a, b string) bool {
	canonical := func(text string) string {
		var v any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return "not JSON: " + text
		}
		out, _ := json.Marshal(v) //nolint:errchkjson // it was JSON
		return string(out)
	}
	return canonical(a) == canonical(b)
}
