package eventsystem

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/health"
)

// A Monitor keeps the health of one event system: it counts what its operations
// come to. It is safe for concurrent use.
type Monitor struct {
	id       string
	cfg      config.EventHealth
	interval time.Duration // of the self-check
	log      *slog.Logger

	mu          sync.Mutex
	consecutive int
	errors      []time.Time // of the last ones, at most as many as make it degraded
	last        string      // what the last error said
	now, before health.Latency
}

// NewMonitor returns a monitor of an event system that has done nothing yet.
func NewMonitor(cfg config.EventSystem, log *slog.Logger) *Monitor {
	return &Monitor{
		id: cfg.SystemID, cfg: cfg.Health, interval: cfg.Timing.HealthCheckInterval.Duration(),
		log: log.With("event_system", cfg.SystemID),
	}
}

// Record counts one operation, done or failed.
func (m *Monitor) Record(took time.Duration, err error) {
	if !m.cfg.Enabled {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cfg.PerformanceMonitoringEnabled {
		m.now.Add(took)
	}
	if err == nil {
		m.consecutive = 0
		return
	}
	m.consecutive++
	m.last = err.Error()
	m.errors = append(m.errors, time.Now())
	if extra := len(m.errors) - m.cfg.ErrorRateThresholdPerMinute; extra > 0 {
		m.errors = append(m.errors[:0], m.errors[extra:]...)
	}
}

// Status is how the event system is, and why: unhealthy after
// max_consecutive_errors without a success between them, degraded while the last
// minute has error_rate_threshold_per_minute errors or more.
func (m *Monitor) Status() (health.Status, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.consecutive >= m.cfg.MaxConsecutiveErrors && m.consecutive > 0:
		return health.Unhealthy, fmt.Sprintf("%d errors in a row", m.consecutive)
	case len(m.errors) == m.cfg.ErrorRateThresholdPerMinute && len(m.errors) > 0 && time.Since(m.errors[0]) < time.Minute:
		return health.Degraded, fmt.Sprintf("%d errors or more in the last minute", len(m.errors))
	}
	return health.Healthy, "works"
}

// Checks are the event system's part in the health of its process, under the
// given name; none when its health is not tracked. Messages name no error: they
// are shown to anyone.
func (m *Monitor) Checks(name string) []health.Check {
	if !m.cfg.Enabled {
		return nil
	}
	return []health.Check{{Name: name, Look: func(context.Context) (health.Status, string) {
		status, message := m.Status()
		message = m.id + ": " + message
		if speed := m.speed(); m.cfg.PerformanceMonitoringEnabled {
			message += fmt.Sprintf("; of the last %d operations half took up to %s and 99 %% up to %s",
				speed.Count(), speed.Quantile(0.5), speed.Quantile(0.99))
		}
		return status, message
	}}}
}

// speed is the latency of the operations since the self-check before the last.
func (m *Monitor) speed() health.Latency {
	m.mu.Lock()
	defer m.mu.Unlock()
	speed := m.before
	speed.Merge(&m.now)
	return speed
}

// Run checks the event system at intervals until ctx ends, and logs what it
// finds: each time that it is unwell, and when it is well again.
func (m *Monitor) Run(ctx context.Context) {
	if !m.cfg.Enabled {
		return
	}
	ticker := time.NewTicker(m.interval)
	defer ticker.Stop()
	for last := health.Healthy; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		last = m.check(ctx, last)
	}
}

// check is one self-check; it returns the status it finds.
func (m *Monitor) check(ctx context.Context, last health.Status) health.Status {
	status, message := m.Status()
	speed := m.speed()
	m.mu.Lock()
	m.before, m.now = m.now, health.Latency{}
	lastError := m.last
	m.mu.Unlock()
	switch {
	case status != health.Healthy:
		m.log.WarnContext(ctx, "event system is unwell", "status", status, "why", message, "last_error", lastError)
	case last != health.Healthy:
		m.log.InfoContext(ctx, "event system is well again")
	}
	if m.cfg.PerformanceMonitoringEnabled {
		m.log.DebugContext(ctx, "event system", "operations", speed.Count(), "p50", speed.Quantile(0.5), "p99", speed.Quantile(0.99))
	}
	return status
}
