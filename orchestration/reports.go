package orchestration

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// applyStored applies what workers of other processes report, until ctx ends.
// It reads when woken, when a message is due, and, unless the mode is
// EventDrivenOnly, every fallback_polling_interval_seconds.
func (p *processor) applyStored(ctx context.Context, wake *eventsystem.Signal) {
	queue := p.names.Results()
	visibility := p.events.Timing.VisibilityTimeout.Duration()
	for ctx.Err() == nil {
		reports, err := p.read(ctx, queue, visibility)
		if err != nil {
			if ctx.Err() == nil {
				p.log.ErrorContext(ctx, "operation given up; trying again after a while", "error", err)
				wake.Wait(ctx, p.ops.Pause())
			}
			continue
		}
		p.applyReports(ctx, queue, reports)
		if len(reports) == 0 {
			wake.Wait(ctx, p.pause(ctx, queue))
		}
	}
}

// read reads reports. Those of which the answer is lost come again when their
// visibility timeout has passed.
func (p *processor) read(ctx context.Context, queue string, visibility time.Duration) (reports []postgres.StoredReport, err error) {
	err = p.ops.Try(ctx, "read results", p.retries, func(ctx context.Context) (err error) {
		reports, err = postgres.ReadReports(ctx, p.db, queue, p.most(), visibility)
		return err
	})
	return reports, err
}

// pause is how long to wait for work that nobody announces: a poll interval, and
// where nothing is notified no longer than a reader of a queue sleeps.
func (p *processor) pause(ctx context.Context, queue string) time.Duration {
	pause := time.Duration(-1)
	if p.events.DeploymentMode.Polls() {
		pause = p.events.Timing.FallbackPollingInterval.Duration()
	}
	if p.listener.Lost() && (pause < 0 || p.empty < pause) {
		pause = p.empty
	}
	due, any, err := postgres.NextDue(ctx, p.db, queue)
	if err == nil && any && (pause < 0 || due < pause) {
		pause = due
	}
	return pause
}

// applyReports applies reports by namespace. Their results are on the step rows
// already, so none can be refused.
func (p *processor) applyReports(ctx context.Context, queue string, reports []postgres.StoredReport) {
	groups := map[string][]postgres.StoredReport{} // step queue → reports
	entries := map[string]*catalog.Entry{}
	var stale []postgres.Message
	for _, r := range reports {
		if r.Stale {
			stale = append(stale, r.Message)
			continue
		}
		entry, err := p.entry(ctx, r.Template)
		if err != nil {
			return
		}
		entries[entry.Queue] = entry
		groups[entry.Queue] = append(groups[entry.Queue], r)
	}
	for stepQueue, group := range groups {
		p.applyReportGroup(ctx, queue, entries[stepQueue], group)
	}
	if len(stale) > 0 {
		if err := postgres.DeleteMessages(ctx, p.db, queue, stale); err != nil {
			p.log.WarnContext(ctx, "stale results not deleted; they come again", "error", err)
		}
	}
}

func (p *processor) applyReportGroup(ctx context.Context, queue string, entry *catalog.Entry, group []postgres.StoredReport) {
	batch := postgres.Batch{Queue: entry.Queue, Namespace: entry.Template.Namespace}
	consumed := make([]postgres.Message, len(group))
	decided, err := p.readDecisions(ctx, group)
	if err != nil {
		return // ctx has ended: the messages come again
	}
	p.grow(ctx, &batch, decided, &announced{})
	for i := range group {
		r := &group[i]
		consumed[i] = r.Message
		if !r.Failed {
			batch.Completed = append(batch.Completed, postgres.Completed{StepRef: r.StepRef})
		} else {
			batch.Failed = append(batch.Failed, p.failedReport(ctx, r))
		}
		if r.Failed || r.Leaf || r.Definition != "" || p.gated(ctx, r.Template) {
			batch.Settle = append(batch.Settle, r.Task)
		} else {
			batch.Others = append(batch.Others, r.Task)
		}
	}
	batch.Consumed = []postgres.Consumed{{Queue: queue, Messages: consumed}}
	p.announceReported(ctx, &batch, entry.Template.Namespace, group)
	applied, err := p.apply(ctx, batch)
	if err != nil {
		return // the messages come again when their visibility timeout has passed
	}
	p.after(ctx, entry, batch, applied)
}

func (p *processor) failedReport(ctx context.Context, r *postgres.StoredReport) postgres.Failed {
	var f outcome.Failure
	if err := json.Unmarshal(r.Error, &f); err != nil {
		f = outcome.Failure{Kind: outcome.HandlerError, Message: "the stored error does not decode: " + err.Error()}
	}
	return p.failed(ctx, claimedOf(r), &f, nil)
}

// claimedOf is the claim that a report speaks of, as far as it says.
func claimedOf(r *postgres.StoredReport) *postgres.ClaimedStep {
	return &postgres.ClaimedStep{
		Message: r.Message, Template: r.Template, Name: r.Name, Definition: r.Definition, Attempt: r.Attempt, MaxAttempts: r.MaxAttempts,
	}
}
