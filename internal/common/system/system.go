// Package system assembles what every role stands on from the common section
// of the configuration alone: the connection pool, the names of queues, the
// template catalog, the wake-ups, the events and the identity of the process. Only the
// assemblies of the roles see it; their parts are given just what they use.
package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/breakers"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/common/events"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/messaging/rabbitmq"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/publisher"
	"github.com/tasker-systems/tasker-go/internal/common/registry"
	"github.com/tasker-systems/tasker-go/internal/common/resources"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/migrations"
)

// Context is what a process has, whatever its roles. A combined process opens
// one for both.
type Context struct {
	Process  uuid.UUID // owns claims; new for every start
	Common   config.Common
	Config   config.Provider // what is in effect now; nil until Follow
	Metrics  *telemetry.Metrics
	Tracer   *telemetry.Tracer
	Pool     *pgxpool.Pool
	Names    messaging.Names
	Catalog  *catalog.Catalog
	Notifier *eventsystem.Notifier
	Broker   *rabbitmq.Broker  // nil with the backend pgmq
	Bus      *publisher.Bus    // of events within the process
	Events   *events.Router    // from outcomes to the bus and the queues
	Channels *channels.Monitor // of the channels of the process
	Breakers *breakers.Set     // nil: none
	Usage    *resources.Gauge  // of memory, processors, connections and channels
	Log      *slog.Logger

	intake intake.Metrics
}

// Open connects to the database that cfg describes. It changes nothing there
// and fails when the schema is older than the program, or too new for it.
func Open(ctx context.Context, cfg config.Common, log *slog.Logger) (*Context, error) {
	pool, err := postgres.Open(ctx, cfg.Database, cfg.System.ProcessName)
	if err != nil {
		return nil, err
	}
	if err := checkSchema(ctx, cfg.Database.URL); err != nil {
		pool.Close()
		return nil, err
	}
	names := messaging.NewNames(cfg.Queues)
	process := uuid.Must(uuid.NewV7())
	log = telemetry.Logger(log)
	metrics, tracer, err := measure(ctx, cfg, process, log)
	if err != nil {
		pool.Close()
		return nil, err
	}
	var broker *rabbitmq.Broker
	if cfg.Queues.Backend == config.BackendRabbitMQ {
		if broker, err = rabbitmq.Open(ctx, *cfg.Queues.RabbitMQ, names, cfg.System.ProcessName, log); err != nil {
			pool.Close()
			return nil, err
		}
	}
	monitor := channels.NewMonitor(cfg.Channels.OverflowPolicy, log)
	bus := publisher.New(cfg.Channels, cfg.Queues.PGMQ.ShutdownTimeout.Duration(), monitor, log)
	c := &Context{
		Process:  process,
		Common:   cfg,
		Pool:     pool,
		Names:    names,
		Catalog:  catalog.New(pool, names, cfg.Environment, cfg.TaskTemplates),
		Notifier: eventsystem.NewNotifier(pool, log),
		Broker:   broker,
		Metrics:  metrics,
		Tracer:   tracer,
		Bus:      bus,
		Events:   events.NewRouter(nil, bus, process, log),
		Channels: monitor,
		Breakers: breakers.New(cfg.CircuitBreakers, postgres.IsUnavailable, metrics, log),
		Usage:    resources.New(cfg, monitor, func() resources.Pool { return usageOf(pool.Stat()) }, metrics, log),
		Log:      log,
		intake:   intake.NewMetrics(metrics),
	}
	c.measurePool()
	c.measureChannels()
	c.measureEvents()
	return c, nil
}

func measure(ctx context.Context, cfg config.Common, process uuid.UUID, log *slog.Logger) (*telemetry.Metrics, *telemetry.Tracer, error) {
	p := telemetry.Process{Name: cfg.System.ProcessName, Instance: process.String(), Environment: cfg.Environment, Log: log}
	metrics, err := telemetry.New(cfg.Telemetry, p)
	if err != nil {
		return nil, nil, err
	}
	tracer, err := telemetry.NewTracer(ctx, cfg.Telemetry, p, log)
	return metrics, tracer, err
}

// Door is what tasks come in by.
func (c *Context) Door() intake.Door {
	return intake.Door{Catalog: c.Catalog, Tracer: c.Tracer, Metrics: c.intake}
}

// UseEvents adds the subscribers and publishers of the program, which may be nil,
// before Run: for each subscriber buffer events may wait, and the ids of so many
// events are remembered to tell repeats.
func (c *Context) UseEvents(program *tasker.Events, buffer, remember int) {
	if program == nil {
		return
	}
	c.Bus.Subscribe(program.Subscriptions(), buffer, remember)
	c.Events = events.NewRouter(program, c.Bus, c.Process, c.Log)
}

// Run does what the process does besides its roles until ctx ends: it wakes
// others, passes events on and watches its channels.
func (c *Context) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { c.Notifier.Run(ctx) })
	wg.Go(func() { c.Bus.Run(ctx) })
	wg.Go(func() { c.Channels.Run(ctx) })
	wg.Go(func() { c.Breakers.Run(ctx) })
	wg.Go(func() { c.Usage.Run(ctx) })
	if c.Broker != nil {
		wg.Go(func() { c.Broker.Run(ctx) })
	}
	wg.Wait()
}

func usageOf(pool *pgxpool.Stat) resources.Pool {
	return resources.Pool{
		InUse: int(pool.AcquiredConns()), Most: int(pool.MaxConns()), Waits: pool.EmptyAcquireCount(), Waited: pool.EmptyAcquireWaitTime(),
	}
}

// Messaging is the circuit breaker of what reads queues.
func (c *Context) Messaging() *breakers.Breaker {
	return c.Breakers.Of(string(c.Common.Queues.Backend))
}

// Checks are the parts of the process's health that do not depend on its role.
func (c *Context) Checks() []health.Check {
	return slices.Concat(c.Usage.Checks(), c.Breakers.Checks(), c.Broker.Checks())
}

func checkSchema(ctx context.Context, databaseURL string) error {
	err := migrations.Fit(ctx, databaseURL)
	if _, misfit := errors.AsType[*migrations.MisfitError](err); misfit {
		return fmt.Errorf("the database at %s %w", postgres.Where(databaseURL), err)
	}
	return err
}

// Follow says where the parts find the configuration that is in effect, and
// measures how it is loaded.
func (c *Context) Follow(p config.Provider) {
	c.Config = p
	if live, ok := p.(*config.Live); ok {
		c.Metrics.FollowConfig(live)
	}
}

// Close pushes metrics a last time, sends the spans that wait, each for no longer
// than a few seconds, and closes the connections. Everything that uses them must
// have ended.
func (c *Context) Close() {
	c.Metrics.Close()
	c.Tracer.Close()
	if c.Broker != nil {
		c.Broker.Close()
	}
	c.Pool.Close()
}

// Listener returns a listener that raises the signals of the channels.
func (c *Context) Listener(signals map[string]*eventsystem.Signal, how eventsystem.Listening) *eventsystem.Listener {
	return eventsystem.NewListener(c.connectConfig(), signals, how, c.Log)
}

func (c *Context) connectConfig() *pgx.ConnConfig { return c.Pool.Config().ConnConfig }

// Enter puts the process into the registry with what the role adds.
func (c *Context) Enter(ctx context.Context, row postgres.Worker, running func() int) (*registry.Member, error) {
	row.Process, row.ProcessName, row.PID = c.Process, c.Common.System.ProcessName, os.Getpid()
	row.Version, row.Schema = registry.Version(), migrations.Newest()
	var err error
	if row.Host, err = os.Hostname(); err != nil {
		row.Host = "unknown"
	}
	return registry.Enter(ctx, c.Pool, row, running, c.Log)
}
