package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

const (
	echo  = `{name: echo, namespace: test, version: 1.0.0, steps: [{name: only, handler: {callable: echo}}]}`
	echo2 = `{name: echo, namespace: test, version: 1.10.0, steps: [{name: only, handler: {callable: echo}}, {name: more, handler: {callable: echo}}]}`
	echo3 = `{name: echo, namespace: test, version: 1.9.0, steps: [{name: only, handler: {callable: echo}}]}`
	other = `{name: other, namespace: test2, steps: [{name: only, handler: {callable: echo}}]}`
)

var handlers = enginetest.Handlers{"echo": func(_ context.Context, s *tasker.Step) (any, error) { return s.Context, nil }}

func start(t *testing.T) *enginetest.Engine {
	t.Helper()
	return enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.Combined, Templates: taskertest.YAML(echo, echo2, echo3, other), Handlers: handlers,
	})
}

func request(input any) client.Request {
	return client.Request{Namespace: "test", Template: "echo", Context: input}
}

// TestCreateTasks creates tasks of several templates in one call; the ids are in
// the order of the requests.
func TestCreateTasks(t *testing.T) {
	t.Parallel()
	e := start(t)
	const n = 1000
	requests := make([]client.Request, n)
	for i := range requests {
		requests[i] = request(map[string]int{"n": i})
		if i%2 == 1 {
			requests[i].Namespace, requests[i].Template = "test2", "other"
		}
	}
	ids, err := e.Client.CreateTasks(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		task := e.Wait(id)
		if task.State != tasker.TaskComplete || task.Namespace != requests[i].Namespace || string(task.Step("only").Result) != fmt.Sprintf(`{"n": %d}`, i) {
			t.Errorf("task %d is %s of %s with %s", i, task.State, task.Namespace, task.Step("only").Result)
		}
	}
}

// TestCreateTaskKeeps reads back all that came with a request.
func TestCreateTaskKeeps(t *testing.T) {
	t.Parallel()
	e := start(t)
	r := request(map[string]string{"name": `O'Brien "\{,}`})
	r.Initiator, r.SourceSystem, r.Reason, r.Tags = "ann", "shop", "spring sale", []string{"a,b", `"c"`, `d\`, ""}
	id, err := e.Client.CreateTask(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	task := e.Wait(id)
	if string(task.Context) != `{"name": "O'Brien \"\\{,}"}` || task.Version != "1.10.0" || len(task.Steps) != 2 {
		t.Errorf("task %+v", task)
	}
	kept := enginetest.Query[string](e, `select concat_ws('|', initiator, source_system, reason, array_to_json(tags)) from tasker.tasks`)
	if want := `ann|shop|spring sale|["a,b","\"c\"","d\\",""]`; kept != want {
		t.Errorf("kept %s, want %s", kept, want)
	}
	if s := task.Step("only"); s.WorkerID != "test-worker-001" || s.StartedAt == nil || s.FinishedAt == nil || s.ID == task.ID {
		t.Errorf("step %+v", s)
	}
	if task.Step("none") != nil {
		t.Error("found a step that does not exist")
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	e := start(t)
	for asked, want := range map[string]string{"": "1.10.0", "1.9.0": "1.9.0", "1.0.0": "1.0.0"} {
		r := request(nil)
		r.Version = asked
		id, err := e.Client.CreateTask(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if task := e.Wait(id); task.Version != want {
			t.Errorf("version %q gave %s, want %s", asked, task.Version, want)
		}
	}
}

// TestCreateTasksRefuses: one bad request, and nothing is created. Every problem
// is in the error.
func TestCreateTasksRefuses(t *testing.T) {
	t.Parallel()
	e := start(t)
	many := make([]client.Request, 10_001)
	tests := []struct {
		name     string
		requests []client.Request
		is       error
		want     []string
	}{
		{"none", nil, client.ErrInvalid, []string{"0 tasks; one call creates 1 to 10000"}},
		{"too many", many, client.ErrInvalid, []string{"10001 tasks"}},
		{
			"unknown template",
			[]client.Request{request(nil), {Namespace: "test", Template: "nope"}},
			client.ErrUnknownTemplate,
			[]string{"unknown template test/nope; is a worker that registers it running?"},
		},
		{
			"unknown version",
			[]client.Request{{Namespace: "test", Template: "echo", Version: "9.0.0"}},
			client.ErrUnknownTemplate,
			[]string{"test/echo/9.0.0"},
		},
		{"no name", []client.Request{{}}, client.ErrInvalid, []string{"the template needs a namespace and a name"}},
		{
			"several problems",
			[]client.Request{request(nil), request([]int{1}), request("x")},
			client.ErrInvalid,
			[]string{"task 2: the context must be a JSON object", "task 3: the context must be a JSON object"},
		},
		{"not JSON", []client.Request{request(json.RawMessage(`{"a":`))}, client.ErrInvalid, []string{"encode the context of task 1"}},
		{"not encodable", []client.Request{request(make(chan int))}, client.ErrInvalid, []string{"unsupported type: chan int"}},
		{
			"too large",
			[]client.Request{request(map[string]string{"a": strings.Repeat("x", 1<<20)})},
			client.ErrInvalid,
			[]string{"the context has 1048584 bytes; at most 1048576 are allowed"},
		},
		{"NUL", []client.Request{request(nil), request(map[string]string{"a": "\x00"})}, client.ErrInvalid, []string{"PostgreSQL cannot store it", `\u0000`}},
	}
	for _, tt := range tests {
		_, err := e.Client.CreateTasks(t.Context(), tt.requests)
		if !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v, want one that is %v", tt.name, err, tt.is)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q lacks %q", tt.name, err, want)
			}
		}
	}
	if n := enginetest.Query[int](e, `select count(*) from tasker.tasks`); n != 0 {
		t.Errorf("%d tasks exist", n)
	}
}

// TestLargestContext is exactly as large as allowed.
func TestLargestContext(t *testing.T) {
	t.Parallel()
	e := start(t)
	input := json.RawMessage(`{"a":"` + strings.Repeat("x", 1<<20-8) + `"}`)
	id, err := e.Client.CreateTask(t.Context(), request(input))
	if err != nil {
		t.Fatal(err)
	}
	if task := e.Wait(id); task.State != tasker.TaskComplete {
		t.Errorf("task is %s", task.State)
	}
}

// TestCreateTaskTx: the task exists, and runs, exactly if the caller commits.
func TestCreateTaskTx(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Exec(`create table orders (id text)`)
	order := func(commit bool) string {
		t.Helper()
		tx, err := e.Pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		id, err := e.Client.CreateTaskTx(t.Context(), tx, request(nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `insert into orders values ($1)`, id); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Client.Task(t.Context(), id); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("before the commit the task reads %v", err)
		}
		if commit {
			err = tx.Commit(t.Context())
		} else {
			err = tx.Rollback(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	gone, there := order(false), order(true)
	if task := e.Wait(there); task.State != tasker.TaskComplete {
		t.Errorf("task is %s", task.State)
	}
	if _, err := e.Client.Task(t.Context(), gone); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("the task of a transaction that was rolled back reads %v", err)
	}
	if n := enginetest.Query[int](e, `select count(*) from orders join tasker.tasks on task_id = id::uuid`); n != 1 {
		t.Errorf("%d orders have their task, want 1", n)
	}
}

// TestRefusedInTransaction: a request that is refused before it reaches the
// database leaves the caller's transaction usable.
func TestRefusedInTransaction(t *testing.T) {
	t.Parallel()
	e := start(t)
	tx, err := e.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	for _, r := range []client.Request{request([]int{}), {Namespace: "test", Template: "nope"}} {
		if _, err := e.Client.CreateTaskTx(t.Context(), tx, r); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
	ids, err := e.Client.CreateTasksTx(t.Context(), tx, []client.Request{request(nil), request(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		e.Wait(id)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	e := start(t)
	if _, err := e.Client.Wait(t.Context(), "seven"); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("a bad id gave %v", err)
	}
	if _, err := e.Client.Task(t.Context(), "seven"); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("a bad id gave %v", err)
	}
	if _, err := e.Client.Wait(t.Context(), uuid.NewString()); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an unknown task gave %v", err)
	}
	e.Stop() // so that nothing runs
	id := e.Create("echo", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := e.Client.Wait(ctx, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that took too long gave %v", err)
	}
	waits := make(chan error, 3)
	for range cap(waits) {
		go func() { _, err := e.Client.Wait(t.Context(), id); waits <- err }()
	}
	e.StartCombined(handlers)
	for range cap(waits) {
		if err := enginetest.Receive(t, waits); err != nil {
			t.Errorf("one of several waits gave %v", err)
		}
	}
}

// TestCloseEndsWaits closes a client that somebody waits on.
func TestCloseEndsWaits(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Stop()
	c, err := client.Open(t.Context(), e.Config.Common)
	if err != nil {
		t.Fatal(err)
	}
	id := e.Create("echo", nil)
	ended := make(chan error, 1)
	go func() { _, err := c.Wait(t.Context(), id); ended <- err }()
	e.Await(`select count(*) > 0 from pg_stat_activity where application_name like '%-client' and query like '%tasker.tasks%'`)
	c.Close()
	if err := enginetest.Receive(t, ended); err == nil || !strings.Contains(err.Error(), "the client is closed") {
		t.Errorf("the wait ended with %v", err)
	}
	if _, err := c.Wait(t.Context(), id); err == nil {
		t.Error("a closed client waits")
	}
}

// TestOpenRefuses says what is wrong with a database, and never the password.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	e := start(t)
	for name, url := range map[string]string{
		"nothing there": "postgresql://tasker:hunter2@127.0.0.1:1/tasker",
		"no database":   strings.Replace(e.Config.Common.Database.URL, "/tasker_test_", "/no_such_", 1),
		"no URL":        "postgresql://tasker:hunter2@[bad/tasker",
	} {
		cfg := e.Config.Common
		cfg.Database.URL = url
		_, err := client.Open(t.Context(), cfg)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestInputSchema: all that is wrong with all contexts is said at once, and
// nothing is created.
func TestInputSchema(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.Combined, Handlers: handlers,
		Templates: taskertest.YAML(`{name: echo, namespace: test, input_schema: {required: [n], properties: {n: {type: integer}}},
			steps: [{name: only, handler: {callable: echo}}]}`),
	})
	_, err := e.Client.CreateTasks(t.Context(), []client.Request{request(nil), request(map[string]int{"n": 1}), request(map[string]string{"n": "x"})})
	if !errors.Is(err, client.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"task 1: the context does not match the input_schema: missing property 'n'",
		"task 3: the context at /n does not match the input_schema: got string, want integer",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if first, ok := errors.AsType[*client.ContextError](err); !ok || first.Task != 0 || first.Pointer != "" {
		t.Errorf("the first problem is %+v", first)
	}
	if n := enginetest.Query[int](e, `select count(*) from tasker.tasks`); n != 0 {
		t.Errorf("%d tasks were created", n)
	}
	if task := e.Run("echo", map[string]int{"n": 1}); task.State != tasker.TaskComplete {
		t.Errorf("the task is %s", task.State)
	}
}
