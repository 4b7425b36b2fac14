package intake

import (
	"context"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// creations are the spans in which the tasks of a call are created.
type creations struct {
	ids    []uuid.UUID
	stored []string     // with each task; nil: nobody traces
	spans  []trace.Span // of those that are kept, by task; nil: none is
}

// trace begins a span for each task.
func (d Door) trace(ctx context.Context, accepted *Accepted, requests []Request, entries []*catalog.Entry) creations {
	if d.Tracer == nil {
		return creations{}
	}
	c := creations{ids: accepted.IDs, stored: make([]string, len(requests))}
	for i, id := range accepted.IDs {
		var span trace.Span
		r := &requests[i]
		c.stored[i], span = d.Tracer.Create(telemetry.Carry(ctx, r.Trace), id, len(requests) > 1 && r.Trace == "")
		if !span.IsRecording() {
			continue
		}
		template := entries[i].Template
		span.SetAttributes(
			attribute.String("task_uuid", id.String()), attribute.String("namespace", template.Namespace),
			attribute.String("template", template.Name), attribute.Int("steps", len(entries[i].Initial)),
		)
		if r.CorrelationID != nil {
			span.SetAttributes(attribute.String("correlation_id", r.CorrelationID.String()))
		}
		if c.spans == nil {
			c.spans = make([]trace.Span, len(requests))
		}
		c.spans[i] = span
	}
	return c
}

// end ends the spans: err says why no task was created, existing which ones were
// there already.
func (c *creations) end(existing map[uuid.UUID]uuid.UUID, err error) {
	for i, span := range c.spans {
		if span == nil {
			continue
		}
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		} else if instead, there := existing[c.ids[i]]; there {
			span.AddEvent("task.exists", trace.WithAttributes(attribute.String("task_uuid", instead.String())))
		}
		span.End()
	}
}
