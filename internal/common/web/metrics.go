package web

import "net/http"

// HandleMetrics adds GET /metrics, which Prometheus scrapes.
func HandleMetrics(a *API) {
	scrape := a.settings.Metrics.Handler()
	a.open("/metrics", func(w http.ResponseWriter, r *http.Request) {
		if scrape == nil {
			newProblem(NotFound, "metrics are off: common.telemetry.enabled and common.telemetry.metrics.enabled turn them on",
				requestID(r.Context())).write(w)
			return
		}
		scrape.ServeHTTP(w, r)
	})
}
