package telemetry

import (
	"github.com/tasker-systems/tasker-go/config"
)

// FollowConfig measures how the configuration was loaded, and says which one is
// in effect.
func (m *Metrics) FollowConfig(live *config.Live) {
	m.Total("tasker.config.loads", "Loads of the configuration since the start, the first one included.", func(observe Observe) {
		stats := live.Stats()
		observe(float64(stats.Loads), "ok")
		observe(float64(stats.Failures), "failed")
	}, "result")
	m.Gauge("tasker.config.last_load.timestamp", "s", "When the configuration was last loaded, in seconds since 1970.", func(observe Observe) {
		observe(float64(live.Stats().Last.UnixMilli()) / 1000)
	})
	m.Gauge("tasker.config.notes", "", "Warnings and conversions of the last load that succeeded.", func(observe Observe) {
		observe(float64(live.Stats().Notes))
	})
	m.Gauge("tasker.config.pending", "", "Keys whose new value needs a restart.", func(observe Observe) {
		observe(float64(len(live.Pending())))
	})
	m.Gauge("tasker.config.info", "", "Always 1; the labels say which configuration is in effect.", func(observe Observe) {
		loaded := live.Loaded()
		observe(1, string(loaded.Config.Common.Environment), string(loaded.Context), loaded.Hash())
	}, "environment", "context", "hash")
}
