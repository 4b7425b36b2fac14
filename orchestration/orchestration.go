// Package orchestration plays the role that decides: it applies what workers
// report, enqueues the steps that become ready, settles tasks and repairs what
// crashes left behind. Run it in as many processes as the configuration allows.
//
// The life of a result can be read in processor.go; reconcile.go says why
// nothing is ever stuck.
package orchestration

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/breakers"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
	"github.com/tasker-systems/tasker-go/orchestration/internal/webhooks"
)

// ErrNoSection says that the configuration lacks the section of this role.
var ErrNoSection = errors.New("the configuration has no [orchestration] section; load the orchestration or complete context")

// An Option changes what [Run] does.
type Option func(*options)

type options struct {
	events *tasker.Events
}

// WithEvents has the orchestrator tell the subscribers of events in the life of
// tasks. For each of them as many events may wait as
// common.mpsc_channels.event_publisher.event_queue_buffer_size says: what the
// worker has settings of its own for.
func WithEvents(events *tasker.Events) Option {
	return func(o *options) { o.events = events }
}

// Run plays the role until ctx ends, then stops in good order. The database
// must have the current schema. Once the role works it logs "ready" with the
// address of its API, which a bind address with port 0 leaves open. Values that
// a reload changes are followed.
func Run(ctx context.Context, provider config.Provider, log *slog.Logger, opts ...Option) error {
	cfg := provider.Current()
	if cfg.Orchestration == nil {
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
	room := cfg.Common.Channels.EventPublisher.EventQueueBufferSize
	sys.UseEvents(o.events, room, room)
	g, serving := errgroup.WithContext(ctx)
	notifying, stopNotifying := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { sys.Run(notifying); return nil })
	g.Go(func() error {
		defer stopNotifying() // the last of the others may still wake somebody
		return Serve(serving, sys, cfg.Orchestration, Options{Ready: func(address string) {
			log.InfoContext(ctx, "ready", "role", "orchestration", "address", address)
		}})
	})
	return g.Wait()
}

// Options are what a combined process adds.
type Options struct {
	// Line connects the worker in the same process; nil when there is none.
	Line *handoff.Line
	// Ready is called once the role works and its API answers at the address,
	// which is empty when the API is off.
	Ready func(address string)
	// Stopping is called once the role stops, be it because a part of it failed:
	// the worker at the other end of the line must stop too, and first.
	Stopping func()
}

// Serve plays the role on a system that is open already, for Run and for
// package combined. The system must be running. With a line it ends when ctx
// has ended and the line is closed and empty.
func Serve(ctx context.Context, sys *system.Context, cfg *config.Orchestration, opts Options) error {
	lease, err := prepare(ctx, sys, cfg)
	if err != nil {
		return err
	}
	if opts.Line != nil {
		return serve(ctx, sys, cfg, lease, opts)
	}
	opts.Line = handoff.New(0, 0) // nobody reports on it
	opts.Line.Close()
	member, err := sys.Enter(ctx, postgres.Worker{Role: "orchestration"}, nil) // with a line the worker does so for both
	if err != nil {
		return err
	}
	var g errgroup.Group
	serving, stopping := context.WithCancel(ctx)
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { member.Run(serving, over); return nil })
	g.Go(func() error { defer end(); defer stopping(); return serve(serving, sys, cfg, lease, opts) })
	return g.Wait()
}

// serve runs the parts.
func serve(ctx context.Context, sys *system.Context, cfg *config.Orchestration, lease *standaloneLease, opts Options) error {
	l := newLimiter(sys, cfg.EventSystems.Orchestration.Timing.FallbackPollingInterval.Duration())
	p := newProcessor(sys, cfg, opts.Line)
	p.look = l.look
	hooks := webhooks.New(sys.Pool, cfg.Webhooks, cfg.EventSystems.Orchestration.Timing.FallbackPollingInterval.Duration(),
		sys.Common.Queues.PGMQ.ShutdownTimeout.Duration(), sys.Log)
	p.settled = hooks.Settled
	g, ctx := errgroup.WithContext(ctx)
	if opts.Stopping != nil {
		defer context.AfterFunc(ctx, opts.Stopping)()
	}
	if lease != nil {
		g.Go(func() error { return lease.keep(ctx) })
	}
	reports, scheduled, changed := eventsystem.NewSignal(), eventsystem.NewSignal(), eventsystem.NewSignal()
	gates := &gatekeeper{
		pool: sys.Pool, results: sys.Names.Results(), reports: reports, wake: p.gates, most: p.most(),
		rest: cfg.EventSystems.TaskReadiness.Timing.FallbackPollingInterval.Duration(), pause: p.ops.Pause, log: sys.Log,
	}
	door := newDoorkeeper(sys, cfg, p.ops.Pause)
	bulk := newOperations(sys, cfg)
	brokered, dispatch := useBroker(sys, p, door, reports)
	if cfg.EventSystems.Orchestration.DeploymentMode.Listens() {
		p.listener = sys.Listener(map[string]*eventsystem.Signal{
			sys.Names.DispatchChannel(): dispatch,
			sys.Names.ResultsChannel():  reports, sys.Names.SignalsChannel(): gates.wake, sys.Names.RequestsChannel(): door.wake,
			postgres.GatesChannel:         l.all,
			sys.Names.SchedulesChannel():  scheduled,
			postgres.SchedulesChannel:     scheduled,
			postgres.ChangesChannel:       changed,
			sys.Names.OperationsChannel(): bulk.wake,
		}, listening(sys.Common, cfg))
		g.Go(func() error { p.listener.Run(ctx); return nil })
	}
	g.Go(func() error { p.applyLanes(ctx); return nil })
	r, keeper := newReconciler(sys, cfg, reports), newHousekeeper(sys, cfg, p.failures)
	waiting, parts := newProber(sys), health.NewParts()
	stored := newPipeline(p, cfg.Channels, r.hints, sys.Channels)
	for _, run := range append(brokered,
		func(ctx context.Context) { stored.run(ctx, reports) },
		func(ctx context.Context) { newFirer(sys, cfg).Run(ctx, scheduled) },
		gates.run, door.run, l.run, r.run, bulk.run, keeper.run, hooks.Run, p.ops.Run, r.ops.Run, waiting.Run,
	) {
		g.Go(func() error { parts.Run(ctx, nameOf(run), run); return nil })
	}
	deps := webDeps(sys)
	deps.Around = newTeller(sys).around
	deps.Changed = changed
	deps.DLQ, deps.DeadLettered, deps.Resting, deps.ArchiveNow = cfg.DLQ, keeper.entered, keeper.resting, keeper.archiveAsked
	deps.Webhooks = web.Webhooks{AllowPrivateAddresses: cfg.Webhooks.AllowPrivateAddresses, Changed: hooks.Changed}
	deps.Checks = slices.Concat(sys.Checks(), []health.Check{
		waiting.Check("queue_depth"), {Name: "reconciler", Look: r.look}, parts.Check("orchestration_system"),
	}, p.ops.Checks("orchestration_events"), p.listener.Checks(), r.ops.Checks("task_readiness_events"))
	g.Go(func() error { return web.Serve(ctx, sys.Common, cfg.System.Web, deps, opts.Ready) })
	return g.Wait()
}

// prepare takes the lease of standalone mode, nil in any other, and creates the
// queues of the role.
func prepare(ctx context.Context, sys *system.Context, cfg *config.Orchestration) (*standaloneLease, error) {
	lease, err := takeStandaloneLease(ctx, sys, cfg)
	if err != nil {
		return nil, err
	}
	if err := postgres.CreateQueues(ctx, sys.Pool, []string{sys.Names.Results()}); err != nil {
		return nil, err
	}
	if err := declareQueues(ctx, sys, sys.Common.Queues.OrchestrationQueues); err != nil {
		return nil, err
	}
	return lease, postgres.CreateLoggedQueues(ctx, sys.Pool, []string{sys.Names.Requests(), sys.Names.Finalizations()})
}

// useBroker returns what runs with RabbitMQ besides the rest, and the signal that
// has steps published; nothing runs with pgmq.
func useBroker(sys *system.Context, p *processor, door *doorkeeper, reports *eventsystem.Signal) ([]func(context.Context), *eventsystem.Signal) {
	if sys.Broker == nil {
		return nil, eventsystem.NewSignal()
	}
	d := newDispatcher(sys, p)
	sys.Notifier.Serve(sys.Names.DispatchChannel(), d.wake)
	p.announced.Consumer = sys.Broker.Consumer(sys.Names.Results(), mostAnnounced, reports.Raise)
	return append(newInboxes(sys, door, reports), d.run, p.announced.Run), d.wake
}

func webDeps(sys *system.Context) web.Deps {
	return web.Deps{
		DB: sys.Pool, Catalog: sys.Catalog, Names: sys.Names, Notifier: sys.Notifier, Config: sys.Config,
		Metrics: sys.Metrics, Door: sys.Door(), Log: sys.Log,
		Breaker: sys.Breakers.Of(breakers.Web), Overload: sys.Usage.Overload,
	}
}

// listening derives what the section does not name: an orchestrator has no
// listener table of its own.
func listening(common config.Common, cfg *config.Orchestration) eventsystem.Listening {
	events := cfg.EventSystems.Orchestration
	connect, retry := common.Database.Pool.AcquireTimeout.Duration(), events.Processing.Backoff.MaxDelay.Duration()
	check := events.Timing.HealthCheckInterval.Duration()
	return eventsystem.Listening{
		Connect: connect, Retry: retry, Attempts: events.Processing.MaxRetries, Recheck: max(check, retry), Quiet: check,
		Watched:   events.Health.Enabled,
		Subscribe: connect, SubscribeRetry: retry, SubscribeAttempts: events.Processing.MaxRetries,
		Buffer: cfg.Channels.EventListeners.PGMQEventBufferSize,
	}
}

// sectionOf returns what gives the section in effect: that of a configuration
// which can be loaded anew, else cfg. Parts ask it for each use of a key that is
// tagged reload:"live".
func sectionOf(sys *system.Context, cfg *config.Orchestration) func() *config.Orchestration {
	return func() *config.Orchestration {
		if sys.Config != nil {
			return sys.Config.Current().Orchestration
		}
		return cfg
	}
}
