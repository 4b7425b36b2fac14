package web_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/web"
	orchestration "github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

// TestDuplicates asks for the same task again, in every way there is.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	named := `{name: named, namespace: shapes, identity_strategy: caller_provided, steps: [{name: only, handler: {callable: work}}]}`
	register(t, s.deps.Catalog, named)
	task := func(name, rest string) string {
		return fmt.Sprintf(`{"name": %q, "namespace": "shapes"%s}`, name, rest)
	}
	create := func(body string, headers ...string) answer { return s.ask("POST", "/v1/tasks", body, headers...) }
	id := func(a answer, status int) string {
		t.Helper()
		created := read[orchestration.Task](s, a, status)
		if want := "/v1/tasks/" + created.ID.String(); a.header.Get("Location") != want {
			t.Errorf("Location is %q, want %q", a.header.Get("Location"), want)
		}
		return created.ID.String()
	}

	first := id(create(task("diamond", `, "context": {"a": 1, "b": [2.0]}`)), http.StatusCreated)
	again := create(task("diamond", `, "context": {"b": [2], "a": 1e0}`))
	p := read[web.Problem](s, again, http.StatusConflict)
	if p.Code != web.DuplicateTask || p.ExistingTask != first || again.header.Get("Location") != "/v1/tasks/"+first || !strings.Contains(p.Detail, first) {
		t.Errorf("got %s, Location %s", again.body, again.header.Get("Location"))
	}
	for _, different := range []string{
		task("diamond", `, "context": {"b": [2], "a": 2}`), task("other", `, "context": {"a": 1, "b": [2]}`),
		task("diamond", `, "context": {"a": 1, "b": [2]}, "idempotency_key": "again"`),
	} {
		if got := id(create(different), http.StatusCreated); got == first {
			t.Errorf("%s is the same as the first", different)
		}
	}

	withKey := id(create(task("named", `, "idempotency_key": "order 7"`)), http.StatusCreated)
	for what, got := range map[string]answer{
		"body":   create(task("named", `, "idempotency_key": "order 7"`)),
		"header": create(task("named", `, "context": {"a": 1}`), "Idempotency-Key", "order 7"),
		"both":   create(task("named", `, "idempotency_key": "order 7"`), "Idempotency-Key", "order 7"),
	} {
		if same := id(got, http.StatusOK); same != withKey {
			t.Errorf("%s: got task %s, want %s", what, same, withKey)
		}
	}
	for what, got := range map[string]answer{
		"needs an idempotency key": create(task("named", "")),
		"body.idempotency_key":     create(task("named", `, "idempotency_key": "a"`), "Idempotency-Key", "b"),
		"header.Idempotency-Key":   create(task("named", ""), "Idempotency-Key", strings.Repeat("x", 501)),
	} {
		if got.status != http.StatusBadRequest || !strings.Contains(got.body, what) {
			t.Errorf("got %d, %s; want %s", got.status, got.body, what)
		}
	}

	before := s.tasks()
	batch := read[struct {
		IDs        []uuid.UUID `json:"task_uuids"`
		Duplicates []int       `json:"duplicates"`
	}](s, s.ask("POST", "/v1/tasks/batch", `{"tasks": [`+strings.Join([]string{
		task("diamond", `, "context": {"n": 1}`), task("diamond", `, "context": {"a": 1, "b": [2]}`),
		task("named", `, "idempotency_key": "order 7"`), task("diamond", `, "context": {"n": 1}`),
	}, ",")+`]}`), http.StatusCreated)
	if !slices.Equal(batch.Duplicates, []int{1, 2, 3}) || batch.IDs[1].String() != first || batch.IDs[2].String() != withKey || batch.IDs[3] != batch.IDs[0] {
		t.Errorf("got %+v", batch)
	}
	if n := s.tasks() - before; n != 1 {
		t.Errorf("%d tasks were created, want 1", n)
	}
}
