package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/breakers"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/events"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/executor"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/registry"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// coalesced is how many reads of batch_size go into one round trip under load.
const coalesced = 50

// A runner claims steps and runs their handlers. Where outcomes go is the
// sink's business: to the orchestrator in this process, or to the database.
type runner struct {
	sys      *system.Context
	cfg      *config.Worker
	log      *slog.Logger
	slots    *slots
	executor *executor.Executor
	ops      *eventsystem.Operator
	reads    *eventsystem.Operator // ops behind the breaker of messaging
	sweeps   *eventsystem.Operator // ops behind that of task readiness
	listener *eventsystem.Listener // nil: the worker polls
	governor *governor
	finished *stepStats
	counts   workMetrics
	queues   chan struct{} // one taken per queue that is read
	inlets   inlets
	sink     func(outcome.Outcome)
	recalled *eventsystem.Signal // raised when an operator may have taken claims away
	// moreSpaces has a value when the worker has come to serve another namespace.
	moreSpaces chan struct{}
	member     *registry.Member // this process among the others

	mu       sync.Mutex
	spaces   map[string]*space // by namespace
	running  map[stepKey]*running
	recalls  time.Time      // when claims were last looked at for being recalled
	draining bool           // nothing starts any more
	wg       sync.WaitGroup // handlers that have not returned

	handlers context.Context //nolint:containedctx // ends when handlers must stop: the life of the runner, not of a call
	stop     context.CancelFunc
}

// stepKey tells running steps apart: a step may run twice here for a moment,
// when its lease was lost and this very worker claimed it again.
type stepKey struct {
	task    uuid.UUID
	ordinal int32
	claim   int32
}

func keyOf(r postgres.StepRef) stepKey { return stepKey{r.Task, r.Ordinal, r.Claim} }

// running is a claim whose lease this worker renews: its handler runs, or its
// outcome is not stored yet.
type running struct {
	leased

	message postgres.Message
	from    *deliveries // one of which it holds; nil: none
	until   time.Time   // the claim is not renewed beyond
	cancel  context.CancelFunc
}

// leased is what claims have in common whose leases one statement renews.
type leased struct {
	queue string
	lease time.Duration
}

func newRunner(ctx context.Context, sys *system.Context, cfg *config.Worker, handlers *tasker.Handlers, spaces map[string]*space) *runner {
	limits := limitsOf(sys.Common, cfg)
	r := &runner{
		sys: sys, cfg: cfg, log: sys.Log, spaces: spaces,
		slots:    newSlots(cfg.System.StepProcessing.MaxConcurrentSteps),
		executor: &executor.Executor{Handlers: handlers, Log: sys.Log},
		recalled: eventsystem.NewSignal(),
		ops:      eventsystem.NewOperator(cfg.EventSystem.EventSystem, limits.connections, sys.Log),
		governor: newGovernor(limits, sys.Log),
		finished: newStepStats(cfg.System.HealthMonitoring, sys.Log),
		queues:   make(chan struct{}, limits.queues),
		inlets:   newInlets(cfg.Channels),
		running:  map[stepKey]*running{},

		moreSpaces: make(chan struct{}, 1),
	}
	r.reads, r.sweeps = r.ops.Behind(sys.Messaging()), r.ops.Behind(sys.Breakers.Of(breakers.TaskReadiness))
	r.counts = newWorkMetrics(sys.Metrics, r.slots)
	r.handlers, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	if r.listens() {
		r.listener = sys.Listener(r.signals(), listening(cfg))
	}
	return r
}

// Reserve implements [handoff.Runner].
func (r *runner) Reserve(namespace string, held, more int) int {
	r.mu.Lock()
	refused := r.draining || r.spaces[namespace] == nil
	r.mu.Unlock()
	if refused || r.governor.closed() {
		r.slots.release(held)
		return 0
	}
	if more <= 0 {
		return held
	}
	return held + r.slots.tryTake(more)
}

// Release implements [handoff.Runner].
func (r *runner) Release(n int) { r.slots.release(n) }

// Applied implements [handoff.Runner].
func (r *runner) Applied(outcomes []outcome.Outcome) {
	over := make([]postgres.StepRef, len(outcomes))
	for i := range outcomes {
		over[i] = outcomes[i].Step.StepRef
	}
	r.forget(over...)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, sp := range r.spaces {
		if sp.limited.Load() {
			sp.wake.Raise()
		}
	}
}

// forget ends the renewal of claims, and gives back the deliveries they hold.
func (r *runner) forget(claims ...postgres.StepRef) {
	done := map[*deliveries]int{}
	r.mu.Lock()
	for _, ref := range claims {
		if run := r.running[keyOf(ref)]; run != nil {
			delete(r.running, keyOf(ref))
			if run.from != nil {
				done[run.from]++
			}
		}
	}
	r.mu.Unlock()
	for from, n := range done {
		from.release(n)
	}
}

// Run implements [handoff.Runner].
func (r *runner) Run(namespace string, steps []postgres.ClaimedStep, since time.Time) {
	if len(steps) > 0 {
		r.inlets.command(command{r.space(namespace), steps, since})
	}
}

// start runs a claimed step on a slot that is taken for it, and renews its lease.
// During a shutdown it only notes the claim, to be given back.
func (r *runner) start(e event) {
	ctx, cancel := context.WithCancel(r.handlers)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[keyOf(e.step.StepRef)] = &running{message: e.step.Message, from: e.from, leased: leased{e.space.queue, e.lease}, cancel: cancel}
	if r.draining {
		cancel()
		return
	}
	if r.recalls.After(e.since) { // the look at what was recalled came too early for this claim
		r.recalled.Raise()
	}
	r.wg.Go(func() {
		defer cancel()
		r.execute(ctx, e.space, e.step)
	})
}

// execute runs the handler of a step and sends the outcome to the sink. The
// slot goes along with the outcome, unless the handler still sits in it.
func (r *runner) execute(ctx context.Context, sp *space, claimed postgres.ClaimedStep) {
	ctx = telemetry.About(ctx, &claimed)
	entry, err := r.sys.Catalog.Entry(ctx, claimed.Template)
	if err != nil {
		r.unreadable(ctx, claimed, err)
		r.slots.release(1)
		return
	}
	ctx, traced := r.trace(ctx, entry, &claimed)
	template := [2]string{entry.Template.Namespace, entry.Template.Name}
	job, failure := r.job(entry, claimed)
	attempt := events.Attempt{Entry: entry, Claimed: &claimed, Step: job.Step}
	if failure != nil {
		traced.end(failure)
		r.counts.attempt(ctx, &claimed, template, 0, failure)
		r.deliver(ctx, outcome.Outcome{Step: claimed, Queue: sp.queue, Failure: failure, Slot: true, Trace: traced.carried}, attempt)
		return
	}
	r.limit(claimed, job.Timeout)
	began := time.Now()
	delivered := make(chan bool, 1) // whether the outcome took the slot along
	job.Done = func(result json.RawMessage, failure *outcome.Failure) {
		took := time.Since(began)
		r.finished.record(took, failure)
		r.counts.attempt(ctx, &claimed, template, took, failure)
		traced.end(failure)
		inTime := failure == nil || failure.Kind != outcome.HandlerTimeout
		delivered <- inTime
		r.deliver(ctx, outcome.Outcome{
			Step: claimed, Queue: sp.queue, Result: result, Failure: failure, Slot: inTime,
			Trace: traced.carried,
		}, attempt)
	}
	job.Freed = func() {
		if tookSlot := <-delivered; !tookSlot {
			r.slots.release(1)
		}
	}
	r.executor.Run(ctx, job)
}

// job is what the executor runs for a claimed step, or why it cannot be run.
func (r *runner) job(entry *catalog.Entry, claimed postgres.ClaimedStep) (executor.Job, *outcome.Failure) {
	job := executor.Job{Step: events.StepOf(entry, &claimed)}
	definition, i, ok := entry.Step(claimed.Defined())
	if !ok {
		return job, &outcome.Failure{Kind: outcome.HandlerNotFound, Permanent: true, Message: "the template has no step " + claimed.Defined()}
	}
	if r.lostTooOften(claimed) {
		return job, &outcome.Failure{
			Kind: outcome.WorkerLost, Permanent: true,
			Message: "workers lost the step again and again: they died, or could not renew its lease",
		}
	}
	batch, err := batchOf(claimed)
	if err != nil {
		return job, &outcome.Failure{Kind: outcome.HandlerError, Permanent: true, Message: err.Error()}
	}
	job.Step.Config, job.Step.Batch = entry.Configs[i], batch
	job.Step.Checkpoint, job.Step.Checkpointer = claimed.Checkpoint, r.checkpointer(claimed.StepRef)
	job.Callable, job.Method, job.Resolver = definition.Handler.Callable, definition.Handler.Method, definition.Handler.Resolver
	job.Timeout = definition.Timeout.Duration()
	if job.Timeout == 0 {
		job.Timeout = r.cfg.EventSystem.Timing.ProcessingTimeout.Duration()
	}
	return job, nil
}

// lostTooOften reports whether workers have lost the step so often that another
// one would too.
func (r *runner) lostTooOften(claimed postgres.ClaimedStep) bool {
	return int(claimed.Lost) > int(claimed.MaxAttempts)+r.cfg.EventSystem.Processing.MaxRetries
}

// unreadable gives up a step whose template cannot be read: it is claimed again
// when its lease has run out, by a worker that knows better. After as many times
// as other steps may be lost its task is ended, for no result could be applied.
func (r *runner) unreadable(ctx context.Context, claimed postgres.ClaimedStep, reason error) {
	r.log.WarnContext(ctx, "template not readable; the step is claimed again later", "template", claimed.Template, "error", reason)
	r.forget(claimed.StepRef) // its lease runs out
	if !errors.Is(reason, catalog.ErrUnreadable) || !r.lostTooOften(claimed) {
		return
	}
	f := outcome.Failure{Kind: outcome.WorkerLost, Permanent: true, Message: "no worker could run the step: " + reason.Error()}
	err := postgres.EndPoisoned(ctx, r.sys.Pool, []postgres.GivenUp{{Task: claimed.Task, Error: f.JSON(), Actor: "worker"}})
	if err != nil {
		r.log.WarnContext(ctx, "the task of a step that no worker can run is not ended; trying again", "task_id", claimed.Task, "error", err)
	}
}

// batchOf is the share of a batch worker; nil for any other step.
func batchOf(claimed postgres.ClaimedStep) (*tasker.Batch, error) {
	if claimed.Input == nil {
		return nil, nil
	}
	var batch tasker.Batch
	if err := json.Unmarshal(claimed.Input, &batch); err != nil {
		return nil, fmt.Errorf("decode the share of a batch worker: %w", err)
	}
	return &batch, nil
}

// checkpointer saves the checkpoints of a claim while it holds.
func (r *runner) checkpointer(claim postgres.StepRef) func(context.Context, json.RawMessage) error {
	return func(ctx context.Context, checkpoint json.RawMessage) error {
		held, err := postgres.SaveCheckpoint(ctx, r.sys.Pool, claim, checkpoint)
		if err == nil && !held {
			err = tasker.ErrClaimLost
		}
		return err
	}
}

// deliver sends an outcome to the sink with the events that follow from it,
// except one that only the shutdown brought about: its step is given back.
func (r *runner) deliver(ctx context.Context, o outcome.Outcome, a events.Attempt) {
	if o.Failure != nil && r.handlers.Err() != nil && ctx.Err() != nil {
		if o.Slot {
			r.slots.release(1)
		}
		return // stays in running, so the shutdown releases it
	}
	a.Result, a.Failure = o.Result, o.Failure
	o.Events = r.sys.Events.Of(ctx, a)
	r.sink(o)
}
