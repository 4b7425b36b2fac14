package web_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

func TestCreateTask(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	created := s.ask("POST", "/v1/tasks", `{
		"name": "diamond", "namespace": "shapes", "version": "1.2.0", "context": {"n": 6},
		"initiator": "ann", "source_system": "shop", "reason": "test", "tags": ["a", "b"],
		"correlation_id": "019a0000-0000-7000-8000-000000000001"}`)
	task := read[web.Task](s, created, http.StatusCreated)
	if want := "/v1/tasks/" + task.ID.String(); created.header.Get("Location") != want {
		t.Errorf("Location is %q; want %q", created.header.Get("Location"), want)
	}
	for what, got := range map[string][2]any{
		"name":           {task.Namespace + "/" + task.Name + "/" + task.Version, "shapes/diamond/1.2.0"},
		"status":         {task.Status, tasker.TaskStepsInProcess},
		"context":        {string(task.Context.RawMessage), `{"n":6}`},
		"initiator":      {*task.Initiator, "ann"},
		"source system":  {*task.SourceSystem, "shop"},
		"reason":         {*task.Reason, "test"},
		"tags":           {fmt.Sprint(task.Tags), "[a b]"},
		"correlation id": {task.CorrelationID.String(), "019a0000-0000-7000-8000-000000000001"},
		"steps":          {fmt.Sprint(task.TotalSteps, task.EnqueuedSteps, task.PendingSteps), "4 1 3"},
		"execution":      {task.ExecutionStatus, "processing"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is %v; want %v", what, got[0], got[1])
		}
	}
}

// TestCreateTaskFromAForm sends what a form on some page could send: the server
// must not take it for JSON.
func TestCreateTaskFromAForm(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain"} {
		got := s.ask("POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes"}`, "Content-Type", contentType)
		if got.status != http.StatusUnsupportedMediaType || !strings.Contains(got.body, "application/json") {
			t.Errorf("%s: got %d, %s", contentType, got.status, got.body)
		}
	}
}

// TestCreateTaskOfTheLargestContext fills the context to the last byte.
func TestCreateTaskOfTheLargestContext(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	largest := `{"k":"` + strings.Repeat("x", intake.MaxContext-len(`{"k":""}`)) + `"}`
	a := s.ask("POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "context": `+largest+`}`)
	if a.status != http.StatusCreated {
		t.Errorf("got %d", a.status)
	}
}

func TestCreateTasks(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := s.ask("POST", "/v1/tasks/batch", `{"tasks": [
		{"name": "diamond", "namespace": "shapes"}, {"name": "other", "namespace": "shapes"}, {"name": "diamond", "namespace": "shapes"}]}`)
	created := read[struct {
		IDs []uuid.UUID `json:"task_uuids"`
	}](s, a, http.StatusCreated)
	var names []string
	for _, id := range created.IDs {
		names = append(names, read[web.Task](s, s.ask("GET", "/v1/tasks/"+id.String(), ""), http.StatusOK).Name)
	}
	if want := []string{"diamond", "other", "diamond"}; !slices.Equal(names, want) {
		t.Errorf("got %v; want %v", names, want)
	}
}

// TestCreateWakesWorkers listens as a worker does.
func TestCreateWakesWorkers(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	conn, err := s.db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	channel := s.deps.Names.StepsChannel("shapes")
	if err := postgres.Listen(t.Context(), conn.Conn(), []string{channel}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var notifier sync.WaitGroup
	notifier.Go(func() { s.deps.Notifier.Run(ctx) })
	defer notifier.Wait()
	defer cancel()
	s.create()
	if got, err := conn.Conn().WaitForNotification(t.Context()); err != nil || got.Channel != channel {
		t.Errorf("got %v, %v; want %s", got, err, channel)
	}
}

func TestReadTask(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	id := s.create()
	s.exec(`update tasker.steps set state = 'complete', attempt = 1, result = '{"sum": 1e3}', enqueued_at = now(),
		started_at = now(), finished_at = now() where task_id = $1 and ordinal = 1`, id)
	s.exec(`update tasker.steps set state = 'error', attempt = 3, error = '{"message": "no"}' where task_id = $1 and ordinal = 2`, id)
	s.exec(`update tasker.steps set state = 'waiting_for_retry', attempt = 1, next_attempt_at = now() where task_id = $1 and ordinal = 3`, id)
	task := read[web.Task](s, s.ask("GET", "/v1/tasks/"+id.String(), ""), http.StatusOK)
	if task.ExecutionStatus != "blocked_by_failures" || task.Completion != 25 || task.FailedSteps != 1 || task.RetryingSteps != 1 {
		t.Errorf("got %+v", task.TaskSummary)
	}
	if len(task.Steps) != 4 {
		t.Fatalf("got %d steps", len(task.Steps))
	}
	start, left, right, end := task.Steps[0], task.Steps[1], task.Steps[2], task.Steps[3]
	if start.Name != "start" || start.State != tasker.StepComplete || string(start.Results) != `{"sum":1000}` ||
		start.CompletedAt == nil || start.ID == id || start.TaskID != id || start.MaxAttempts != 4 {
		t.Errorf("start is %+v", start)
	}
	if left.State != tasker.StepError || string(left.Error) != `{"message":"no"}` || left.Attempts != 3 {
		t.Errorf("left is %+v", left)
	}
	if right.NextRetryAt == nil {
		t.Errorf("right is %+v", right)
	}
	if !slices.Equal(end.DependsOn, []string{"left", "right"}) || start.DependsOn == nil || end.EnqueuedAt != nil {
		t.Errorf("end is %+v", end)
	}

	steps := read[[]web.Step](s, s.ask("GET", "/v1/tasks/"+id.String()+"/workflow_steps", ""), http.StatusOK)
	if len(steps) != 4 || steps[3].ID != end.ID {
		t.Errorf("got steps %+v", steps)
	}
}

// TestWait asks with each way to wait for a task that ends meanwhile.
func TestWait(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for _, test := range []struct{ name, query, prefer string }{
		{"query", "?wait=4s", ""},
		{"seconds", "?wait=4", ""},
		{"header", "", "respond-async, wait=4"},
		{"the query counts more", "?wait=4s", "wait=0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			id := s.create()
			answers := make(chan answer, 10)
			for range cap(answers) {
				go func() { answers <- s.ask("GET", "/v1/tasks/"+id.String()+test.query, "", "Prefer", test.prefer) }()
			}
			s.untilWatched()
			s.exec("update tasker.tasks set state = 'complete', finished_at = now() where task_id = $1", id)
			for range cap(answers) {
				task := read[web.Task](s, <-answers, http.StatusOK)
				if task.Status != tasker.TaskComplete || task.CompletedAt == nil || len(task.Steps) != 4 {
					t.Errorf("got %+v", task)
				}
			}
		})
	}
}

// TestWaitEnds waits for a task that does not end.
func TestWaitEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, query, prefer string
		timeout             int // of the request, in milliseconds
		atLeast             time.Duration
	}{
		{"in time", "?wait=100ms", "", 300_000, 100 * time.Millisecond},
		{"with the request", "?wait=1h", "", 2000, time.Second},
		{"with the request, by header", "", "wait=99999999999", 2000, time.Second},
		{"at once", "?wait=0", "", 300_000, 0},
		{"at once, by a header that says nothing", "", "wait=soon", 300_000, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, fmt.Sprintf("request_timeout_ms = %d", test.timeout))
			id := s.create()
			began := time.Now()
			task := read[web.Task](s, s.ask("GET", "/v1/tasks/"+id.String()+test.query, "", "Prefer", test.prefer), http.StatusOK)
			if took := time.Since(began); took < test.atLeast || took > 20*time.Second || task.Status != tasker.TaskStepsInProcess {
				t.Errorf("took %s, %s", took, task.Status)
			}
		})
	}
}

// TestWaitEndsWithTheServer stops the server while a request waits, which gets
// its answer all the same.
func TestWaitEndsWithTheServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, "request_timeout_ms = 300000")
	id := s.create()
	answers := make(chan answer, 1)
	go func() { answers <- s.ask("GET", "/v1/tasks/"+id.String()+"?wait=200s", "") }()
	s.untilWatched()
	began := time.Now()
	s.stop()
	if got := <-answers; got.status != http.StatusOK || time.Since(began) > 5*time.Second {
		t.Errorf("got %d after %s", got.status, time.Since(began))
	}
}

// untilWatched waits until the server has looked at tasks for those who wait.
func (s *server) untilWatched() {
	s.t.Helper()
	const sql = `select exists (select from pg_stat_activity
		where datname = current_database() and query like 'select task_id, state from tasker.tasks%')`
	for watched := false; !watched; {
		if err := s.db.QueryRow(s.t.Context(), sql).Scan(&watched); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestListTasks(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	var ids []uuid.UUID
	for range 7 {
		ids = append(ids, s.create())
	}
	slices.Reverse(ids) // newest first
	s.ask("POST", "/v1/tasks", `{"name": "other", "namespace": "shapes", "context": {"secret": 1}}`)
	s.exec("update tasker.tasks set state = 'error' where task_id = $1", ids[2])

	type page struct {
		Tasks []web.TaskSummary
		Next  *uuid.UUID
	}
	list := func(query string) (page, string) {
		a := s.ask("GET", "/v1/tasks?"+query, "")
		return read[page](s, a, http.StatusOK), a.body
	}
	for _, test := range []struct {
		query string
		want  int
	}{
		{"", 8},
		{"namespace=shapes", 8},
		{"namespace=none", 0},
		{"name=other", 1},
		{"name=diamond", 7},
		{"name=diamond&namespace=shapes&state=error", 1},
		{"state=complete", 0},
	} {
		got, body := list(test.query)
		if len(got.Tasks) != test.want || got.Next != nil || strings.Contains(body, "secret") || strings.Contains(body, "null") {
			t.Errorf("%s: got %s; want %d tasks", test.query, body, test.want)
		}
	}

	var read []uuid.UUID
	query, pages := "name=diamond&limit=3", 0
	for after := ""; ; pages++ {
		got, _ := list(query + after)
		for _, task := range got.Tasks {
			read = append(read, task.ID)
		}
		if got.Next == nil {
			break
		}
		after = "&after=" + got.Next.String()
	}
	if !slices.Equal(read, ids) || pages != 2 {
		t.Errorf("got %v in %d pages and one; want %v", read, pages, ids)
	}
}

func TestListTemplates(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	got := s.ask("GET", "/v1/templates", "")
	const want = `{"templates":[{"namespace":"shapes","name":"diamond","version":"1.2.0"},{"namespace":"shapes","name":"other","version":"2.0.0"}]}`
	if strings.TrimSpace(got.body) != want {
		t.Errorf("got %s; want %s", got.body, want)
	}
}

// TestOpenAPI checks that the document has every route.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	doc := read[struct {
		Paths map[string]map[string]any
	}](s, s.ask("GET", "/openapi.json", ""), http.StatusOK)
	for _, route := range []string{
		"post /v1/tasks", "get /v1/tasks", "post /v1/tasks/batch", "get /v1/tasks/{task_uuid}", "get /v1/tasks/{task_uuid}/workflow_steps",
		"get /v1/templates", "get /health", "get /health/live", "get /health/ready", "get /health/detailed",
	} {
		method, path, _ := strings.Cut(route, " ")
		if doc.Paths[path][method] == nil {
			t.Errorf("%s is not described", route)
		}
	}
}
