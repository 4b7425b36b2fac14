package deploy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// dashboard is what this test asks of a dashboard of Grafana.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Definition string
		}
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type, Title string
	Datasource  struct{ Type, UID string }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ RefID, Expr, LegendFormat string }
}

// TestDashboard: Grafana has what it needs to import the dashboard, and every
// panel asks for what there is.
func TestDashboard(t *testing.T) {
	t.Parallel()
	var d dashboard
	if err := json.Unmarshal(read(t, "grafana/dashboard.json"), &d); err != nil {
		t.Fatal(err)
	}
	known, variables := exposed(t), map[string]bool{"__rate_interval": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
		if v.Type == "query" {
			metric, label, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")"), ", ")
			if !known[metric][label] && label != "instance" {
				t.Errorf("variable %s: there is no label %s of %s", v.Name, label, metric)
			}
		}
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 30 || !variables["datasource"] || !variables["namespace"] || !variables["instance"] {
		t.Errorf("%q, uid %q, schema %d, variables %v: something is missing", d.Title, d.UID, d.SchemaVersion, variables)
	}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: its id stands twice, or it has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" {
			checkPanel(t, p, known, variables)
		}
	}
	if len(ids) < 50 {
		t.Errorf("found %d panels", len(ids))
	}
}

func checkPanel(t *testing.T, p panel, known map[string]labels, variables map[string]bool) {
	t.Helper()
	if p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
		t.Errorf("%s: it has no unit, asks for nothing, or a certain data source", p.Title)
	}
	for _, target := range p.Targets {
		result := checkExpression(t, p.Title, target.Expr, known)
		for _, m := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
			if !variables[m[1]] {
				t.Errorf("%s: there is no variable %s", p.Title, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.LegendFormat, -1) {
			if !result[m[1]] {
				t.Errorf("%s: the legend names %s, which the result lacks", p.Title, m[1])
			}
		}
	}
}

// rules is a file of rules of Prometheus.
type rules struct {
	Groups []struct {
		Name, Interval string
		Rules          []rule
	}
}

type rule struct {
	Record, Alert, Expr, For string
	Labels                   struct{ Severity string }
	Annotations              struct{ Summary, Description, Runbook string }
}

// TestRules: every rule asks for what there is, says how bad it is, and points to
// a section that is there.
func TestRules(t *testing.T) {
	t.Parallel()
	known := exposed(t)
	known["up"] = labels{} // Prometheus's own
	for _, r := range readRules(t, "prometheus/recording.yml") {
		level, _, _ := strings.Cut(r.Record, ":")
		result := checkExpression(t, r.Record, r.Expr, known)
		delete(result, "le")
		if got := strings.Join(slices.Sorted(maps.Keys(result)), "_"); r.Alert != "" || got != level {
			t.Errorf("%q is by %s", r.Record, got)
		}
		known[r.Record] = result
	}
	seen := map[string]bool{}
	for _, r := range readRules(t, "prometheus/alerts.yml") {
		if seen[r.Alert] || r.Alert == "" || r.Record != "" {
			t.Errorf("%q is no alert, or there twice", r.Alert)
		}
		seen[r.Alert] = true
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels.Severity) || r.Annotations.Summary == "" || r.Annotations.Description == "" {
			t.Errorf("%s: severity %q, summary %q, description %q", r.Alert, r.Labels.Severity, r.Annotations.Summary, r.Annotations.Description)
		}
		result := checkExpression(t, r.Alert, r.Expr, known)
		for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(r.Annotations.Summary+r.Annotations.Description, -1) {
			if !result[m[1]] {
				t.Errorf("%s names %s, which the result lacks", r.Alert, m[1])
			}
		}
		file, anchor, _ := strings.Cut(r.Annotations.Runbook, "#")
		if !strings.HasPrefix(file, "docs/") || !slices.Contains(anchors(read(t, "../"+file)), anchor) {
			t.Errorf("%s: there is no section %s", r.Alert, r.Annotations.Runbook)
		}
	}
	if len(seen) < 20 {
		t.Errorf("found %d alerts", len(seen))
	}
}

func readRules(t *testing.T, name string) []rule {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader(read(t, name)))
	decoder.KnownFields(true)
	var file rules
	if err := decoder.Decode(&file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := decoder.Decode(&file); !errors.Is(err, io.EOF) {
		t.Fatalf("%s has more than one document", name)
	}
	var all []rule
	for _, group := range file.Groups {
		if group.Name == "" || len(group.Rules) == 0 {
			t.Errorf("%s: a group without a name or rules", name)
		}
		all = append(all, group.Rules...)
	}
	return all
}

// anchors are what links to the headings of a document end with.
func anchors(document []byte) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllSubmatch(document, -1) {
		kept := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(string(m[1])), "")
		all = append(all, strings.ReplaceAll(kept, " ", "-"))
	}
	return all
}

// labels are the names of labels.
type labels map[string]bool

// functions are those of PromQL that are used here.
var functions = []string{
	"absent", "changes", "count", "histogram_quantile", "increase", "max", "rate", "sum", "time", "topk",
}

// checkExpression finds out whether an expression asks for metrics and labels that
// there are, and returns the labels of its result.
func checkExpression(t *testing.T, where, expression string, known map[string]labels) labels {
	t.Helper()
	bare := regexp.MustCompile(`"[^"]*"|\[[^\]]*\]`).ReplaceAllString(expression, "")
	if bare == "" || !balanced(bare) {
		t.Errorf("%s: %q is empty or not balanced", where, expression)
	}
	grouping := regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	grouped, of := labels{}, labels{"instance": true, "job": true}
	for _, m := range grouping.FindAllStringSubmatch(bare, -1) {
		for label := range strings.SplitSeq(m[1], ", ") {
			grouped[label] = true
		}
	}
	for _, m := range regexp.MustCompile(`\b([a-z_][\w:]*)(\{[^}]*\}| *\(|)`).FindAllStringSubmatch(grouping.ReplaceAllString(bare, ""), -1) {
		name, rest := m[1], m[2]
		switch {
		case name == "and" || name == "or":
		case strings.HasSuffix(rest, "("):
			if !slices.Contains(functions, name) {
				t.Errorf("%s: there is no function %s", where, name)
			}
		case known[name] == nil:
			t.Errorf("%s: there is no metric %s", where, name)
		default:
			maps.Copy(of, known[name])
			for _, selected := range regexp.MustCompile(`(\w+)\s*[=!]`).FindAllStringSubmatch(rest, -1) {
				if label := selected[1]; !known[name][label] && label != "instance" && label != "job" {
					t.Errorf("%s: %s has no label %s", where, name, label)
				}
			}
		}
	}
	for label := range grouped {
		if !of[label] {
			t.Errorf("%s: nothing has the label %s", where, label)
		}
	}
	if len(grouped) > 0 {
		return grouped
	}
	return of
}

func balanced(expression string) bool {
	var open []rune
	closes := map[rune]rune{')': '(', '}': '{', ']': '['}
	for _, c := range expression {
		switch c {
		case '(', '{', '[':
			open = append(open, c)
		case ')', '}', ']':
			if len(open) == 0 || open[len(open)-1] != closes[c] {
				return false
			}
			open = open[:len(open)-1]
		}
	}
	return len(open) == 0
}

// exposed are the metrics that Prometheus reads, with their labels: those of the
// table in docs/telemetry.md, which combined.TestMetricsOfTheEngine holds to the
// code, under the names that /metrics gives them, and those of the process.
func exposed(t *testing.T) map[string]labels {
	t.Helper()
	m, err := telemetry.New(config.Telemetry{Enabled: true, Metrics: config.Metrics{Enabled: true}}, telemetry.Process{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	row := regexp.MustCompile("(?m)^\\| `(tasker\\.[a-z_.]+)` \\| (counter|gauge|histogram)(?:, (s|1))? \\| ([^|]*)\\|")
	for _, of := range row.FindAllStringSubmatch(string(read(t, "../docs/telemetry.md")), -1) {
		var names []string
		if named := strings.TrimSpace(of[4]); named != "" {
			names = strings.Split(named, ", ")
		}
		values := make([]string, len(names))
		switch of[2] {
		case "counter":
			m.Counter(of[1], "Help.", names...).Add(t.Context(), 1, values...)
		case "gauge":
			m.Gauge(of[1], of[3], "Help.", func(observe telemetry.Observe) { observe(1, values...) }, names...)
		case "histogram":
			m.Histogram(of[1], of[3], "Help.", telemetry.Durations(), names...).Record(t.Context(), 1, values...)
		}
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	known := map[string]labels{}
	for _, line := range regexp.MustCompile(`(?m)^(\w+)(\{.*\})? \S+$`).FindAllStringSubmatch(w.Body.String(), -1) {
		known[line[1]] = labels{}
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(line[2], -1) {
			known[line[1]][label[1]] = true
		}
	}
	if len(known) < 100 {
		t.Fatalf("found %d metrics; status %d", len(known), w.Code)
	}
	return known
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
