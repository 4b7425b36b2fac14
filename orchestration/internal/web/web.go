// Package web is the API of the orchestration role: it creates tasks and says
// how they stand. Start reading at routes.go.
package web

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/await"
	"github.com/tasker-systems/tasker-go/internal/common/breakers"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
	"github.com/tasker-systems/tasker-go/internal/common/state"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// Deps are what the API stands on.
type Deps struct {
	DB       postgres.Pool
	Catalog  *catalog.Catalog
	Names    messaging.Names
	Notifier *eventsystem.Notifier
	Webhooks Webhooks
	Checks   []health.Check     // of what else runs in the role
	Config   config.Provider    // what /config tells
	Metrics  *telemetry.Metrics // nil when they are off
	Door     intake.Door        // what tasks come in by
	Log      *slog.Logger

	Breaker  *breakers.Breaker // before the database; nil: none
	Overload func() string     // says why no new tasks are taken on; "": they are

	// Around, unless nil, does what operators do to tasks, and sees what becomes
	// of them.
	Around func(ctx context.Context, tasks []uuid.UUID, do func() error) error

	// Changed is raised when changes of tasks have been noted; nil: nobody listens.
	Changed *eventsystem.Signal

	DLQ config.DLQ
	// DeadLettered is told which tasks were set aside by hand.
	DeadLettered func(context.Context, []postgres.Entered)
	// Resting returns so many of the open tasks that are nearest to being stale.
	Resting func(ctx context.Context, most int) ([]RestingTask, error)
	// ArchiveNow has the archiver run soon; false: there is none.
	ArchiveNow func(context.Context) (bool, error)
}

// Serve answers requests until ctx ends. Ready, unless nil, is called with the
// address once it does.
func Serve(ctx context.Context, common config.Common, cfg config.OrchestrationWeb, deps Deps, ready func(address string)) error {
	s := &service{Deps: deps, watch: await.New(deps.DB, deps.Log, firstLook), follow: await.NewFollower(deps.DB, deps.Log, firstLook), stopping: ctx.Done()}
	api := newAPI(s, common, cfg) //nolint:contextcheck // requests have theirs
	var wg sync.WaitGroup
	defer wg.Wait()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { s.watch.Run(watching) })
	wg.Go(func() { s.follow.Run(watching) })
	if deps.Changed != nil {
		wg.Go(func() { s.changes.run(watching, deps.Changed) })
	}
	return api.Serve(ctx, ready)
}

// newAPI puts the routes together.
func newAPI(s *service, common config.Common, cfg config.OrchestrationWeb) *web.API {
	api := web.New(web.Settings{
		Title: "Tasker orchestration", Section: "orchestration.system.web", Web: cfg.Web,
		Grace: common.Queues.PGMQ.ShutdownTimeout.Duration(), Classify: codeOf, Metrics: s.Metrics, Log: s.Log,
		Guard:  web.Guard{Breaker: s.Breaker, Overload: s.Overload, Most: cfg.MaxConcurrentRequests},
		Config: s.Config, Access: func(current *config.Config) web.Access {
			now := cfg
			if current != nil && current.Orchestration != nil {
				now = current.Orchestration.System.Web
			}
			return web.Access{Auth: now.Auth, CORS: now.CORS, TLS: now.TLS}
		},
	})
	s.routes(api)
	s.webhookRoutes(api)
	s.scheduleRoutes(api)
	s.housekeepingRoutes(api)
	s.streamRoutes(api)
	s.archiveRoutes(api)
	s.workerRoutes(api, common.Environment)
	info := web.Info{
		Role: "orchestration", Environment: string(common.Environment), Process: common.System.ProcessName, Started: time.Now(),
	}
	web.HandleHealth(api, info, append([]health.Check{
		{Name: "orchestration_database", Look: s.databaseAnswers},
		{Name: "step_queues", Look: s.queuesIntact},
	}, s.Checks...))
	web.HandleConfig(api, permission.SystemConfigRead, s.Config)
	web.HandleMetrics(api)
	return api
}

// firstLook is how soon a task is looked at for a request that waits for it.
const firstLook = 10 * time.Millisecond

// A service does what the routes promise.
type service struct {
	Deps

	watch    *await.Watcher
	follow   *await.Follower
	changes  broadcast
	stopping <-chan struct{} // closed when waiting requests should answer and go
}

// codeOf names the errors that are the caller's, or nobody's.
func codeOf(err error) web.Code {
	for _, known := range []struct {
		err  error
		code web.Code
	}{
		{errTooLarge, web.PayloadTooLarge},
		{errContexts, web.Forbidden},
		{catalog.ErrUnknownTemplate, web.UnknownTemplate},
		{intake.ErrInvalid, web.BadRequest},
		{errLimit, web.BadRequest},
		{schedules.ErrInvalid, web.BadRequest},
		{postgres.ErrExists, web.Conflict},
		{errTwoKeys, web.BadRequest},
		{errWebhook, web.BadRequest},
		{postgres.ErrNotFound, web.NotFound},
		{postgres.ErrResolved, web.Conflict},
		{postgres.ErrUnderWay, web.Conflict},
		{state.ErrRefused, web.Conflict},
		{errAlreadyAside, web.Conflict},
		{errNoManualEntries, web.Conflict},
		{errNoArchiver, web.Conflict},
		{postgres.ErrTaskOver, web.Conflict},
		{operate.ErrInvalid, web.BadRequest},
	} {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	if _, ok := errors.AsType[*postgres.PathError](err); ok {
		return web.BadRequest
	}
	if postgres.IsUnavailable(err) {
		return web.Unavailable
	}
	return ""
}

func (s *service) databaseAnswers(ctx context.Context) (health.Status, string) {
	if err := postgres.Ping(ctx, s.DB); err != nil {
		s.Log.WarnContext(ctx, "health check failed", "check", "orchestration_database", "error", err)
		return health.Unhealthy, "the database does not answer"
	}
	return health.Healthy, "the database answers"
}

// queuesIntact looks for the sentinel that a crash of the database takes along
// with what was queued.
func (s *service) queuesIntact(ctx context.Context) (health.Status, string) {
	intact, err := postgres.QueuesIntact(ctx, s.DB)
	switch {
	case err != nil:
		return health.Unhealthy, "unknown, since the database does not answer"
	case !intact:
		return health.Unhealthy, "the step queues are being rebuilt after a crash of the database"
	}
	return health.Healthy, "the step queues are in place"
}
