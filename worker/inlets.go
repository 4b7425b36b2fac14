package worker

import (
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// inlets lead claimed steps to where they are started: events from the readers
// of queues, commands from the orchestrator in this process. Whoever fills one
// waits while it is full.
type inlets struct {
	events   chan event
	commands chan command
	ended    chan struct{} // closed when nothing is started any more
}

// An event is a step that was claimed from its queue.
type event struct {
	space *space
	step  postgres.ClaimedStep
	lease time.Duration
	since time.Time   // it was not claimed before
	from  *deliveries // one of which it holds; nil: none
}

// A command is to run steps that were handed over.
type command struct {
	space *space
	steps []postgres.ClaimedStep
	since time.Time // they were not claimed before
}

func newInlets(cfg config.WorkerChannels) inlets {
	return inlets{
		events:   make(chan event, cfg.EventSystems.EventChannelBufferSize),
		commands: make(chan command, cfg.CommandProcessor.CommandBufferSize),
		ended:    make(chan struct{}),
	}
}

// command passes a command on. One that comes after the end is dropped: leases
// run out.
func (c *inlets) command(do command) {
	select {
	case c.commands <- do:
	case <-c.ended:
	}
}

// startClaimed starts what comes through the channels until stop is closed and
// they are empty.
func (r *runner) startClaimed(stop <-chan struct{}) {
	defer close(r.inlets.ended)
	for {
		select {
		case e := <-r.inlets.events:
			r.start(e)
		case c := <-r.inlets.commands:
			r.startAll(c)
		case <-stop:
			for len(r.inlets.events) > 0 {
				e := <-r.inlets.events
				r.start(e)
			}
			for len(r.inlets.commands) > 0 {
				r.startAll(<-r.inlets.commands)
			}
			return
		}
	}
}

func (r *runner) startAll(c command) {
	for i := range c.steps {
		r.start(event{c.space, c.steps[i], r.lease(), c.since, nil})
	}
}
