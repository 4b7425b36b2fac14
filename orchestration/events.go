package orchestration

import (
	"context"
	"encoding/json"

	"github.com/tasker-systems/tasker-go/internal/common/events"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// announced are the events that may follow from a batch, by their keys.
type announced struct {
	all []outcome.Event
}

// add gives events their keys and returns them as the batch takes them.
func (a *announced) add(step postgres.StepRef, all []outcome.Event) []postgres.Event {
	var added []postgres.Event
	for i := range all {
		e := postgres.Event{StepRef: step, Key: len(a.all)}
		if all[i].Durable {
			e.Message = all[i].Message()
		}
		a.all = append(a.all, all[i])
		added = append(added, e)
	}
	return added
}

// announce adds the events of outcomes to the batch that applies them.
func (p *processor) announce(batch *postgres.Batch, namespace string, group []outcome.Outcome) *announced {
	known := &announced{}
	for i := range group {
		if o := &group[i]; len(o.Events) > 0 {
			batch.Events = append(batch.Events, known.add(o.Step.StepRef, o.Events)...)
		}
	}
	batch.EventQueue = p.names.Events(namespace)
	return known
}

// announceReported adds the events that other processes have reported. Their
// subscribers have been told there.
func (p *processor) announceReported(ctx context.Context, batch *postgres.Batch, namespace string, group []postgres.StoredReport) {
	var known map[postgres.StepRef]bool // a report may come twice
	for i := range group {
		r := &group[i]
		if r.Events == nil || known[r.StepRef] {
			continue
		}
		var messages []json.RawMessage
		if err := json.Unmarshal(r.Events, &messages); err != nil {
			p.log.ErrorContext(telemetry.About(ctx, claimedOf(r)), "the events of a step do not decode and are not published", "error", err)
			continue
		}
		if known == nil {
			known = map[postgres.StepRef]bool{}
		}
		known[r.StepRef] = true
		for _, m := range messages {
			batch.Events = append(batch.Events, postgres.Event{StepRef: r.StepRef, Key: len(batch.Events), Message: m})
		}
	}
	batch.EventQueue = p.names.Events(namespace)
}

// instead are the events of a step whose result cannot be carried out.
func (p *processor) instead(ctx context.Context, d decision, failure *outcome.Failure, known *announced) []postgres.Event {
	return known.add(d.step.StepRef, p.router.Of(ctx, events.Attempt{
		Entry: d.entry, Claimed: d.step, Step: events.StepOf(d.entry, d.step), Failure: failure,
	}))
}

// counted publishes those of a batch's events whose attempts have counted.
func (p *processor) counted(known *announced, counted []postgres.CountedEvent) {
	for _, c := range counted {
		p.router.Counted(known.all[c.Key], c.Correlation)
	}
}
