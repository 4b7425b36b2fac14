package web_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A stream is an open stream of events.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
}

// follow opens a stream, which must have the status.
func (s *server) follow(path, last string, status int) *stream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", last)
	response, err := s.http.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cancel(); response.Body.Close() })
	if response.StatusCode != status {
		s.t.Fatalf("%s: got %d, want %d", path, response.StatusCode, status)
	}
	if status < http.StatusBadRequest {
		if err := s.says.Check("GET", path, status, response.Header, nil); err != nil {
			s.t.Error(err)
		}
	}
	return &stream{s.t, bufio.NewScanner(response.Body)}
}

// next returns the next event; its name is empty at the end.
func (f *stream) next() (id, name, data string) {
	f.t.Helper()
	for f.lines.Scan() {
		key, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch key {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			return id, name, value
		}
	}
	return "", "", ""
}

func (f *stream) want(name, says string) (id string) {
	f.t.Helper()
	id, got, data := f.next()
	if got != name || !strings.Contains(data, says) {
		f.t.Fatalf("got %s %s, want %s with %s", got, data, name, says)
	}
	return id
}

// TestFollowTask hears of each change of a task, and of its end.
func TestFollowTask(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	id := s.create()
	path := "/v1/tasks/" + id.String() + "/events/stream"
	f := s.follow(path, "", http.StatusOK)
	first := f.want("task", `"status":"steps_in_process"`)
	s.exec(`update tasker.steps set state = 'in_progress', claim = 1 where task_id = $1 and ordinal = 1`, id)
	f.want("task", `"in_progress_steps":1`)
	s.exec(`update tasker.tasks set state = 'cancelled', finished_at = now() where task_id = $1`, id)
	last := f.want("task", `"status":"cancelled"`)
	f.want("end", "{}")
	if _, name, _ := f.next(); name != "" {
		t.Errorf("after the end comes %s", name)
	}
	s.follow(path, last, http.StatusNoContent)
	s.follow(path, first, http.StatusOK).want("task", `"status":"cancelled"`)
	s.follow("/v1/tasks/019a0000-0000-7000-8000-000000000000/events/stream", "", http.StatusNotFound)
}

// TestFollowSystem hears of what becomes of all tasks, and after a pause of what
// it missed.
func TestFollowSystem(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	f := s.follow("/v1/events/stream", "", http.StatusOK)
	f.want("ready", "{}")
	id := s.create()
	seen := f.want("task.created", id.String())
	s.exec(`update tasker.tasks set state = 'cancelled', finished_at = now() where task_id = $1`, id)
	f.want("task.changed", `"status":"cancelled"`)
	other := s.follow("/v1/events/stream?namespace=elsewhere", "", http.StatusOK)
	other.want("ready", "{}")

	again := s.follow("/v1/events/stream", seen, http.StatusOK)
	again.want("ready", "{}")
	again.want("task.changed", `"status":"cancelled"`)
	s.exec(`update tasker.change_watch set until = now() - interval '1 s'`) // nobody followed for long
	s.create()
	if _, _, err := postgres.WatchChanges(t.Context(), s.db, ""); err != nil {
		t.Fatal(err)
	}
	s.follow("/v1/events/stream", seen, http.StatusOK).want("reset", "{}")
	s.follow("/v1/events/stream", "nonsense", http.StatusOK).want("reset", "{}")
	s.stop() // does not wait for those that follow
	if _, name, _ := other.next(); name != "" {
		t.Errorf("who follows another namespace hears %s", name)
	}
}

// TestWaitOnCreate: who asks for it gets the task as it has ended.
func TestWaitOnCreate(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	got := s.ask("POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes"}`, "Prefer", "respond-async, wait=0")
	if got.status != http.StatusCreated || got.header.Get("Preference-Applied") != "" || strings.Contains(got.body, `"steps":[`) {
		t.Errorf("got %d, %v", got.status, got.header)
	}
	got = s.ask("POST", "/v1/tasks?wait=20ms", `{"name": "diamond", "namespace": "shapes"}`, "Idempotency-Key", "b")
	if got.status != http.StatusCreated || !strings.Contains(got.body, `"steps":[`) {
		t.Errorf("got %d, %s", got.status, got.body)
	}
	s.exec(`update tasker.tasks set state = 'cancelled', finished_at = now()`)
	got = s.ask("POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "idempotency_key": "b"}`, "Prefer", "wait=30")
	if got.status != http.StatusOK || got.header.Get("Preference-Applied") != "wait=30" || !strings.Contains(got.body, `"status":"cancelled"`) {
		t.Errorf("got %d, %v, %s", got.status, got.header, got.body)
	}
}
