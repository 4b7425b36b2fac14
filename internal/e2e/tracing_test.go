package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/oteltest"
)

// TestOneTrace: a workflow of three steps, created over HTTP by somebody who
// traces and run by processes that share nothing but the database, is one trace:
// that of who created it. Processes that stop send what they still have.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	collector := oteltest.New(t)
	s := newSite(t, "", enginetest.Settings{
		"common.telemetry.enabled":                 "true",
		"common.telemetry.tracing.export_endpoint": fmt.Sprintf("%q", collector.URL),
	})
	orchestrator, worker := s.startOrchestrator(), s.startWorker(ownWorker)
	s.releaseAll()
	const trace, caller, correlation = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "019cd52a-21d4-7000-8000-000000000001"
	body := fmt.Sprintf(`{"name": "line", "namespace": %q, "correlation_id": %q}`, namespace, correlation)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+orchestrator.address("orchestration")+"/v1/tasks", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Traceparent", "00-"+trace+"-"+caller+"-01")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("status %d", response.StatusCode)
	}
	s.awaitEnd()
	worker.stop()
	orchestrator.stop()

	names := map[string]string{caller: "caller"} // of spans, by id
	for _, span := range collector.Spans() {
		names[span.ID] = span.Name + " " + span.Attributes["step_name"]
	}
	var got []string
	for _, span := range collector.Spans() {
		if span.Trace != trace {
			t.Errorf("%s is in the trace %s", span.Name, span.Trace)
		}
		if span.Failed || span.Attributes["task_uuid"] == "" {
			t.Errorf("%+v", span)
		}
		if span.Attributes["step_name"] != "" && span.Attributes["correlation_id"] != correlation {
			t.Errorf("%s has the correlation id %q", span.Name, span.Attributes["correlation_id"])
		}
		got = append(got, strings.Join(strings.Fields(names[span.Parent]+" > "+names[span.ID]), " "))
	}
	slices.Sort(got)
	want := []string{
		"caller > create_task_from_request",
		"create_task_from_request > worker.step_execution a",
		"create_task_from_request > worker.step_execution b",
		"create_task_from_request > worker.step_execution c",
		"process_step_result a > enqueue_ready_steps",
		"process_step_result b > enqueue_ready_steps",
		"process_step_result c > finalize_task",
		"worker.step_execution a > process_step_result a",
		"worker.step_execution b > process_step_result b",
		"worker.step_execution c > process_step_result c",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got the spans\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
