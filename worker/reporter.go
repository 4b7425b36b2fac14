package worker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/backoff"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A reporter stores outcomes in the database, in batches, for an orchestrator
// in another process. While the database is away it keeps them, and their
// slots: a worker that cannot report must not claim.
type reporter struct {
	runner   *runner
	outcomes chan outcome.Outcome
	closed   chan struct{}
}

func newReporter(r *runner) *reporter {
	return &reporter{
		runner: r, outcomes: make(chan outcome.Outcome, r.cfg.Channels.EventSubscribers.ResultBufferSize), closed: make(chan struct{}),
	}
}

// report takes an outcome; it waits while the buffer is full. One that comes
// after the end, from a handler that would not stop, is dropped: its step was
// given back.
func (p *reporter) report(o outcome.Outcome) {
	select {
	case p.outcomes <- o:
	case <-p.closed:
	}
}

// close says that no further outcome counts.
func (p *reporter) close() { close(p.closed) }

// run stores outcomes until the reporter is closed and all are stored. What
// piles up while one batch is stored makes the next.
func (p *reporter) run(ctx context.Context) {
	most := coalesced * p.runner.cfg.System.QueueConfig.BatchSize
	for {
		select {
		case o := <-p.outcomes:
			groups := map[string][]outcome.Outcome{o.Queue: {o}}
			for n := 1; n < most && len(p.outcomes) > 0; n++ {
				o := <-p.outcomes
				groups[o.Queue] = append(groups[o.Queue], o)
			}
			for queue, group := range groups {
				p.store(ctx, queue, group)
			}
		case <-p.closed:
			if len(p.outcomes) == 0 {
				return
			}
		}
	}
}

// store insists until the outcomes are stored, or ctx has ended.
func (p *reporter) store(ctx context.Context, queue string, group []outcome.Outcome) {
	r := p.runner
	reports := make([]postgres.Report, len(group))
	held := 0
	for i, o := range group {
		reports[i] = postgres.Report{Message: o.Step.Message, Template: o.Step.Template, Result: o.Result, Events: durable(o.Events)}
		if o.Failure != nil {
			reports[i].Error = o.Failure.JSON()
		}
		if o.Slot {
			held++
		}
	}
	for failures := 1; ; failures++ {
		stored, err := postgres.ReportSteps(context.WithoutCancel(ctx), r.sys.Pool, queue, r.sys.Names.Results(), reports)
		if err == nil {
			if late := len(reports) - len(stored); late > 0 {
				r.log.InfoContext(ctx, "results came after their claim was lost and change nothing", "queue", queue, "results", late)
			}
			r.Applied(group)
			r.slots.release(held)
			r.sys.Notifier.Wake(r.sys.Names.ResultsChannel())
			p.publish(ctx, group, stored)
			return
		}
		if postgres.IsDataError(err) {
			p.bisect(ctx, queue, group, err)
			return
		}
		pause := backoff.Operation(r.cfg.EventSystem.Processing.Backoff, failures)
		r.log.WarnContext(ctx, "results not stored; trying again", "results", len(reports), "error", err, "failures", failures, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return // leases run out and the steps run again
		}
	}
}

// bisect finds the result that the database refuses; it alone fails, for good.
func (p *reporter) bisect(ctx context.Context, queue string, group []outcome.Outcome, refusal error) {
	if len(group) > 1 {
		p.store(ctx, queue, group[:len(group)/2])
		p.store(ctx, queue, group[len(group)/2:])
		return
	}
	entry, err := p.runner.sys.Catalog.Entry(ctx, group[0].Step.Template)
	if err != nil {
		return // not even a definition that was read before: ctx has ended, and the lease runs out
	}
	p.store(ctx, queue, []outcome.Outcome{p.runner.sys.Events.Refuse(ctx, entry, group[0], refusal)})
}

// durable are the events that travel to the orchestrator with the report.
func durable(events []outcome.Event) json.RawMessage {
	var messages []json.RawMessage
	for i := range events {
		if events[i].Durable {
			messages = append(messages, events[i].Message())
		}
	}
	if messages == nil {
		return nil
	}
	raw, err := json.Marshal(messages)
	if err != nil {
		panic("worker: encode events: " + err.Error()) // they are JSON already
	}
	return raw
}

// publish tells the subscribers in this process of what the reports that counted
// have brought about.
func (p *reporter) publish(ctx context.Context, group []outcome.Outcome, stored []int) {
	var tasks []uuid.UUID
	for _, i := range stored {
		if len(group[i].Events) > 0 {
			tasks = append(tasks, group[i].Step.Task)
		}
	}
	if tasks == nil {
		return
	}
	sys := p.runner.sys
	correlations, err := postgres.Correlations(context.WithoutCancel(ctx), sys.Pool, tasks)
	if err != nil {
		sys.Log.WarnContext(ctx, "events go without the correlation ids of their tasks", "error", err)
	}
	for _, i := range stored {
		for _, e := range group[i].Events {
			sys.Events.Counted(e, correlations[group[i].Step.Task])
		}
	}
}
