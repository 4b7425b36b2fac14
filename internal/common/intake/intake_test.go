package intake

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// TestProblems looks at requests alone; all problems are reported.
func TestProblems(t *testing.T) {
	t.Parallel()
	name := postgres.TemplateName{Namespace: "test", Name: "a"}
	tests := []struct {
		name    string
		request Request
		want    []string
	}{
		{"no context", Request{Template: name}, nil},
		{"empty object", Request{Template: name, Context: json.RawMessage(" {}\n")}, nil},
		{"no namespace", Request{Template: postgres.TemplateName{Name: "a"}}, []string{"the template needs a namespace and a name"}},
		{
			"no name, no object",
			Request{Template: postgres.TemplateName{Namespace: "test"}, Context: json.RawMessage(`1`)},
			[]string{"the template needs a namespace and a name", "the context must be a JSON object"},
		},
		{"array", Request{Template: name, Context: json.RawMessage(`[{}]`)}, []string{"the context must be a JSON object"}},
		{"half", Request{Template: name, Context: json.RawMessage(`{"a":`)}, []string{"the context is not valid JSON"}},
		{"two", Request{Template: name, Context: json.RawMessage(`{} {}`)}, []string{"the context is not valid JSON"}},
		{"as large as may be", Request{Template: name, Context: object(MaxContext)}, nil},
		{"white space does not count", Request{Template: name, Context: json.RawMessage("\n" + string(object(MaxContext)))}, nil},
		{"too large", Request{Template: name, Context: object(MaxContext + 1)}, []string{"the context has 1048577 bytes; at most 1048576 are allowed"}},
	}
	for _, tt := range tests {
		if got := problemsOf(&tt.request); strings.Join(got, "; ") != strings.Join(tt.want, "; ") {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// object is a JSON object of so many bytes.
func object(size int) json.RawMessage {
	return json.RawMessage(`{"a":"` + strings.Repeat("x", size-8) + `"}`)
}

// TestAccept accepts tasks of two namespaces at once.
func TestAccept(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c := catalog.New(pool, messaging.NewNames(config.Queues{WorkerNamespace: "worker", NamingPattern: "{namespace}_{name}_queue"}), config.Test, config.TaskTemplates{})
	all, err := templates.LoadFS(taskertest.YAML(
		`{name: a, namespace: shop, steps: [{name: only, handler: {callable: work}}]}`,
		`{name: a, namespace: office, steps: [{name: one, handler: {callable: work}}, {name: two, handler: {callable: work}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Register(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	shop, office := postgres.TemplateName{Namespace: "shop", Name: "a"}, postgres.TemplateName{Namespace: "office", Name: "a"}
	correlation := uuid.New()
	accepted, err := Accept(t.Context(), pool, Door{Catalog: c}, []Request{
		{Template: shop}, {Template: office, CorrelationID: &correlation}, {Template: shop, Context: json.RawMessage(`{"n": 1}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(accepted.Namespaces, " "); len(accepted.IDs) != 3 || got != "shop office" {
		t.Errorf("%d tasks in %s", len(accepted.IDs), got)
	}
	for i, want := range []struct {
		namespace, context string
		steps              int
		correlation        *uuid.UUID
	}{{"shop", "{}", 1, nil}, {"office", "{}", 2, &correlation}, {"shop", `{"n": 1}`, 1, nil}} {
		task, err := postgres.FindTask(t.Context(), pool, accepted.IDs[i])
		if err != nil {
			t.Fatal(err)
		}
		same := (task.CorrelationID == nil) == (want.correlation == nil) && (want.correlation == nil || *task.CorrelationID == *want.correlation)
		if task.Namespace != want.namespace || string(task.Context) != want.context || task.Counts.Enqueued != want.steps || !same {
			t.Errorf("task %d is %+v, want %+v", i, task, want)
		}
	}
	if _, err := Accept(t.Context(), pool, Door{Catalog: c}, []Request{{Template: shop, Context: json.RawMessage(`{"n": "\u0000"}`)}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a context that PostgreSQL cannot store gave %v", err)
	}
}
