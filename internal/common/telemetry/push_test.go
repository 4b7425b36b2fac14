package telemetry_test

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/oteltest"
)

func pushing(t *testing.T, endpoint string, interval config.Seconds) *telemetry.Metrics {
	t.Helper()
	m, err := telemetry.New(config.Telemetry{Enabled: true, Metrics: config.Metrics{
		Enabled: true, ExportEndpoint: endpoint, CollectionInterval: interval,
	}}, telemetry.Process{Name: "shop", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// TestPush: metrics of each kind arrive as they were measured, under the names
// that they have.
func TestPush(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.telemetry.metrics.export_endpoint")
	collector := oteltest.New(t)
	m, silent := pushing(t, collector.URL, 3600), pushing(t, "", 1)
	for _, m := range []*telemetry.Metrics{m, silent} {
		m.Counter("tasker.a", "A.", "kind").Add(t.Context(), 3, "x")
		m.Histogram("tasker.b", "s", "B.", []float64{1, 10}).Record(t.Context(), 2)
		m.Gauge("tasker.c", "", "C.", func(observe telemetry.Observe) { observe(7) })
		m.Total("tasker.d", "D.", func(observe telemetry.Observe) { observe(1.5) })
	}
	silent.Close()
	if got := collector.Paths(); len(got) != 0 {
		t.Errorf("without an endpoint %q was asked for", got)
	}
	m.Close()
	var got []string
	for _, m := range collector.Metrics() {
		switch data := m.GetData().(type) {
		case *metricspb.Metric_Sum:
			p := data.Sum.GetDataPoints()[0]
			got = append(got, fmt.Sprint(m.GetName(), " ", p.GetAsInt(), " ", p.GetAsDouble(), " ", len(p.GetAttributes()), " ", data.Sum.GetIsMonotonic()))
		case *metricspb.Metric_Gauge:
			got = append(got, fmt.Sprint(m.GetName(), " ", data.Gauge.GetDataPoints()[0].GetAsDouble()))
		case *metricspb.Metric_Histogram:
			p := data.Histogram.GetDataPoints()[0]
			got = append(got, fmt.Sprint(m.GetName(), " ", m.GetUnit(), " ", p.GetCount(), " ", p.GetSum(), " ", p.GetBucketCounts(), " ", p.GetExplicitBounds()))
		}
	}
	slices.Sort(got)
	want := []string{"tasker.a 3 0 1 true", "tasker.b s 1 2 [0 1 0] [1 10]", "tasker.c 7", "tasker.d 0 1.5 0 true"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPushInterval: metrics are pushed each interval.
func TestPushInterval(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.telemetry.metrics.collection_interval_seconds")
	often, seldom := oteltest.New(t), oteltest.New(t)
	for endpoint, interval := range map[string]config.Seconds{often.URL: 1, seldom.URL: 3600} {
		pushing(t, endpoint, interval).Counter("tasker.a", "A.").Add(t.Context(), 1)
	}
	often.Await(func() bool { return len(often.Paths()) > 1 })
	if n := len(seldom.Paths()); n != 0 {
		t.Errorf("pushed %d times before the hour was over", n)
	}
}
