package worker

import (
	"context"
	"errors"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A reading is one way to read a queue of steps. There are three: for what a
// notification or a timer announces (worker.event_system), for what notifications
// have missed (its fallback poller), and straight, where there are no
// notifications (worker.system.queue_config).
type reading struct {
	batch          int
	lease          time.Duration
	minAge, maxAge time.Duration // of the messages; zero: any
	delivered      bool          // only what RabbitMQ was given
}

// announced reads what a notification or a timer announces.
func (r *runner) announced() reading {
	if r.listener.Lost() {
		direct := r.cfg.System.QueueConfig
		return reading{batch: direct.BatchSize, lease: direct.VisibilityTimeout.Duration()}
	}
	return reading{batch: r.cfg.EventSystem.Processing.BatchSize, lease: r.lease()}
}

// missed reads what nobody has announced in time.
func (r *runner) missed() reading {
	p := r.cfg.EventSystem.Metadata.FallbackPoller
	return reading{
		batch: p.BatchSize, lease: p.VisibilityTimeout.Duration(),
		minAge: p.AgeThreshold.Duration(), maxAge: p.MaxAge.Duration(),
	}
}

// poll is how long to wait for work that nobody announces, and how to read then.
// A negative wait has no end.
func (r *runner) poll() (time.Duration, reading) {
	switch {
	case r.listener.Lost():
		return r.cfg.System.QueueConfig.PollingInterval.Duration(), r.announced()
	case !r.cfg.EventSystem.DeploymentMode.Polls():
		return -1, r.announced()
	case r.cfg.EventSystem.Metadata.FallbackPoller.Enabled:
		return r.cfg.EventSystem.Metadata.FallbackPoller.PollingInterval.Duration(), r.missed()
	default:
		return r.cfg.EventSystem.Timing.FallbackPollingInterval.Duration(), r.announced()
	}
}

// listens reports whether notifications wake the worker. Turning event_driven off
// leaves polling, whatever the modes say (configuration rule X9, which also has
// the two modes agree).
func (r *runner) listens() bool {
	driven := r.cfg.System.EventDriven
	return driven.Enabled && driven.DeploymentMode.Listens()
}

// listening is how the worker listens: worker.system.listener supervises the
// connection, worker.event_system.metadata.listener is the subscription.
func listening(cfg *config.Worker) eventsystem.Listening {
	connection, subscription, driven := cfg.System.Listener, cfg.EventSystem.Metadata.Listener, cfg.System.EventDriven
	l := eventsystem.Listening{
		Connect:  connection.ConnectionTimeout.Duration(),
		Retry:    connection.RetryInterval.Duration(),
		Attempts: connection.MaxRetryAttempts,
		Recheck:  connection.HealthCheckInterval.Duration(),
		Quiet:    connection.EventTimeout.Duration(),

		Subscribe:         subscription.ConnectionTimeout.Duration(),
		SubscribeRetry:    subscription.RetryInterval.Duration(),
		SubscribeAttempts: subscription.MaxRetryAttempts,
		Silence:           subscription.EventTimeout.Duration(),

		Buffer:   cfg.Channels.EventListeners.PGMQEventBufferSize,
		OneByOne: !connection.BatchProcessing || !subscription.BatchProcessing,
	}
	if driven.HealthMonitoringEnabled {
		l.Watched, l.Probe = true, driven.HealthCheckInterval.Duration()
	}
	return l
}

// lease is how long a claim holds unless it is renewed, where it was announced or
// handed over.
func (r *runner) lease() time.Duration {
	return r.cfg.EventSystem.Timing.VisibilityTimeout.Duration()
}

// shortest is the shortest of the leases.
func (r *runner) shortest() time.Duration {
	return min(r.lease(), r.missed().lease, r.cfg.System.QueueConfig.VisibilityTimeout.Duration())
}

// most is how many steps one read claims: no more than the channel that they go
// through has room for.
func (r *runner) most(batch int) int { return min(r.together(batch), cap(r.inlets.events)) }

// together is how many steps travel together under load: several batches, each
// as large as common.queues.max_batch_size allows.
func (r *runner) together(batch int) int {
	return coalesced * min(batch, r.sys.Common.Queues.MaxBatchSize)
}

// claim claims steps of one namespace until ctx ends.
func (r *runner) claim(ctx context.Context, sp *space) {
	how := r.announced()
	for ctx.Err() == nil {
		r.governor.wait(ctx)
		n := r.slots.take(ctx, r.most(how.batch))
		if n == 0 {
			return
		}
		began := time.Now()
		steps, err := r.claimSteps(ctx, sp, how, n)
		r.slots.release(n - len(steps))
		r.counts.claim(ctx, sp.namespace, time.Since(began), steps)
		r.pass(event{space: sp, lease: how.lease, since: began}, steps)
		switch {
		case err != nil && ctx.Err() == nil:
			r.log.Log(ctx, eventsystem.Given(err), "operation given up; trying again after a while", "namespace", sp.namespace, "error", err)
			sp.wake.Wait(ctx, r.reads.Pause())
		case err == nil && len(steps) < n:
			how = r.await(ctx, sp, time.Since(began))
		}
	}
}

// pass passes claimed steps on to be started, each as the event says.
func (r *runner) pass(e event, steps []postgres.ClaimedStep) {
	for i := range steps {
		e.step = steps[i]
		r.inlets.events <- e
	}
}

// claimSteps claims up to n steps. A shutdown does not interrupt it: a claim whose
// answer is lost could not be given back.
func (r *runner) claimSteps(ctx context.Context, sp *space, how reading, n int) (steps []postgres.ClaimedStep, err error) {
	r.queues <- struct{}{}
	defer func() { <-r.queues }()
	err = r.reads.Try(ctx, "claim steps", r.sys.Common.Queues.PGMQ.MaxRetries, func(ctx context.Context) (err error) {
		steps, err = postgres.ClaimSteps(ctx, r.sys.Pool, postgres.Claim{
			Queue: sp.queue, Namespace: sp.namespace, Limited: sp.limited.Load(), Process: r.sys.Process,
			Limit: n, Lease: how.lease, MinAge: how.minAge, MaxAge: how.maxAge, Delivered: how.delivered,
		})
		if postgres.IsUnreadable(err) {
			err = errors.Join(err, r.setMalformedAside(ctx, sp))
		}
		return err
	})
	return steps, err
}

// setMalformedAside sets those messages of a queue aside that no worker can read,
// so that the next try reads the others.
func (r *runner) setMalformedAside(ctx context.Context, sp *space) error {
	n, err := postgres.SetMalformedAside(ctx, r.sys.Pool, sp.queue, false)
	if n > 0 {
		r.log.ErrorContext(ctx, "messages that name no step are set aside in the archive of their queue", "queue", sp.queue, "messages", n)
	}
	return err
}

// await waits until there may be work, and says how to read it: a poll interval,
// less when it is announced or when a retry or the end of a lease comes sooner.
// Since is how long ago the queue was read. Without the knowledge that the
// namespace has a limit nothing was claimed there, so the queue is read again.
func (r *runner) await(ctx context.Context, sp *space, since time.Duration) reading {
	pause, how := r.poll()
	limited := sp.limited.Load()
	next, err := r.next(ctx, sp, since)
	switch {
	case err != nil:
	case next.Limited && !limited:
		return r.announced()
	case next.Any && (pause < 0 || next.Wait < pause):
		pause, how = next.Wait, r.announced()
	}
	if sp.wake.Wait(ctx, pause) {
		return r.announced()
	}
	return how
}

func (r *runner) next(ctx context.Context, sp *space, since time.Duration) (next postgres.NextClaim, err error) {
	err = r.reads.Try(ctx, "look for due messages", 0, func(ctx context.Context) (err error) {
		next, err = postgres.FindNextClaim(ctx, r.sys.Pool, sp.queue, sp.namespace, since)
		return err
	})
	if err == nil {
		sp.limited.Store(next.Limited)
	}
	return next, err
}
