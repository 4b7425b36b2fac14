package e2e

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/apiclient"
	"github.com/tasker-systems/tasker-go/internal/demo"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
)

// A deployment says which processes to run, and returns the APIs of the
// orchestrators among them.
type deployment struct {
	name     string
	settings enginetest.Settings
	run      func(s *site) []*apiclient.Client
}

var distributed = enginetest.Settings{"orchestration.system.mode": `"distributed"`}

// TestWorkflows runs the five shapes of the demo through the HTTP API, against
// the programs of cmd.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	for _, d := range []deployment{
		{"split", nil, func(s *site) []*apiclient.Client {
			orchestrator := s.startOrchestrator()
			s.startWorker(workerServer)
			return []*apiclient.Client{s.api(orchestrator)}
		}},
		{"two of each", distributed, func(s *site) []*apiclient.Client {
			one, other := s.startOrchestrator(), s.startOrchestrator()
			s.startWorker(workerServer)
			s.startWorker(workerServer)
			return []*apiclient.Client{s.api(one), s.api(other)}
		}},
		{"combined", nil, func(s *site) []*apiclient.Client {
			dev := s.start(taskerCLI, "dev", "--database-url", s.url, "--json")
			url := dev.find(`"orchestration_url":"([^"]+)"`)[1]
			api, err := apiclient.New(url, apiclient.Options{})
			if err != nil {
				s.t.Fatal(err)
			}
			return []*apiclient.Client{api}
		}},
	} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "", d.settings)
			apis := d.run(s)
			created := map[string]demo.Workflow{}
			for i, w := range demo.Workflows() {
				task := createOverHTTP(t, apis[i%len(apis)], w)
				created[task.ID] = w
			}
			for id, w := range created {
				for _, api := range apis { // all tell the same
					checkWorkflow(t, w, waitOverHTTP(t, api, id))
				}
			}
			for _, api := range apis {
				page, err := api.ListTasks(t.Context(), apiclient.Filter{Namespace: demo.Namespace, Limit: 100})
				if err != nil || len(page.Tasks) != len(created) {
					t.Errorf("%d tasks are listed, want %d (%v)", len(page.Tasks), len(created), err)
				}
			}
			s.Check()
		})
	}
}

func createOverHTTP(t *testing.T, api *apiclient.Client, w demo.Workflow) *apiclient.Task {
	t.Helper()
	task, err := api.CreateTask(t.Context(), apiclient.TaskRequest{Namespace: w.Namespace, Name: w.Name, Context: w.Context})
	if err != nil {
		t.Fatal(err)
	}
	if task.ID == "" || task.TotalSteps != w.Steps {
		t.Errorf("%s: created %q with %d steps, want %d", w.Name, task.ID, task.TotalSteps, w.Steps)
	}
	return task
}

// waitOverHTTP waits until the task is over.
func waitOverHTTP(t *testing.T, api *apiclient.Client, id string) *apiclient.Task {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		task, err := api.FindTask(ctx, id, patience)
		if err != nil {
			t.Fatal(err)
		}
		if task.State.Terminal() || task.State == tasker.TaskBlockedByFailures {
			return task
		}
	}
}

// checkWorkflow holds a task against what must come of it.
func checkWorkflow(t *testing.T, w demo.Workflow, task *apiclient.Task) {
	t.Helper()
	if task.State != tasker.TaskComplete || task.CompletedSteps != w.Steps || len(task.Steps) != w.Steps {
		t.Errorf("%s: %s, %d of %d steps complete, want %d", w.Name, task.State, task.CompletedSteps, len(task.Steps), w.Steps)
		return
	}
	if took := task.CompletedAt.Sub(task.CreatedAt); took > 15*time.Second { // the original's bound in CI
		t.Errorf("%s took %v", w.Name, took)
	}
	results := map[string]json.RawMessage{}
	steps := map[string]apiclient.Step{}
	for _, step := range task.Steps {
		results[step.Name], steps[step.Name] = step.Results, step
		if want := max(1, w.Attempts[step.Name]); step.State != tasker.StepComplete || step.Attempts != want || step.Error != nil {
			t.Errorf("%s: step %s is %s after %d attempts, want %d, with error %v", w.Name, step.Name, step.State, step.Attempts, want, step.Error)
		}
	}
	if err := w.Check(results); err != nil {
		t.Error(err)
	}
	for _, step := range task.Steps {
		for _, name := range step.DependsOn {
			if step.StartedAt.Before(*steps[name].CompletedAt) {
				t.Errorf("%s: step %s started at %v, before %s, which it depends on, had ended at %v",
					w.Name, step.Name, step.StartedAt, name, steps[name].CompletedAt)
			}
		}
	}
}

// TestBranchesOverlap has the branches of diamonds meet: neither goes on before
// the other has begun.
func TestBranchesOverlap(t *testing.T) {
	t.Parallel()
	for _, d := range []deployment{
		{"split", nil, func(s *site) []*apiclient.Client {
			orchestrator := s.startOrchestrator()
			s.startWorker(ownWorker)
			return []*apiclient.Client{s.api(orchestrator)}
		}},
		{"two of each", distributed, func(s *site) []*apiclient.Client {
			one, other := s.startOrchestrator(), s.startOrchestrator()
			s.startWorker(ownWorker)
			s.startWorker(ownWorker)
			return []*apiclient.Client{s.api(one), s.api(other)}
		}},
		{"combined", nil, func(s *site) []*apiclient.Client {
			both := s.startWorker(ownCombined)
			return []*apiclient.Client{s.api(both)}
		}},
	} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "", d.settings)
			apis := d.run(s)
			ids := s.create("held", 3)
			waiting := map[string]call{}
			for range 2 * len(ids) {
				c := s.call()
				first, met := waiting[c.Task]
				if !met {
					waiting[c.Task] = c
					continue
				}
				close(first.release)
				close(c.release)
			}
			for i, id := range ids {
				checkOverlap(t, waitOverHTTP(t, apis[i%len(apis)], id))
			}
			s.awaitEnd()
		})
	}
}

func checkOverlap(t *testing.T, task *apiclient.Task) {
	t.Helper()
	steps := map[string]apiclient.Step{}
	for _, step := range task.Steps {
		steps[step.Name] = step
	}
	left, right := steps["left"], steps["right"]
	if task.State != tasker.TaskComplete || !left.StartedAt.Before(*right.CompletedAt) || !right.StartedAt.Before(*left.CompletedAt) {
		t.Errorf("task %s is %s, left ran from %v to %v, right from %v to %v",
			task.ID, task.State, left.StartedAt, left.CompletedAt, right.StartedAt, right.CompletedAt)
	}
}
