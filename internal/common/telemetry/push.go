package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
)

// A pusher sends metrics as OTLP has them: what [Metrics] makes, all of it
// cumulative.
type pusher struct{ up *uploader }

// Temporality implements [sdk.Exporter].
func (pusher) Temporality(sdk.InstrumentKind) metricdata.Temporality {
	return metricdata.CumulativeTemporality
}

// Aggregation implements [sdk.Exporter].
func (pusher) Aggregation(k sdk.InstrumentKind) sdk.Aggregation {
	return sdk.DefaultAggregationSelector(k)
}

// ForceFlush implements [sdk.Exporter].
func (pusher) ForceFlush(context.Context) error { return nil }

// Shutdown implements [sdk.Exporter].
func (p pusher) Shutdown(context.Context) error {
	p.up.close()
	return nil
}

// Export implements [sdk.Exporter]. What does not get through is no error: the
// next push has the totals.
func (p pusher) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	out := &metricspb.ResourceMetrics{Resource: resourceOf(rm.Resource)}
	for _, s := range rm.ScopeMetrics {
		scoped := &metricspb.ScopeMetrics{Scope: &commonpb.InstrumentationScope{Name: s.Scope.Name}}
		for _, m := range s.Metrics {
			scoped.Metrics = append(scoped.Metrics, metricOf(m))
		}
		out.ScopeMetrics = append(out.ScopeMetrics, scoped)
	}
	p.up.send(ctx, &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{out}})
	return nil
}

func resourceOf(r *resource.Resource) *resourcepb.Resource {
	return &resourcepb.Resource{Attributes: attributesOf(*r.Set())}
}

func metricOf(m metricdata.Metrics) *metricspb.Metric {
	out := &metricspb.Metric{Name: m.Name, Description: m.Description, Unit: m.Unit}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		out.Data = sumOf(data.DataPoints, data.IsMonotonic, wholeOf)
	case metricdata.Sum[float64]:
		out.Data = sumOf(data.DataPoints, data.IsMonotonic, numberOf)
	case metricdata.Gauge[float64]:
		out.Data = &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: pointsOf(data.DataPoints, numberOf)}}
	case metricdata.Histogram[float64]:
		out.Data = histogramOf(data)
	}
	return out
}

const cumulative = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE

func sumOf[N int64 | float64](points []metricdata.DataPoint[N], monotonic bool, set func(*metricspb.NumberDataPoint, N)) *metricspb.Metric_Sum {
	return &metricspb.Metric_Sum{Sum: &metricspb.Sum{
		AggregationTemporality: cumulative, IsMonotonic: monotonic, DataPoints: pointsOf(points, set),
	}}
}

func pointsOf[N int64 | float64](points []metricdata.DataPoint[N], set func(*metricspb.NumberDataPoint, N)) []*metricspb.NumberDataPoint {
	out := make([]*metricspb.NumberDataPoint, len(points))
	for i, p := range points {
		out[i] = &metricspb.NumberDataPoint{
			Attributes: attributesOf(p.Attributes), StartTimeUnixNano: nanoseconds(p.StartTime), TimeUnixNano: nanoseconds(p.Time),
		}
		set(out[i], p.Value)
	}
	return out
}

func wholeOf(p *metricspb.NumberDataPoint, n int64) {
	p.Value = &metricspb.NumberDataPoint_AsInt{AsInt: n}
}

func numberOf(p *metricspb.NumberDataPoint, x float64) {
	p.Value = &metricspb.NumberDataPoint_AsDouble{AsDouble: x}
}

func histogramOf(data metricdata.Histogram[float64]) *metricspb.Metric_Histogram {
	out := &metricspb.Histogram{AggregationTemporality: cumulative}
	for _, p := range data.DataPoints {
		out.DataPoints = append(out.DataPoints, &metricspb.HistogramDataPoint{
			Attributes: attributesOf(p.Attributes), StartTimeUnixNano: nanoseconds(p.StartTime), TimeUnixNano: nanoseconds(p.Time),
			Count: p.Count, Sum: &p.Sum, BucketCounts: p.BucketCounts, ExplicitBounds: p.Bounds,
		})
	}
	return &metricspb.Metric_Histogram{Histogram: out}
}

func nanoseconds(t time.Time) uint64 { return uint64(t.UnixNano()) }

// attributesOf are attributes on the wire; those of metrics are all strings.
func attributesOf(set attribute.Set) []*commonpb.KeyValue {
	out := make([]*commonpb.KeyValue, 0, set.Len())
	for _, a := range set.ToSlice() {
		out = append(out, &commonpb.KeyValue{
			Key: string(a.Key), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: a.Value.String()}},
		})
	}
	return out
}
