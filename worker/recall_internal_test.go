package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
)

// TestRecalledBeforeTheStart cancels a task whose step is claimed and does not run
// yet: the look at what was recalled cannot find it, and still its handler is told
// to stop, without a heartbeat and before its time is over.
func TestRecalledBeforeTheStart(t *testing.T) {
	t.Parallel()
	cfg, sys, spaces := openSystem(t)
	stopped := make(chan error, 1)
	handlers := tasker.NewHandlers()
	handlers.Add("work", tasker.HandlerFunc(func(ctx context.Context, _ *tasker.Step) (any, error) {
		<-ctx.Done()
		stopped <- ctx.Err()
		return nil, ctx.Err()
	}))
	r := newRunner(t.Context(), sys, cfg.Worker, handlers, spaces)
	r.sink = func(outcome.Outcome) {}
	t.Cleanup(r.stop)

	c := client.New(sys.Pool, cfg.Common)
	defer c.Close()
	id, err := c.CreateTask(t.Context(), client.Request{Namespace: "test", Template: "single"})
	if err != nil {
		t.Fatal(err)
	}
	sp, began := spaces["test"], time.Now()
	steps, err := r.claimSteps(t.Context(), sp, r.announced(), 1)
	if err != nil || len(steps) != 1 {
		t.Fatalf("claimed %d steps: %v", len(steps), err)
	}
	if err := c.Cancel(t.Context(), id, client.By{}); err != nil {
		t.Fatal(err)
	}
	r.lookForRecalls(t.Context()) // in vain
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	obeying := make(chan struct{})
	go func() { defer close(obeying); r.obeyRecalls(ctx) }()
	if r.slots.take(t.Context(), 1) != 1 {
		t.Fatal("no slot")
	}
	r.start(event{space: sp, step: steps[0], lease: r.lease(), since: began})
	r.wg.Wait()
	select {
	case err := <-stopped:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the handler ended with %v", err)
		}
	default: // it was told before it began
	}
	cancel()
	<-obeying
}
