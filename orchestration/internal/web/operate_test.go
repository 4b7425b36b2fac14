package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

// fail has the first step of a task fail for good.
func (s *server) fail(id uuid.UUID) {
	s.t.Helper()
	s.exec(`update tasker.steps set state = 'error', attempt = 1, claim = claim + 1, error = '{"kind": "handler_error"}', started_at = now(), finished_at = now()
		where task_id = $1 and ordinal = 1`, id)
	s.exec(`insert into tasker.step_attempts (task_id, ordinal, claim, attempt, finished_at, error) 
		select task_id, 1, claim, 1, now(), error from tasker.steps where task_id = $1 and ordinal = 1`, id)
	s.exec(`update tasker.tasks set state = 'blocked_by_failures', troubled = true where task_id = $1`, id)
}

// TestActionsOnTasks follows a task through what an operator may do to it.
func TestActionsOnTasks(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	id := s.create()
	path := "/v1/tasks/" + id.String()
	const note = `{"reason": "maintenance", "actor": "ann"}`
	for _, step := range []struct {
		method, path, body string
		status             int
		says               string // in the body
	}{
		{"POST", "/resume", note, 409, `"CONFLICT","detail":"task ` + id.String() + ` is steps_in_process, so resume is not possible; possible: cancel, pause"`},
		{"POST", "/pause", note, 200, `"status":"waiting_for_dependencies"`},
		{"POST", "/pause", "", 409, "is waiting_for_dependencies and paused, so pause is not possible; possible: cancel, resume, resolve"},
		{"POST", "/resume", "", 200, `"status":"steps_in_process"`},
		{"POST", "/retry", note, 409, "CONFLICT"},
		{"POST", "/resolve", note, 409, "CONFLICT"},
		{"POST", "/pause", `{"reasons": "x"}`, 400, "body.reasons"},
		{"DELETE", "?reason=obsolete&actor=bob", "", 200, `"status":"cancelled"`},
		{"DELETE", "", "", 409, "nothing can be done to it any more"},
	} {
		got := s.ask(step.method, path+step.path, step.body)
		if got.status != step.status || !strings.Contains(got.body, step.says) {
			t.Errorf("%s %s: %d, %s", step.method, step.path, got.status, got.body)
		}
	}
	events := read[[]web.Event](s, s.ask("GET", path+"/events", ""), http.StatusOK)
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	if got := strings.Join(kinds, " "); got != "task.paused task.resumed task.cancelled" {
		t.Errorf("recorded %s", got)
	}
	if first, last := events[0], events[2]; *first.Actor != "ann" || *first.Reason != "maintenance" || *last.Actor != "bob" || *last.Reason != "obsolete" {
		t.Errorf("recorded %+v", events)
	}
	failed := s.create()
	s.fail(failed)
	if task := read[web.Task](s, s.ask("POST", "/v1/tasks/"+failed.String()+"/retry", ""), 200); task.Status != tasker.TaskStepsInProcess || task.EnqueuedSteps != 1 {
		t.Errorf("after the retry: %+v", task)
	}
	s.fail(failed)
	if task := read[web.Task](s, s.ask("POST", "/v1/tasks/"+failed.String()+"/resolve", ""), 200); task.Status != tasker.TaskResolvedManually || task.CompletedAt == nil {
		t.Errorf("after resolving it: %+v", task)
	}
}

// TestActionsOnSteps tries each action on the step that blocks a task.
func TestActionsOnSteps(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for _, tt := range []struct {
		body        string
		state       tasker.StepState
		result      string
		left, kind  string
		actor, more string
	}{
		{`{"action_type": "reset_for_retry", "reason": "r", "reset_by": "ann"}`, tasker.StepEnqueued, "", "pending", "step.retry_requested", "ann", ""},
		{`{"action_type": "resolve_manually", "reason": "r", "resolved_by": "bob"}`, tasker.StepResolvedManually, "", "enqueued", "step.resolved_manually", "bob", ""},
		{
			`{"action_type": "complete_manually", "reason": "r", "completed_by": "eve", "completion_data": {"result": [1], "metadata": {"ticket": 7}}}`,
			tasker.StepComplete, "[1]", "enqueued", "step.completed_manually", "eve", `"metadata":{"ticket":7}`,
		},
	} {
		id := s.create()
		s.fail(id)
		path := "/v1/tasks/" + id.String()
		step := read[web.Step](s, s.ask("PATCH", path+"/workflow_steps/start", tt.body), http.StatusOK)
		if step.State != tt.state || string(step.Results) != tt.result {
			t.Errorf("%s: %+v", tt.body, step)
		}
		if left := read[web.Step](s, s.ask("GET", path+"/workflow_steps/left", ""), http.StatusOK); string(left.State) != tt.left {
			t.Errorf("%s: the step that depends on it is %s", tt.body, left.State)
		}
		byID := read[web.Step](s, s.ask("GET", path+"/workflow_steps/"+step.ID.String(), ""), http.StatusOK)
		if fmt.Sprint(byID) != fmt.Sprint(step) {
			t.Errorf("by its id the step is %+v; want %+v", byID, step)
		}
		events := read[[]web.Event](s, s.ask("GET", path+"/events", ""), http.StatusOK)
		if len(events) != 1 || events[0].Kind != tt.kind || *events[0].Actor != tt.actor || *events[0].Step != "start" || *events[0].StepID != step.ID ||
			!strings.Contains(string(events[0].Detail), tt.more) {
			t.Errorf("%s: recorded %+v", tt.body, events)
		}
		attempts := read[[]web.Attempt](s, s.ask("GET", path+"/workflow_steps/start/attempts", ""), http.StatusOK)
		if len(attempts) != 1 || attempts[0].Outcome != "handler_error" || attempts[0].Attempt != 1 {
			t.Errorf("%s: attempts %+v", tt.body, attempts)
		}
	}
}

// TestRefusedActions goes through what the routes of operators refuse.
func TestRefusedActions(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	id := s.create()
	path, nobody := "/v1/tasks/"+id.String(), "/v1/tasks/019a0000-0000-7000-8000-000000000000"
	for _, tt := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"DELETE", nobody, "", 404, "NOT_FOUND"},
		{"POST", nobody + "/pause", "", 404, "NOT_FOUND"},
		{"GET", nobody + "/events", "", 404, "NOT_FOUND"},
		{"GET", path + "/workflow_steps/nothing", "", 404, "NOT_FOUND"},
		{"GET", path + "/workflow_steps/nothing/attempts", "", 404, "NOT_FOUND"},
		{"PATCH", path + "/workflow_steps/nothing", `{"action_type": "resolve_manually"}`, 404, "NOT_FOUND"},
		{"PATCH", path + "/workflow_steps/start", `{"action_type": "reset_for_retry"}`, 409, "step start of task " + id.String() + " is enqueued, so retry is not possible; possible: resolve, complete"},
		{"PATCH", path + "/workflow_steps/start", `{"action_type": "explode"}`, 400, "body.action_type"},
		{"PATCH", path + "/workflow_steps/start", `{"action_type": "complete_manually"}`, 400, "completion_data goes with complete_manually"},
		{"PATCH", path + "/workflow_steps/start", `{"action_type": "resolve_manually", "completion_data": {"result": 1}}`, 400, "completion_data goes with"},
		{"PATCH", path + "/workflow_steps/start", `{"action_type": "complete_manually", "completion_data": {}}`, 400, "result"},
		{
			"PATCH", path + "/workflow_steps/start",
			`{"action_type": "complete_manually", "completion_data": {"result": "` + strings.Repeat("x", operate.MaxResult) + `"}}`, 400, "at most 4194304 are allowed",
		},
		{"POST", "/v1/operations", `{"kind": "cancel", "filter": {}}`, 400, "the filter is empty"},
		{"POST", "/v1/operations", `{"kind": "explode", "filter": {"namespace": "shapes"}}`, 400, "body.kind"},
		{"POST", "/v1/operations", `{"kind": "retry", "filter": {"states": ["complete"]}}`, 400, "no task in state [complete]"},
		{"GET", "/v1/operations/019a0000-0000-7000-8000-000000000000", "", 404, "NOT_FOUND"},
	} {
		got := s.ask(tt.method, tt.path, tt.body)
		if got.status != tt.status || !strings.Contains(got.body, tt.says) {
			t.Errorf("%s %s: %d, %.300s; want %d, %s", tt.method, tt.path, got.status, got.body, tt.status, tt.says)
		}
	}
	if task := read[web.Task](s, s.ask("GET", path, ""), 200); task.Status != tasker.TaskStepsInProcess {
		t.Errorf("the task is %s", task.Status)
	}
}

// TestOperations previews an operation, starts it and sees it through.
func TestOperations(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for range 3 {
		s.create()
	}
	const cancel = `{"kind": "cancel", "reason": "r", "actor": "ann", "filter": {"name": "diamond"}`
	preview := read[web.Operation](s, s.ask("POST", "/v1/operations", cancel+`, "dry_run": true}`), http.StatusOK)
	if preview.Matched != 3 || preview.State != "dry_run" || preview.ID != nil {
		t.Errorf("preview %+v", preview)
	}
	started := read[web.Operation](s, s.ask("POST", "/v1/operations", cancel+`}`), http.StatusAccepted)
	if started.Matched != 3 || started.State != "pending" || started.ID == nil || *started.Actor != "ann" {
		t.Errorf("started %+v", started)
	}
	operator := operate.Operator{Pool: s.db, Names: s.deps.Names, Notifier: s.deps.Notifier}
	for _, want := range []struct {
		state string
		done  int64
	}{{"running", 2}, {"running", 3}, {"complete", 3}} {
		if worked, err := operator.WorkOff(t.Context(), 2); err != nil || !worked {
			t.Fatal(worked, err)
		}
		op := read[web.Operation](s, s.ask("GET", "/v1/operations/"+started.ID.String(), ""), http.StatusOK)
		if op.State != want.state || op.Done != want.done {
			t.Errorf("%+v; want %s, %d done", op, want.state, want.done)
		}
	}
	list := read[struct{ Operations []web.Operation }](s, s.ask("GET", "/v1/operations", ""), http.StatusOK)
	if len(list.Operations) != 1 || *list.Operations[0].ID != *started.ID {
		t.Errorf("%+v", list)
	}
	cancelled, err := postgres.SearchTasks(t.Context(), s.db, postgres.TaskSearch{States: []tasker.TaskState{tasker.TaskCancelled}, Limit: 10})
	if err != nil || len(cancelled.Tasks) != 3 {
		t.Errorf("%d tasks are cancelled (%v)", len(cancelled.Tasks), err)
	}
}
