package telemetry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMetrics(t *testing.T) *telemetry.Metrics {
	t.Helper()
	m, err := telemetry.New(config.Telemetry{Enabled: true, Metrics: config.Metrics{Enabled: true}},
		telemetry.Process{Name: "shop", Instance: "i-1", Environment: config.Test})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape returns what Prometheus would read.
func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("there is no line %s in\n%s", line, regexp.MustCompile(`(?m)^(go_|process_|# ).*\n`).ReplaceAllString(text, ""))
		}
	}
}

// TestSwitches: either switch turns metrics off.
func TestSwitches(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.telemetry.enabled", "common.telemetry.metrics.enabled")
	for _, tt := range []struct{ all, metrics, want bool }{{true, true, true}, {false, true, false}, {true, false, false}} {
		m, err := telemetry.New(config.Telemetry{Enabled: tt.all, Metrics: config.Metrics{Enabled: tt.metrics}}, telemetry.Process{})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Handler() != nil; got != tt.want {
			t.Errorf("enabled = %t, metrics.enabled = %t: served %t", tt.all, tt.metrics, got)
		}
	}
}

// TestMetrics uses one of each kind.
func TestMetrics(t *testing.T) {
	t.Parallel()
	m := newMetrics(t)
	c := m.Counter("tasker.steps.executions", "Steps run.", "outcome", "kind")
	c.Add(t.Context(), 2, "complete", "a")
	c.Add(t.Context(), 3, "complete", "a")
	c.Add(t.Context(), 1, "error", "a")
	h := m.Histogram("tasker.step.duration", "s", "How long.", []float64{1, 10})
	for _, x := range []float64{0.5, 2, 20} {
		h.Record(t.Context(), x)
	}
	depth := 7.0
	m.Gauge("tasker.queue.depth", "", "How many.", func(observe telemetry.Observe) { observe(depth, "orders") }, "queue")
	m.Total("tasker.reads", "Reads.", func(observe telemetry.Observe) { observe(depth) })
	text := scrape(t, m)
	wantLines(t, text,
		`tasker_steps_executions_total{kind="a",outcome="complete"} 5`, `tasker_steps_executions_total{kind="a",outcome="error"} 1`,
		`tasker_step_duration_seconds_bucket{le="1"} 1`, `tasker_step_duration_seconds_bucket{le="10"} 2`, `tasker_step_duration_seconds_count 3`,
		`tasker_queue_depth{queue="orders"} 7`, `tasker_reads_total 7`,
		`target_info{deployment_environment_name="test",service_instance_id="i-1",service_name="shop"} 1`)
	if !strings.Contains(text, "\ngo_goroutines ") || !strings.Contains(text, "\nprocess_start_time_seconds ") {
		t.Error("nothing is said of the runtime or the process")
	}
	depth = 8
	wantLines(t, scrape(t, m), `tasker_queue_depth{queue="orders"} 8`)
}

// TestNothing: metrics that are off measure nothing and can be used all the same.
func TestNothing(t *testing.T) {
	t.Parallel()
	var m *telemetry.Metrics
	m.Counter("a", "A.").Add(t.Context(), 1)
	m.Histogram("b", "s", "B.", telemetry.Durations(), "x").Record(t.Context(), 1, "y")
	fail := func(telemetry.Observe) { t.Error("read") }
	m.Gauge("c", "", "C.", fail)
	m.Total("d", "D.", fail)
	if m.Handler() != nil {
		t.Error("they are served")
	}
}

// TestLabelsAreBounded: whoever takes an id for a label does not fill the memory.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := newMetrics(t)
	c := m.Counter("tasker.things", "Things.", "id", "kind")
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			for i := range 2 * telemetry.MostSeries {
				c.Add(t.Context(), 1, fmt.Sprint(i), fmt.Sprint(worker))
			}
		})
	}
	wg.Wait()
	text := scrape(t, m)
	if got := strings.Count(text, "\ntasker_things_total{"); got != telemetry.MostSeries+1 {
		t.Errorf("there are %d series", got)
	}
	wantLines(t, text, fmt.Sprintf(`tasker_things_total{id="other",kind="other"} %d`, 3*telemetry.MostSeries))
}

// TestWrongUse panics where a metric is declared or used wrongly.
func TestWrongUse(t *testing.T) {
	t.Parallel()
	m := newMetrics(t)
	for name, use := range map[string]func(){
		"bad name":        func() { m.Counter("no good", "X.") },
		"too many labels": func() { m.Counter("a", "X.", "1", "2", "3", "4", "5") },
		"no value":        func() { m.Counter("b", "X.", "x").Add(t.Context(), 1) },
		"two of a name": func() {
			m.Gauge("c", "", "X.", func(telemetry.Observe) {})
			m.Gauge("c", "", "Y.", func(telemetry.Observe) {})
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: nobody complains", name)
				}
			}()
			use()
		}()
	}
}

// TestFollowConfig loads a configuration again, well and badly.
func TestFollowConfig(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"TASKER_WORKER_ID": "30"}
	live, err := config.LoadLive(config.ContextOrchestration, config.Options{
		Environment: "test",
		Overlay:     []byte("[orchestration.backoff]\nmax_backoff_seconds = '${TASKER_WORKER_ID}'"),
		LookupEnv:   func(name string) (string, bool) { value, set := vars[name]; return value, set },
	})
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics(t)
	m.FollowConfig(live)
	info := func() string {
		return fmt.Sprintf(`tasker_config_info{context="orchestration",environment="test",hash=%q} 1`, live.Loaded().Hash())
	}
	wantLines(t, scrape(t, m), `tasker_config_loads_total{result="ok"} 1`, `tasker_config_loads_total{result="failed"} 0`,
		`tasker_config_notes 0`, `tasker_config_pending 0`, info())
	before := info()
	vars["TASKER_WORKER_ID"] = "no number"
	if _, err := live.Reload(); err == nil {
		t.Fatal("it was loaded")
	}
	vars["TASKER_WORKER_ID"] = "60"
	if _, err := live.Reload(); err != nil {
		t.Fatal(err)
	}
	text := scrape(t, m)
	wantLines(t, text, `tasker_config_loads_total{result="ok"} 2`, `tasker_config_loads_total{result="failed"} 1`, info())
	if strings.Contains(text, before) || !strings.Contains(text, "\ntasker_config_last_load_timestamp_seconds 1") {
		t.Errorf("got %s", text)
	}
}
