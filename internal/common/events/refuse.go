package events

import (
	"context"
	"errors"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// Refuse turns an outcome that PostgreSQL refuses into one that it can store.
// The payload that a publisher made of an event is no reason to fail a step: it
// goes first, and the outcome may be tried again. After that the result is at
// fault, and the attempt has failed for good.
func (r *Router) Refuse(ctx context.Context, entry *catalog.Entry, o outcome.Outcome, refusal error) outcome.Outcome {
	reason := postgres.Reason(refusal)
	if kept := r.withoutOwn(ctx, o.Events, reason); len(kept) < len(o.Events) {
		o.Events = kept
		return o
	}
	o.Refuse(reason)
	o.Events = r.Of(ctx, Attempt{Entry: entry, Claimed: &o.Step, Step: StepOf(entry, &o.Step), Failure: o.Failure})
	return o
}

// withoutOwn leaves out the durable events whose payloads publishers made.
func (r *Router) withoutOwn(ctx context.Context, all []outcome.Event, reason string) []outcome.Event {
	var kept []outcome.Event
	for _, e := range all {
		if !e.Durable || !e.OwnPayload {
			kept = append(kept, e)
			continue
		}
		r.leaveOut(ctx, e.Event, errors.New("PostgreSQL cannot store it: "+reason))
	}
	return kept
}

// StepOf is a claimed step in the words of handlers and publishers, without what
// only the former need.
func StepOf(entry *catalog.Entry, s *postgres.ClaimedStep) *tasker.Step {
	t := entry.Template
	return &tasker.Step{
		Task: s.Task.String(), ID: s.StepRef.ID().String(), Name: s.Name,
		Namespace: t.Namespace, Template: t.Name, Version: t.Version,
		Attempt: int(s.Attempt), MaxAttempts: int(s.MaxAttempts), Context: s.Context, Results: s.Results,
	}
}
