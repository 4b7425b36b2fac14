package system

import (
	"github.com/tasker-systems/tasker-go/internal/common/events"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// measurePool measures the connections to the database.
func (c *Context) measurePool() {
	c.Metrics.Gauge("tasker.db.pool.connections", "{connection}", "Connections to the database, by what they do.", func(observe telemetry.Observe) {
		s := c.Pool.Stat()
		observe(float64(s.AcquiredConns()), "used")
		observe(float64(s.IdleConns()), "idle")
		observe(float64(s.ConstructingConns()), "connecting")
	}, "state")
	c.Metrics.Gauge("tasker.db.pool.max_connections", "{connection}", "Connections that the process may have.", func(observe telemetry.Observe) {
		observe(float64(c.Pool.Stat().MaxConns()))
	})
	c.Metrics.Total("tasker.db.pool.checkouts", "Connections that were taken from the pool: at once, after a wait, or given up.", func(observe telemetry.Observe) {
		s := c.Pool.Stat()
		observe(float64(s.AcquireCount()-s.EmptyAcquireCount()), "at_once")
		observe(float64(s.EmptyAcquireCount()), "waited")
		observe(float64(s.CanceledAcquireCount()), "given_up")
	}, "how")
	c.Metrics.Total("tasker.db.pool.checkout.seconds", "Time that was spent waiting for connections, in seconds.", func(observe telemetry.Observe) {
		observe(c.Pool.Stat().AcquireDuration().Seconds())
	})
	c.Metrics.Total("tasker.db.connections.opened", "Connections that were opened.", func(observe telemetry.Observe) {
		observe(float64(c.Pool.Stat().NewConnsCount()))
	})
}

// measureChannels measures the bounded channels of the process.
func (c *Context) measureChannels() {
	c.Metrics.Gauge("tasker.channel.backlog", "{item}", "What waits in channels.", func(observe telemetry.Observe) {
		used, _ := c.levels()
		for name, n := range used {
			observe(float64(n), name)
		}
	}, "channel")
	c.Metrics.Gauge("tasker.channel.buffer_size", "{item}", "What channels have room for.", func(observe telemetry.Observe) {
		_, capacity := c.levels()
		for name, n := range capacity {
			observe(float64(n), name)
		}
	}, "channel")
}

// levels are use and capacity of the channels, those of one name together.
func (c *Context) levels() (used, capacity map[string]int) {
	used, capacity = map[string]int{}, map[string]int{}
	for _, l := range c.Channels.Levels() {
		used[l.Name] += l.Used
		capacity[l.Name] += l.Capacity
	}
	return used, capacity
}

// measureEvents measures events of the domain and in the life of tasks. The
// router may be replaced before the process runs.
func (c *Context) measureEvents() {
	c.Metrics.Total("tasker.domain_events.published", "Domain events that followed from attempts here, by where they went.", func(observe telemetry.Observe) {
		s := c.Events.Stats()
		observe(float64(s.Durable), "durable")
		observe(float64(s.Fast), "fast")
		observe(float64(s.Broadcast), "broadcast")
	}, "mode")
	c.Metrics.Total("tasker.domain_events.failed", "Domain events that could not be made, by why.", func(observe telemetry.Observe) {
		failures(observe, c.Events.Stats())
	}, "reason")
	c.Metrics.Total("tasker.domain_events.dispatched", "Calls of subscribers in this process.", func(observe telemetry.Observe) {
		s := c.Bus.Stats()
		observe(float64(s.Delivered), "delivered")
		observe(float64(s.Panics), "panicked")
	}, "outcome")
	c.Metrics.Total("tasker.domain_events.dropped", "Events that a full channel cost a subscriber.", func(observe telemetry.Observe) {
		observe(float64(c.Bus.Stats().Dropped))
	})
}

func failures(observe telemetry.Observe, s events.Stats) {
	observe(float64(s.Invalid), "invalid")
	observe(float64(s.Errors), "error")
	observe(float64(s.Skipped), "skipped")
}
