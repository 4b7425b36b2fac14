package cli

import (
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/loadgen"
)

// TestBenchRatios holds what bench says of how rows compare: medians, each pair
// that was measured, no pair that was not.
func TestBenchRatios(t *testing.T) {
	t.Parallel()
	var results []loadgen.Result
	for _, row := range []struct {
		mode    loadgen.Mode
		backend config.Backend
		perS    []float64
	}{
		{loadgen.Combined, config.BackendPGMQ, []float64{900, 1000, 5000}},
		{loadgen.Split, config.BackendPGMQ, []float64{500}},
		{loadgen.Split, config.BackendRabbitMQ, []float64{200}},
	} {
		for _, v := range row.perS {
			results = append(results, loadgen.Result{Workload: "W2", Mode: row.mode, Backend: row.backend, WorkflowsPerSecond: v})
		}
	}
	var out strings.Builder
	if err := printBench(&out, results); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(out.String(), "\n\n")
	if want := "W2        split ÷ combined, pgmq         50 %\nW2        rabbitmq ÷ pgmq, split         40 %\n"; got != want {
		t.Errorf("the ratios are\n%swant\n%s", got, want)
	}
}
