// Package web is the API of the worker role: it says how the worker is.
package web

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/common/events"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/publisher"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// Deps are what the API stands on.
type Deps struct {
	DB postgres.DB
	// Slots says how many steps are in hand, and how many may be.
	Slots func() (inUse, capacity int)
	// Attempts says how many attempts have ended since the start, and failed.
	Attempts func() (ended, failed int64)
	// Levels says how full the channels of the process are.
	Levels func() []channels.Level
	// Namespaces are those whose steps the worker runs.
	Namespaces   func() []string
	HandlerNames []string
	Process      uuid.UUID
	WorkerID     string
	WorkerType   string
	Catalog      *catalog.Catalog
	Events       *events.Router
	Bus          *publisher.Bus

	Checks  []health.Check     // of what else runs in the role
	Config  config.Provider    // what /config tells
	Metrics *telemetry.Metrics // nil when they are off
	Log     *slog.Logger
}

// Serve answers requests until ctx ends. Ready, unless nil, is called with the
// address once it does.
func Serve(ctx context.Context, common config.Common, cfg config.WorkerWeb, deps Deps, ready func(address string)) error {
	return newAPI(common, cfg, deps).Serve(ctx, ready) //nolint:contextcheck // requests have theirs
}

// newAPI puts the routes together.
func newAPI(common config.Common, cfg config.WorkerWeb, deps Deps) *web.API {
	api := web.New(web.Settings{
		Title: "Tasker worker", Section: "worker.system.web", Web: cfg.Web,
		Grace: common.Queues.PGMQ.ShutdownTimeout.Duration(), Classify: codeOf, Metrics: deps.Metrics, Log: deps.Log,
		Config: deps.Config, Access: func(current *config.Config) web.Access {
			now := cfg
			if current != nil && current.Worker != nil {
				now = current.Worker.System.Web
			}
			return web.Access{TLS: now.TLS, Auth: config.Auth{
				Enabled: now.Auth.Enabled, APIKeyHeader: now.Auth.APIKeyHeader, Credentials: now.Auth.Credentials, ProtectedRoutes: now.Auth.ProtectedRoutes,
			}}
		},
	})
	info := web.Info{
		Role: "worker", Environment: string(common.Environment), Process: common.System.ProcessName, Started: time.Now(),
	}
	web.HandleHealth(api, info, append([]health.Check{
		{Name: "database", Look: deps.databaseAnswers},
		{Name: "step_processing", Look: deps.slots},
	}, deps.Checks...))
	web.HandleConfig(api, permission.WorkerConfigRead, deps.Config)
	web.HandleMetrics(api)
	deps.routes(api)
	return api
}

func (d Deps) databaseAnswers(ctx context.Context) (health.Status, string) {
	if err := postgres.Ping(ctx, d.DB); err != nil {
		d.Log.WarnContext(ctx, "health check failed", "check", "database", "error", err)
		return health.Unhealthy, "the database does not answer"
	}
	return health.Healthy, "the database answers"
}

// count returns the counts so far.
func (d Deps) count() Figures {
	var f Figures
	f.SlotsInUse, f.Slots = d.Slots()
	f.Attempts, f.Failed = d.Attempts()
	return f
}

// slots tells how busy the worker is. Being busy is no illness.
func (d Deps) slots(context.Context) (health.Status, string) {
	inUse, capacity := d.Slots()
	return health.Healthy, fmt.Sprintf("%d of %d steps in hand", inUse, capacity)
}
