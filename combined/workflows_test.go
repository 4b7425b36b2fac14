package combined_test

import (
	"encoding/json"
	"fmt"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/demo"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
)

// demoHandlers are those of the demo, in the form that the engine's tests take.
func demoHandlers() enginetest.Handlers {
	handlers := enginetest.Handlers{}
	set := demo.Handlers()
	for _, name := range set.Names() {
		handler, _ := set.Find(name)
		handlers[name] = handler.Handle
	}
	return handlers
}

// TestWorkflows runs the five shapes of the demo, all at once, and checks every
// result.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: demo.Templates(), Handlers: demoHandlers()})
		ids := map[string]string{}
		for _, w := range demo.Workflows() {
			id, err := e.Client.CreateTask(t.Context(), client.Request{Namespace: w.Namespace, Template: w.Name, Context: w.Context})
			if err != nil {
				t.Fatal(err)
			}
			ids[w.Name] = id
		}
		for _, w := range demo.Workflows() {
			task := e.Wait(ids[w.Name])
			if task.State != tasker.TaskComplete || len(task.Steps) != w.Steps {
				t.Errorf("%s: %s with %d steps, want complete with %d", w.Name, task.State, len(task.Steps), w.Steps)
				continue
			}
			results := map[string]json.RawMessage{}
			for i := range task.Steps {
				s := &task.Steps[i]
				results[s.Name] = s.Result
				if want := max(1, w.Attempts[s.Name]); s.Attempt != want {
					t.Errorf("%s: step %s took %d attempts, want %d", w.Name, s.Name, s.Attempt, want)
				}
			}
			if err := w.Check(results); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestBulk creates a thousand diamonds at once and checks every result of each:
// none may read what belongs to another.
func TestBulk(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: demo.Templates(), Handlers: demoHandlers(),
			Settings: enginetest.Settings{"worker.system.step_processing.max_concurrent_steps": "200"},
		})
		requests := make([]client.Request, 1000)
		for i := range requests {
			requests[i] = client.Request{Namespace: demo.Namespace, Template: "diamond", Context: map[string]int{"number": i % 10}}
		}
		ids, err := e.Client.CreateTasks(t.Context(), requests)
		if err != nil {
			t.Fatal(err)
		}
		e.Await(`select count(*) = 0 from tasker.tasks where finished_at is null`)
		rows, err := e.Pool.Query(t.Context(), `
			select t.task_id::text, t.state, (t.context->>'number')::numeric ^ 16 = (s.result->>'value')::numeric
			from tasker.tasks t
			join tasker.steps s on s.task_id = t.task_id and s.name = 'end'`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		ended := map[string]string{}
		for rows.Next() {
			var id, state string
			var right *bool
			if err := rows.Scan(&id, &state, &right); err != nil {
				t.Fatal(err)
			}
			ended[id] = fmt.Sprint(state, right != nil && *right)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if ended[id] != "completetrue" {
				t.Errorf("task %s: %q", id, ended[id])
			}
		}
		if n := enginetest.Query[int](e, `select count(*) from tasker.steps where attempt <> 1 or claim <> 1 or lost <> 0`); n != 0 {
			t.Errorf("%d steps did not run exactly once", n)
		}
	})
}
