package web

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/await"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// HandlerOf returns what answers requests, and what looks for those that wait.
func HandlerOf(common config.Common, cfg config.OrchestrationWeb, deps Deps) (h http.Handler, watch func(context.Context), err error) {
	s := &service{Deps: deps, watch: await.New(deps.DB, deps.Log, firstLook), follow: await.NewFollower(deps.DB, deps.Log, firstLook)}
	h, err = newAPI(s, common, cfg).Handler()
	return h, s.watch.Run, err
}

// API returns the API as it is served, on no database.
func API() *web.API { return APIWith(config.OrchestrationWeb{}) }

// APIWith returns the API as it is served with these settings, on no database.
func APIWith(cfg config.OrchestrationWeb) *web.API {
	return newAPI(&service{Deps: Deps{Log: slog.New(slog.DiscardHandler)}}, config.Common{}, cfg)
}
