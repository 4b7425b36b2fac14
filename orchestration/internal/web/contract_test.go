package web_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/contract"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

// promised is the OpenAPI document, to which the answers of all tests are held.
var promised = sync.OnceValue(func() *contract.Contract {
	document, err := web.API().OpenAPI()
	if err != nil {
		panic(err)
	}
	c, err := contract.New(document)
	if err != nil {
		panic(err)
	}
	return c
})

// held runs the tests and then asks, unless only some of them ran, whether each
// route has succeeded in one.
type held struct{ *testing.M }

func (h held) Run() int {
	code := h.M.Run()
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz", "test.bench"} {
		if flag.Lookup(name).Value.String() != "" {
			return code
		}
	}
	if unseen := promised().Unseen(); len(unseen) > 0 {
		fmt.Fprintln(os.Stderr, "no test has seen these routes succeed:", strings.Join(unseen, ", "))
		return 1
	}
	return code
}

// TestEveryRouteRefuses asks each route for something that is not there, and in
// ways that nobody may: its answers are problems that the document knows.
func TestEveryRouteRefuses(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for _, o := range promised().Operations() {
		var segments []string
		named := false
		for part := range strings.SplitSeq(o.Path, "/") {
			switch name := strings.Trim(part, "{}"); {
			case name == part:
			case strings.HasSuffix(name, "_uuid"):
				part, named = "019a0000-0000-7000-8000-000000000000", true
			default:
				part, named = "nothing", true
			}
			segments = append(segments, part)
		}
		path := strings.Join(segments, "/")
		ask := func(what, path, body string, want int, headers ...string) {
			got := s.ask(o.Method, path, body, headers...)
			if got.status != want || got.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s, %s: got %d, %s; want %d", o.Method, path, what, got.status, got.body, want)
			}
		}
		ask("a parameter that it does not have", path+"?nothing=1", "", http.StatusBadRequest)
		if strings.Contains(o.Path, "_uuid}") {
			ask("no id", strings.ReplaceAll(path, "019a0000", "x"), "", http.StatusBadRequest)
		}
		if o.Body != nil {
			ask("half a body", path, `{"a`, http.StatusBadRequest)
			ask("a key twice", path, `{"reason": "a", "reason": "b"}`, http.StatusBadRequest)
			ask("not JSON", path, `<a/>`, http.StatusUnsupportedMediaType, "Content-Type", "text/xml")
		} else if named && o.Method == http.MethodGet {
			ask("what is not there", path, "", http.StatusNotFound)
		}
	}
}

// TestOthersSucceed asks the routes that no other test here sees succeed.
func TestOthersSucceed(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	register(t, s.deps.Catalog, "name: asks\nnamespace_name: shapes\nversion: 1.0.0\nsteps: [{name: wait, type: wait_for_signal, signal: go}]")
	created := read[web.Task](s, s.ask("POST", "/v1/tasks", `{"name": "asks", "namespace": "shapes"}`), http.StatusCreated)
	task := "/v1/tasks/" + created.ID.String()
	waiting := read[struct{ Waiting []web.WaitingStep }](s, s.ask("GET", task+"/signals", ""), http.StatusOK)
	if len(waiting.Waiting) != 1 || waiting.Waiting[0].Signal != "go" {
		t.Errorf("got %+v", waiting)
	}
	if got := s.ask("POST", task+"/signals/go", `{"payload": {"by": "ann"}}`); got.status != http.StatusAccepted || !strings.Contains(got.body, `"received":true`) {
		t.Errorf("got %d, %s", got.status, got.body)
	}
	entry := read[web.DLQEntry](s, s.ask("POST", "/v1/dlq", `{"task_uuid": "`+created.ID.String()+`"}`), http.StatusCreated)
	if got := read[web.DLQEntry](s, s.ask("GET", "/v1/dlq/entry/"+entry.ID.String(), ""), http.StatusOK); got.TaskID != created.ID {
		t.Errorf("got %+v", got)
	}
	if got := s.ask("GET", "/config", ""); got.status != http.StatusOK || !strings.Contains(got.body, `"environment":"test"`) {
		t.Errorf("got %d, %.200s", got.status, got.body)
	}
}
