package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
)

// stepStats says how steps fare on this worker: it takes a snapshot at intervals,
// of the attempts that ended since the one before.
type stepStats struct {
	cfg config.HealthMonitoring
	log *slog.Logger

	mu               sync.Mutex
	finished, failed int
	ended, errors    int64 // since the start: all attempts, and those that failed
	latency          health.Latency
	status           health.Status // of the last snapshot
	message          string
}

func newStepStats(cfg config.HealthMonitoring, log *slog.Logger) *stepStats {
	return &stepStats{cfg: cfg, log: log, status: health.Healthy, message: "no snapshot yet"}
}

// record counts an attempt that has ended.
func (s *stepStats) record(took time.Duration, failure *outcome.Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished++
	s.ended++
	if failure != nil {
		s.failed++
		s.errors++
	}
	if s.cfg.PerformanceMonitoringEnabled {
		s.latency.Add(took)
	}
}

// run takes snapshots until ctx ends.
func (s *stepStats) run(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.HealthCheckInterval.Duration())
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.snapshot(ctx)
		}
	}
}

func (s *stepStats) snapshot(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = health.Healthy
	s.message = fmt.Sprintf("%d of %d attempts failed", s.failed, s.finished)
	if s.finished > 0 && float64(s.failed)/float64(s.finished) > float64(s.cfg.ErrorRateThreshold) {
		s.status = health.Degraded
		s.log.WarnContext(ctx, "many steps fail", "failed", s.failed, "attempts", s.finished, "error_rate_threshold", s.cfg.ErrorRateThreshold)
	}
	if s.cfg.PerformanceMonitoringEnabled {
		s.message += fmt.Sprintf("; half took up to %s, 99 %% up to %s", s.latency.Quantile(0.5), s.latency.Quantile(0.99))
	}
	s.finished, s.failed, s.latency = 0, 0, health.Latency{}
}

// totals returns how many attempts have ended since the start, and failed.
func (s *stepStats) totals() (ended, failed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended, s.errors
}

// look is a health check.
func (s *stepStats) look(context.Context) (health.Status, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.message
}
