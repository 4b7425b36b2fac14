package worker

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/messaging/rabbitmq"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
)

// deliveries are those of the steps of one namespace by RabbitMQ. Each entitles
// to claim one step, the best of those that are due, whichever it names: so the
// order of priority and age is that of the ledger. Whoever runs a step holds a
// delivery until the outcome is stored. So a worker never has more of them than it
// may prefetch, and those of a worker that dies go to others, who find the steps
// when their leases have run out.
type deliveries struct {
	*rabbitmq.Consumer

	mu   sync.Mutex
	held []rabbitmq.Delivery // by running steps, oldest first
}

func newDeliveries(broker *rabbitmq.Broker, queue string, prefetch int, arrived func()) *deliveries {
	return &deliveries{Consumer: broker.Consumer(queue, prefetch, arrived)}
}

// prefetch is how many steps of a namespace a worker may hold: as many as it has
// slots, unless the configuration says otherwise.
func prefetch(queues config.Queues, cfg *config.Worker) int {
	if queues.RabbitMQ != nil && queues.RabbitMQ.PrefetchCount > 0 {
		return queues.RabbitMQ.PrefetchCount
	}
	return cfg.System.StepProcessing.MaxConcurrentSteps
}

// declare makes the queues at the broker, or says why it cannot.
func declare(ctx context.Context, sys *system.Context, spaces map[string]*space) error {
	if sys.Broker == nil {
		return nil
	}
	queues := []string{sys.Names.Results()}
	for _, sp := range spaces {
		queues = append(queues, sp.queue)
	}
	return sys.Broker.Declare(ctx, queues...)
}

// hold keeps deliveries for steps that begin to run.
func (d *deliveries) hold(taken []rabbitmq.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = append(d.held, taken...)
}

// release acknowledges as many deliveries as steps have ended.
func (d *deliveries) release(n int) {
	d.mu.Lock()
	n = min(n, len(d.held))
	done := d.held[:n:n]
	d.held = d.held[n:]
	d.mu.Unlock()
	d.Ack(done)
}

// takeSound takes deliveries that name a step; any other becomes a dead letter.
func (d *deliveries) takeSound(n int) (sound []rabbitmq.Delivery) {
	for _, taken := range d.Take(n) {
		if p := (pointer{}); json.Unmarshal(taken.Body, &p) != nil || p.Step == 0 {
			d.Reject(taken)
			continue
		}
		sound = append(sound, taken)
	}
	return sound
}

// serveSpace claims steps of one namespace until ctx ends.
func (r *runner) serveSpace(ctx context.Context, sp *space) {
	if sp.delivered == nil {
		r.claim(ctx, sp)
		return
	}
	var consuming sync.WaitGroup
	defer consuming.Wait()
	consuming.Go(func() { sp.delivered.Run(ctx) })
	for ctx.Err() == nil {
		r.governor.wait(ctx)
		if waiting := sp.delivered.Waiting(); waiting > 0 {
			r.claimDelivered(ctx, sp, waiting)
			continue
		}
		pause, how := r.poll()
		if !sp.wake.Wait(ctx, pause) && ctx.Err() == nil {
			r.claimMissed(ctx, sp, how)
		}
	}
}

// claimDelivered claims a step for each of the deliveries that there are slots
// for.
func (r *runner) claimDelivered(ctx context.Context, sp *space, waiting int) {
	how := r.announced()
	how.delivered = true
	n := r.slots.take(ctx, min(waiting, r.most(how.batch)))
	taken := sp.delivered.takeSound(n)
	r.slots.release(n - len(taken))
	if len(taken) == 0 {
		return // ctx has ended, or the connection
	}
	began := time.Now()
	steps, err := r.claimSteps(ctx, sp, how, len(taken))
	r.slots.release(len(taken) - len(steps))
	if err != nil {
		sp.delivered.PutBack(taken)
		if ctx.Err() == nil {
			r.log.ErrorContext(ctx, "operation given up; trying again after a while", "namespace", sp.namespace, "error", err)
		}
		sp.wake.Wait(ctx, r.ops.Pause())
		return
	}
	sp.delivered.hold(taken[:len(steps)])
	r.pass(event{space: sp, lease: how.lease, since: began, from: sp.delivered}, steps)
	r.settle(ctx, sp, taken[len(steps):])
}

// settle deals with deliveries that led to no step. When nothing is due that
// was published, their steps have been claimed by others, or cancelled. Else
// a limit holds steps back, or somebody's lock: the deliveries are kept for another
// try, after a rest.
func (r *runner) settle(ctx context.Context, sp *space, left []rabbitmq.Delivery) {
	if len(left) == 0 {
		return
	}
	var due bool
	err := r.ops.Try(ctx, "look for steps that are held back", 0, func(ctx context.Context) (err error) {
		due, err = postgres.PublishedDue(ctx, r.sys.Pool, sp.queue)
		return err
	})
	if err == nil && !due {
		sp.delivered.Ack(left)
		return
	}
	sp.delivered.PutBack(left)
	if _, err := r.next(ctx, sp, 0); err != nil && ctx.Err() == nil { // learns whether there is a limit
		r.log.WarnContext(ctx, "limit of the namespace not read; trying again", "namespace", sp.namespace, "error", err)
	}
	sp.wake.Wait(ctx, r.cfg.System.QueueConfig.PollingInterval.Duration())
}

// claimMissed claims from the ledger what no delivery has led to in time, as
// while the broker is away.
func (r *runner) claimMissed(ctx context.Context, sp *space, how reading) {
	n := r.slots.take(ctx, r.most(how.batch))
	if n == 0 {
		return
	}
	began := time.Now()
	steps, err := r.claimSteps(ctx, sp, how, n)
	r.slots.release(n - len(steps))
	r.pass(event{space: sp, lease: how.lease, since: began}, steps)
	if err != nil && ctx.Err() == nil {
		r.log.ErrorContext(ctx, "operation given up; trying again after a while", "namespace", sp.namespace, "error", err)
		sp.wake.Wait(ctx, r.ops.Pause())
	}
}
