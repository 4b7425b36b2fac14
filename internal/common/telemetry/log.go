package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

type about struct{} // key of a context: what is logged with it

// told is what a context is about, and what those around it are.
type told struct {
	what  slog.LogValuer
	outer *told
}

// About has records that are logged with the context say what it is about: the
// members of what, which is a group and is looked at only when something is
// logged. What an outer context is about is said too.
func About(ctx context.Context, what slog.LogValuer) context.Context {
	outer, _ := ctx.Value(about{}).(*told)
	return context.WithValue(ctx, about{}, &told{what, outer})
}

// Field is something to be [About], of one member.
type Field struct{ Name, Value string }

// LogValue implements [slog.LogValuer].
func (f Field) LogValue() slog.Value { return slog.GroupValue(slog.String(f.Name, f.Value)) }

// Logger returns a logger whose records say what their context is about, and
// the ids of the trace and the span that it belongs to.
func Logger(log *slog.Logger) *slog.Logger {
	if _, done := log.Handler().(handler); done {
		return log
	}
	return slog.New(handler{log.Handler()})
}

// handler adds to records what their context knows.
type handler struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	for t, _ := ctx.Value(about{}).(*told); t != nil; t = t.outer {
		r.AddAttrs(t.what.LogValue().Group()...)
	}
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		r.AddAttrs(slog.String("trace_id", s.TraceID().String()), slog.String("span_id", s.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
