package orchestration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/breakers"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/messaging/rabbitmq"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/orchestration/internal/dlq"
)

// A reconciler is the task readiness event system. It compares what the steps
// say with what is on the queues and re-creates what is missing: messages lost
// with a crash of the server, decisions lost with a crash of a process. In a
// healthy system it finds nothing to do.
type reconciler struct {
	pool     postgres.Pool
	broker   *rabbitmq.Broker // nil with pgmq
	names    messaging.Names
	notifier *eventsystem.Notifier
	reports  *eventsystem.Signal // wakes the reader of results in this process
	log      *slog.Logger
	backoff  func() config.Backoff // follows a reload
	letters  *dlq.Keeper
	teller   *teller
	events   config.EventSystem
	ops      *eventsystem.Operator
	lease    time.Duration
	hints    *hints
	hinted   hint         // taken from there, and not dealt with
	swept    atomic.Int64 // when the last pass succeeded, in Unix nanoseconds; 0: not yet
	overdue  atomic.Int64 // how long after that the next one should have, in nanoseconds
	repaired *telemetry.Counter
}

func newReconciler(sys *system.Context, cfg *config.Orchestration, reports *eventsystem.Signal) *reconciler {
	return &reconciler{
		pool: sys.Pool, broker: sys.Broker, names: sys.Names, notifier: sys.Notifier, reports: reports, log: sys.Log,
		backoff: backoffOf(sys, cfg), events: cfg.EventSystems.TaskReadiness,
		letters: dlq.New(sys.Pool, cfg.DLQ), teller: newTeller(sys),
		ops: eventsystem.NewOperator(cfg.EventSystems.TaskReadiness, max(1, sys.Common.Database.Pool.MaxConnections/4), sys.Log).
			LogSlow(cfg.System.EnablePerformanceLogging).
			Behind(sys.Breakers.Of(breakers.TaskReadiness)),
		lease: cfg.EventSystems.TaskReadiness.Timing.VisibilityTimeout.Duration(),
		hints: newHints(sys, cfg.Channels.TaskReadiness.EventChannel),

		repaired: newKeeperMetrics(sys.Metrics).repaired,
	}
}

// share bounds what reconciling may cost: after a pass it rests at least so
// many times as long as the pass took.
const share = 9

// run reconciles every fallback_polling_interval_seconds until ctx ends, less
// often when a pass is long, and at once when the queues are gone.
func (r *reconciler) run(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		err := r.pass(ctx)
		rest := max(r.events.Timing.FallbackPollingInterval.Duration(), share*time.Since(began))
		switch {
		case err == nil:
			r.swept.Store(time.Now().UnixNano())
			r.overdue.Store(int64(tardy * rest))
		case ctx.Err() == nil:
			r.log.Log(ctx, min(slog.LevelWarn, eventsystem.Given(err)), "reconciler pass failed; trying again", "error", err)
		}
		r.rest(ctx, rest)
	}
}

// tardy is how many rests may pass without a pass that succeeds until somebody
// should look.
const tardy = 3

// look is a health check: what is lost stays lost while nobody looks for it.
func (r *reconciler) look(context.Context) (health.Status, string) {
	swept := r.swept.Load()
	if swept == 0 {
		return health.Degraded, "no pass yet"
	}
	since := time.Since(time.Unix(0, swept))
	said := fmt.Sprintf("the last pass ended %s ago", since.Round(time.Second))
	if since > time.Duration(r.overdue.Load()) {
		return health.Degraded, said
	}
	return health.Healthy, said
}

// watch is how often a resting reconciler looks whether the queues are still
// there. Steps that ran when the server crashed wait for it and then for a lease.
const watch = time.Second

// rest waits for so long, or until the queues are gone.
func (r *reconciler) rest(ctx context.Context, d time.Duration) {
	over := time.NewTimer(d)
	defer over.Stop()
	look := time.NewTicker(watch)
	defer look.Stop()
	for {
		more := r.hints.ch
		if len(r.hinted) > 0 {
			more = nil // what could not be done is tried again first, when it is time to look
		}
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case r.hinted = <-more:
		case <-look.C:
		}
		r.follow(ctx)
		if intact, err := postgres.QueuesIntact(ctx, r.pool); err == nil && !intact {
			return
		}
	}
}

// follow has results read again that were not applied.
func (r *reconciler) follow(ctx context.Context) {
	if len(r.hinted) == 0 {
		return
	}
	err := r.do(ctx, "return results", func(ctx context.Context) error {
		return postgres.ReturnMessages(ctx, r.pool, r.names.Results(), r.hinted)
	})
	if err != nil {
		return // after a look
	}
	r.log.InfoContext(ctx, "results that could not be applied are read again", "results", len(r.hinted))
	r.hinted = nil
	r.reports.Raise()
}

// do does one operation on the database. A shutdown interrupts it: another
// process, or the next pass, does the same.
func (r *reconciler) do(ctx context.Context, what string, do func(ctx context.Context) error) error {
	return r.ops.Do(ctx, what, func(trying context.Context) error {
		trying, cancel := context.WithCancel(trying)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return do(trying)
	})
}

// pass looks at every namespace once, at several at the same time (but with a
// quarter of the pool at most). After a crash of the server it waits for nothing:
// the queues are empty.
func (r *reconciler) pass(ctx context.Context) error {
	var intact bool
	var byNamespace map[string][]uuid.UUID
	err := r.do(ctx, "look at the queues", func(ctx context.Context) (err error) {
		if intact, err = postgres.QueuesIntact(ctx, r.pool); err == nil {
			byNamespace, err = postgres.TemplatesByNamespace(ctx, r.pool)
		}
		return err
	})
	if err != nil {
		return err
	}
	delays := r.backoff().ReenqueueDelays
	rest := postgres.Rest{
		Enqueued:   delays.StepsInProcess.Duration(),
		InProgress: delays.StepsInProcess.Duration(),
		Reported:   delays.EvaluatingResults.Duration(),
		Retrying:   delays.WaitingForRetry.Duration(),
	}
	if !intact {
		r.log.WarnContext(ctx, "the queues are gone, as after a crash of the server; rebuilding them from the steps")
		rest = postgres.Rest{Retrying: -rebuildRetries}
	}
	var steps errgroup.Group // of the namespaces
	for namespace, templates := range byNamespace {
		queue, err := r.names.Steps(namespace)
		if err != nil {
			return err
		}
		steps.Go(func() error {
			return r.steps(ctx, namespace, postgres.StepQueue{Queue: queue, Templates: templates}, rest)
		})
	}
	if err := steps.Wait(); err != nil {
		return err
	}
	if err := r.results(ctx, rest); err != nil {
		return err
	}
	if err := r.unsettled(ctx); err != nil {
		return err
	}
	if intact {
		return nil
	}
	return r.do(ctx, "note that the queues are rebuilt", func(ctx context.Context) error {
		return postgres.MarkQueuesIntact(ctx, r.pool)
	})
}

// rebuildRetries reaches every retry, however far ahead it is due: the longest
// backoff is an hour.
const rebuildRetries = 2 * time.Hour

// reading does what reads a whole queue; messages that nobody can read are set
// aside before the next try.
func (r *reconciler) reading(ctx context.Context, do func(postgres.DB) error, queue string, results bool) error {
	err := postgres.WithPlanner(ctx, r.pool, do)
	if postgres.IsUnreadable(err) {
		err = errors.Join(err, setMalformedAside(ctx, r.pool, r.log, queue, results))
	}
	return err
}

func (r *reconciler) steps(ctx context.Context, namespace string, q postgres.StepQueue, rest postgres.Rest) error {
	var sent int
	err := r.do(ctx, "resend steps", func(ctx context.Context) error {
		return r.reading(ctx, func(db postgres.DB) (err error) {
			sent, err = postgres.ResendSteps(ctx, db, q, rest, r.lease)
			return err
		}, q.Queue, false)
	})
	if err != nil {
		return err
	}
	r.repaired.Add(ctx, int64(sent), "steps")
	if sent > 0 {
		r.log.WarnContext(ctx, "steps had lost their messages; sent new ones", "namespace", namespace, "steps", sent)
	}
	lost, err := r.deliveries(ctx, q.Queue, rest.Enqueued)
	if err != nil {
		return err
	}
	if sent += lost; sent > 0 || !r.events.DeploymentMode.Polls() { // without polls a lost wake-up is made good here
		r.notifier.Wake(r.names.StepsChannel(namespace))
	}
	return nil
}

// deliveries has steps published again that wait for a delivery which the broker
// does not have. It returns how many. While the broker is away, nothing is known.
func (r *reconciler) deliveries(ctx context.Context, queue string, rest time.Duration) (lost int, err error) {
	if r.broker == nil {
		return 0, nil
	}
	asking, cancel := context.WithTimeout(ctx, declared)
	defer cancel()
	waiting, err := r.broker.Ready(asking, queue)
	if err != nil {
		r.log.WarnContext(ctx, "deliveries not compared with the steps that are due", "queue", queue, "error", err)
		return 0, nil
	}
	err = r.do(ctx, "look for lost deliveries", func(ctx context.Context) error {
		return postgres.WithPlanner(ctx, r.pool, func(db postgres.DB) (err error) {
			lost, err = postgres.Redispatch(ctx, db, queue, rest, waiting)
			return err
		})
	})
	if lost > 0 {
		r.log.WarnContext(ctx, "published steps found no worker and no delivery waits; publishing them again", "queue", queue, "steps", lost)
	}
	return lost, err
}

func (r *reconciler) results(ctx context.Context, rest postgres.Rest) error {
	var sent int
	err := r.do(ctx, "resend results", func(ctx context.Context) error {
		return r.reading(ctx, func(db postgres.DB) (err error) {
			sent, err = postgres.ResendReports(ctx, db, r.names.Results(), rest)
			return err
		}, r.names.Results(), true)
	})
	if err != nil {
		return err
	}
	r.repaired.Add(ctx, int64(sent), "results")
	if sent > 0 {
		r.log.WarnContext(ctx, "reported steps had lost their messages; sent new ones", "steps", sent)
	}
	if sent > 0 || !r.events.DeploymentMode.Polls() {
		r.reports.Raise()
	}
	return nil
}

// unsettled evaluates tasks anew that nothing would move again.
func (r *reconciler) unsettled(ctx context.Context) error {
	var found map[string][]uuid.UUID
	err := r.do(ctx, "find tasks that have stopped", func(ctx context.Context) (err error) {
		delays := r.backoff().ReenqueueDelays
		found, err = postgres.FindUnsettled(ctx, r.pool, postgres.Unsettled{
			Waiting: delays.WaitingForDependencies.Duration(), Enqueuing: delays.EnqueuingSteps.Duration(),
			Blocked: delays.BlockedByFailures.Duration(),
		}, r.events.Processing.BatchSize)
		return err
	})
	if err != nil {
		return err
	}
	for namespace, tasks := range found {
		queue, err := r.names.Steps(namespace)
		if err != nil {
			return err
		}
		r.repaired.Add(ctx, int64(len(tasks)), "tasks")
		r.log.WarnContext(ctx, "tasks had stopped; evaluating them anew", "namespace", namespace, "tasks", len(tasks))
		err = r.do(ctx, "evaluate tasks anew", func(ctx context.Context) error {
			return r.teller.around(ctx, tasks, func() error { return postgres.Settle(ctx, r.pool, queue, tasks) })
		})
		if err != nil {
			return err
		}
		r.notifier.Wake(r.names.StepsChannel(namespace))
		if err := r.cycles(ctx, tasks); err != nil {
			return err
		}
	}
	return nil
}

// cycles ends tasks whose steps wait for each other: evaluating them anew does
// not help.
func (r *reconciler) cycles(ctx context.Context, tasks []uuid.UUID) error {
	ended, entered, err := r.letters.EndCycles(ctx, tasks)
	for _, c := range ended {
		r.log.WarnContext(ctx, "steps wait for each other; the task has ended in error", "task_id", c.Task, "steps", c.Steps)
		r.teller.router.Settled(c.Namespace, []postgres.SettledTask{{Task: c.Task, State: tasker.TaskError}})
	}
	for _, e := range entered {
		r.log.WarnContext(ctx, "task set aside in the dead letter queue", "entry_id", e.Entry, "task_id", e.Task, "reason", e.Reason)
	}
	r.teller.deadLettered(entered)
	return err
}
