// Package handoff passes steps and outcomes between the two roles of one
// process: the same rows and the same fences as between processes, without the
// queue in between.
//
// A step that becomes ready while the worker has a free slot is born claimed
// and handed over once the transaction has committed; outcomes come back
// through a bounded channel. Should the process die, leases run out and anybody
// picks the steps up.
package handoff

import (
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A Runner is the worker's end of a line.
type Runner interface {
	// Reserve promises slots for steps of the namespace: the held ones, which
	// outcomes about to be applied bring back, and up to more free ones. It
	// returns how many in all, zero when the runner is shutting down.
	Reserve(namespace string, held, more int) int
	// Release gives slots back, reserved ones or those of applied outcomes.
	Release(n int)
	// Run runs steps, each on a slot that the caller has reserved, that were not
	// claimed before since.
	Run(namespace string, steps []postgres.ClaimedStep, since time.Time)
	// Applied says that the outcomes are stored: their leases need no renewal.
	Applied(outcomes []outcome.Outcome)
}

// A Line connects an orchestrator and a worker.
type Line struct {
	lanes   []chan outcome.Outcome
	closed  chan struct{}
	drained chan struct{}
	close   func()
	drain   func()

	mu     sync.RWMutex
	runner Runner
}

// New returns a line of as many lanes as batches may be applied at once; each
// holds up to buffer outcomes.
func New(lanes, buffer int) *Line {
	l := &Line{closed: make(chan struct{}), drained: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	l.drain = sync.OnceFunc(func() { close(l.drained) })
	for range lanes {
		l.lanes = append(l.lanes, make(chan outcome.Outcome, buffer))
	}
	return l
}

// Attach connects the worker, or disconnects it when r is nil. Without one
// nothing is handed over.
func (l *Line) Attach(r Runner) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runner = r
}

// Runner returns the worker, nil when there is none.
func (l *Line) Runner() Runner {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.runner
}

// Report hands an outcome to the orchestrator and waits while its lane is full.
// All outcomes of a task take the same lane, so that batches do not wait for
// each other. After Close it drops the outcome: a handler that would not stop
// sent it.
func (l *Line) Report(o outcome.Outcome) {
	lane := l.lanes[int(o.Step.Task[13])%len(l.lanes)] // a byte that is random in a task's id
	select {
	case lane <- o:
	case <-l.closed:
	}
}

// Lanes are what the worker reported, for a reader each.
func (l *Line) Lanes() []<-chan outcome.Outcome {
	lanes := make([]<-chan outcome.Outcome, len(l.lanes))
	for i, lane := range l.lanes {
		lanes[i] = lane
	}
	return lanes
}

// Close says that no further outcome will come; the orchestrator applies those
// that wait and stops.
func (l *Line) Close() { l.close() }

// Closed is closed by Close.
func (l *Line) Closed() <-chan struct{} { return l.closed }

// MarkDrained says that no outcome will be applied any more: after Close, or
// because the orchestrator has failed.
func (l *Line) MarkDrained() { l.drain() }

// Drained is closed by MarkDrained.
func (l *Line) Drained() <-chan struct{} { return l.drained }
