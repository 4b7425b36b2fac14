package orchestration

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/orchestration/internal/staleness"
)

// batchMetrics measure what the application of results brings about.
type batchMetrics struct {
	results, enqueued, completed, failed, moved *telemetry.Counter
	applying, tasks                             *telemetry.Histogram
}

func newBatchMetrics(m *telemetry.Metrics) batchMetrics {
	return batchMetrics{
		results:   m.Counter("tasker.steps.results_processed", "Results that were applied: complete, failed, or too late to count.", "namespace", "outcome"),
		enqueued:  m.Counter("tasker.steps.enqueued", "Steps that became ready: handed to the worker of the process, or waiting in a queue.", "namespace", "how"),
		completed: m.Counter("tasker.tasks.completions", "Tasks that completed.", "namespace", "template"),
		failed:    m.Counter("tasker.tasks.failures", "Tasks that ended in error, or wait for an operator since steps failed.", "namespace", "template", "state"),
		moved:     m.Counter("tasker.task.state_transitions", "Changes of the states of tasks by results, by the new state.", "namespace", "state"),
		applying: m.Histogram("tasker.step_result.processing.duration", "s", "Time to apply a batch of results.",
			telemetry.Durations(), "namespace"),
		tasks: m.Histogram("tasker.task.completion.duration", "s", "Time from the creation of tasks to their completion.",
			append(telemetry.Durations(), 300, 3600, 86400), "namespace", "template"),
	}
}

// count measures a batch that was applied. Named gives the names of the templates
// of tasks in it.
func (b *batchMetrics) count(ctx context.Context, batch *postgres.Batch, applied *postgres.Applied, named func(uuid.UUID) string) {
	if b.results == nil {
		return
	}
	namespace := batch.Namespace
	late := len(batch.Completed) + len(batch.Failed) - applied.Completed - applied.Failed
	b.results.Add(ctx, int64(applied.Completed), namespace, "complete")
	b.results.Add(ctx, int64(applied.Failed), namespace, "failed")
	b.results.Add(ctx, int64(max(late, 0)), namespace, "late")
	b.enqueued.Add(ctx, int64(applied.Enqueued), namespace, "queued")
	b.enqueued.Add(ctx, int64(len(applied.HandedOff)), namespace, "handed_over")
	b.enqueued.Add(ctx, int64(applied.Gated), namespace, "gated")
	for _, t := range applied.Settled {
		b.moved.Add(ctx, 1, namespace, string(t.State))
		switch t.State { //nolint:exhaustive // in the others it goes on
		case tasker.TaskComplete:
			b.completed.Add(ctx, 1, namespace, named(t.Task))
			b.tasks.Record(ctx, max(0, time.Since(taskid.Created(t.Task)).Seconds()), namespace, named(t.Task))
		case tasker.TaskError, tasker.TaskBlockedByFailures:
			b.failed.Add(ctx, 1, namespace, named(t.Task), string(t.State))
		}
	}
}

// templateNames returns what gives the names of the templates of tasks, by the
// definitions of n results.
func (p *processor) templateNames(ctx context.Context, n int, of func(int) (task, template uuid.UUID)) func(uuid.UUID) string {
	var templates map[uuid.UUID]uuid.UUID // by task; most batches need none
	return func(task uuid.UUID) string {
		if templates == nil {
			templates = make(map[uuid.UUID]uuid.UUID, n)
			for i := range n {
				task, template := of(i)
				templates[task] = template
			}
		}
		entry, err := p.entry(ctx, templates[task])
		if err != nil {
			return "unknown"
		}
		return entry.Template.Name
	}
}

// keeperMetrics measure housekeeping and repairs.
type keeperMetrics struct {
	letters, runs, stale, ended, archived, repaired *telemetry.Counter
	detecting, archiving                            *telemetry.Histogram
}

func newKeeperMetrics(m *telemetry.Metrics) keeperMetrics {
	minutes := append(telemetry.Durations(), 300, 1800)
	return keeperMetrics{
		letters:  m.Counter("tasker.dlq.entries_created", "Tasks that were set aside in the dead letter queue.", "namespace", "reason"),
		runs:     m.Counter("tasker.staleness.detection_runs", "Looks for stale tasks.", "result"),
		stale:    m.Counter("tasker.staleness.tasks_detected", "Tasks that were found stale.", "namespace", "cause"),
		ended:    m.Counter("tasker.staleness.tasks_transitioned_to_error", "Stale tasks that were ended for it.", "namespace"),
		archived: m.Counter("tasker.archive.tasks", "Tasks that were moved to the archive."),
		repaired: m.Counter("tasker.reconciler.repairs", "Messages that were sent anew and tasks that were evaluated anew.", "what"),
		detecting: m.Histogram("tasker.staleness.detection.duration", "s", "Time of a look for stale tasks.",
			minutes),
		archiving: m.Histogram("tasker.archive.duration", "s", "Time of a run of the archiver, pauses included.", minutes),
	}
}

func (k *keeperMetrics) detected(ctx context.Context, took time.Duration, report staleness.Report, err error) {
	k.runs.Add(ctx, 1, outcomeOf(err))
	k.detecting.Record(ctx, took.Seconds())
	for i := range report.Stale {
		f := &report.Stale[i]
		k.stale.Add(ctx, 1, f.Namespace, string(f.Cause))
		if f.Action.Ends() && !report.DryRun {
			k.ended.Add(ctx, 1, f.Namespace)
		}
	}
}

func outcomeOf(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

// A sampler keeps what one of the orchestrators has counted in the database: a
// job of housekeeping. What another one counts later outdates it.
type sampler struct {
	mu    sync.Mutex
	last  postgres.Sample
	until time.Time // it is outdated from then on
}

func newSampler(m *telemetry.Metrics) *sampler {
	s := &sampler{}
	m.Gauge("tasker.queue.depth", "{message}", "Messages in each queue that are due.", s.eachQueue(func(q postgres.QueueSample) float64 {
		return float64(q.Due)
	}), "queue")
	m.Gauge("tasker.queue.messages", "{message}", "Messages in each queue, those that are leased or not yet due included.",
		s.eachQueue(func(q postgres.QueueSample) float64 { return float64(q.Messages) }), "queue")
	m.Gauge("tasker.queue.oldest_message.age", "s", "How long the oldest message of each queue has been due.",
		s.eachQueue(func(q postgres.QueueSample) float64 { return q.Oldest.Seconds() }), "queue")
	m.Gauge("tasker.tasks.active", "{task}", "Open tasks, by their state.", func(observe telemetry.Observe) {
		for state, n := range s.sample().Tasks {
			observe(float64(n), string(state))
		}
	}, "state")
	m.Gauge("tasker.dlq.pending_investigations", "{entry}", "Dead letters that nobody has resolved, by reason.", func(observe telemetry.Observe) {
		for reason, n := range s.sample().DeadLetters {
			observe(float64(n), string(reason))
		}
	}, "reason")
	m.Gauge("tasker.steps.gated", "{step}", "Steps that wait at limits, for signals, or for their next attempt there.", func(observe telemetry.Observe) {
		if sample := s.sample(); sample.Tasks != nil {
			observe(float64(sample.Gated))
		}
	})
	return s
}

func (s *sampler) eachQueue(value func(postgres.QueueSample) float64) func(telemetry.Observe) {
	return func(observe telemetry.Observe) {
		for _, q := range s.sample().Queues {
			observe(value(q), q.Queue)
		}
	}
}

func (s *sampler) sample() postgres.Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().After(s.until) {
		return postgres.Sample{}
	}
	return s.last
}

func (s *sampler) keep(sample postgres.Sample, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.until = sample, time.Now().Add(d)
}

// sampleOnce counts what is in the queues and tables.
func (h *housekeeper) sampleOnce(ctx context.Context, interval time.Duration) (any, error) {
	namespaces, err := postgres.Namespaces(ctx, h.pool)
	if err != nil {
		return nil, err
	}
	queues := []string{h.names.Results(), h.names.Requests(), h.names.Finalizations()}
	for _, namespace := range namespaces {
		queue, err := h.names.Steps(namespace)
		if err != nil {
			return nil, err
		}
		queues = append(queues, queue)
	}
	sample, err := postgres.TakeSample(ctx, h.pool, queues)
	if err == nil {
		h.sampler.keep(sample, 2*interval+time.Second)
	}
	return map[string]any{"queues": len(sample.Queues)}, err
}
