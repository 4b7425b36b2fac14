package worker

import (
	"context"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// workMetrics measure claims, attempts and reports. The steps they name are those
// of templates: copies count under their original.
type workMetrics struct {
	executions, claimed, submitted                  *telemetry.Counter
	running, claiming, submitting, waited, attempts *telemetry.Histogram
}

func newWorkMetrics(m *telemetry.Metrics, slots *slots) workMetrics {
	m.Gauge("tasker.steps.active_executions", "{step}", "Slots of the worker that are taken: steps that run, or whose results are not stored yet.",
		func(observe telemetry.Observe) { observe(float64(slots.inUse())) })
	m.Gauge("tasker.steps.execution_slots", "{step}", "Steps that the worker may have in hand at once.",
		func(observe telemetry.Observe) { observe(float64(slots.capacity)) })
	return workMetrics{
		executions: m.Counter("tasker.steps.executions", "Attempts at steps, by how they ended: complete, or the kind of failure.",
			"namespace", "template", "step", "outcome"),
		claimed:   m.Counter("tasker.steps.claimed", "Steps that were claimed from queues; those handed over within a process are not.", "namespace"),
		submitted: m.Counter("tasker.steps.results_submitted", "Results that were stored for an orchestrator in another process.", "queue"),
		running: m.Histogram("tasker.step.execution.duration", "s", "Time that attempts at steps take.",
			append(telemetry.Durations(), 300, 1800), "namespace", "template", "step"),
		claiming: m.Histogram("tasker.step.claim.duration", "s", "Time to claim a batch of steps.", telemetry.Durations(), "namespace"),
		submitting: m.Histogram("tasker.step_result.submission.duration", "s", "Time to store a batch of results.",
			telemetry.Durations(), "queue"),
		waited: m.Histogram("tasker.message.latency", "s", "Time that messages of steps were due before they were claimed.",
			append(telemetry.Durations(), 300, 1800), "namespace"),
		attempts: m.Histogram("tasker.step.attempts", "{attempt}", "Which attempt at their step attempts were.",
			[]float64{1, 2, 3, 5, 10, 20}, "namespace"),
	}
}

// claim measures a read of a queue.
func (w *workMetrics) claim(ctx context.Context, namespace string, took time.Duration, steps []postgres.ClaimedStep) {
	if w.claimed == nil {
		return
	}
	w.claiming.Record(ctx, took.Seconds(), namespace)
	w.claimed.Add(ctx, int64(len(steps)), namespace)
	for i := range steps {
		w.waited.Record(ctx, steps[i].Waited.Seconds(), namespace)
	}
}

// attempt measures an attempt that is over.
func (w *workMetrics) attempt(ctx context.Context, of *postgres.ClaimedStep, template [2]string, took time.Duration, failure *outcome.Failure) {
	how := "complete"
	if failure != nil {
		how = failure.Kind
	}
	namespace, name := template[0], template[1]
	w.executions.Add(ctx, 1, namespace, name, of.Defined(), how)
	w.running.Record(ctx, took.Seconds(), namespace, name, of.Defined())
	w.attempts.Record(ctx, float64(of.Attempt), namespace)
}

// report measures a batch of results that was stored.
func (w *workMetrics) report(ctx context.Context, queue string, took time.Duration, stored int) {
	w.submitting.Record(ctx, took.Seconds(), queue)
	w.submitted.Add(ctx, int64(stored), queue)
}
