package web

import (
	"log/slog"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// API returns the API as it is served, on no database.
func API() *web.API { return APIWith(config.WorkerWeb{}) }

// APIWith returns the API as it is served with these settings, on no database.
func APIWith(cfg config.WorkerWeb) *web.API {
	return newAPI(config.Common{}, cfg, Deps{Log: slog.New(slog.DiscardHandler)})
}

// APIOf returns the API as it is served.
func APIOf(deps Deps) *web.API {
	return newAPI(config.Common{}, config.WorkerWeb{Web: config.Web{RequestTimeout: 60_000}}, deps)
}
