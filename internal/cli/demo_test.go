package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/demo"
)

// diamond returns a task of the burst as it must be, but for what change does.
func diamond(change func(*client.Task)) *client.Task {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ended := began.Add(2 * time.Second)
	t := &client.Task{ID: "1", State: tasker.TaskComplete, CreatedAt: began, FinishedAt: &ended}
	for name, result := range map[string]string{
		"start": `{"value": 36}`,
		"left":  `{"value": 1296, "from": ["start"]}`,
		"right": `{"value": 1296, "from": ["start"]}`,
		"end":   `{"value": 2821109907456, "from": ["left", "right"]}`,
	} {
		t.Steps = append(t.Steps, client.Step{
			Name: name, State: tasker.StepComplete, Attempt: 1, Result: json.RawMessage(result),
		})
	}
	change(t)
	return t
}

// TestBurstOf checks what the demo makes of a burst of two: a single digit that
// is wrong shows.
func TestBurstOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		change  func(*client.Task)
		problem string
	}{
		{"all well", func(*client.Task) {}, ""},
		{"wrong result", func(t *client.Task) {
			t.Step("end").Result = json.RawMessage(`{"value": 2821109907457, "from": ["left", "right"]}`)
		}, "step end returned"},
		{"one attempt too many", func(t *client.Task) { t.Step("left").Attempt = 2 }, "step left took 2 attempts, must take 1"},
		{"a step too few", func(t *client.Task) { t.Steps = t.Steps[1:] }, "has no result"},
		{"not complete", func(t *client.Task) { t.State = tasker.TaskError }, "the task is in state error"},
	} {
		burst := burstOf(demo.Diamond(), []*client.Task{diamond(func(*client.Task) {}), diamond(c.change)})
		if (burst.Wrong > 0) != (c.problem != "") || !strings.Contains(burst.Problem, c.problem) {
			t.Errorf("%s: %d wrong, %q", c.name, burst.Wrong, burst.Problem)
		}
		if burst.TasksPerSecond != 1 || burst.StepsPerSecond != 4 {
			t.Errorf("%s: %v tasks/s, %v steps/s", c.name, burst.TasksPerSecond, burst.StepsPerSecond)
		}
	}
}

// TestDemoReport: a problem makes the report a failure and shows in the table.
func TestDemoReport(t *testing.T) {
	t.Parallel()
	r := demoReport{OK: true}
	r.add(demoWorkflow{Workflow: "diamond", Steps: 4, Result: "36"})
	r.add(demoWorkflow{Workflow: "tree", Steps: 8, Problem: "step x has no result"})
	r.addBurst(demoBurst{Tasks: 1000, Steps: 4000, TasksPerSecond: 2500, StepsPerSecond: 10000, took: 400 * time.Millisecond})
	var out strings.Builder
	r.print(Env{Stdout: &out})
	if r.OK {
		t.Error("the report is fine")
	}
	for _, want := range []string{
		"diamond                      4  ok        0.0 ms  36\n",
		"tree                         8  failed    0.0 ms  step x has no result\n",
		"burst of 1,000 diamonds  4,000  ok      400.0 ms  every result as of one diamond\n",
		"The burst ran at 2,500 tasks/s, which is 10,000 steps/s.\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
