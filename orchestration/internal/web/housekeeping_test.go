package web_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

type entries struct{ Entries []web.DLQEntry }

// aside sets a task aside by hand.
func (s *server) aside(task uuid.UUID) web.DLQEntry {
	s.t.Helper()
	return read[web.DLQEntry](s, s.ask("POST", "/v1/dlq", `{"task_uuid": "`+task.String()+`", "notes": "looks odd", "requested_by": "ann", "metadata": {"ticket": 7}}`), http.StatusCreated)
}

// block brings a task into the state that a failure of its first step leaves.
func (s *server) block(task uuid.UUID) {
	s.t.Helper()
	s.exec(`update tasker.steps set state = 'error', attempt = 3, claim = 3, error = '{"kind": "handler_error", "message": "no"}', finished_at = now()
		where task_id = $1 and ordinal = 1`, task)
	s.exec(`update tasker.tasks set state = 'blocked_by_failures', examined = true where task_id = $1`, task)
}

// TestManualEntries: an operator sets a task aside, once at a time, where that is
// allowed.
func TestManualEntries(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.dlq.reasons.manual_dlq")
	s := startServer(t, "")
	task := s.create()
	e := s.aside(task)
	if e.TaskID != task || e.Reason != postgres.ManualDLQ || e.Resolution != postgres.DLQPending || e.OriginalState != tasker.TaskStepsInProcess ||
		*e.TaskStatus != tasker.TaskStepsInProcess || *e.Notes != "looks odd" || *e.ResolvedBy != "ann" || string(e.Metadata) != `{"ticket":7}` ||
		e.TaskName != "diamond" || !strings.Contains(string(e.Snapshot), `"name":"left"`) {
		t.Errorf("the entry is %+v", e)
	}
	s.refused(s.ask("POST", "/v1/dlq", `{"task_uuid": "`+task.String()+`"}`), http.StatusConflict, "pending entry already")
	s.refused(s.ask("POST", "/v1/dlq", `{"task_uuid": "`+uuid.NewString()+`"}`), http.StatusNotFound, "not found")
	s.refused(s.ask("POST", "/v1/dlq", `{"task_uuid": "x"}`), http.StatusBadRequest, "")

	for _, off := range []string{"[orchestration.dlq.reasons]\nmanual_dlq = false", "[orchestration.dlq]\nenabled = false"} {
		s := startServer(t, off)
		s.refused(s.ask("POST", "/v1/dlq", `{"task_uuid": "`+s.create().String()+`"}`), http.StatusConflict, "turned off")
	}
}

// refused checks that an answer is an error of the status that says why.
func (s *server) refused(a answer, status int, why string) {
	s.t.Helper()
	if a.status != status || !strings.Contains(a.body, why) {
		s.t.Errorf("got %d, %s; want %d with %q", a.status, a.body, status, why)
	}
}

// TestMessagesSetAside: operators see what was in a queue and could not be carried
// out.
func TestMessagesSetAside(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	requests, steps := s.deps.Names.Requests(), "worker_shapes_queue"
	if err := postgres.CreateLoggedQueues(t.Context(), s.db, []string{requests, s.deps.Names.Finalizations(), s.deps.Names.Results()}); err != nil {
		t.Fatal(err)
	}
	s.exec(`insert into pgmq.a_` + requests + ` (msg_id, read_ct, vt, message) values (7, 4, now(), '{"refused": "unknown template", "message": [1]}'), (8, 1, now(), '{}')`)
	s.exec(`select pgmq.send($1, '{"task": 5}')`, steps)
	if n, err := postgres.SetMalformedAside(t.Context(), s.db, steps, false); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	type messages struct{ Messages []web.AsideMessage }
	all := read[messages](s, s.ask("GET", "/v1/dlq/messages", ""), http.StatusOK).Messages
	if len(all) != 2 || all[0].Queue != steps || !strings.Contains(all[0].Reason, "does not name a step") || string(all[0].Message) != `{"task":5}` {
		t.Fatalf("set aside: %+v", all)
	}
	if m := all[1]; m.Queue != requests || m.ID != 7 || m.Reads != 4 || m.Reason != "unknown template" || string(m.Message) != `[1]` {
		t.Errorf("the request: %+v", m)
	}
	if one := read[messages](s, s.ask("GET", "/v1/dlq/messages?limit=1", ""), http.StatusOK).Messages; len(one) != 1 {
		t.Errorf("%d messages with limit=1", len(one))
	}
}

// TestInvestigation follows an entry from the queue to its resolution (the
// original's DLQ life cycle): it is listed, most urgent first, annotated, resolved
// once, and leaves the queue.
func TestInvestigation(t *testing.T) {
	t.Parallel()
	s := startServer(t, "[orchestration.dlq]\nmax_pending_age_hours = 2")
	tasks := map[postgres.DLQReason]uuid.UUID{}
	for _, reason := range []postgres.DLQReason{
		postgres.WorkerUnavailable, postgres.MaxRetriesExceeded, postgres.ManualDLQ, postgres.DependencyCycleDetected, postgres.StalenessTimeout,
	} {
		tasks[reason] = s.create()
		if _, err := postgres.Enter(t.Context(), s.db, []postgres.DeadLetter{{Task: tasks[reason], Reason: reason}}, false); err != nil {
			t.Fatal(err)
		}
	}
	older := s.create()
	if _, err := postgres.Enter(t.Context(), s.db, []postgres.DeadLetter{{Task: older, Reason: postgres.MaxRetriesExceeded}}, false); err != nil {
		t.Fatal(err)
	}
	s.exec(`update tasker.dlq_entries set entered_at = now() - interval '3 hours' where task_id = $1`, older)

	want := []uuid.UUID{
		tasks[postgres.DependencyCycleDetected], older, tasks[postgres.MaxRetriesExceeded], tasks[postgres.StalenessTimeout],
		tasks[postgres.WorkerUnavailable], tasks[postgres.ManualDLQ],
	}
	queue := read[entries](s, s.ask("GET", "/v1/dlq/investigation-queue", ""), http.StatusOK).Entries
	for i, e := range queue {
		if e.TaskID != want[i] || e.Overdue != (e.TaskID == older) || e.Snapshot != nil {
			t.Errorf("place %d of the queue has %s of task %s, overdue %t", i+1, e.Reason, e.TaskID, e.Overdue)
		}
	}
	if len(queue) != len(want) {
		t.Fatalf("the queue has %d entries", len(queue))
	}

	id := queue[1].ID.String()
	noted := read[web.DLQEntry](s, s.ask("PATCH", "/v1/dlq/entry/"+id, `{"resolution_status": "pending", "resolution_notes": "asked bob", "metadata": {"ticket": 1}}`), http.StatusOK)
	if noted.Resolution != postgres.DLQPending || *noted.Notes != "asked bob" || noted.ResolvedAt != nil {
		t.Errorf("noted: %+v", noted)
	}
	done := read[web.DLQEntry](s, s.ask("PATCH", "/v1/dlq/entry/"+id, `{"resolution_status": "manually_resolved", "resolved_by": "ann"}`), http.StatusOK)
	if done.Resolution != postgres.DLQManuallyResolved || done.ResolvedAt == nil || *done.ResolvedBy != "ann" || *done.Notes != "asked bob" ||
		string(done.Metadata) != `{"ticket":1}` || done.Overdue || done.MinutesInQueue < 180 {
		t.Errorf("resolved: %+v", done)
	}
	s.refused(s.ask("PATCH", "/v1/dlq/entry/"+id, `{"resolution_status": "cancelled"}`), http.StatusConflict, "resolved already")
	s.refused(s.ask("PATCH", "/v1/dlq/entry/"+id, `{"resolution_status": "requeued"}`), http.StatusBadRequest, "")
	s.refused(s.ask("PATCH", "/v1/dlq/entry/"+uuid.NewString(), `{"resolution_status": "cancelled"}`), http.StatusNotFound, "not found")
	if left := read[entries](s, s.ask("GET", "/v1/dlq/investigation-queue?limit=1", ""), http.StatusOK).Entries; len(left) != 1 || left[0].TaskID != want[0] {
		t.Errorf("the queue has %+v", left)
	}
	if again := s.aside(older); again.ID.String() == id {
		t.Error("a second investigation is the first")
	}
	if last := read[web.DLQEntry](s, s.ask("GET", "/v1/dlq/task/"+older.String(), ""), http.StatusOK); last.Reason != postgres.ManualDLQ {
		t.Errorf("the entry of the task is %+v", last)
	}
	s.refused(s.ask("GET", "/v1/dlq/task/"+uuid.NewString(), ""), http.StatusNotFound, "not found")

	for query, want := range map[string]int{
		"": 7, "?resolution_status=manually_resolved": 1, "?resolution_status=pending&dlq_reason=manual_dlq": 2,
		"?task_uuid=" + older.String(): 2, "?limit=3": 3, "?limit=5&offset=4": 3,
	} {
		if got := read[entries](s, s.ask("GET", "/v1/dlq"+query, ""), http.StatusOK).Entries; len(got) != want {
			t.Errorf("%s: %d entries, want %d", query, len(got), want)
		}
	}
	stats := read[struct{ Reasons []web.DLQStats }](s, s.ask("GET", "/v1/dlq/stats", ""), http.StatusOK).Reasons
	for _, r := range stats {
		if r.Reason == postgres.MaxRetriesExceeded && (r.Total != 2 || r.Pending != 1 || r.ManuallyResolved != 1 || r.Overdue != 0 || *r.ResolutionMinutes < 179) {
			t.Errorf("the figures are %+v", r)
		}
	}
	if len(stats) != 5 {
		t.Errorf("%d reasons have figures", len(stats))
	}
}

// TestRequeue puts the task of an entry back to work, once.
func TestRequeue(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	task := s.create()
	e := s.aside(task)
	s.refused(s.ask("POST", "/v1/dlq/entry/"+e.ID.String()+"/requeue", ""), http.StatusConflict, "steps_in_process")
	s.block(task)
	back := read[web.DLQEntry](s, s.ask("POST", "/v1/dlq/entry/"+e.ID.String()+"/requeue", `{"reason": "fixed", "actor": "bob"}`), http.StatusOK)
	if back.Resolution != postgres.DLQRequeued || *back.ResolvedBy != "bob" || *back.TaskStatus != tasker.TaskStepsInProcess {
		t.Errorf("the entry is %+v", back)
	}
	first := read[web.Task](s, s.ask("GET", "/v1/tasks/"+task.String(), ""), http.StatusOK).Steps[0]
	if first.State != tasker.StepEnqueued || first.Attempts != 0 {
		t.Errorf("the step is %+v", first)
	}
	s.block(task)
	s.refused(s.ask("POST", "/v1/dlq/entry/"+e.ID.String()+"/requeue", ""), http.StatusConflict, "resolved already")
	s.refused(s.ask("POST", "/v1/dlq/entry/"+uuid.NewString()+"/requeue", ""), http.StatusNotFound, "not found")
}

// TestArchive reads tasks in the archive as they were read before.
func TestArchive(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	ids := []uuid.UUID{s.create(), s.create(), s.create()}
	s.exec(`update tasker.steps set state = 'complete', waiting_on = 0, attempt = 1, claim = 1, result = '{"n": 1}', started_at = now(), finished_at = now()`)
	s.exec(`update tasker.tasks set state = 'complete', finished_at = now() - interval '1 day'`)
	before := s.ask("GET", "/v1/tasks/"+ids[0].String(), "").body
	if _, err := postgres.ArchiveTasks(t.Context(), s.db, ids, 0); err != nil {
		t.Fatal(err)
	}
	var was map[string]any
	if err := json.Unmarshal([]byte(before), &was); err != nil {
		t.Fatal(err)
	}
	then, _ := json.Marshal(was)
	for _, path := range []string{"/v1/archive/tasks/", "/v1/tasks/"} {
		after := read[map[string]any](s, s.ask("GET", path+ids[0].String(), ""), http.StatusOK)
		if after["archived_at"] == nil {
			t.Errorf("%s: archived_at is missing", path)
		}
		delete(after, "archived_at")
		if now, _ := json.Marshal(after); string(now) != string(then) {
			t.Errorf("%s: got %s, want %s", path, now, then)
		}
		if steps := read[[]web.Step](s, s.ask("GET", path+ids[0].String()+"/workflow_steps", ""), http.StatusOK); len(steps) != 4 {
			t.Errorf("%s: got steps %+v", path, steps)
		}
		s.refused(s.ask("GET", path+uuid.NewString(), ""), http.StatusNotFound, "not found")
	}
	s.refused(s.ask("GET", "/v1/archive/tasks/"+uuid.NewString(), ""), http.StatusNotFound, "not found")
	s.refused(s.ask("GET", "/v1/archive/tasks/"+uuid.NewString()+"/workflow_steps", ""), http.StatusNotFound, "not found")

	type page struct {
		Tasks []web.ArchivedSummary
		Next  *uuid.UUID
	}
	first := read[page](s, s.ask("GET", "/v1/archive/tasks?limit=2&name=diamond&namespace=shapes&state=complete", ""), http.StatusOK)
	if len(first.Tasks) != 2 || first.Tasks[0].ID != ids[2] || first.Next == nil || first.Tasks[0].CompletedSteps != 4 {
		t.Fatalf("the first page is %+v", first)
	}
	if second := read[page](s, s.ask("GET", "/v1/archive/tasks?limit=2&after="+first.Next.String(), ""), http.StatusOK); len(second.Tasks) != 1 || second.Next != nil {
		t.Errorf("the second page is %+v", second)
	}
	if none := read[page](s, s.ask("GET", "/v1/archive/tasks?state=error", ""), http.StatusOK); len(none.Tasks) != 0 {
		t.Errorf("got %+v", none)
	}
}

// TestArchiveOnDemand asks for a run, and sees that it is due.
func TestArchiveOnDemand(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	jobs := read[struct{ Jobs []web.Job }](s, s.ask("POST", "/v1/archive/runs", ""), http.StatusAccepted).Jobs
	if len(jobs) != 1 || jobs[0].Name != "archive" || jobs[0].LastRunAt != nil || jobs[0].Running {
		t.Errorf("the jobs are %+v", jobs)
	}
	off := startServer(t, "[orchestration.archive]\nenabled = false")
	off.refused(off.ask("POST", "/v1/archive/runs", ""), http.StatusConflict, "orchestration.archive.enabled")
	if list := s.ask("GET", "/v1/housekeeping", ""); list.status != http.StatusOK || !strings.Contains(list.body, `"job":"archive"`) {
		t.Errorf("got %+v", list)
	}
}

// TestStaleness shows open tasks, each with its health.
func TestStaleness(t *testing.T) {
	t.Parallel()
	for minutes, want := range map[float64]string{30: "healthy", 47: "healthy", 48: "warning", 51: "warning", 60: "stale", 90: "stale"} {
		r := web.RestingTask{Minutes: minutes, Limit: 60, Cause: "rest"}
		if r.Grade(); r.Health != want {
			t.Errorf("%v minutes of 60 are %s, want %s", minutes, r.Health, want)
		}
	}
	s := startServer(t, "")
	if got := s.ask("GET", "/v1/dlq/staleness?limit=1", ""); got.status != http.StatusOK || !strings.Contains(got.body, `"task_name":"diamond"`) {
		t.Errorf("got %+v", got)
	}
}
