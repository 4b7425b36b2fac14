// Package worker plays the role that runs handlers: it claims steps of its
// namespaces, runs their handlers and reports the outcomes. A worker of your
// own is a small program around [Main].
//
// Start reading at runner.go: claim, execute, deliver.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/worker/internal/web"
)

// ErrNoSection says that the configuration lacks the section of this role.
var ErrNoSection = errors.New("the configuration has no [worker] section; load the worker or complete context")

// An Option changes what [Run] and [Main] do.
type Option func(*options)

type options struct {
	templates fs.FS
	defined   []tasker.Template
	events    *tasker.Events
	replace   bool
}

// WithTemplates registers the templates in the root of fsys, *.yaml and *.yml,
// in place of those under common.task_templates.template_path. Embedded, they
// travel with the program.
func WithTemplates(fsys fs.FS) Option {
	return func(o *options) { o.templates = fsys }
}

// WithDefinitions registers templates that are written in Go, besides those in
// files; without [WithTemplates] there need be none of these.
func WithDefinitions(definitions ...tasker.Template) Option {
	return func(o *options) { o.defined = append(o.defined, definitions...) }
}

// WithEvents has the worker tell the subscribers of events, and ask the
// publishers for their payloads.
func WithEvents(events *tasker.Events) Option {
	return func(o *options) { o.events = events }
}

// WithChangedTemplates lets a template replace what is registered under its
// version already: new tasks get the new definition, those that exist keep
// theirs. Without, a template that changed and kept its version ends the worker
// in the environment production; development and test always replace.
func WithChangedTemplates() Option {
	return func(o *options) { o.replace = true }
}

// Run registers the worker's templates and plays the role until ctx ends, then
// stops in good order: it claims nothing more, gives running handlers the time
// of common.queues.pgmq.shutdown_timeout_seconds, and gives back what they did
// not finish. The database must have the current schema. Once the role works it
// logs "ready" with the address of its API, which a bind address with port 0
// leaves open.
func Run(ctx context.Context, provider config.Provider, handlers *tasker.Handlers, log *slog.Logger, opts ...Option) error {
	cfg := provider.Current()
	if cfg.Worker == nil {
		return ErrNoSection
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	sys, err := system.Open(ctx, cfg.Common, log)
	if err != nil {
		return err
	}
	defer sys.Close() //nolint:contextcheck // ctx has ended by then
	sys.Follow(provider)
	UseEvents(sys, cfg.Worker, o.events)
	load := func() ([]*templates.Template, error) { return o.load(sys.Common.TaskTemplates) }
	loaded, err := load()
	if err != nil {
		return err
	}
	g, serving := errgroup.WithContext(ctx)
	notifying, stopNotifying := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { sys.Run(notifying); return nil })
	g.Go(func() error {
		defer stopNotifying() // the last report may still wake an orchestrator
		return Serve(serving, sys, cfg.Worker, Role{
			Handlers: handlers, Templates: loaded, Reload: load, Replace: o.replace,
			Ready: func(address string) {
				log.InfoContext(ctx, "ready", "role", "worker", "address", address)
			},
		})
	})
	return g.Wait()
}

// UseEvents adds the events of a program to a system that does not run yet, with
// the room that the settings of the worker give them, for Run and for package
// combined.
func UseEvents(sys *system.Context, cfg *config.Worker, events *tasker.Events) {
	sys.UseEvents(events, cfg.Channels.InProcessEvents.BroadcastBufferSize, cfg.EventSystem.Metadata.InProcessEvents.DeduplicationCacheSize)
}

// conventional is where templates lie when the configuration does not say.
const conventional = "config/tasks"

// load returns the templates in files and those in Go.
func (o *options) load(cfg config.TaskTemplates) ([]*templates.Template, error) {
	defined, err := templates.Define(o.defined)
	if err != nil {
		return nil, err
	}
	if len(defined) > 0 && o.templates == nil && cfg.TemplatePath == "" {
		return defined, nil
	}
	loaded, err := loadTemplates(cfg, o.templates)
	return append(loaded, defined...), err
}

func loadTemplates(cfg config.TaskTemplates, given fs.FS) ([]*templates.Template, error) {
	if given != nil {
		return templates.LoadFS(given)
	}
	dir := cfg.TemplatePath
	if dir == "" {
		dir = conventional
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("no templates: common.task_templates.template_path is empty and there is no folder %s here", conventional)
		}
	}
	loaded, err := templates.LoadDir(dir)
	if err == nil && len(loaded) == 0 {
		err = fmt.Errorf("no templates: %s has no *.yaml or *.yml", dir)
	}
	return loaded, err
}

// A Role is what a worker brings along.
type Role struct {
	Handlers  *tasker.Handlers
	Templates []*templates.Template // registered at the start; their namespaces are served
	// Reload reads the templates anew, as far as they are without problems, which
	// the error lists; nil when they cannot change.
	Reload  func() ([]*templates.Template, error)
	Replace bool          // templates that changed and kept their version are taken
	Line    *handoff.Line // to the orchestrator in this process; nil when there is none
	// Ready is called once the worker claims steps and its API answers at the
	// address, which is empty when the API is off.
	Ready func(address string)
}

// Serve plays the role on a system that is open already, for Run and for
// package combined. The system must be running.
func Serve(ctx context.Context, sys *system.Context, cfg *config.Worker, role Role) error {
	sys.Catalog.UseRetries(cfg.System.StepProcessing.MaxRetries)
	if err := role.register(ctx, sys.Catalog, role.Templates); err != nil {
		return err
	}
	if err := postgres.CreateQueues(ctx, sys.Pool, []string{sys.Names.Results()}); err != nil {
		return err // a worker may report before any orchestrator has started
	}
	warnOfMissingHandlers(ctx, sys.Log, role.Handlers, role.Templates)
	spaces, err := spacesOf(sys, role.Templates, prefetch(sys.Common.Queues, cfg))
	if err != nil {
		return err
	}
	if err := declare(ctx, sys, spaces); err != nil {
		return err
	}
	r := newRunner(ctx, sys, cfg, role.Handlers, spaces)
	if err := r.enlist(ctx, role); err != nil {
		return err
	}
	return r.serve(ctx, role)
}

// enlist puts the worker, with what it serves, into the registry.
func (r *runner) enlist(ctx context.Context, role Role) (err error) {
	row := postgres.Worker{
		Role: "worker", WorkerID: r.cfg.System.WorkerID, WorkerType: r.cfg.System.WorkerType,
		Namespaces: r.namespaces(), Templates: namesOf(role.Templates), Handlers: role.Handlers.Names(), Capacity: r.slots.capacity,
	}
	if role.Line != nil {
		row.Role = "combined"
	}
	r.member, err = r.sys.Enter(ctx, row, r.slots.inUse)
	return err
}

// namesOf returns the names of templates with their versions, sorted.
func namesOf(all []*templates.Template) []string {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = nameOf(t).String()
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// serve runs the parts; those that others need end last.
func (r *runner) serve(ctx context.Context, role Role) error {
	outlive, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { r.heartbeat(outlive); return nil })
	g.Go(func() error { r.member.Run(ctx, outlive); return nil })
	finish := r.connect(g, outlive, role.Line)
	channels.Watch(r.sys.Channels, "claimed_steps", r.inlets.events)
	channels.Watch(r.sys.Channels, "handed_over", r.inlets.commands)
	stopStarting := make(chan struct{})
	g.Go(func() error { r.startClaimed(stopStarting); return nil }) //nolint:contextcheck // handlers outlive the end of claiming
	if r.listener != nil {
		g.Go(func() error { r.listen(ctx); return nil })
		g.Go(func() error { r.obeyRecalls(ctx); return nil })
	}
	g.Go(func() error { r.sweep(ctx); return nil })
	g.Go(func() error { r.governor.run(ctx); return nil })
	g.Go(func() error { r.finished.run(ctx); return nil })
	g.Go(func() error { r.ops.Run(ctx); return nil })
	var claiming sync.WaitGroup
	for _, sp := range r.spaces {
		claiming.Go(func() { r.serveSpace(ctx, sp) })
	}
	if role.Reload != nil && r.sys.Common.TaskTemplates.AutoReload {
		l := &reloader{role: role, catalog: r.sys.Catalog, log: r.log, registered: digestsOf(role.Templates)}
		claiming.Go(func() {
			l.run(ctx, r.sys.Common.TaskTemplates.ReloadInterval.Duration(), func(fresh []*templates.Template) {
				for _, sp := range r.serveToo(ctx, role, fresh) {
					claiming.Go(func() { r.serveSpace(ctx, sp) })
				}
			})
		})
	}
	g.Go(func() error {
		return web.Serve(ctx, r.sys.Common, r.cfg.System.Web, r.webDeps(role.Handlers), role.Ready)
	})
	g.Go(func() error {
		<-ctx.Done()
		claiming.Wait()
		r.drain()
		finish()
		close(stopStarting)
		<-r.inlets.ended
		r.giveUp(outlive)
		end()
		return nil
	})
	return g.Wait()
}

func (r *runner) webDeps(handlers *tasker.Handlers) web.Deps {
	slots := func() (inUse, capacity int) { return r.slots.inUse(), r.slots.capacity }
	checks := slices.Concat(r.sys.Checks(), r.ops.Checks("worker_events"), r.listener.Checks(), []health.Check{
		{Name: "resource_limits", Look: r.governor.look},
		{Name: "steps", Look: r.finished.look},
	})
	return web.Deps{
		DB: r.sys.Pool, Slots: slots, Attempts: r.finished.totals, Levels: r.sys.Channels.Levels, Namespaces: r.namespaces,
		HandlerNames: handlers.Names(), Process: r.sys.Process, WorkerID: r.cfg.System.WorkerID, WorkerType: r.cfg.System.WorkerType,
		Catalog: r.sys.Catalog, Events: r.sys.Events, Bus: r.sys.Bus,
		Checks: checks, Config: r.sys.Config, Metrics: r.sys.Metrics, Log: r.sys.Log,
	}
}

// connect says where outcomes go: over the line, or to the database. What it
// returns waits until all are stored.
func (r *runner) connect(g *errgroup.Group, outlive context.Context, line *handoff.Line) (finish func()) {
	if line != nil {
		r.sink = line.Report
		line.Attach(r)
		return func() {
			line.Attach(nil)
			line.Close()
			r.within(r.patience(), line.Drained())
		}
	}
	p := newReporter(r)
	r.sink = p.report
	channels.WatchWork(r.sys.Channels, "outcomes", p.outcomes)
	stored := make(chan struct{})
	reporting, stop := context.WithCancel(outlive)
	g.Go(func() error { defer close(stored); p.run(reporting); return nil })
	announced := make(chan struct{})
	g.Go(func() error { defer close(announced); p.announcer.run(reporting); return nil })
	return func() {
		p.close()
		r.within(r.patience(), stored)
		p.announcer.close()
		r.within(r.patience(), announced)
		stop()
	}
}

// patience is how long a shutdown waits for handlers, and for outcomes to be
// stored.
func (r *runner) patience() time.Duration {
	return r.sys.Common.Queues.PGMQ.ShutdownTimeout.Duration()
}

// within waits for done, at most d, and reports whether it came.
func (r *runner) within(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// drain lets running handlers finish, then tells them to stop, then goes on
// without those that will not.
func (r *runner) drain() {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	returned := make(chan struct{})
	go func() { r.wg.Wait(); close(returned) }()
	if r.within(r.patience(), returned) {
		return
	}
	r.stop()
	if !r.within(time.Second, returned) {
		r.log.Warn("handlers ignore the shutdown; their steps are given back all the same", "steps", r.slots.inUse())
	}
}

// giveUp gives back what was not finished.
func (r *runner) giveUp(outlive context.Context) {
	r.stop()
	ctx, cancel := context.WithTimeout(outlive, r.patience())
	defer cancel()
	r.release(ctx)
}

// warnOfMissingHandlers says at the start what would otherwise fail step by
// step.
func warnOfMissingHandlers(ctx context.Context, log *slog.Logger, handlers *tasker.Handlers, all []*templates.Template) {
	for _, t := range all {
		for i := range t.Steps {
			h := &t.Steps[i].Handler
			if h.Callable == "" {
				continue // the engine itself carries the step out
			}
			if _, err := handlers.Resolve(h.Callable, h.Method, h.Resolver); err != nil {
				log.WarnContext(ctx, "no handler for a step of a registered template",
					"template", t.Namespace+"/"+t.Name, "step", t.Steps[i].Name, "handler", h.Callable, "error", err)
			}
		}
	}
}
