package orchestration

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/orchestration/internal/request"
)

// A doorkeeper takes in what comes through the queues from outside: requests
// for tasks, which are created, and tasks to look at again, which are settled.
//
// A request becomes a task that is initializing in the transaction that deletes
// the message, and gets its steps in the next: what keeps one template from being
// expanded holds up no other request. A message that cannot be carried out is
// set aside in the archive of its queue, with the reason.
type doorkeeper struct {
	pool       postgres.Pool
	door       intake.Door
	names      messaging.Names
	notifier   *eventsystem.Notifier
	wake       *eventsystem.Signal
	most       int           // messages of one read
	visibility time.Duration // of a message that was read
	tries      int32         // reads after which a message is refused that may come to be understood
	rest       time.Duration // between two looks that nothing asked for; negative: none
	delay      time.Duration // after which a task without steps is looked at again
	pause      func() time.Duration
	teller     *teller
	log        *slog.Logger
}

func newDoorkeeper(sys *system.Context, cfg *config.Orchestration, pause func() time.Duration) *doorkeeper {
	es, queues := cfg.EventSystems.Orchestration, sys.Common.Queues // its queues have no section of their own
	d := &doorkeeper{
		pool: sys.Pool, door: sys.Door(), names: sys.Names, notifier: sys.Notifier, wake: eventsystem.NewSignal(),
		most: coalesced * min(queues.DefaultBatchSize, queues.MaxBatchSize), visibility: queues.DefaultVisibilityTimeout.Duration(),
		tries: int32(es.Processing.MaxRetries), rest: -1, delay: cfg.Backoff.ReenqueueDelays.Initializing.Duration(), //nolint:gosec // 0 to 100
		pause: pause, teller: newTeller(sys), log: sys.Log,
	}
	if es.DeploymentMode.Polls() {
		d.rest = es.Timing.FallbackPollingInterval.Duration()
	}
	return d
}

// run takes in what comes until ctx ends.
func (d *doorkeeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := d.pass(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			d.log.WarnContext(ctx, "requests not taken in; trying again", "error", err)
			d.wake.Wait(ctx, d.pause())
		case n == 0:
			d.wake.Wait(ctx, d.rest)
		}
	}
}

// pass looks at both queues once, and for tasks without steps; it returns how
// much there was to do.
func (d *doorkeeper) pass(ctx context.Context) (int, error) {
	requested, err := d.requests(ctx)
	if err != nil {
		return 0, err
	}
	rest := d.delay
	if requested > 0 {
		rest = 0 // they were accepted this moment
	}
	expanded, err := d.expand(ctx, rest)
	if err != nil {
		return 0, err
	}
	finalized, err := d.finalizations(ctx)
	return requested + expanded + finalized, err
}

// requests accepts the requests of one read.
func (d *doorkeeper) requests(ctx context.Context) (int, error) {
	queue := d.names.Requests()
	letters, err := postgres.ReadLetters(ctx, d.pool, queue, d.most, d.visibility)
	if err != nil || len(letters) == 0 {
		return 0, err
	}
	wanted, read := make([]intake.Request, 0, len(letters)), make([]postgres.Letter, 0, len(letters))
	for _, l := range letters {
		r, err := request.Task(l.Content)
		if err != nil {
			if err := d.refuse(ctx, queue, l, err); err != nil {
				return 0, err
			}
			continue
		}
		wanted, read = append(wanted, r), append(read, l)
	}
	return len(letters), d.accept(ctx, queue, read, wanted)
}

// accept creates tasks; when one is refused, each half on its own.
func (d *doorkeeper) accept(ctx context.Context, queue string, letters []postgres.Letter, wanted []intake.Request) error {
	if len(wanted) == 0 {
		return nil
	}
	err := postgres.InTx(ctx, d.pool, func(tx postgres.Pool) error {
		if _, err := intake.Defer(ctx, tx, d.door, wanted); err != nil {
			return err
		}
		ids := make([]int64, len(letters))
		for i, l := range letters {
			ids[i] = l.ID
		}
		return postgres.DeleteLetters(ctx, tx, queue, ids)
	})
	again := errors.Is(err, catalog.ErrUnknownTemplate) || errors.Is(err, catalog.ErrUnreadable) || postgres.IsRefusal(err)
	switch {
	case err == nil || !again && !errors.Is(err, intake.ErrInvalid):
		return err
	case len(wanted) > 1:
		half := len(wanted) / 2
		return errors.Join(d.accept(ctx, queue, letters[:half], wanted[:half]), d.accept(ctx, queue, letters[half:], wanted[half:]))
	case again && letters[0].Reads <= d.tries:
		d.log.WarnContext(ctx, "a request is not taken in; trying again", "message", letters[0].ID, "reads", letters[0].Reads, "error", err)
		return nil // it comes again
	}
	return d.refuse(ctx, queue, letters[0], err)
}

func (d *doorkeeper) refuse(ctx context.Context, queue string, l postgres.Letter, reason error) error {
	d.log.WarnContext(ctx, "a message is refused and set aside in the archive of its queue", "queue", queue, "message", l.ID, "error", reason)
	return postgres.RefuseLetters(ctx, d.pool, queue, []int64{l.ID}, []string{reason.Error()})
}

// expand gives tasks their steps.
func (d *doorkeeper) expand(ctx context.Context, rest time.Duration) (int, error) {
	var expanded intake.Accepted
	err := postgres.InTx(ctx, d.pool, func(tx postgres.Pool) (err error) {
		expanded, err = intake.Expand(ctx, tx, d.door.Catalog, rest, d.most)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, channel := range expanded.Channels(d.names) {
		d.notifier.Wake(channel)
	}
	return len(expanded.IDs), nil
}

// finalizations settles the tasks of one read.
func (d *doorkeeper) finalizations(ctx context.Context) (int, error) {
	queue := d.names.Finalizations()
	letters, err := postgres.ReadLetters(ctx, d.pool, queue, d.most, d.visibility)
	if err != nil || len(letters) == 0 {
		return 0, err
	}
	var tasks []uuid.UUID
	var read []postgres.Letter
	for _, l := range letters {
		task, err := request.Finalization(l.Content)
		if err != nil {
			if err := d.refuse(ctx, queue, l, err); err != nil {
				return 0, err
			}
			continue
		}
		tasks, read = append(tasks, task), append(read, l)
	}
	return len(letters), d.settle(ctx, queue, read, tasks)
}

// settle settles tasks and deletes their letters; when that fails, each half on
// its own. A single one that fails is left to come again, up to the limit of
// reads.
func (d *doorkeeper) settle(ctx context.Context, queue string, letters []postgres.Letter, tasks []uuid.UUID) error {
	if len(tasks) == 0 {
		return nil
	}
	err := d.teller.around(ctx, tasks, func() error { return d.settleAll(ctx, tasks) })
	switch {
	case err == nil:
		ids := make([]int64, len(letters))
		for i, l := range letters {
			ids[i] = l.ID
		}
		return postgres.DeleteLetters(ctx, d.pool, queue, ids)
	case !postgres.IsRefusal(err):
		return err
	case len(tasks) > 1:
		half := len(tasks) / 2
		return errors.Join(d.settle(ctx, queue, letters[:half], tasks[:half]), d.settle(ctx, queue, letters[half:], tasks[half:]))
	case letters[0].Reads <= d.tries:
		d.log.WarnContext(ctx, "a task is not settled; trying again", "task_id", tasks[0], "reads", letters[0].Reads, "error", err)
		return nil // it comes again
	}
	return d.refuse(ctx, queue, letters[0], err)
}

func (d *doorkeeper) settleAll(ctx context.Context, tasks []uuid.UUID) error {
	byNamespace, err := postgres.TasksByNamespace(ctx, d.pool, tasks)
	if err != nil {
		return err
	}
	for namespace, group := range byNamespace {
		stepQueue, err := d.names.Steps(namespace)
		if err != nil {
			return err
		}
		if err := postgres.Settle(ctx, d.pool, stepQueue, group); err != nil {
			return err
		}
		d.notifier.Wake(d.names.StepsChannel(namespace))
	}
	return nil
}
