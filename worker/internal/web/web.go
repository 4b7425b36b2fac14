// Package web is the API of the worker role: it says how the worker is.
package web

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// Deps are what the API stands on.
type Deps struct {
	DB postgres.DB
	// Slots says how many steps are in hand, and how many may be.
	Slots   func() (inUse, capacity int)
	Checks  []health.Check     // of what else runs in the role
	Config  config.Provider    // what /config tells
	Metrics *telemetry.Metrics // nil when they are off
	Log     *slog.Logger
}

// Serve answers requests until ctx ends. Ready, unless nil, is called with the
// address once it does.
func Serve(ctx context.Context, common config.Common, cfg config.Web, deps Deps, ready func(address string)) error {
	return newAPI(common, cfg, deps).Serve(ctx, ready)
}

// newAPI puts the routes together.
func newAPI(common config.Common, cfg config.Web, deps Deps) *web.API {
	api := web.New(web.Settings{
		Title: "Tasker worker", Section: "worker.system.web", Web: cfg,
		Grace: common.Queues.PGMQ.ShutdownTimeout.Duration(), Metrics: deps.Metrics, Log: deps.Log,
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
	return api
}

func (d Deps) databaseAnswers(ctx context.Context) (health.Status, string) {
	if err := postgres.Ping(ctx, d.DB); err != nil {
		d.Log.WarnContext(ctx, "health check failed", "check", "database", "error", err)
		return health.Unhealthy, "the database does not answer"
	}
	return health.Healthy, "the database answers"
}

// slots tells how busy the worker is. Being busy is no illness.
func (d Deps) slots(context.Context) (health.Status, string) {
	inUse, capacity := d.Slots()
	return health.Healthy, fmt.Sprintf("%d of %d steps in hand", inUse, capacity)
}
