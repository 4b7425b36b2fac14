package worker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

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

	announcer *announcer
}

func newReporter(r *runner) *reporter {
	return &reporter{
		runner: r, outcomes: make(chan outcome.Outcome, r.cfg.Channels.EventSubscribers.ResultBufferSize), closed: make(chan struct{}),
		announcer: newAnnouncer(r.sys),
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
// piles up while one batch is stored makes the next; what could not be stored
// rests and is taken up again, with its slots.
func (p *reporter) run(ctx context.Context) {
	var again []outcome.Outcome
	for {
		var rested <-chan time.Time
		if len(again) > 0 {
			rested = time.After(p.runner.ops.Pause())
		}
		var batch []outcome.Outcome
		select {
		case o := <-p.outcomes:
			batch = p.collect(o)
		case <-rested:
			batch, again = again, nil
		case <-p.closed:
			if batch, again = again, nil; len(p.outcomes) > 0 {
				batch = append(batch, p.collect(<-p.outcomes)...)
			}
			if len(batch) == 0 {
				return
			}
		}
		again = append(again, p.storeAll(ctx, batch)...)
		if ctx.Err() != nil {
			return // leases run out and the steps run again
		}
	}
}

// collect makes a batch of an outcome and of those that wait behind it.
func (p *reporter) collect(first outcome.Outcome) []outcome.Outcome {
	batch := []outcome.Outcome{first}
	for most := p.runner.together(p.runner.cfg.System.QueueConfig.BatchSize); len(batch) < most && len(p.outcomes) > 0; {
		batch = append(batch, <-p.outcomes)
	}
	return batch
}

// storeAll stores outcomes by queue and returns those that it could not store.
func (p *reporter) storeAll(ctx context.Context, batch []outcome.Outcome) (left []outcome.Outcome) {
	groups := map[string][]outcome.Outcome{}
	for _, o := range batch {
		groups[o.Queue] = append(groups[o.Queue], o)
	}
	for queue, group := range groups {
		left = append(left, p.store(ctx, queue, group)...)
	}
	return left
}

func (p *reporter) store(ctx context.Context, queue string, group []outcome.Outcome) (left []outcome.Outcome) {
	r := p.runner
	reports := make([]postgres.Report, len(group))
	held := 0
	for i, o := range group {
		reports[i] = postgres.Report{
			Message: o.Step.Message, Template: o.Step.Template, Result: o.Result, Events: durable(o.Events),
			Correlation: o.Step.Correlation, Trace: o.Trace,
		}
		if o.Failure != nil {
			reports[i].Error = o.Failure.JSON()
		}
		if o.Slot {
			held++
		}
	}
	began := time.Now()
	var stored []int
	var refusal error
	err := r.ops.Do(ctx, "store results", func(ctx context.Context) (err error) {
		stored, err = postgres.ReportSteps(ctx, r.sys.Pool, queue, r.sys.Names.Results(), reports)
		if postgres.IsDataError(err) {
			refusal = err // another try does not help
			return nil
		}
		return err
	})
	switch {
	case refusal != nil:
		return p.bisect(ctx, queue, group, refusal)
	case err != nil:
		if ctx.Err() == nil {
			r.log.ErrorContext(ctx, "operation given up; its results are stored later", "error", err, "results", len(reports))
		}
		return group
	}
	if late := len(reports) - len(stored); late > 0 {
		r.log.InfoContext(ctx, "results came after their claim was lost and change nothing", "queue", queue, "results", late)
	}
	r.counts.report(ctx, queue, time.Since(began), len(stored))
	r.Applied(group)
	r.slots.release(held)
	p.announcer.announce(group, stored)
	p.publish(ctx, group, stored)
	return nil
}

// bisect finds the result that the database refuses; it alone fails, for good.
func (p *reporter) bisect(ctx context.Context, queue string, group []outcome.Outcome, refusal error) (left []outcome.Outcome) {
	if len(group) > 1 {
		left = p.store(ctx, queue, group[:len(group)/2])
		return append(left, p.store(ctx, queue, group[len(group)/2:])...)
	}
	entry, err := p.runner.sys.Catalog.Entry(ctx, group[0].Step.Template)
	if err != nil {
		return group // not even a definition that was read before
	}
	return p.store(ctx, queue, []outcome.Outcome{p.runner.sys.Events.Refuse(ctx, entry, group[0], refusal)})
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
