package orchestration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/messaging/rabbitmq"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// read reads reports. Those of which the answer is lost come again when their
// visibility timeout has passed.
func (p *processor) read(ctx context.Context, queue string, most int, visibility time.Duration) (reports []postgres.StoredReport, err error) {
	err = p.reads.Try(ctx, "read results", p.retries, func(ctx context.Context) (err error) {
		reports, err = postgres.ReadReports(ctx, p.db, queue, most, visibility)
		if postgres.IsUnreadable(err) {
			err = errors.Join(err, setMalformedAside(ctx, p.db, p.log, queue, true))
		}
		return err
	})
	return reports, err
}

// setMalformedAside sets those messages aside that no reader of the queue can
// read, so that the next try reads the others.
func setMalformedAside(ctx context.Context, db postgres.DB, log *slog.Logger, queue string, results bool) error {
	n, err := postgres.SetMalformedAside(ctx, db, queue, results)
	if n > 0 {
		log.ErrorContext(ctx, "messages that name no step are set aside in the archive of their queue", "queue", queue, "messages", n)
	}
	return err
}

// pause is how long to wait for work that nobody announces: a poll interval, and
// where nothing is notified no longer than a reader of a queue sleeps.
func (p *processor) pause(ctx context.Context, queue string) time.Duration {
	pause := p.polls()
	due, any, err := postgres.NextDue(ctx, p.db, queue)
	if err == nil && any && (pause < 0 || due < pause) {
		pause = due
	}
	return pause
}

// polls is the pause between two looks that nothing asks for; negative: there is
// none.
func (p *processor) polls() time.Duration {
	pause := time.Duration(-1)
	if p.events.DeploymentMode.Polls() {
		pause = p.events.Timing.FallbackPollingInterval.Duration()
	}
	if p.listener.Lost() && (pause < 0 || p.empty < pause) {
		pause = p.empty
	}
	return pause
}

// announcements are the messages by which RabbitMQ says that results wait; they
// are acknowledged once those have been read, which leases them. With pgmq there
// are none.
type announcements struct {
	*rabbitmq.Consumer

	held []rabbitmq.Delivery
}

// mostAnnounced is how many announcements an orchestrator holds at a time, each of
// a batch of results.
const mostAnnounced = 100

func (a *announcements) take() {
	if a.Consumer == nil {
		return
	}
	for _, d := range a.Take(mostAnnounced) {
		if !json.Valid(d.Body) {
			a.Reject(d)
			continue
		}
		a.held = append(a.held, d)
	}
}

func (a *announcements) done() {
	if len(a.held) > 0 {
		a.Ack(a.held)
		a.held = nil
	}
}

// applyReportGroup applies reports of one namespace and returns those that it
// could not: they come again when their visibility timeout has passed. What
// PostgreSQL refuses is found by bisection: that step fails alone, and where not
// even its failure can be stored, its task is ended.
func (p *processor) applyReportGroup(ctx context.Context, queue string, entry *catalog.Entry, group []postgres.StoredReport) (left []postgres.StoredReport) {
	refusal := p.tryReports(ctx, queue, entry, group)
	if refusal == nil {
		return nil
	}
	if !postgres.IsDataError(refusal) {
		return group
	}
	if half := len(group) / 2; half > 0 {
		return append(p.applyReportGroup(ctx, queue, entry, group[:half]), p.applyReportGroup(ctx, queue, entry, group[half:])...)
	}
	f := outcome.Failure{Kind: outcome.ResultRefused, Message: "PostgreSQL refuses what follows from the result: " + postgres.Reason(refusal), Permanent: true}
	group[0].Failed, group[0].Error, group[0].Events = true, f.JSON(), nil
	switch err := p.tryReports(ctx, queue, entry, group); {
	case postgres.IsDataError(err):
		p.endTask(ctx, &group[0], refusal)
	case err != nil:
		return group
	}
	return nil
}

// endTask ends the task of a report that nobody can carry out; the dead letter
// queue sets it aside, and the message is stale.
func (p *processor) endTask(ctx context.Context, r *postgres.StoredReport, reason error) {
	f := outcome.Failure{
		Kind: outcome.ResultRefused, Permanent: true,
		Message: fmt.Sprintf("the report of the step was read %d times and cannot be applied: %v", r.Reads, reason),
	}
	err := p.ops.Do(ctx, "end a task", func(ctx context.Context) error {
		return p.teller.around(ctx, []uuid.UUID{r.Task}, func() error {
			return postgres.EndPoisoned(ctx, p.db, []postgres.GivenUp{{Task: r.Task, Error: f.JSON(), Actor: "results"}})
		})
	})
	if err != nil {
		p.log.WarnContext(ctx, "a task whose results cannot be applied is not ended; trying again", "task_id", r.Task, "error", err)
		return
	}
	p.log.ErrorContext(ctx, "a report cannot be applied; its task has ended in error", "step_id", r.StepRef.ID(), "task_id", r.Task, "error", reason)
	p.failures.Raise()
	p.settled()
}

func (p *processor) tryReports(ctx context.Context, queue string, entry *catalog.Entry, group []postgres.StoredReport) error {
	batch := postgres.Batch{Queue: entry.Queue, Namespace: entry.Template.Namespace}
	consumed := make([]postgres.Message, len(group))
	decided, err := p.readDecisions(ctx, group)
	if err != nil {
		return err // ctx has ended: the messages come again
	}
	traced := traceResults(ctx, p, batch.Namespace, group, reportedReport)
	p.grow(ctx, &batch, decided, companions{&announced{}, traced})
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
	traced.end(applied, err)
	if err == nil {
		p.after(ctx, entry, batch, applied)
		p.counts.count(ctx, &batch, &applied, p.templateNames(ctx, len(group), func(i int) (task, template uuid.UUID) {
			return group[i].Task, group[i].Template
		}))
	}
	return err
}

func (p *processor) failedReport(ctx context.Context, r *postgres.StoredReport) postgres.Failed {
	var f outcome.Failure
	if err := json.Unmarshal(r.Error, &f); err != nil {
		f = outcome.Failure{Kind: outcome.HandlerError, Message: "the stored error does not decode: " + err.Error()}
	}
	var stored json.RawMessage // on the step already
	if f.Kind == outcome.ResultRefused {
		stored = r.Error // this process may have found so just now
	}
	return p.failed(telemetry.Carry(ctx, r.Trace), claimedOf(r), &f, stored)
}

// claimedOf is the claim that a report speaks of, as far as it says.
func claimedOf(r *postgres.StoredReport) *postgres.ClaimedStep {
	return &postgres.ClaimedStep{
		Message: r.Message, Template: r.Template, Name: r.Name, Definition: r.Definition, Attempt: r.Attempt, MaxAttempts: r.MaxAttempts,
		Correlation: r.Correlation,
	}
}
