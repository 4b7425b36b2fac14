package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tasker-systems/tasker-go/config"
)

// scope names what measures and traces.
const scope = "github.com/tasker-systems/tasker-go"

// A Tracer makes the spans of a process and carries them along with tasks: each
// task has one trace, whoever creates it, runs its steps and applies the results.
//
// A nil *Tracer, which is what a process has whose traces are off, makes no span
// and carries nothing. Without an endpoint no span is made either, but the context
// that a caller brings along is carried to the handlers, which may trace.
type Tracer struct {
	tracer   trace.Tracer             // nil: no spans
	provider *sdktrace.TracerProvider // nil: no spans
	uploader *uploader
}

// NewTracer returns the tracer of a process, nil if the configuration turns
// traces off. Close it at the end of the process.
func NewTracer(ctx context.Context, cfg config.Telemetry, p Process, log *slog.Logger) (*Tracer, error) {
	if t := Passing(cfg); t == nil || cfg.Tracing.ExportEndpoint == "" {
		return t, nil
	}
	up := newUploader(cfg.Tracing.ExportEndpoint, "traces", log)
	exporter, err := otlptrace.New(ctx, traceClient{up})
	if err != nil {
		return nil, fmt.Errorf("set up traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(spanQueue), sdktrace.WithMaxExportBatchSize(spanBatch)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(cfg.Tracing.SamplingRate)))),
		sdktrace.WithIDGenerator(ids{}), sdktrace.WithResource(p.resource()),
	)
	return &Tracer{tracer: provider.Tracer(scope), provider: provider, uploader: up}, nil
}

// Passing returns a tracer that makes no spans and carries the contexts of others
// along, nil if the configuration turns traces off.
func Passing(cfg config.Telemetry) *Tracer {
	if !cfg.Enabled || !cfg.Tracing.Enabled {
		return nil
	}
	return &Tracer{}
}

const (
	spanQueue = 32 << 10 // spans that wait to be sent; those beyond are dropped
	spanBatch = 2 << 10
)

// Close sends the spans that wait, for no longer than a few seconds.
func (t *Tracer) Close() {
	if t == nil || t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what is not sent is lost, as ever
	t.uploader.close()
}

// traceClient is how the exporter of spans sends them.
type traceClient struct{ up *uploader }

func (traceClient) Start(context.Context) error { return nil }
func (traceClient) Stop(context.Context) error  { return nil }

func (c traceClient) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	c.up.send(ctx, &tracepb.TracesData{ResourceSpans: spans})
	return nil
}

// Start begins a span, which the caller ends. Without spans ctx stays as it is.
func (t *Tracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t == nil || t.tracer == nil {
		return ctx, noop.Span{}
	}
	return t.tracer.Start(ctx, name, options...) //nolint:spancheck // the caller ends it
}

// Create begins the span in which a task is created, and says what to store with
// the task for [Tracer.Task]: empty where that need not be told. The only task of
// a call belongs to the trace of the caller, if there is one; of many each has a
// trace of its own, linked to the caller's.
func (t *Tracer) Create(ctx context.Context, task [16]byte, many bool) (stored string, span trace.Span) {
	if t == nil {
		return "", noop.Span{}
	}
	if t.tracer == nil {
		return Carried(ctx), noop.Span{}
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)}
	caller := trace.SpanContextFromContext(ctx)
	root := many || !caller.IsValid()
	if root {
		ctx = context.WithValue(ctx, traceOf{}, traceID(task))
		options = append(options, trace.WithNewRoot())
		if caller.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: caller}))
		}
	}
	ctx, span = t.tracer.Start(ctx, "create_task_from_request", options...)
	if root && !span.IsRecording() {
		return "", span // so will be the others of the trace, by its id
	}
	return Carried(ctx), span
}

// Task puts the span context that is stored with a task into ctx. A task that has
// none still has one trace: its spans have no parent, and the id of the trace
// follows from that of the task.
func (t *Tracer) Task(ctx context.Context, task [16]byte, stored string) context.Context {
	switch {
	case t == nil:
		return ctx
	case stored != "":
		return Carry(ctx, stored)
	case t.tracer == nil:
		return ctx
	}
	return context.WithValue(ctx, traceOf{}, traceID(task))
}

type traceOf struct{} // key of a context: the id of the trace that a span without a parent begins

// ids makes ids of spans and traces, those of tasks as said in the context.
type ids struct{}

// NewIDs implements [sdktrace.IDGenerator].
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, ok := ctx.Value(traceOf{}).(trace.TraceID)
	for !ok || !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // an id is no secret
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // an id is no secret
		ok = true
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements [sdktrace.IDGenerator].
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64()) //nolint:gosec // an id is no secret
	}
	return id
}

// traceID is the id of the trace that a task begins. The sampler goes by its last
// eight bytes, which those of a task's own id are not random enough for.
func traceID(task [16]byte) (id trace.TraceID) {
	sum := sha256.Sum256(task[:])
	copy(id[:], sum[:])
	return id
}

// Carried is the span context of ctx as it is stored: a traceparent as the W3C
// writes it and, after a space, the tracestate if there is one. Empty: there is
// none.
func Carried(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	header := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, header)
	carried := header["traceparent"]
	if state := header["tracestate"]; state != "" && len(state) <= mostState {
		carried += " " + state
	}
	return carried
}

// mostState is the longest tracestate that is carried, as the W3C has it.
const mostState = 512

// CarriedSampled is [Carried] for spans that are kept; empty for the others.
func CarriedSampled(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	return Carried(ctx)
}

// Carry puts what [Carried] has returned into ctx. What it cannot read changes
// nothing.
func Carry(ctx context.Context, stored string) context.Context {
	if stored == "" {
		return ctx
	}
	parent, state, _ := strings.Cut(stored, " ")
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent, "tracestate": state})
}

// FromHeader puts the span context that a request brings along into its context.
func FromHeader(ctx context.Context, header http.Header) context.Context {
	if header.Get("traceparent") == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(header))
}
