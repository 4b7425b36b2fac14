package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/web"
)

const sized = `
name: sized
namespace: shapes
input_schema:
  type: object
  required: [size]
  properties:
    size: {type: integer, minimum: 1}
    parts: {type: array, items: {type: string, maxLength: 3}}
steps: [{name: only, handler: {callable: work}}]`

// TestInputSchema sends contexts that the template does not allow: nothing is
// created, and all that is wrong is pointed at.
func TestInputSchema(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	register(t, s.deps.Catalog, sized)
	task := func(context string) string {
		return fmt.Sprintf(`{"name": "sized", "namespace": "shapes", "context": %s}`, context)
	}
	for _, tt := range []struct {
		name, path, body, detail string
		want                     []web.Detail // their messages by what they say
	}{
		{
			"one", "/v1/tasks", task(`{"size": 0}`), "the context at /size does not match the input_schema: minimum: got 0, want 1",
			[]web.Detail{{Location: "body.context", Pointer: "/size", Message: "got 0, want 1"}},
		},
		{
			"no context", "/v1/tasks", `{"name": "sized", "namespace": "shapes"}`, "missing property 'size'",
			[]web.Detail{{Location: "body.context", Message: "the context does not match the input_schema: missing property 'size'"}},
		},
		{
			"several", "/v1/tasks", task(`{"size": "x", "parts": ["long", "ok", 5]}`), "the request has 3 problems",
			[]web.Detail{
				{Location: "body.context", Pointer: "/parts/0", Message: "maxLength"},
				{Location: "body.context", Pointer: "/parts/2", Message: "got number, want string"},
				{Location: "body.context", Pointer: "/size", Message: "got string, want integer"},
			},
		},
		{
			"in a batch", "/v1/tasks/batch", `{"tasks": [` + task(`{"size": 1}`) + `,` + task(`{"size": 1.5}`) + `]}`, "task 2",
			[]web.Detail{{Location: "body.tasks[1].context", Pointer: "/size", Message: "got number, want integer"}},
		},
	} {
		got := s.ask("POST", tt.path, tt.body)
		p := read[web.Problem](s, got, http.StatusBadRequest)
		if p.Code != web.BadRequest || !strings.Contains(p.Detail, tt.detail) || len(p.Errors) != len(tt.want) {
			t.Errorf("%s: got %s", tt.name, got.body)
			continue
		}
		for i, want := range tt.want {
			if e := p.Errors[i]; e.Location != want.Location || e.Pointer != want.Pointer || !strings.Contains(e.Message, want.Message) {
				t.Errorf("%s: got %+v, want %+v", tt.name, e, want)
			}
		}
	}
	if n := s.tasks(); n != 0 {
		t.Errorf("%d tasks were created", n)
	}
	if got := s.ask("POST", "/v1/tasks", task(`{"size": 1, "parts": ["a"]}`)); got.status != http.StatusCreated {
		t.Errorf("got %d, %s", got.status, got.body)
	}
}
