package orchestration

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/events"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/orchestration/internal/result"
)

// coalesced is how many reads of batch_size go into one round trip under load.
const coalesced = 50

// A processor applies what workers report, in batches: those of the worker in
// this process as they come, those of other processes from the results queue.
type processor struct {
	db       postgres.Pool
	tracer   *telemetry.Tracer
	counts   batchMetrics
	catalog  *catalog.Catalog
	names    messaging.Names
	notifier *eventsystem.Notifier
	log      *slog.Logger
	router   *events.Router
	teller   *teller
	settled  func() // tasks have changed their states
	process  uuid.UUID
	lease    time.Duration // of steps handed over within the process
	line     *handoff.Line
	backoff  func() config.Backoff // follows a reload
	events   config.EventSystem
	ops      *eventsystem.Operator
	reads    *eventsystem.Operator // ops behind the breaker of messaging
	retries  int                   // of reading the results queue
	empty    time.Duration         // how long to sleep after an empty read where nothing notifies
	listener *eventsystem.Listener // nil: nothing notifies
	limit    int                   // of the batch size
	limits   config.DecisionPoints
	decided  decisionMetrics
	look     func(gates []string) // of the limiter: steps came to wait there, or slots came back
	failures *eventsystem.Signal  // raised when tasks have failed
	gates    *eventsystem.Signal  // raised when steps have come to a gate

	announced announcements // of results, by RabbitMQ
}

func newProcessor(sys *system.Context, cfg *config.Orchestration, line *handoff.Line) *processor {
	p := &processor{
		db: sys.Pool, tracer: sys.Tracer, counts: newBatchMetrics(sys.Metrics), catalog: sys.Catalog, names: sys.Names, notifier: sys.Notifier, log: sys.Log,
		router: sys.Events, teller: newTeller(sys), settled: func() {}, process: sys.Process, lease: cfg.EventSystems.Orchestration.Timing.VisibilityTimeout.Duration(),
		line: line, backoff: backoffOf(sys, cfg), events: cfg.EventSystems.Orchestration,
		ops:     eventsystem.NewOperator(cfg.EventSystems.Orchestration, 0, sys.Log).LogSlow(cfg.System.EnablePerformanceLogging),
		retries: sys.Common.Queues.PGMQ.MaxRetries,
		empty:   sys.Common.Queues.PGMQ.PollInterval.Duration(),
		limit:   sys.Common.Queues.MaxBatchSize,
		limits:  cfg.DecisionPoints, decided: newDecisionMetrics(sys.Metrics, cfg.DecisionPoints),
		failures: eventsystem.NewSignal(),
		gates:    eventsystem.NewSignal(),
	}
	p.reads = p.ops.Behind(sys.Messaging())
	return p
}

// backoffOf returns what gives the waits in effect.
func backoffOf(sys *system.Context, cfg *config.Orchestration) func() config.Backoff {
	section := sectionOf(sys, cfg)
	return func() config.Backoff { return section().Backoff }
}

// most is how many steps one transaction changes, give or take one outcome.
func (p *processor) most() int { return coalesced * min(p.events.Processing.BatchSize, p.limit) }

// applyLanes applies what comes down the line until it is closed and empty.
func (p *processor) applyLanes(ctx context.Context) {
	var wg sync.WaitGroup
	for _, lane := range p.line.Lanes() {
		wg.Go(func() { p.applyReported(ctx, lane) })
	}
	wg.Wait()
	p.line.MarkDrained()
}

// applyReported applies what comes down one lane until the line is closed and
// the lane empty. What an operation gave up on rests and is taken up again, so
// that no result is lost while the process lives.
func (p *processor) applyReported(ctx context.Context, lane <-chan outcome.Outcome) {
	var again []outcome.Outcome
	for {
		var rested <-chan time.Time
		if len(again) > 0 {
			rested = time.After(p.ops.Pause())
		}
		var batch []outcome.Outcome
		select {
		case o := <-lane:
			batch = p.collect(ctx, o, lane)
		case <-rested:
			batch, again = again, nil
		case <-p.line.Closed():
			if len(lane) == 0 {
				if left := p.applyOutcomes(ctx, again); len(left) > 0 {
					p.log.WarnContext(ctx, "results lost with the shutdown; their steps run again when their leases have run out", "results", len(left))
				}
				return
			}
			continue
		}
		again = append(again, p.applyOutcomes(ctx, batch)...)
	}
}

// collect makes a batch of an outcome and of what has piled up behind it while
// the last batch was applied. A batch that sets many steps free is kept short, so
// that the worker gets the first of them soon.
func (p *processor) collect(ctx context.Context, first outcome.Outcome, lane <-chan outcome.Outcome) []outcome.Outcome {
	batch := []outcome.Outcome{first}
	for weight := p.weight(ctx, &first); weight < p.most() && len(lane) > 0; {
		o := <-lane
		weight += p.weight(ctx, &o)
		batch = append(batch, o)
	}
	return batch
}

// weight is how many steps an outcome may change.
func (p *processor) weight(ctx context.Context, o *outcome.Outcome) int {
	return 1 + p.dependents(ctx, o.Step.Template, o.Step.Defined())
}

// applyOutcomes applies outcomes of the worker in this process and hands over
// the steps that become ready. It returns those it could not apply.
func (p *processor) applyOutcomes(ctx context.Context, batch []outcome.Outcome) (left []outcome.Outcome) {
	groups, left := p.byQueue(ctx, batch)
	for entry, group := range groups {
		left = append(left, p.applyGroup(ctx, entry, group)...)
	}
	return left
}

// byQueue splits outcomes by namespace: a batch speaks to one step queue. Of
// each group it yields some definition, which says namespace and queue. Left are
// those whose definition cannot be read now.
func (p *processor) byQueue(ctx context.Context, batch []outcome.Outcome) (groups map[*catalog.Entry][]outcome.Outcome, left []outcome.Outcome) {
	representative := map[string]*catalog.Entry{}
	groups = map[*catalog.Entry][]outcome.Outcome{}
	for i, o := range batch {
		entry, err := p.entry(ctx, o.Step.Template)
		if err != nil {
			return groups, batch[i:] // the others would wait as long for the same database
		}
		if representative[entry.Queue] == nil {
			representative[entry.Queue] = entry
		}
		key := representative[entry.Queue]
		groups[key] = append(groups[key], o)
	}
	return groups, left
}

// entry finds a definition. It is in memory but for the first time.
func (p *processor) entry(ctx context.Context, id uuid.UUID) (*catalog.Entry, error) {
	if entry := p.catalog.Cached(id); entry != nil {
		return entry, nil
	}
	var entry *catalog.Entry
	err := p.ops.Do(ctx, "read a template", func(ctx context.Context) (err error) {
		entry, err = p.catalog.Entry(ctx, id)
		return err
	})
	if err != nil && ctx.Err() == nil {
		p.log.ErrorContext(ctx, "operation given up; what needs it is taken up again", "error", err)
	}
	return entry, err
}

// applyGroup applies outcomes of one queue. Slots that they hold go to their
// successors; successors beyond that reserve free ones. It returns the outcomes
// that it could not apply, with their slots.
func (p *processor) applyGroup(ctx context.Context, entry *catalog.Entry, group []outcome.Outcome) (left []outcome.Outcome) {
	runner, began := p.line.Runner(), time.Now()
	namespace := entry.Template.Namespace
	batch := postgres.Batch{
		Queue: entry.Queue, Namespace: namespace,
		HandOff: postgres.HandOff{Process: p.process, Lease: p.lease},
	}
	held, successors := 0, 0
	decided := map[postgres.StepRef]decision{}
	consumed := make([]postgres.Message, len(group))
	for i := range group {
		o := &group[i]
		consumed[i] = o.Step.Message
		successors += p.add(ctx, &batch, o)
		if o.Failure == nil && o.Step.Definition == "" {
			if entry := p.decides(ctx, o.Step.Template, o.Step.Name); entry != nil {
				decided[o.Step.StepRef] = decision{entry, &o.Step, o.Result}
			}
		}
		if o.Slot {
			held++
		}
	}
	batch.Consumed = []postgres.Consumed{{Queue: entry.Queue, Messages: consumed}}
	known, traced := p.announce(&batch, namespace, group), traceResults(ctx, p, namespace, group, reportedOutcome)
	p.grow(ctx, &batch, decided, companions{known, traced})
	if runner != nil {
		batch.HandOff.Slots = runner.Reserve(namespace, held, successors-held)
	}
	applied, err := p.apply(ctx, batch)
	traced.end(applied, err)
	if postgres.IsDataError(err) {
		p.giveBack(runner, batch.HandOff.Slots-held) // the outcomes keep theirs for another try
		return p.bisect(ctx, entry, group, err)
	}
	if err != nil {
		p.giveBack(runner, batch.HandOff.Slots-held)
		return group
	}
	if runner != nil {
		runner.Applied(group)
		p.giveBack(runner, batch.HandOff.Slots-len(applied.HandedOff))
		complete(applied.HandedOff, group)
		runner.Run(namespace, applied.HandedOff, began)
	}
	p.after(ctx, entry, batch, applied)
	p.counts.count(ctx, &batch, &applied, p.templateNames(ctx, len(group), func(i int) (task, template uuid.UUID) {
		return group[i].Step.Task, group[i].Step.Template
	}))
	p.counted(known, applied.Events)
	return nil
}

func (p *processor) giveBack(runner handoff.Runner, slots int) {
	if runner != nil && slots > 0 {
		runner.Release(slots)
	}
}

// bisect finds the result that the database refuses; it alone fails, for good.
func (p *processor) bisect(ctx context.Context, entry *catalog.Entry, group []outcome.Outcome, refusal error) (left []outcome.Outcome) {
	if len(group) > 1 {
		left = p.applyGroup(ctx, entry, group[:len(group)/2])
		return append(left, p.applyGroup(ctx, entry, group[len(group)/2:])...)
	}
	definition, err := p.entry(ctx, group[0].Step.Template)
	if err != nil {
		return group
	}
	return p.applyGroup(ctx, entry, []outcome.Outcome{p.router.Refuse(ctx, definition, group[0], refusal)})
}

// add puts the decision about an outcome into the batch and returns how many
// steps wait on it.
func (p *processor) add(ctx context.Context, batch *postgres.Batch, o *outcome.Outcome) int {
	s := &o.Step
	if o.Failure == nil {
		batch.Completed = append(batch.Completed, postgres.Completed{StepRef: s.StepRef, Result: o.Result})
		if s.Leaf || s.Definition != "" || p.gated(ctx, s.Template) {
			batch.Settle = append(batch.Settle, s.Task)
		} else {
			batch.Others = append(batch.Others, s.Task)
		}
		return p.dependents(ctx, s.Template, s.Defined())
	}
	batch.Failed = append(batch.Failed, p.failed(telemetry.Carry(ctx, o.Trace), s, o.Failure, o.Failure.JSON()))
	batch.Settle = append(batch.Settle, s.Task)
	return 0
}

// gated reports whether tasks of the template have steps that wait at a gate.
func (p *processor) gated(ctx context.Context, template uuid.UUID) bool {
	entry, err := p.entry(ctx, template)
	return err == nil && entry.Gated
}

func (p *processor) dependents(ctx context.Context, template uuid.UUID, step string) int {
	entry, err := p.entry(ctx, template)
	if err != nil {
		return 0
	}
	_, i, ok := entry.Step(step)
	if !ok {
		return 0
	}
	return len(entry.Steps[i].Dependents)
}

// failed decides about a failed attempt.
func (p *processor) failed(ctx context.Context, s *postgres.ClaimedStep, f *outcome.Failure, stored json.RawMessage) postgres.Failed {
	attempt := result.Attempt{Number: s.Attempt, MaxAttempts: s.MaxAttempts}
	entry, err := p.entry(ctx, s.Template)
	if err == nil {
		if definition, _, ok := entry.Step(s.Defined()); ok {
			attempt.Retry = definition.Retry
		}
	}
	delay, again := result.Next(p.backoff(), attempt, f)
	p.log.WarnContext(telemetry.About(ctx, s), "step failed", "max_attempts", s.MaxAttempts, "kind", f.Kind, "error", f.Message, "retry", again, "delay", delay)
	failed := postgres.Failed{StepRef: s.StepRef, Error: stored, Delay: delay, Final: !again}
	if !again && err == nil && s.Definition != "" {
		forBatch(&failed, entry, s.Definition)
	}
	return failed
}

// complete gives handed-over steps what the database need not send again: their
// task's template and context, and the results reported in the same batch. Of a
// step that was claimed twice only the last claim can have counted, and none if
// the database has sent its result.
func complete(steps []postgres.ClaimedStep, group []outcome.Outcome) {
	if len(steps) == 0 {
		return
	}
	type place struct {
		task    uuid.UUID
		ordinal int32
	}
	last := make(map[place]*outcome.Outcome, len(group))
	for i := range group {
		s := &group[i].Step
		at := place{s.Task, s.Ordinal}
		if o := last[at]; o == nil || o.Step.Claim < s.Claim {
			last[at] = &group[i]
		}
	}
	for i := range steps {
		s := &steps[i]
		for _, ordinal := range s.DependsOn {
			o := last[place{s.Task, ordinal}]
			if o == nil {
				continue
			}
			s.Template, s.Context, s.Correlation, s.Trace = o.Step.Template, o.Step.Context, o.Step.Correlation, o.Step.Trace
			if s.Results == nil {
				s.Results = make(map[string]json.RawMessage, len(s.DependsOn))
			}
			if _, sent := s.Results[o.Step.Name]; !sent && o.Failure == nil {
				s.Results[o.Step.Name] = o.Result
			}
		}
	}
}

// after wakes whoever has to do with what a batch brought about.
func (p *processor) after(ctx context.Context, entry *catalog.Entry, batch postgres.Batch, applied postgres.Applied) {
	if applied.Enqueued > 0 || applied.Limited || len(batch.Failed) > 0 { // a failed attempt may be due again
		p.notifier.Wake(p.names.StepsChannel(entry.Template.Namespace))
	}
	if len(applied.Gates) > 0 {
		p.look(applied.Gates)
	}
	for _, t := range applied.Settled {
		if t.State == tasker.TaskError || t.State == tasker.TaskBlockedByFailures {
			p.failures.Raise()
			break
		}
	}
	if applied.Gated > 0 || applied.Grown > 0 {
		p.gates.Raise()
	}
	if late := len(batch.Completed) + len(batch.Failed) - applied.Completed - applied.Failed; late > 0 {
		p.log.InfoContext(ctx, "results came after their claim was lost and change nothing",
			"namespace", entry.Template.Namespace, "results", late)
	}
	if len(applied.Settled) > 0 {
		p.settled()
		p.router.Settled(entry.Template.Namespace, applied.Settled)
	}
}

// apply applies a batch or says that it is refused, or given up: its results
// come again. A second try after a commit whose answer got lost changes nothing:
// claims are fenced.
func (p *processor) apply(ctx context.Context, batch postgres.Batch) (applied postgres.Applied, err error) {
	var refusal error
	began := time.Now()
	err = p.ops.Do(ctx, "apply results", func(ctx context.Context) (err error) {
		applied, err = postgres.Apply(ctx, p.db, batch)
		switch {
		case postgres.IsDataError(err):
			refusal = err // another try does not help
			return nil
		case postgres.IsMissingTable(err) && (len(batch.Events) > 0 || batch.Grow != nil): // somebody has dropped the queue
			return errors.Join(err, postgres.CreateEventQueues(ctx, p.db, []string{batch.EventQueue}))
		}
		return err
	})
	p.counts.applying.Record(ctx, time.Since(began).Seconds(), batch.Namespace)
	switch {
	case refusal != nil:
		return postgres.Applied{}, refusal
	case err != nil && ctx.Err() == nil:
		p.log.ErrorContext(ctx, "operation given up; its results come again", "error", err,
			"results", len(batch.Completed)+len(batch.Failed))
	}
	return applied, err
}
