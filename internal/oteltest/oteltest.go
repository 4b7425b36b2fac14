// Package oteltest is the other end of OTLP for tests: a collector that keeps
// what it is sent, over real HTTP.
package oteltest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// patience bounds every wait, on the slowest machine that runs the tests.
const patience = time.Minute

// A Collector takes traces at /v1/traces and metrics at /v1/metrics.
type Collector struct {
	URL string // without a path

	t       testing.TB
	mu      sync.Mutex
	spans   []Span
	metrics []*metricspb.Metric
	paths   []string
	status  int
	came    chan struct{} // closed, and replaced, whenever something came
}

// A Span is a span as the collector got it.
type Span struct {
	Service    string
	Name       string
	Trace      string // hex
	ID         string
	Parent     string // empty: none
	Links      []string
	Events     []string
	Attributes map[string]string
	Failed     bool
}

// New returns a running collector, which ends with the test.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{t: t, status: http.StatusOK, came: make(chan struct{})}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// Answer sets the status of the answers from now on. What is refused is not kept.
func (c *Collector) Answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// ServeHTTP implements [http.Handler].
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := unpack(r)
	if err != nil {
		c.t.Errorf("oteltest: %v", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths = append(c.paths, r.URL.Path)
	w.WriteHeader(c.status)
	if c.status != http.StatusOK {
		close(c.came)
		c.came = make(chan struct{})
		return
	}
	switch r.URL.Path {
	case "/v1/traces":
		err = c.takeTraces(body)
	case "/v1/metrics":
		err = c.takeMetrics(body)
	}
	if err != nil {
		c.t.Errorf("oteltest: %v", err)
	}
	close(c.came)
	c.came = make(chan struct{})
}

func unpack(r *http.Request) ([]byte, error) {
	if got := r.Header.Get("Content-Type"); got != "application/x-protobuf" {
		return nil, fmt.Errorf("the content type is %q", got)
	}
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zip)
}

func (c *Collector) takeTraces(body []byte) error {
	var data tracepb.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		return err
	}
	for _, r := range data.GetResourceSpans() {
		service := attributes(r.GetResource().GetAttributes())["service.name"]
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				c.spans = append(c.spans, spanOf(service, span))
			}
		}
	}
	return nil
}

func (c *Collector) takeMetrics(body []byte) error {
	var data metricspb.MetricsData
	if err := proto.Unmarshal(body, &data); err != nil {
		return err
	}
	for _, r := range data.GetResourceMetrics() {
		for _, s := range r.GetScopeMetrics() {
			c.metrics = append(c.metrics, s.GetMetrics()...)
		}
	}
	return nil
}

func spanOf(service string, s *tracepb.Span) Span {
	span := Span{
		Service: service, Name: s.GetName(), Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
		Parent: hex.EncodeToString(s.GetParentSpanId()), Attributes: attributes(s.GetAttributes()),
		Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
	}
	for _, l := range s.GetLinks() {
		span.Links = append(span.Links, hex.EncodeToString(l.GetSpanId()))
	}
	for _, e := range s.GetEvents() {
		span.Events = append(span.Events, e.GetName())
	}
	return span
}

func attributes(all []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range all {
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			m[a.GetKey()] = v.StringValue
		default:
			m[a.GetKey()] = fmt.Sprint(a.GetValue())
		}
	}
	return m
}

// Await waits until what has come satisfies holds.
func (c *Collector) Await(holds func() bool) {
	c.t.Helper()
	timeout := time.After(patience)
	for {
		c.mu.Lock()
		came := c.came
		c.mu.Unlock()
		if holds() {
			return
		}
		select {
		case <-came:
		case <-timeout:
			c.t.Fatalf("oteltest: not in time; there are the spans %+v", c.Spans())
		}
	}
}

// Spans are the spans that have come.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Named are the spans of a name.
func (c *Collector) Named(name string) (found []Span) {
	for _, s := range c.Spans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// Metrics are the metrics that have come, oldest first.
func (c *Collector) Metrics() []*metricspb.Metric {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.metrics)
}

// Paths are the paths that were asked for.
func (c *Collector) Paths() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.paths)
}
