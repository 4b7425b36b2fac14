package web

import (
	"log/slog"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// API returns the API as it is served, on no database.
func API() *web.API { return APIOf(Deps{Log: slog.New(slog.DiscardHandler)}) }

// APIOf returns the API as it is served.
func APIOf(deps Deps) *web.API {
	return newAPI(config.Common{}, config.Web{RequestTimeout: 60_000}, deps)
}
