package orchestration

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/messaging/rabbitmq"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
)

// A dispatcher publishes steps that are due to RabbitMQ, after the transaction
// that enqueued them has committed, whoever's that was. The queue in the database
// stays the ledger: what was published is noted there first, and the note is taken back
// when the broker does not confirm. A crash between the two leaves a note without a
// delivery, which the reconciler finds.
type dispatcher struct {
	pool   postgres.Pool
	broker *rabbitmq.Broker
	names  messaging.Names
	log    *slog.Logger
	wake   *eventsystem.Signal
	rest   func() time.Duration // between two looks that nothing asked for; negative: none
	pause  func() time.Duration

	queues    map[string]bool // those that are prepared, of all namespaces
	refreshed time.Time
	inFlight  chan struct{} // one taken per batch that waits for its confirms
}

const (
	mostDispatched  = 1000        // steps of a queue that are published together
	batchesInFlight = 4           // of these
	refresh         = time.Second // how long a namespace may be unknown while others are busy
)

func newDispatcher(sys *system.Context, p *processor) *dispatcher {
	return &dispatcher{
		pool: sys.Pool, broker: sys.Broker, names: sys.Names, log: sys.Log, wake: eventsystem.NewSignal(),
		rest: p.polls, pause: p.ops.Pause,
		queues: map[string]bool{}, inFlight: make(chan struct{}, batchesInFlight),
	}
}

// run publishes until ctx ends, and waits for the confirms.
func (d *dispatcher) run(ctx context.Context) {
	var publishing sync.WaitGroup
	defer publishing.Wait()
	for ctx.Err() == nil {
		if d.broker.Await(ctx) != nil {
			return // ctx has ended
		}
		n, wait, err := d.pass(ctx, &publishing)
		switch {
		case err != nil && ctx.Err() == nil:
			d.log.WarnContext(ctx, "steps not published; trying again", "error", err)
			d.wake.Wait(ctx, d.pause())
		case n == 0:
			d.wake.Wait(ctx, wait)
		}
	}
}

// pass publishes what is due once. It returns how much that is, and how long it
// is until more will be.
func (d *dispatcher) pass(ctx context.Context, publishing *sync.WaitGroup) (n int, wait time.Duration, err error) {
	if err := d.prepare(ctx); err != nil {
		return 0, 0, err
	}
	queues := make([]string, 0, len(d.queues))
	for queue := range d.queues {
		queues = append(queues, queue)
	}
	wait = d.rest()
	if len(queues) == 0 {
		return 0, wait, nil
	}
	// An answer that is lost is a note without a delivery, so the end of ctx does
	// not interrupt it.
	all, err := postgres.Dispatch(context.WithoutCancel(ctx), d.pool, queues, mostDispatched)
	if err != nil {
		d.refreshed = time.Time{} // a queue may have been dropped
		clear(d.queues)
		return 0, 0, err
	}
	for _, q := range all {
		if q.Any && (wait < 0 || q.Wait < wait) {
			wait = q.Wait
		}
		if len(q.Messages) == 0 {
			continue
		}
		n += len(q.Messages)
		d.inFlight <- struct{}{}
		publishing.Go(func() {
			defer func() { <-d.inFlight }()
			d.publish(ctx, q)
		})
	}
	return n, wait, nil
}

// prepare makes the queues of namespaces that are new, here and at the broker.
func (d *dispatcher) prepare(ctx context.Context) error {
	if time.Since(d.refreshed) < refresh {
		return nil
	}
	namespaces, err := postgres.TemplateNamespaces(ctx, d.pool)
	if err != nil {
		return err
	}
	var fresh []string
	for _, namespace := range namespaces {
		queue, err := d.names.Steps(namespace)
		if err != nil {
			return err
		}
		if !d.queues[queue] {
			fresh = append(fresh, queue)
		}
	}
	if len(fresh) > 0 {
		if err := postgres.CreateQueues(ctx, d.pool, fresh); err != nil {
			return err
		}
		if err := postgres.PrepareDispatch(ctx, d.pool, fresh); err != nil {
			return err
		}
		if err := d.broker.Declare(ctx, fresh...); err != nil {
			return err
		}
	}
	for _, queue := range fresh {
		d.queues[queue] = true
	}
	d.refreshed = time.Now()
	return nil
}

// A stepMessage is what RabbitMQ carries of a step: where to find it. A worker
// claims the best step that is due, which may be another.
type stepMessage struct {
	Task  uuid.UUID `json:"task"`
	Step  int32     `json:"step"`
	Claim int32     `json:"claim"`
}

// unconfirmed is how long a batch may wait for its confirms.
const unconfirmed = 30 * time.Second

// publish publishes the steps of one queue, and takes the notes of those back
// that the broker does not confirm.
func (d *dispatcher) publish(ctx context.Context, q postgres.Dispatched) {
	// It outlives ctx: the notes are made.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unconfirmed)
	defer cancel()
	messages := make([]rabbitmq.Message, len(q.Messages))
	for i, m := range q.Messages {
		body, err := json.Marshal(stepMessage{m.Task, m.Ordinal, m.Claim})
		if err != nil {
			panic("orchestration: encode a step: " + err.Error()) // numbers and a string
		}
		messages[i] = rabbitmq.Message{Queue: q.Queue, ID: fmt.Sprintf("%s/%d/%d", m.Task, m.Ordinal, m.Claim), Body: body}
	}
	places, err := d.broker.Publish(ctx, messages)
	if err == nil {
		return
	}
	failed := make([]postgres.Message, len(places))
	for i, place := range places {
		failed[i] = q.Messages[place]
	}
	d.log.WarnContext(ctx, "steps not published; trying again", "queue", q.Queue, "steps", len(failed), "error", err)
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), unconfirmed)
	defer cancel()
	if err := postgres.Undispatch(again, d.pool, q.Queue, failed); err != nil {
		d.log.WarnContext(ctx, "the reconciler publishes them again", "queue", q.Queue, "error", err)
	}
	declaring, cancel := context.WithTimeout(again, declared)
	defer cancel()
	if err := d.broker.Declare(declaring, q.Queue); err != nil { // somebody may have deleted it
		d.log.WarnContext(ctx, "queue not declared", "queue", q.Queue, "error", err)
	}
	d.wake.Raise()
}

// declared is how long it may take to find out whether a queue is there.
const declared = 5 * time.Second

// declareQueues makes the queues of the role at the broker.
func declareQueues(ctx context.Context, sys *system.Context, queues config.OrchestrationQueues) error {
	if sys.Broker == nil {
		return nil
	}
	return sys.Broker.Declare(ctx, queues.StepResults, queues.TaskRequests, queues.TaskFinalizations)
}
