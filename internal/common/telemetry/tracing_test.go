package telemetry_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/oteltest"
)

func tracing(endpoint string, rate config.Fraction) config.Telemetry {
	return config.Telemetry{Enabled: true, Tracing: config.Tracing{Enabled: true, SamplingRate: rate, ExportEndpoint: endpoint}}
}

func newTracer(t *testing.T, cfg config.Telemetry, log *slog.Logger) *telemetry.Tracer {
	t.Helper()
	tracer, err := telemetry.NewTracer(t.Context(), cfg, telemetry.Process{Name: "shop"}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tracer.Close)
	return tracer
}

// TestTracingSwitches: spans go to the endpoint, if there is one and traces are
// on; the environment of the process does not make up for it.
func TestTracingSwitches(t *testing.T) {
	liveness.Covers(t, "common.telemetry.enabled", "common.telemetry.tracing.enabled", "common.telemetry.tracing.export_endpoint")
	for _, tt := range []struct {
		name   string
		change func(*config.Telemetry)
		want   int
	}{
		{"as it was", func(*config.Telemetry) {}, 1},
		{"all off", func(cfg *config.Telemetry) { cfg.Enabled = false }, 0},
		{"traces off", func(cfg *config.Telemetry) { cfg.Tracing.Enabled = false }, 0},
		{"no endpoint", func(cfg *config.Telemetry) { cfg.Tracing.ExportEndpoint = "" }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			collector := oteltest.New(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
			cfg := tracing(collector.URL, 1)
			tt.change(&cfg)
			tracer := newTracer(t, cfg, slog.New(slog.DiscardHandler))
			_, span := tracer.Start(t.Context(), "work")
			span.End()
			tracer.Close()
			if got := len(collector.Spans()); got != tt.want || len(collector.Paths()) != tt.want {
				t.Errorf("got %d spans, requests for %q", got, collector.Paths())
			}
		})
	}
}

// TestEndpoint: one without a path is the address of a collector, one with a path
// is taken as it is.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, want string }{{"", "/v1/traces"}, {"/", "/v1/traces"}, {"/otlp/v1/traces", "/otlp/v1/traces"}} {
		collector := oteltest.New(t)
		tracer := newTracer(t, tracing(collector.URL+tt.path, 1), slog.New(slog.DiscardHandler))
		_, span := tracer.Start(t.Context(), "work")
		span.End()
		tracer.Close()
		if got := collector.Paths(); len(got) != 1 || got[0] != tt.want {
			t.Errorf("%q: asked for %q, want %q", tt.path, got, tt.want)
		}
	}
}

// TestSampling: the share of the tasks that is traced is the configured one; which
// ones they are says the id alone, to every process; and who asks for a task
// decides about its trace.
func TestSampling(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.telemetry.tracing.sampling_rate")
	const tasks = 4000
	ids := make([]uuid.UUID, tasks)
	for i := range ids {
		ids[i] = uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)) // the same in every run
	}
	collector := oteltest.New(t)
	for _, tt := range []struct {
		rate      config.Fraction
		low, high int
	}{{0, 0, 0}, {0.5, tasks * 47 / 100, tasks * 53 / 100}, {1, tasks, tasks}} {
		creates := newTracer(t, tracing(collector.URL, tt.rate), slog.New(slog.DiscardHandler))
		works := newTracer(t, tracing(collector.URL, tt.rate), slog.New(slog.DiscardHandler))
		sampled := 0
		for _, id := range ids {
			stored, span := creates.Create(t.Context(), id, false)
			if (stored != "") != span.SpanContext().IsSampled() {
				t.Errorf("stored %q", stored)
			}
			_, step := works.Start(works.Task(t.Context(), id, stored), "step")
			if step.SpanContext().IsSampled() != span.SpanContext().IsSampled() || step.SpanContext().TraceID() != span.SpanContext().TraceID() {
				t.Fatalf("task %s: %v and %v", id, span.SpanContext(), step.SpanContext())
			}
			if step.IsRecording() {
				sampled++
			}
		}
		if sampled < tt.low || sampled > tt.high {
			t.Errorf("rate %v: %d of %d are traced", tt.rate, sampled, tasks)
		}
		for flags, want := range map[string]bool{"00": false, "01": true} {
			caller := telemetry.Carry(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"+flags)
			stored, span := creates.Create(caller, ids[0], false)
			if span.IsRecording() != want || !strings.HasPrefix(stored, "00-0af7651916cd43dd8448eb211c80319c-") || !strings.HasSuffix(stored, flags) {
				t.Errorf("rate %v, caller %s: %q", tt.rate, flags, stored)
			}
		}
	}
}

// TestManyTasks: of the tasks of one call each has a trace of its own, with a link
// to the caller.
func TestManyTasks(t *testing.T) {
	t.Parallel()
	collector := oteltest.New(t)
	tracer := newTracer(t, tracing(collector.URL, 1), slog.New(slog.DiscardHandler))
	caller := telemetry.Carry(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	traces := map[string]bool{}
	for range 3 {
		_, span := tracer.Create(caller, uuid.New(), true)
		span.End()
	}
	tracer.Close()
	for _, span := range collector.Spans() {
		traces[span.Trace] = true
		if span.Parent != "" || len(span.Links) != 1 || span.Links[0] != "b7ad6b7169203331" {
			t.Errorf("%+v", span)
		}
	}
	if len(traces) != 3 || traces["0af7651916cd43dd8448eb211c80319c"] {
		t.Errorf("the traces are %v", traces)
	}
}

// TestPassing: where no span is made, what the caller brings along is carried.
func TestPassing(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, tt := range []struct {
		enabled       bool
		header, state string
		want          string
	}{
		{true, parent, "", parent},
		{true, parent, "vendor=x", parent + " vendor=x"},
		{true, parent, "vendor=" + strings.Repeat("x", 600), parent},
		{true, "00-rubbish", "", ""},
		{true, "", "", ""},
		{false, parent, "", ""},
	} {
		cfg := tracing("", 1)
		cfg.Tracing.Enabled = tt.enabled
		tracer := newTracer(t, cfg, slog.New(slog.DiscardHandler))
		ctx := telemetry.FromHeader(t.Context(), http.Header{"Traceparent": {tt.header}, "Tracestate": {tt.state}})
		stored, _ := tracer.Create(ctx, uuid.New(), false)
		if stored != tt.want {
			t.Errorf("%+v: stored %q", tt, stored)
		}
		ctx = tracer.Task(t.Context(), uuid.New(), stored)
		if got := telemetry.Carried(ctx); got != tt.want {
			t.Errorf("%+v: carried %q", tt, got)
		}
	}
}

// TestCollectorAway: a collector that is away, or refuses, costs spans and now and
// then a line in the log; nobody waits for it.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	collector := oteltest.New(t)
	collector.Answer(http.StatusBadRequest)
	var log bytes.Buffer
	tracer := newTracer(t, tracing(strings.Replace(collector.URL, "http://", "http://user:hunter2@", 1), 1), slog.New(slog.NewTextHandler(&log, nil)))
	for range 5 * 2048 {
		_, span := tracer.Start(t.Context(), "work")
		span.End()
	}
	tracer.Close()
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "400") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("logged %s", log.String())
	}
	if len(collector.Paths()) < 2 {
		t.Errorf("asked %d times, so that the test shows nothing", len(collector.Paths()))
	}
}

// TestRetries: what does not get through is sent again, a few times.
func TestRetries(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tries atomic.Int64
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tries.Add(1)
			conn.Close()
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		began := time.Now()
		tracer := newTracer(t, tracing("http://"+listener.Addr().String(), 1), slog.New(slog.NewTextHandler(&log, nil)))
		_, span := tracer.Start(t.Context(), "work")
		span.End()
		tracer.Close()
		if took := time.Since(began); tries.Load() != 3 || took != 3*time.Second {
			t.Errorf("tried %d times in %s", tries.Load(), took)
		}
		if strings.Count(log.String(), "telemetry not exported") != 1 {
			t.Errorf("logged %s", log.String())
		}
	})
	listener.Close()
	accepting.Wait()
}

// TestLogger: records say what their context is about and which span it is in,
// once, whatever wraps the logger.
func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := telemetry.Logger(telemetry.Logger(slog.New(slog.NewTextHandler(&out, nil)))).With("part", "x")
	ctx := telemetry.About(t.Context(), telemetry.Field{Name: "request_id", Value: "r1"})
	ctx = telemetry.About(ctx, telemetry.Field{Name: "task_id", Value: "t1"})
	ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
	log.InfoContext(ctx, "hello")
	want := " level=INFO msg=hello part=x task_id=t1 request_id=r1 trace_id=01000000000000000000000000000000 span_id=0200000000000000\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("got %s", out.String())
	}
	out.Reset()
	log.Info("hello")
	if !strings.HasSuffix(out.String(), " msg=hello part=x\n") {
		t.Errorf("got %s", out.String())
	}
}

// TestTraceIDsAreEven: the ids of traces that follow from ids of tasks, which begin
// alike, are spread evenly over what the sampler goes by.
func TestTraceIDsAreEven(t *testing.T) {
	t.Parallel()
	collector := oteltest.New(t)
	tracer := newTracer(t, tracing(collector.URL, 0), slog.New(slog.DiscardHandler))
	const n, parts = 20_000, 10
	var counts [parts]int
	var id uuid.UUID
	for i := range n {
		id[12], id[13] = byte(i>>8), byte(i)
		_, span := tracer.Create(t.Context(), id, false)
		traceID := span.SpanContext().TraceID()
		counts[int(traceID[8])*parts/256]++
	}
	for part, count := range counts {
		if off := math.Abs(float64(count) - n/parts); off > n/parts/10 {
			t.Errorf("part %d has %d of %d", part, count, n)
		}
	}
}
