package messaging_test

import (
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// TestNamesFollowTheSettings changes one setting at a time and compares all
// names.
func TestNamesFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.orchestration_namespace", "common.queues.worker_namespace", "common.queues.naming_pattern",
		"common.queues.orchestration_queues.step_results")
	type names struct{ steps, results, stepsChannel, resultsChannel string }
	tests := []struct {
		name   string
		change func(q *config.Queues)
		want   names
	}{
		{"as shipped", func(*config.Queues) {}, names{"worker_shop_queue", "results", "worker_ready.shop", "orchestration_ready"}},
		{
			"orchestration_namespace", func(q *config.Queues) { q.OrchestrationNamespace = "o2" },
			names{"worker_shop_queue", "results", "worker_ready.shop", "o2_ready"},
		},
		{
			"worker_namespace", func(q *config.Queues) { q.WorkerNamespace = "w2" },
			names{"w2_shop_queue", "results", "w2_ready.shop", "orchestration_ready"},
		},
		{
			"naming_pattern", func(q *config.Queues) { q.NamingPattern = "q_{name}_of_{namespace}" },
			names{"q_shop_of_worker", "results", "worker_ready.shop", "orchestration_ready"},
		},
		{
			"step_results", func(q *config.Queues) { q.OrchestrationQueues.StepResults = "reports" },
			names{"worker_shop_queue", "reports", "worker_ready.shop", "orchestration_ready"},
		},
	}
	for _, tt := range tests {
		cfg := config.Queues{OrchestrationNamespace: "orchestration", WorkerNamespace: "worker", NamingPattern: "{namespace}_{name}_queue"}
		cfg.OrchestrationQueues.StepResults = "results"
		tt.change(&cfg)
		n := messaging.NewNames(cfg)
		steps, err := n.Steps("shop")
		if err != nil {
			t.Fatal(err)
		}
		if got := (names{steps, n.Results(), n.StepsChannel("shop"), n.ResultsChannel()}); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
