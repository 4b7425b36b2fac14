package worker

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// An execution is the span of an attempt at a step, which its handler finds in
// its context.
type execution struct {
	span    trace.Span
	carried string // to whoever applies the outcome; empty: the span is not kept
}

func (r *runner) trace(ctx context.Context, entry *catalog.Entry, claimed *postgres.ClaimedStep) (context.Context, execution) {
	ctx = r.sys.Tracer.Task(ctx, claimed.Task, claimed.Trace)
	ctx, span := r.sys.Tracer.Start(ctx, "worker.step_execution", trace.WithSpanKind(trace.SpanKindConsumer))
	if !span.IsRecording() {
		return ctx, execution{span: span}
	}
	span.SetAttributes(
		attribute.String("task_uuid", claimed.Task.String()), attribute.String("step_uuid", claimed.StepRef.ID().String()),
		attribute.String("namespace", entry.Template.Namespace), attribute.String("template", entry.Template.Name),
		attribute.String("step_name", claimed.Name), attribute.Int("attempt", int(claimed.Attempt)),
	)
	if claimed.Correlation != nil {
		span.SetAttributes(attribute.String("correlation_id", claimed.Correlation.String()))
	}
	span.AddEvent("step.execution_started")
	return ctx, execution{span, telemetry.CarriedSampled(ctx)}
}

// end ends the span of an attempt that has failed, or has not.
func (e execution) end(failure *outcome.Failure) {
	if !e.span.IsRecording() {
		return
	}
	if failure != nil {
		e.span.SetStatus(codes.Error, failure.Kind)
		e.span.AddEvent("step.execution_failed", trace.WithAttributes(
			attribute.String("kind", failure.Kind), attribute.String("message", failure.Message), attribute.Bool("permanent", failure.Permanent)))
	} else {
		e.span.AddEvent("step.execution_completed")
	}
	e.span.End()
}
