package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/describe"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

// TestReading looks at one task, which failed at its second step, by every route
// that tells of it.
func TestReading(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := s.ask("POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "context": {"n": 7}, "tags": ["a", "b"], "initiator": "ann"}`)
	id := read[web.Task](s, a, http.StatusCreated).ID
	s.create() // another
	s.exec(`update tasker.steps set state = 'complete', attempt = 1, claim = 1, enqueued_at = now() - interval '5 s', started_at = now() - interval '3 s',
		finished_at = now() - interval '1 s', result = '{"secret": 1}' where task_id = $1 and ordinal = 1`, id)
	s.exec(`update tasker.steps set state = 'error', attempt = 2, claim = 2, started_at = now(), finished_at = now(), error = '{"kind": "handler_error"}'
		where task_id = $1 and ordinal = 2`, id)
	s.exec(`insert into tasker.step_attempts (task_id, ordinal, claim, attempt, started_at, finished_at, error)
		select $1, 2, n, 1, now() - interval '4 s', now() - interval '2 s', '{"kind": "handler_error"}' from generate_series(1, 2) n`, id)
	s.exec(`update tasker.tasks set state = 'blocked_by_failures' where task_id = $1`, id)
	step := "/v1/tasks/" + id.String() + "/workflow_steps/left"
	s.ask("PATCH", step, `{"action_type": "resolve_manually", "reason": "by phone", "resolved_by": "bob"}`)

	if got := s.ask("GET", "/v1/tasks/"+id.String()+"/context", ""); got.body != `{"task_uuid":"`+id.String()+`","context":{"n":7}}`+"\n" {
		t.Errorf("context: got %s", got.body)
	}
	summary := s.ask("GET", "/v1/tasks/"+id.String()+"/summary", "")
	for _, want := range []string{`"duration_seconds":2`, `"template":"/v1/templates/shapes/diamond/1.2.0"`, `"initiator":"ann"`} {
		if !strings.Contains(summary.body, want) || strings.Contains(summary.body, "secret") {
			t.Errorf("summary: %s does not say %s, or says too much", summary.body, want)
		}
	}
	audit := read[[]web.StepAudit](s, s.ask("GET", step+"/audit", ""), http.StatusOK)
	if len(audit) != 3 || *audit[0].Success || *audit[0].Millis != 2000 || audit[2].Kind != "step.resolved_manually" || *audit[2].Actor != "bob" {
		t.Errorf("audit: got %+v", audit)
	}

	versions := read[struct{ Versions []web.TemplateVersion }](s, s.ask("GET", "/v1/templates/shapes/diamond", ""), http.StatusOK)
	if len(versions.Versions) != 1 || versions.Versions[0].Version != "1.2.0" || !versions.Versions[0].Current {
		t.Errorf("versions: got %+v", versions)
	}
	detail := read[describe.Template](s, s.ask("GET", "/v1/templates/shapes/diamond/1.2.0", ""), http.StatusOK)
	if len(detail.Steps) != 4 || detail.Steps[3].Handler != "h" || len(detail.Steps[3].Dependencies) != 2 || detail.Digest == "" {
		t.Errorf("template: got %+v", detail)
	}
	handlers := read[struct{ Handlers []web.HandlerUse }](s, s.ask("GET", "/v1/handlers?namespace=shapes", ""), http.StatusOK)
	if len(handlers.Handlers) != 8 { // of two templates
		t.Errorf("handlers: got %+v", handlers)
	}

	performance := read[web.Performance](s, s.ask("GET", "/v1/analytics/performance?hours=1", ""), http.StatusOK)
	if p := performance; p.Tasks != 2 || p.Steps != 8 || p.StepsDone != 1 || *p.StepTime.Mean != 2 || *p.StepWait.Mean != 2 {
		t.Errorf("performance: got %+v", p)
	}
	slow := read[web.Bottlenecks](s, s.ask("GET", "/v1/analytics/bottlenecks?min_executions=1", ""), http.StatusOK)
	if len(slow.Steps) == 0 || slow.Steps[0].Step != "start" || slow.Steps[0].Mean != 2 || slow.Utilization.Waiting == 0 || len(slow.Recommendations) == 0 {
		t.Errorf("bottlenecks: got %+v", slow)
	}
}

// TestSearch tries each parameter of a search on its own: it finds the one task
// of three that it describes.
func TestSearch(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	const correlation = "019a0000-0000-7000-8000-000000000001"
	one := read[web.Task](s, s.ask("POST", "/v1/tasks", `{"name": "diamond", "namespace": "shapes", "context": {"order": {"total": 120, "lines": [{"sku": "x"}]}},
		"tags": ["red", "big"], "initiator": "ann", "source_system": "shop", "correlation_id": "`+correlation+`", "parent_correlation_id": "`+correlation+`"}`),
		http.StatusCreated).ID
	s.ask("POST", "/v1/tasks/batch", `{"tasks": [{"name": "other", "namespace": "shapes", "context": {"order": {"total": 20, "lines": []}}, "tags": ["red"]},
		{"name": "other", "namespace": "shapes", "context": {"order": "none"}}]}`)
	s.exec(`update tasker.tasks set state = 'complete', finished_at = '2026-01-02Z', created_at = '2026-01-01Z' where task_id = $1`, one)
	s.exec(`update tasker.tasks set task_id = overlay(task_id::text placing '019b76da-a800' from 1)::uuid where task_id = $1`, one) // 2026-01-01
	for _, query := range []string{
		"name=diamond", "version=1.2.0", "state=complete", "state=error,complete", "tags=big", "tags=red,big", "correlation_id=" + correlation,
		"parent_correlation_id=" + correlation, "initiator=ann", "source_system=shop", "created_before=2026-01-02T00:00:00Z",
		"created_after=2025-12-31T23:00:00Z&created_before=2026-01-01T00:00:01Z", "completed_after=2026-01-02T00:00:00Z", "completed_before=2026-02-01T00:00:00Z",
		"context=$.order.total%20>%20100", "context=$.order.lines[*]%20?%20(@.sku%20==%20%22x%22)", "context=$.order.lines.size()%20>%200&name=diamond",
	} {
		got := read[struct{ Tasks []web.TaskSummary }](s, s.ask("GET", "/v1/tasks?"+query, ""), http.StatusOK)
		if len(got.Tasks) != 1 || got.Tasks[0].Name != "diamond" {
			t.Errorf("%s finds %+v", query, got.Tasks)
		}
	}
	for query, says := range map[string]string{
		"context=$.": "query.context",
		"context='%3Bdrop%20table%20tasker.tasks":      "query.context",
		"created_after=yesterday":                      "query.created_after",
		"state=complete,done":                          "query.state",
		"correlation_id=x":                             "query.correlation_id",
		"tags=" + strings.Repeat("x,", 20) + "x":       "query.tags",
		"context=" + strings.Repeat("(", 1000) + "%20": "query.context",
	} {
		if got := s.ask("GET", "/v1/tasks?"+query, ""); got.status != http.StatusBadRequest || !strings.Contains(got.body, says) {
			t.Errorf("%s: got %d, %s", query, got.status, got.body)
		}
	}
}
