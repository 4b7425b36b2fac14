// Package combined plays both roles in one process, connected by local
// hand-off: a step that becomes ready while the worker has a free slot is
// claimed for it in the transaction that made it ready and handed over within
// the process. Development, tests and small deployments run this way; any
// number of split or combined processes may share the database with it.
package combined

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"golang.org/x/sync/errgroup"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/orchestration"
	"github.com/tasker-systems/tasker-go/worker"
)

// Options say what to run.
type Options struct {
	Handlers *tasker.Handlers
	// Templates holds the templates to register, *.yaml and *.yml in its root.
	Templates fs.FS
	// Definitions are templates that are written in Go.
	Definitions []tasker.Template
	// Events are the subscribers and publishers of the program; nil: none.
	Events *tasker.Events
	// ReplaceTemplates is [worker.WithChangedTemplates].
	ReplaceTemplates bool
	// Ready is called once both roles work. The addresses are those the APIs
	// answer at, empty where one is off.
	Ready func(orchestration, worker string)
}

// load returns the templates in files and those in Go.
func (o *Options) load() ([]*templates.Template, error) {
	defined, err := templates.Define(o.Definitions)
	if err != nil || o.Templates == nil {
		return defined, err
	}
	loaded, err := templates.LoadFS(o.Templates)
	return append(loaded, defined...), err
}

// lanes is how many batches are applied at once. Two keep the database busy
// while the program prepares the next batch; more would make the batches smaller.
func lanes(cfg *config.Orchestration) int {
	return min(2, cfg.EventSystems.Orchestration.Processing.MaxConcurrentOperations)
}

// newLine returns the line between the roles of a process.
func newLine(cfg *config.Config) *handoff.Line {
	return handoff.New(lanes(cfg.Orchestration), cfg.Worker.Channels.EventSubscribers.CompletionBufferSize)
}

// Run plays both roles until ctx ends, then stops in good order. The
// configuration must have both sections and the database the current schema.
// Values that a reload changes are followed.
func Run(ctx context.Context, provider config.Provider, log *slog.Logger, opts Options) error {
	cfg := provider.Current()
	if cfg.Orchestration == nil {
		return orchestration.ErrNoSection
	}
	if cfg.Worker == nil {
		return worker.ErrNoSection
	}
	load := opts.load
	loaded, err := load()
	if err != nil {
		return err
	}
	sys, err := system.Open(ctx, cfg.Common, log)
	if err != nil {
		return err
	}
	defer sys.Close() //nolint:contextcheck // ctx has ended by then
	sys.Follow(provider)
	worker.UseEvents(sys, cfg.Worker, opts.Events)

	line := newLine(cfg)
	for _, lane := range line.Lanes() {
		channels.WatchWork(sys.Channels, "outcomes", lane)
	}
	notifying, stopNotifying := context.WithCancel(context.WithoutCancel(ctx))
	var notifier errgroup.Group
	notifier.Go(func() error { sys.Run(notifying); return nil })
	defer func() {
		stopNotifying()
		_ = notifier.Wait() // it returns no error
	}()

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	addresses := make(chan string, 1) // of the orchestration API
	g.Go(func() error {
		defer line.MarkDrained() // also when it fails to start
		return orchestration.Serve(ctx, sys, cfg.Orchestration, orchestration.Options{
			Line: line, Ready: func(address string) { addresses <- address }, Stopping: stop,
		})
	})
	g.Go(func() error {
		defer line.Close() // also when the worker fails to start
		err := worker.Serve(ctx, sys, cfg.Worker, worker.Role{
			Handlers: opts.Handlers, Templates: loaded, Reload: load, Replace: opts.ReplaceTemplates, Line: line,
			Ready: func(address string) {
				if opts.Ready == nil {
					return
				}
				select {
				case orchestrationAddress := <-addresses:
					opts.Ready(orchestrationAddress, address)
				case <-ctx.Done():
				}
			},
		})
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // it was told to stop; why, the other role knows
		}
		return err
	})
	return g.Wait()
}
