// Package telemetry keeps what a process measures, serves it to Prometheus and
// pushes it; it makes traces, and has logs say what they are about.
//
// A part declares its metrics when it is made, from the [*Metrics] that it is
// given, and keeps them:
//
//	executions := metrics.Counter("tasker.steps.executions", "Steps run, by how they ended.", "outcome")
//	executions.Add(ctx, 1, "complete")
//
// Names are those of OpenTelemetry; Prometheus sees tasker_steps_executions_total.
// A nil *Metrics, which is what a process has whose metrics are off, and every
// metric made from it measure nothing, so that nobody need ask.
//
// Labels are for what is few: states, kinds, routes, namespaces, and never ids.
// A metric keeps at most [MostSeries] combinations of values; what comes beyond
// counts under the value "other".
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/tasker-systems/tasker-go/config"
)

// Metrics are the metrics of a process.
type Metrics struct {
	registry *prometheus.Registry
	meter    metric.Meter
	provider *sdk.MeterProvider

	mu       sync.Mutex
	declared map[string]string // by name: the rest of the declaration
}

// A Process says whose metrics and traces these are.
type Process struct {
	Name        string // common.system.process_name
	Instance    string // tells processes of one name apart
	Environment config.Environment
	Log         *slog.Logger // is told what cannot be exported; nil: nobody is
}

// New returns the metrics of a process, nil if the configuration turns them off.
// Those of the Go runtime and of the operating system's process are among those
// served. Where the configuration has an endpoint the others are pushed there, each
// collection_interval_seconds. Close the metrics at the end of the process.
func New(cfg config.Telemetry, p Process) (*Metrics, error) {
	if !cfg.Enabled || !cfg.Metrics.Enabled {
		return nil, nil //nolint:nilnil // nil measures nothing
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("set up metrics: %w", err)
	}
	options := []sdk.Option{sdk.WithReader(exporter), sdk.WithResource(p.resource())}
	if endpoint := cfg.Metrics.ExportEndpoint; endpoint != "" {
		log := p.Log
		if log == nil {
			log = slog.New(slog.DiscardHandler)
		}
		options = append(options, sdk.WithReader(sdk.NewPeriodicReader(pusher{newUploader(endpoint, "metrics", log)},
			sdk.WithInterval(cfg.Metrics.CollectionInterval.Duration()))))
	}
	provider := sdk.NewMeterProvider(options...)
	return &Metrics{registry: registry, meter: provider.Meter(scope), provider: provider, declared: map[string]string{}}, nil
}

// Close pushes a last time, for no longer than a few seconds.
func (m *Metrics) Close() {
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	_ = m.provider.Shutdown(ctx) // what is not pushed is lost, as ever
}

// resource is the process in the words of OpenTelemetry.
func (p Process) resource() *resource.Resource {
	return resource.NewSchemaless(
		attribute.String("service.name", p.Name), attribute.String("service.instance.id", p.Instance),
		attribute.String("deployment.environment.name", string(p.Environment)),
	)
}

// Handler returns what answers a scrape in the format of Prometheus, nil where
// metrics are off.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return nil
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
