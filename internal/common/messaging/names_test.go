package messaging

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tasker-systems/tasker-go/config"
)

func names(pattern string) Names {
	return NewNames(config.Queues{
		OrchestrationNamespace: "orchestration", WorkerNamespace: "worker", NamingPattern: pattern,
		OrchestrationQueues: config.OrchestrationQueues{StepResults: "orchestration_step_results_queue"},
	})
}

// TestBuild fills the pattern in; a name that is one of the pattern's already
// stays (spec/configuration.md, T49).
func TestBuild(t *testing.T) {
	t.Parallel()
	const usual = "{namespace}_{name}_queue"
	tests := []struct{ pattern, namespace, name, want string }{
		{usual, "orchestration", "step_results", "orchestration_step_results_queue"},
		{usual, "worker", "payments", "worker_payments_queue"},
		{usual, "orchestration", "orchestration_step_results_queue", "orchestration_step_results_queue"},
		{usual, "worker", "orchestration_step_results_queue", "worker_orchestration_step_results_queue_queue"},
		{usual, "worker", "worker__queue", "worker_worker__queue_queue"}, // too short to have a name in it
		{"{name}_of_{namespace}", "worker", "payments", "payments_of_worker"},
		{"q_{namespace}{name}", "w", "payments", "q_wpayments"},
	}
	for _, tt := range tests {
		if got := names(tt.pattern).build(tt.namespace, tt.name); got != tt.want {
			t.Errorf("%s with %s and %s is %s, want %s", tt.pattern, tt.namespace, tt.name, got, tt.want)
		}
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	n := names("{namespace}_{name}_queue")
	if got, err := n.Steps("payments"); got != "worker_payments_queue" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	longest := strings.Repeat("n", maxQueueName-len("worker__queue"))
	if _, err := n.Steps(longest); err != nil {
		t.Errorf("a name of %d characters: %v", maxQueueName, err)
	}
	if got, err := n.Steps(longest + "n"); err == nil || !strings.Contains(err.Error(), "longer than 47 characters; shorten the namespace") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFixedNames(t *testing.T) {
	t.Parallel()
	n := names("{namespace}_{name}_queue")
	for got, want := range map[string]string{
		n.Results():                "orchestration_step_results_queue",
		n.StepsChannel("payments"): "worker_ready.payments",
		n.ResultsChannel():         "orchestration_ready",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestBuildLaws: building twice is building once, and different names stay
// different unless one is the other, built.
func TestBuildLaws(t *testing.T) {
	t.Parallel()
	word := rapid.StringMatching(`[a-z][a-z0-9_]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		n := names(rapid.SampledFrom([]string{"{namespace}_{name}_queue", "{name}.{namespace}", "{namespace}{name}"}).Draw(t, "pattern"))
		namespace, a, b := word.Draw(t, "namespace"), word.Draw(t, "a"), word.Draw(t, "b")
		built := n.build(namespace, a)
		if twice := n.build(namespace, built); twice != built {
			t.Fatalf("%s, built again, is %s", built, twice)
		}
		if !strings.Contains(built, a) {
			t.Fatalf("%s lacks %s", built, a)
		}
		if a != b && n.build(namespace, b) == built && a != built && b != built {
			t.Fatalf("%s and %s are both %s", a, b, built)
		}
	})
}
