package scenarios_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
)

// shapes are the templates of ours whose steps fail when the task says so.
var shapes = []string{"linear", "tree", "mixed"}

// ours returns our templates by name.
func ours(t *testing.T) map[string]*templates.Template {
	t.Helper()
	all, err := templates.LoadFS(os.DirFS("testdata/templates"))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*templates.Template{}
	for _, tmpl := range all {
		byName[tmpl.Name] = tmpl
	}
	return byName
}

// below returns the names of the steps that need the given one, by whatever way.
// Our files name a step after those it needs.
func below(tmpl *templates.Template, name string) []string {
	var found []string
	for _, s := range tmpl.Steps {
		if slices.ContainsFunc(s.Dependencies, func(d string) bool { return d == name || slices.Contains(found, d) }) {
			found = append(found, s.Name)
		}
	}
	return found
}

// failing is a task in which one step fails so many times of three, or for good
// if that is below zero: what needs it does not begin, all else completes.
func failing(tmpl *templates.Template, bad string, times int) scenario {
	s := scenario{
		template: tmpl.Name, state: tasker.TaskComplete,
		input: fmt.Sprintf(`{"even_number": 2, "bad": %q, "times": %d}`, bad, times),
	}
	waiting, fate := below(tmpl, bad), fmt.Sprintf("complete:%d", times+1)
	switch {
	case times < 0:
		fate = "error:1"
	case times >= 3:
		fate = "error:3"
	default:
		waiting = nil
	}
	if strings.HasPrefix(fate, "error") {
		s.state = tasker.TaskError
		if len(waiting) > 0 {
			s.state = tasker.TaskBlockedByFailures
		}
	}
	var steps []string
	for _, step := range tmpl.Steps {
		switch {
		case step.Name == bad:
			steps = append(steps, step.Name+":"+fate)
		case slices.Contains(waiting, step.Name):
			steps = append(steps, step.Name+":pending:0")
		default:
			steps = append(steps, step.Name+":complete:1")
		}
	}
	slices.Sort(steps)
	s.steps = strings.Join(steps, " ")
	return s
}

// TestEveryStepFails fails each step of each shape: once, twice, always, and for
// good.
func TestEveryStepFails(t *testing.T) {
	t.Parallel()
	var all []scenario
	files, byName := os.DirFS("testdata/templates"), ours(t)
	for _, shape := range shapes {
		for _, step := range byName[shape].Steps {
			for _, times := range []int{-1, 1, 2, 3} {
				all = append(all, failing(byName[shape], step.Name, times))
			}
		}
	}
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) { playIn(t, d, files, all) })
}

// TestAtCreation creates tasks that nobody works off: they have the steps that do
// not depend on a decision or a batch, and only the roots are ready.
func TestAtCreation(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: os.DirFS("testdata/templates")})
	e.Register()
	for template, want := range map[string]string{
		"linear": "4 1", "tree": "8 1", "mixed": "7 1", "approval": "2 1", "inventory": "1 1", "parity": "4 1",
	} {
		id := create(t, e, scenario{template: template, input: `{"even_number": 2}`}, "scenarios")
		if got := enginetest.Query[string](e, `
			select count(*) || ' ' || count(*) filter (where state = 'enqueued') from tasker.steps where task_id = $1`, id); got != want {
			t.Errorf("%s begins with %s steps in all and ready, want %s", template, got, want)
		}
	}
}
