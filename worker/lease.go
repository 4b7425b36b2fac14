package worker

import (
	"context"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// limit says until when the claim of a step is renewed: its claim timeout, or
// its own longer timeout and a lease on top.
func (r *runner) limit(claimed postgres.ClaimedStep, timeout time.Duration) {
	bound := max(r.cfg.EventSystem.Timing.ClaimTimeout.Duration(), r.cfg.System.StepProcessing.ClaimTimeout.Duration(), timeout+r.lease())
	r.mu.Lock()
	defer r.mu.Unlock()
	if run := r.running[keyOf(claimed.StepRef)]; run != nil {
		run.until = time.Now().Add(bound)
	}
}

// heartbeat renews the leases of all running steps each third of the shortest
// lease, one statement per queue and length.
func (r *runner) heartbeat(ctx context.Context) {
	ticker := time.NewTicker(r.shortest() / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for leased, held := range r.held(time.Now()) {
			r.extend(ctx, leased, held)
		}
	}
}

// obeyRecalls looks, whenever an operator has cancelled something, which claims
// still hold, and tells the handlers of the others to stop. Of a claim that has not
// begun to run by then it is told again when it does. Who does not listen learns
// it at the next heartbeat.
func (r *runner) obeyRecalls(ctx context.Context) {
	for {
		r.recalled.Wait(ctx, -1)
		if ctx.Err() != nil {
			return
		}
		r.lookForRecalls(ctx)
	}
}

func (r *runner) lookForRecalls(ctx context.Context) {
	r.mu.Lock()
	r.recalls = time.Now()
	r.mu.Unlock()
	var claims []postgres.StepRef
	for _, held := range r.held(time.Time{}) {
		for _, m := range held {
			claims = append(claims, m.StepRef)
		}
	}
	if _, err := r.dropLost(ctx, claims); err != nil && ctx.Err() == nil {
		r.log.WarnContext(ctx, "claims not checked; the next heartbeat does it", "error", err)
	}
}

// held are the messages of running steps by queue and lease, those left out whose
// claim may not be renewed any more.
func (r *runner) held(now time.Time) map[leased][]postgres.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := map[leased][]postgres.Message{}
	for _, run := range r.running {
		if run.until.IsZero() || now.Before(run.until) {
			held[run.leased] = append(held[run.leased], run.message)
		}
	}
	return held
}

// extend renews leases. Where a message is gone, either the claim is lost, and
// the handler is told to stop, or the server has crashed and the message came
// back under another number.
func (r *runner) extend(ctx context.Context, of leased, held []postgres.Message) {
	var renewed []int64
	err := r.ops.Try(ctx, "renew leases", 0, func(ctx context.Context) (err error) {
		renewed, err = postgres.ExtendLeases(ctx, r.sys.Pool, of.queue, held, of.lease)
		return err
	})
	if err != nil {
		r.log.WarnContext(ctx, "leases not renewed; trying again", "queue", of.queue, "error", err)
		return
	}
	if len(renewed) == len(held) {
		return
	}
	extended := make(map[int64]bool, len(renewed))
	for _, id := range renewed {
		extended[id] = true
	}
	var doubtful []postgres.StepRef
	for _, m := range held {
		if !extended[m.ID] {
			doubtful = append(doubtful, m.StepRef)
		}
	}
	if err := r.settleDoubts(ctx, of.queue, doubtful); err != nil {
		r.log.WarnContext(ctx, "claims not checked; trying again", "queue", of.queue, "error", err)
	}
}

func (r *runner) settleDoubts(ctx context.Context, queue string, doubtful []postgres.StepRef) error {
	holding, err := r.dropLost(ctx, doubtful)
	if err != nil {
		return err
	}
	moved, err := postgres.FindMessages(ctx, r.sys.Pool, queue, holding)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range moved {
		if run := r.running[keyOf(m.StepRef)]; run != nil {
			run.message = m
		}
	}
	return nil
}

// dropLost tells the handlers of those claims to stop that do not hold any more,
// and returns the others.
func (r *runner) dropLost(ctx context.Context, claims []postgres.StepRef) ([]postgres.StepRef, error) {
	holding, err := postgres.HeldClaims(ctx, r.sys.Pool, claims)
	if err != nil {
		return nil, err
	}
	still := make(map[stepKey]bool, len(holding))
	for _, ref := range holding {
		still[keyOf(ref)] = true
	}
	var lost []postgres.StepRef
	r.mu.Lock()
	for _, ref := range claims {
		if run := r.running[keyOf(ref)]; run != nil && !still[keyOf(ref)] {
			r.log.WarnContext(ctx, "claim lost; telling the handler to stop", "step", ref.String())
			run.cancel()
			lost = append(lost, ref)
		}
	}
	r.mu.Unlock()
	r.forget(lost...)
	return holding, nil
}

// release gives back whatever this worker still holds, at the end of a
// shutdown: others may claim it at once.
func (r *runner) release(ctx context.Context) {
	for of, held := range r.held(time.Time{}) {
		if err := postgres.ReleaseSteps(ctx, r.sys.Pool, of.queue, held); err != nil {
			r.log.WarnContext(ctx, "steps not given back; their leases run out", "queue", of.queue, "steps", len(held), "error", err)
			continue
		}
		r.log.InfoContext(ctx, "gave back steps that had not finished", "queue", of.queue, "steps", len(held))
		for _, namespace := range r.namespaces() { // what nobody announces rests until it has some age
			if sp := r.space(namespace); sp != nil && sp.queue == of.queue {
				r.sys.Notifier.Wake(r.sys.Names.StepsChannel(namespace))
			}
		}
	}
}
