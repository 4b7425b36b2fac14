package orchestration

import (
	"context"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// results are the spans of the results of one batch, each in the trace of its
// task and the child of the attempt that it comes from. A batch that merges the
// results of several tasks has a span of its own too, in a trace of its own, with
// links to them. Without traces all is nil and costs nothing.
type results struct {
	tracer *telemetry.Tracer
	began  time.Time
	spans  []resultSpan
	steps  map[postgres.StepRef]int // → place in spans
	tasks  map[uuid.UUID]int        // → place of one of its results
	batch  trace.Span               // nil: there is one task
}

// A resultSpan is the span in which a result is processed; ctx carries it.
type resultSpan struct {
	ctx  context.Context //nolint:containedctx // of the span, for those that begin below it
	span trace.Span
}

// A reported is what a span says of a result.
type reported struct {
	step        postgres.StepRef
	name        string
	correlation *uuid.UUID
	trace       string // empty: it is not traced
	failed      bool
}

func reportedOutcome(o *outcome.Outcome) reported {
	return reported{o.Step.StepRef, o.Step.Name, o.Step.Correlation, o.Trace, o.Failure != nil}
}

func reportedReport(r *postgres.StoredReport) reported {
	return reported{r.StepRef, r.Name, r.Correlation, r.Trace, r.Failed}
}

// traceResults begins the spans of the results of a batch.
func traceResults[T any](ctx context.Context, p *processor, namespace string, group []T, what func(*T) reported) *results {
	if p.tracer == nil {
		return nil
	}
	var r *results
	for i := range group {
		of := what(&group[i])
		if of.trace == "" {
			continue
		}
		if r == nil {
			r = &results{tracer: p.tracer, began: time.Now(), steps: map[postgres.StepRef]int{}, tasks: map[uuid.UUID]int{}}
		}
		r.add(ctx, namespace, of)
	}
	if r == nil || len(r.tasks) < 2 {
		return r
	}
	links := make([]trace.Link, 0, len(r.spans))
	for _, s := range r.spans {
		links = append(links, trace.Link{SpanContext: s.span.SpanContext()})
	}
	_, r.batch = r.tracer.Start(ctx, "apply_results", trace.WithNewRoot(), trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("namespace", namespace), attribute.Int("results", len(group)), attribute.Int("tasks", len(r.tasks))))
	return r
}

func (r *results) add(ctx context.Context, namespace string, of reported) {
	ctx, span := r.tracer.Start(telemetry.Carry(ctx, of.trace), "process_step_result", trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithTimestamp(r.began))
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.String("task_uuid", of.step.Task.String()), attribute.String("step_uuid", of.step.ID().String()),
		attribute.String("namespace", namespace), attribute.String("step_name", of.name), attribute.Bool("failed", of.failed),
	)
	if of.correlation != nil {
		span.SetAttributes(attribute.String("correlation_id", of.correlation.String()))
	}
	span.AddEvent("step_result.processing_started", trace.WithTimestamp(r.began))
	r.steps[of.step], r.tasks[of.step.Task] = len(r.spans), len(r.spans)
	r.spans = append(r.spans, resultSpan{ctx, span})
}

// decide begins the span of a result that brings other steps about.
func (r *results) decide(ctx context.Context, step postgres.StepRef, kind string) trace.Span {
	if r == nil {
		return trace.SpanFromContext(ctx)
	}
	i, traced := r.steps[step]
	if !traced {
		return trace.SpanFromContext(ctx)
	}
	_, span := r.tracer.Start(r.spans[i].ctx, "process_"+kind+"_outcome", trace.WithAttributes(
		attribute.String("task_uuid", step.Task.String()), attribute.String("step_uuid", step.ID().String())))
	span.AddEvent(kind + "_outcome.processing_started")
	return span
}

// end ends the spans: what the batch brought about has one each, which takes as
// long as the transaction did.
func (r *results) end(applied postgres.Applied, err error) {
	if r == nil {
		return
	}
	now := trace.WithTimestamp(time.Now())
	if err == nil {
		r.enqueued(applied, now)
		r.finalized(applied.Settled, now)
	}
	for _, s := range r.spans {
		if err != nil {
			s.span.SetStatus(codes.Error, "not applied; the result comes again")
		} else {
			s.span.AddEvent("step_result.processing_completed", now)
		}
		s.span.End(now)
	}
	if r.batch != nil {
		r.batch.End(now)
	}
}

// enqueued adds a span for each task of which steps became ready.
func (r *results) enqueued(applied postgres.Applied, now trace.SpanEndOption) {
	ready := map[uuid.UUID][]string{}
	for _, s := range applied.Waiting {
		ready[s.Task] = append(ready[s.Task], s.ID().String())
	}
	for i := range applied.HandedOff {
		s := &applied.HandedOff[i]
		ready[s.Task] = append(ready[s.Task], s.StepRef.ID().String())
	}
	for task, steps := range ready {
		r.below(task, "enqueue_ready_steps", now, attribute.StringSlice("step_uuids", steps))
	}
}

// finalized adds a span for each task that came to rest.
func (r *results) finalized(settled []postgres.SettledTask, now trace.SpanEndOption) {
	for _, t := range settled {
		switch t.State { //nolint:exhaustive // in the others it goes on
		case tasker.TaskComplete, tasker.TaskError, tasker.TaskBlockedByFailures:
			r.below(t.Task, "finalize_task", now, attribute.String("state", string(t.State)))
		}
	}
}

// below adds a span of the whole transaction below that of a result of a task.
func (r *results) below(task uuid.UUID, name string, now trace.SpanEndOption, attributes ...attribute.KeyValue) {
	i, traced := r.tasks[task]
	if !traced {
		return
	}
	_, span := r.tracer.Start(r.spans[i].ctx, name, trace.WithTimestamp(r.began), trace.WithAttributes(attributes...),
		trace.WithAttributes(attribute.String("task_uuid", task.String())))
	span.End(now)
}

// endDecision ends the span of a result that has brought so many steps about, or
// could not be carried out.
func endDecision(span trace.Span, kind string, steps int, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		span.AddEvent(kind + "_outcome.processing_failed")
	} else {
		span.AddEvent(kind+"_outcome.processing_completed", trace.WithAttributes(attribute.Int("steps", steps)))
	}
	span.End()
}

// kindOf says in the names of spans what a result does.
func kindOf(d decision) string {
	if definition, _, ok := d.entry.Step(d.step.Defined()); ok && definition.Type == templates.StepBatchable {
		return "batch"
	}
	return "decision"
}
