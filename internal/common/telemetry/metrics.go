package telemetry

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// MostSeries is how many combinations of label values one metric keeps.
const MostSeries = 1000

// most is how many labels one metric may have.
const most = 4

// A Counter counts what happens.
type Counter struct {
	counter metric.Int64Counter
	series  *series
}

// Counter makes a counter. Help is a sentence. The values of the labels are given
// with each [Counter.Add], in the same order.
func (m *Metrics) Counter(name, help string, labels ...string) *Counter {
	if m == nil {
		return nil
	}
	c, err := m.meter.Int64Counter(name, metric.WithDescription(help))
	return &Counter{must(c, err), m.declare("counter", name, "", help, labels)}
}

// Add counts n more, which is not negative.
func (c *Counter) Add(ctx context.Context, n int64, values ...string) {
	if c != nil {
		c.counter.Add(ctx, n, c.series.of(values))
	}
}

// A Histogram sorts measurements into buckets.
type Histogram struct {
	histogram metric.Float64Histogram
	series    *series
}

// Durations are bounds of buckets for spans of time, in seconds: 1 ms to 1 min.
func Durations() []float64 {
	return []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60}
}

// Histogram makes a histogram of measurements in a unit of UCUM, such as s or By,
// with the upper bounds of its buckets.
func (m *Metrics) Histogram(name, unit, help string, bounds []float64, labels ...string) *Histogram {
	if m == nil {
		return nil
	}
	h, err := m.meter.Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(help), metric.WithExplicitBucketBoundaries(bounds...))
	return &Histogram{must(h, err), m.declare("histogram", name, unit, help, labels)}
}

// Record adds a measurement.
func (h *Histogram) Record(ctx context.Context, x float64, values ...string) {
	if h != nil {
		h.histogram.Record(ctx, x, h.series.of(values))
	}
}

// An Observe reports a value that is looked up when somebody asks, with the
// values of the labels.
type Observe func(x float64, values ...string)

// Gauge makes a metric whose values read looks up for each scrape. Labels that
// read does not report any more are gone. Read must be quick and may be called
// from several goroutines.
func (m *Metrics) Gauge(name, unit, help string, read func(Observe), labels ...string) {
	if m == nil {
		return
	}
	s := m.declare("gauge", name, unit, help, labels)
	_, err := m.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help), metric.WithFloat64Callback(s.callback(read)))
	must(struct{}{}, err)
}

// Total is [Metrics.Gauge] for a value that only grows.
func (m *Metrics) Total(name, help string, read func(Observe), labels ...string) {
	if m == nil {
		return
	}
	s := m.declare("total", name, "", help, labels)
	_, err := m.meter.Float64ObservableCounter(name, metric.WithDescription(help), metric.WithFloat64Callback(s.callback(read)))
	must(struct{}{}, err)
}

// must panics where a metric is declared wrongly, which its first use in any
// test shows.
func must[T any](made T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("telemetry: %v", err))
	}
	return made
}

// series are the combinations of label values of one metric.
type series struct {
	name   string
	labels []string

	mu    sync.RWMutex
	known map[[most]string]metric.MeasurementOption
}

// declare returns the series of a metric. It panics where another part has
// declared the name differently: every scrape would fail.
func (m *Metrics) declare(kind, name, unit, help string, labels []string) *series {
	if len(labels) > most {
		panic(fmt.Sprintf("telemetry: %s has more than %d labels", name, most))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	declaration := fmt.Sprintf("%s in %q with labels %q: %s", kind, unit, labels, help)
	if before, there := m.declared[name]; there && before != declaration {
		panic(fmt.Sprintf("telemetry: %s is declared as a %s and as a %s", name, before, declaration))
	}
	m.declared[name] = declaration
	return &series{name: name, labels: labels, known: map[[most]string]metric.MeasurementOption{}}
}

// of returns the option that names a combination of values.
func (s *series) of(values []string) metric.MeasurementOption {
	if len(values) != len(s.labels) {
		panic(fmt.Sprintf("telemetry: %s has the labels %q, and %d values", s.name, s.labels, len(values)))
	}
	var key [most]string
	copy(key[:], values)
	s.mu.RLock()
	option, known := s.known[key]
	s.mu.RUnlock()
	if known {
		return option
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= MostSeries {
		for i := range values {
			key[i] = "other"
		}
	}
	if option, known = s.known[key]; known {
		return option
	}
	attributes := make([]attribute.KeyValue, len(values))
	for i, label := range s.labels {
		attributes[i] = attribute.String(label, key[i])
	}
	option = metric.WithAttributeSet(attribute.NewSet(attributes...))
	s.known[key] = option
	return option
}

func (s *series) callback(read func(Observe)) metric.Float64Callback {
	return func(_ context.Context, o metric.Float64Observer) error {
		read(func(x float64, values ...string) { o.Observe(x, s.of(values)) })
		return nil
	}
}
