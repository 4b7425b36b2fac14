package combined_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/oteltest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// of another part: nothing in a run of workflows brings them about.
var elsewhere = map[string]string{
	"tasker.config.":     "processes that read files; telemetry.TestFollowConfig",
	"tasker.api.":        "requests; TestMetrics of the APIs",
	"tasker.auth.":       "requests; TestNoSecretShows",
	"tasker.permission.": "requests; TestNoSecretShows",

	"tasker.channel.messages.dropped": "a channel that is full",
}

// TestMetricsOfTheEngine: each metric that the documentation has is recorded in a
// run of workflows of several kinds, split and combined, and the documentation has
// each that is; no label holds an id.
func TestMetricsOfTheEngine(t *testing.T) {
	t.Parallel()
	documented := documentedMetrics(t)
	recorded := map[string]bool{}
	for _, d := range []enginetest.Deployment{enginetest.Combined, enginetest.Split} {
		for name, labels := range runMixed(t, d) {
			recorded[name] = true
			if documented[name] != nil && !slices.Equal(labels, documented[name]) {
				t.Errorf("%s has the labels and the unit %q, the documentation says %q", name, labels, documented[name])
			}
			if documented[name] == nil {
				t.Errorf("%s is not in docs/telemetry.md", name)
			}
		}
	}
	for name := range documented {
		other := slices.ContainsFunc(slices.Collect(maps.Keys(elsewhere)), func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if !other && !recorded[name] {
			t.Errorf("%s was not recorded", name)
		}
	}
}

// documentedMetrics are the metrics in the first table of metrics, with their
// labels, sorted, and the unit where Prometheus puts it into the name.
func documentedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(tasker\\.[a-z_.]+)` \\| (?:counter|gauge|histogram)(?:, (s|1))? \\| ([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		labels := []string{}
		if row[3] != "" {
			labels = strings.Split(strings.TrimSpace(row[3]), ", ")
		}
		slices.Sort(labels)
		documented[row[1]] = append(labels, "in "+row[2])
	}
	if len(documented) < 40 {
		t.Fatalf("found %d metrics", len(documented))
	}
	return documented
}

const mixedTemplates = `
name: waiting
namespace: test
steps:
  - {name: a, type: wait_for_signal}
---
name: astray
namespace: test
steps:
  - {name: decide, type: decision, handler: {callable: astray}}
  - {name: left, handler: {callable: ok}, dependencies: [decide]}`

// runMixed runs workflows and returns what was pushed in the end: the metrics and
// their labels.
func runMixed(t *testing.T, d enginetest.Deployment) map[string][]string {
	t.Helper()
	collector := oteltest.New(t)
	handlers := (&seen{spans: map[string][]trace.SpanContext{}}).handlers()
	handlers["astray"] = func(context.Context, *tasker.Step) (any, error) {
		return json.RawMessage(`{"decision_point_outcome": {"type": "create_steps", "step_names": ["nowhere"]}}`), nil
	}
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.None, Templates: taskertest.YAML(append(splitTemplates(), strings.Split(mixedTemplates, "---\n")...)...),
		Settings: enginetest.Settings{
			"common.telemetry.enabled":                             "true",
			"common.telemetry.metrics.collection_interval_seconds": "1",
			"common.telemetry.metrics.export_endpoint":             fmt.Sprintf("%q", collector.URL),
			"orchestration.decision_points.enable_metrics":         "true",
		},
	})
	e.Register()
	e.Create("waiting", nil)
	e.Exec(`update tasker.tasks set created_at = now() - interval '40 hours'`) // it is stale
	e.Play(d, handlers)
	for _, template := range []string{"choosing", "joining", "failing", "astray"} {
		e.Run(template, nil)
	}
	if _, err := e.Pool.Exec(t.Context(), `select pgmq.send($1, '{"namespace": "test", "name": "joining"}')`, e.Names.Requests()); err != nil {
		t.Fatal(err)
	}
	e.Await(`select count(*) = 6 from tasker.tasks where state in ('complete', 'error')`)
	recorded := func(name string) bool {
		_, there := labelsOf(t, collector.Metrics())[name]
		return there
	}
	collector.Await(func() bool {
		return recorded("tasker.dlq.pending_investigations") && recorded("tasker.archive.duration") && recorded("tasker.staleness.tasks_detected")
	})
	e.Stop()
	return labelsOf(t, collector.Metrics())
}

// id is what the value of no label may look like.
var id = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}|[0-9a-f]{16}`)

// labelsOf returns the labels of metrics, sorted, and their units, without those
// that are mere words for what is counted.
func labelsOf(t *testing.T, all []*metricspb.Metric) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	note := func(name, unit string, attributes []*commonpb.KeyValue) {
		labels := []string{}
		for _, a := range attributes {
			labels = append(labels, a.GetKey())
			if value := a.GetValue().GetStringValue(); id.MatchString(value) || value == "" || value == "unknown" {
				t.Errorf("%s has the label %s = %q", name, a.GetKey(), value)
			}
		}
		slices.Sort(labels)
		if strings.HasPrefix(unit, "{") {
			unit = ""
		}
		found[name] = append(labels, "in "+unit)
	}
	for _, m := range all {
		for _, p := range slices.Concat(m.GetSum().GetDataPoints(), m.GetGauge().GetDataPoints()) {
			note(m.GetName(), m.GetUnit(), p.GetAttributes())
		}
		for _, p := range m.GetHistogram().GetDataPoints() {
			note(m.GetName(), m.GetUnit(), p.GetAttributes())
		}
	}
	return found
}
