package enginetest

import (
	"context"
	"errors"
	"slices"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/combined"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/orchestration"
	"github.com/tasker-systems/tasker-go/worker"
)

// A Process plays a role, or both, within the test.
type Process struct {
	e      *Engine
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run, once done is closed
}

// run starts a process on a copy of the configuration.
func (e *Engine) run(play func(ctx context.Context, cfg *config.Config) error) *Process {
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.t.Context())) // stopped by a clean-up, in order
	p := &Process{e: e, cancel: cancel, done: make(chan struct{})}
	cfg := *e.Config
	go func() {
		defer close(p.done)
		p.err = play(ctx, &cfg)
	}()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.processes = append(e.processes, p)
	return p
}

// StartCombined starts a process with both roles and waits until it works.
func (e *Engine) StartCombined(handlers Handlers) *Process {
	e.t.Helper()
	ready := make(chan struct{})
	p := e.run(func(ctx context.Context, cfg *config.Config) error {
		return combined.Run(ctx, cfg, e.Log, combined.Options{
			Handlers: handlers.set(), Templates: alwaysUnique(e.Templates), Events: e.events, Ready: func(string, string) { close(ready) },
		})
	})
	select {
	case <-ready:
	case <-p.done:
		e.t.Fatalf("the engine did not start: %v", p.err)
	}
	return p
}

// StartOrchestrator starts a process with this role.
func (e *Engine) StartOrchestrator() *Process {
	return e.run(func(ctx context.Context, cfg *config.Config) error {
		cfg.Worker = nil
		return orchestration.Run(ctx, cfg, e.Log, orchestration.WithEvents(e.events))
	})
}

// StartWorker starts a process with this role and waits until it has registered
// its templates.
func (e *Engine) StartWorker(handlers Handlers) *Process {
	e.t.Helper()
	return e.StartWorkerWith(handlers.set())
}

// StartWorkerWith is StartWorker for handlers with methods or resolvers.
func (e *Engine) StartWorkerWith(handlers *tasker.Handlers) *Process {
	e.t.Helper()
	const workers = `from tasker.workers where role = 'worker'`
	before := Query[int](e, `select count(*) `+workers)
	p := e.run(func(ctx context.Context, cfg *config.Config) error {
		cfg.Orchestration = nil
		return worker.Run(ctx, cfg, handlers, e.Log, worker.WithTemplates(alwaysUnique(e.Templates)), worker.WithEvents(e.events))
	})
	e.Await(`select count(*) > $1 `+workers, before)
	return p
}

// Cancel asks a process to stop in good order, without waiting for it.
func (p *Process) Cancel() { p.cancel() }

// Stop stops a process in good order and fails the test if it does not.
func (p *Process) Stop() {
	p.e.t.Helper()
	p.cancel()
	if err := p.Wait(); err != nil && !errors.Is(err, context.Canceled) { // canceled: it was still starting
		p.e.t.Errorf("the engine stopped with: %v", err)
	}
}

// Wait waits until the process has ended by itself, and returns its error.
func (p *Process) Wait() error {
	p.e.t.Helper()
	Receive(p.e.t, p.done)
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	p.e.processes = slices.DeleteFunc(p.e.processes, func(other *Process) bool { return other == p })
	return p.err
}

// Stop stops every process that still runs, the workers first.
func (e *Engine) Stop() {
	e.t.Helper()
	for {
		e.mu.Lock()
		if len(e.processes) == 0 {
			e.mu.Unlock()
			return
		}
		last := e.processes[len(e.processes)-1]
		e.mu.Unlock()
		last.Stop()
	}
}

func (h Handlers) set() *tasker.Handlers {
	set := tasker.NewHandlers()
	for name, handler := range h {
		set.Add(name, handler)
	}
	return set
}
