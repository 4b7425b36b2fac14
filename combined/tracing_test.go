package combined_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/trace"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/oteltest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

const tracedTemplates = `
name: choosing
namespace: test
steps:
  - {name: decide, type: decision, handler: {callable: decide}}
  - {name: left, handler: {callable: fails_once}, dependencies: [decide], retry: {max_attempts: 2, backoff: none}}
  - {name: right, handler: {callable: ok}, dependencies: [decide]}
---
name: joining
namespace: test
steps:
  - {name: a, handler: {callable: ok}}
  - {name: b, handler: {callable: ok}}
  - {name: c, handler: {callable: ok}, dependencies: [a, b]}
---
name: failing
namespace: test
steps:
  - {name: a, handler: {callable: fails}, retry: {max_attempts: 1}}`

// seen are the span contexts that handlers found, by the ids of their steps.
type seen struct {
	mu    sync.Mutex
	spans map[string][]trace.SpanContext
}

func (s *seen) note(ctx context.Context, step *tasker.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans[step.ID] = append(s.spans[step.ID], trace.SpanContextFromContext(ctx))
}

func (s *seen) handlers() enginetest.Handlers {
	return enginetest.Handlers{
		"ok": func(ctx context.Context, step *tasker.Step) (any, error) { s.note(ctx, step); return nil, nil },
		"decide": func(ctx context.Context, step *tasker.Step) (any, error) {
			s.note(ctx, step)
			return json.RawMessage(`{"decision_point_outcome": {"type": "create_steps", "step_names": ["left"]}}`), nil
		},
		"fails_once": func(ctx context.Context, step *tasker.Step) (any, error) {
			s.note(ctx, step)
			if step.Attempt == 1 {
				return nil, errors.New("once")
			}
			return nil, nil
		},
		"fails": func(ctx context.Context, step *tasker.Step) (any, error) {
			s.note(ctx, step)
			return nil, tasker.Permanent(errors.New("for good"))
		},
	}
}

func splitTemplates() []string { return strings.Split(tracedTemplates, "---\n") }

// TestTraces: whatever becomes of a task that nobody traces who creates it, its
// spans are one trace; handlers find the span of their attempt in their context.
func TestTraces(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		collector := oteltest.New(t)
		s := &seen{spans: map[string][]trace.SpanContext{}}
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(splitTemplates()...), Handlers: s.handlers(),
			Settings: enginetest.Settings{
				"common.telemetry.enabled": "true", "common.telemetry.tracing.export_endpoint": fmt.Sprintf("%q", collector.URL),
			},
		})
		var ids []string
		for range 20 {
			ids = append(ids, e.Create("choosing", nil), e.Create("joining", nil), e.Create("failing", nil))
		}
		for _, id := range ids {
			e.Wait(id)
		}
		if n := enginetest.Query[int](e, `select count(*) from tasker.tasks where trace_context is not null`); n != 0 {
			t.Errorf("the span contexts of %d tasks are stored, which nobody has created a span for", n)
		}
		e.Stop()
		byTask := map[string][]oteltest.Span{}
		for _, span := range collector.Spans() {
			if span.Name != "apply_results" {
				byTask[span.Attributes["task_uuid"]] = append(byTask[span.Attributes["task_uuid"]], span)
			}
		}
		wantSpans(t, byTask[ids[0]], "enqueue_ready_steps", "finalize_task", "process_decision_outcome", "process_step_result",
			"process_step_result", "process_step_result", "worker.step_execution", "worker.step_execution", "worker.step_execution")
		wantSpans(t, byTask[ids[2]], "finalize_task", "process_step_result", "worker.step_execution")
		traces := map[string]bool{}
		for _, id := range ids {
			for _, span := range byTask[id] {
				traces[span.Trace] = true
				if span.Trace != byTask[id][0].Trace {
					t.Fatalf("task %s has spans of several traces: %+v", id, byTask[id])
				}
				if span.Name == "worker.step_execution" && !slices.ContainsFunc(s.spans[span.Attributes["step_uuid"]], func(c trace.SpanContext) bool {
					return c.SpanID().String() == span.ID && c.TraceID().String() == span.Trace
				}) {
					t.Errorf("no handler has seen the span %+v", span)
				}
			}
		}
		if len(traces) != len(ids) {
			t.Errorf("%d tasks have %d traces", len(ids), len(traces))
		}
		results := map[string]bool{}
		for _, result := range collector.Named("process_step_result") {
			results[result.ID] = true
		}
		for _, batch := range collector.Named("apply_results") {
			if len(batch.Links) < 2 || !results[batch.Links[0]] || traces[batch.Trace] {
				t.Errorf("%+v", batch)
			}
		}
		for _, step := range collector.Named("worker.step_execution") {
			if failed := slices.Contains(step.Events, "step.execution_failed"); failed != step.Failed || failed == slices.Contains(step.Events, "step.execution_completed") {
				t.Errorf("%+v", step)
			}
		}
	})
}

func wantSpans(t *testing.T, spans []oteltest.Span, want ...string) {
	t.Helper()
	var names []string
	for _, s := range spans {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

// TestTraceOfTheCaller: a task that the client creates belongs to the trace in the
// context of the call, also where no span is exported; without traces nothing is
// stored.
func TestTraceOfTheCaller(t *testing.T) {
	t.Parallel()
	caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 2}, SpanID: trace.SpanID{3}, TraceFlags: trace.FlagsSampled})
	for _, on := range []bool{true, false} {
		enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
			s := &seen{spans: map[string][]trace.SpanContext{}}
			e := enginetest.Start(t, enginetest.Options{
				Deployment: d, Templates: taskertest.YAML(splitTemplates()...), Handlers: s.handlers(),
				Settings: enginetest.Settings{"common.telemetry.enabled": fmt.Sprint(on)},
			})
			id, err := e.Client.CreateTask(trace.ContextWithSpanContext(t.Context(), caller), client.Request{Namespace: enginetest.Namespace, Template: "joining"})
			if err != nil {
				t.Fatal(err)
			}
			e.Wait(id)
			for step, all := range s.spans {
				if found := all[0]; found.IsValid() != on || on && (found.TraceID() != caller.TraceID() || found.SpanID() != caller.SpanID()) {
					t.Errorf("step %s found %v", step, found)
				}
			}
			if stored := enginetest.Query[bool](e, `select trace_context is not null from tasker.tasks`); stored != on {
				t.Errorf("a span context is stored: %t, want %t", stored, on)
			}
		})
	}
}
