package intake

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// Metrics measure what comes in; the zero value measures nothing.
type Metrics struct {
	requests *telemetry.Counter
	creating *telemetry.Histogram
}

// NewMetrics returns metrics of what comes in.
func NewMetrics(m *telemetry.Metrics) Metrics {
	return Metrics{
		requests: m.Counter("tasker.tasks.requests", "Requests for tasks: created, duplicate of a task that exists, or failed.",
			"namespace", "template", "outcome"),
		creating: m.Histogram("tasker.task.initialization.duration", "s", "Time to store the tasks of a call with their steps.",
			telemetry.Durations()),
	}
}

// A stored call is what became of its tasks.
type stored struct {
	ids      []uuid.UUID
	entries  []*catalog.Entry
	existing map[uuid.UUID]uuid.UUID // instead of tasks that were not created
	err      error                   // why none was
}

// count measures a call.
func (m *Metrics) count(ctx context.Context, began time.Time, call stored) {
	if m.requests == nil {
		return
	}
	m.creating.Record(ctx, time.Since(began).Seconds())
	for i, e := range call.entries {
		outcome := "created"
		if _, there := call.existing[call.ids[i]]; there {
			outcome = "duplicate"
		}
		if call.err != nil {
			outcome = "failed"
		}
		m.requests.Add(ctx, 1, e.Template.Namespace, e.Template.Name, outcome)
	}
}
