package orchestration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// entryOf has a catalog make an entry of a template, as it is when a task runs.
func entryOf(t *testing.T, tpl *templates.Template) *catalog.Entry {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	c := catalog.New(pool, messaging.NewNames(config.Queues{WorkerNamespace: "worker", NamingPattern: "{namespace}_{name}_queue"}), config.Test, config.TaskTemplates{})
	if err := c.Register(t.Context(), []*templates.Template{tpl}); err != nil {
		t.Fatal(err)
	}
	entries, err := c.Resolve(t.Context(), []postgres.TemplateName{{Namespace: tpl.Namespace, Name: tpl.Name}})
	if err != nil {
		t.Fatal(err)
	}
	return entries[0]
}

// decideWith has a decision that lies as deep as told name two steps, and
// returns what came of it: the steps, or the error; the log; the metrics.
func decideWith(t *testing.T, limits config.DecisionPoints, depth int16) (came, logged, measured string) {
	t.Helper()
	tpl, err := templates.Parse("t.yaml", []byte(`
name: t
namespace: test
steps:
  - {name: route, type: decision, handler: {callable: h}}
  - {name: a, handler: {callable: h}, dependencies: [route]}
  - {name: b, handler: {callable: h}, dependencies: [route]}`))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	sys := stranded(t)
	sys.Log = slog.New(slog.NewTextHandler(&log, nil))
	if sys.Metrics, err = telemetry.New(config.Telemetry{Enabled: true, Metrics: config.Metrics{Enabled: true}}, telemetry.Process{}); err != nil {
		t.Fatal(err)
	}
	p := newProcessor(sys, &config.Orchestration{DecisionPoints: limits}, handoff.New(0, 0))
	result, err := json.Marshal(tasker.Branches("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	entry := entryOf(t, tpl)
	steps, err := p.plan(t.Context(), postgres.StepRef{Task: uuid.Nil, Ordinal: 1}, decision{entry: entry, step: &postgres.ClaimedStep{Context: json.RawMessage(`{}`)}, result: result}, []postgres.Sibling{
		{Ordinal: 1, Name: "route", Definition: "route", State: tasker.StepInProgress, Depth: depth},
	})
	came = fmt.Sprintf("%d steps", len(steps))
	if err != nil {
		came = err.Error()
	}
	scrape := httptest.NewRecorder()
	sys.Metrics.Handler().ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	return came, log.String(), scrape.Body.String()
}

func TestDecisionsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.decision_points.enabled", "orchestration.decision_points.max_steps_per_decision",
		"orchestration.decision_points.max_decision_depth", "orchestration.decision_points.warn_threshold_steps",
		"orchestration.decision_points.warn_threshold_depth", "orchestration.decision_points.enable_detailed_logging",
		"orchestration.decision_points.enable_metrics")
	const counted = `tasker_decision_points_steps_created_total{namespace="test"} 2`
	tests := []struct {
		name   string
		change func(*config.DecisionPoints)
		depth  int16
		came   string // part of what came of it
		logged string // part of the log; empty: nothing is logged
		counts bool
	}{
		{"as it was", func(*config.DecisionPoints) {}, 1, "2 steps", "", false},
		{"enabled", func(c *config.DecisionPoints) { c.Enabled = false }, 1, "decision_points.enabled", "", false},
		{"max_steps_per_decision", func(c *config.DecisionPoints) { c.MaxStepsPerDecision = 1 }, 1, "max_steps_per_decision is 1", "", false},
		{"max_decision_depth", func(c *config.DecisionPoints) { c.MaxDecisionDepth = 1 }, 1, "max_decision_depth is 1", "", false},
		{"warn_threshold_steps", func(c *config.DecisionPoints) { c.WarnThresholdSteps = 1 }, 1, "2 steps", "above warn_threshold_steps = 1", false},
		{"warn_threshold_depth", func(c *config.DecisionPoints) { c.WarnThresholdDepth = 1 }, 1, "2 steps", "above warn_threshold_depth = 1", false},
		{"enable_detailed_logging", func(c *config.DecisionPoints) { c.EnableDetailedLogging = true }, 1, "2 steps", "decided", false},
		{"enable_metrics", func(c *config.DecisionPoints) { c.EnableMetrics = true }, 1, "2 steps", "", true},
	}
	for _, tt := range tests {
		limits := config.DecisionPoints{Enabled: true, MaxStepsPerDecision: 2, MaxDecisionDepth: 2, WarnThresholdSteps: 2, WarnThresholdDepth: 2}
		tt.change(&limits)
		came, logged, measured := decideWith(t, limits, tt.depth)
		if !strings.Contains(came, tt.came) {
			t.Errorf("%s: got %s, want %s", tt.name, came, tt.came)
		}
		if (logged == "") != (tt.logged == "") || !strings.Contains(logged, tt.logged) {
			t.Errorf("%s: logged %q, want %q", tt.name, logged, tt.logged)
		}
		if strings.Contains(measured, counted) != tt.counts {
			t.Errorf("%s: counted %t, want %t", tt.name, !tt.counts, tt.counts)
		}
	}
}
