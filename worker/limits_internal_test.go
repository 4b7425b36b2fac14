package worker

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/resources"
	"github.com/tasker-systems/tasker-go/internal/eventtest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// generous are limits that nothing reaches.
func generous() config.ResourceLimits {
	return config.ResourceLimits{MaxCPU: 100, MaxMemory: 1 << 30, MaxDatabaseConnections: 100, MaxQueueConnections: 100}
}

// TestIntakeFollowsTheLimits: whether a worker claims while it uses as much as
// this test does, and what it says about it.
func TestIntakeFollowsTheLimits(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.resource_limits.max_cpu_percent", "worker.system.resource_limits.max_memory_mb",
		"worker.event_system.metadata.resource_limits.max_cpu_percent", "worker.event_system.metadata.resource_limits.max_memory_mb")
	tests := []struct {
		name   string
		change func(system, events *config.ResourceLimits)
		why    string // empty: it claims
	}{
		{"as it was", func(_, _ *config.ResourceLimits) {}, ""},
		{"system cpu", func(system, _ *config.ResourceLimits) { system.MaxCPU = 0 }, "max_cpu_percent"},
		{"events cpu", func(_, events *config.ResourceLimits) { events.MaxCPU = 0 }, "max_cpu_percent"},
		{"system memory", func(system, _ *config.ResourceLimits) { system.MaxMemory = 1 }, "max_memory_mb"},
		{"events memory", func(_, events *config.ResourceLimits) { events.MaxMemory = 1 }, "max_memory_mb"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var common config.Common
			common.Database.Pool.MaxConnections, common.System.MaxMemory = 10, 1<<30
			cfg := config.Worker{}
			cfg.System.ResourceLimits, cfg.EventSystem.Metadata.ResourceLimits = generous(), generous()
			tt.change(&cfg.System.ResourceLimits, &cfg.EventSystem.Metadata.ResourceLimits)
			r := stranded(t, common, cfg, slog.DiscardHandler)
			r.spaces = map[string]*space{"test": {}}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go r.governor.run(ctx)
			synctest.Wait()
			for began := resources.ProcessorTime(); resources.ProcessorTime() == began; { // this test uses a processor
			}
			<-time.After(sampled)
			synctest.Wait()
			status, message := r.governor.look(ctx)
			if closed := status == health.Degraded; closed != (tt.why != "") || !strings.Contains(message, tt.why) {
				t.Errorf("%s: %s, %s", tt.name, status, message)
			}
			if reserved := r.Reserve("test", 0, 1); (reserved == 0) != (tt.why != "") {
				t.Errorf("%s: %d slots are reserved", tt.name, reserved)
			}
			waiting := make(chan struct{})
			go func() { r.governor.wait(ctx); close(waiting) }()
			synctest.Wait()
			select {
			case <-waiting:
				if tt.why != "" {
					t.Errorf("%s: it claims", tt.name)
				}
			default:
				if tt.why == "" {
					t.Errorf("%s: it does not claim", tt.name)
				}
			}
			r.governor.set(ctx, "")
			<-waiting
		})
	}
}

// TestConnectionsFollowTheLimits: how many operations, and how many reads of
// queues, a worker does at once.
func TestConnectionsFollowTheLimits(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.resource_limits.max_database_connections", "worker.event_system.metadata.resource_limits.max_database_connections",
		"worker.system.resource_limits.max_queue_connections", "worker.event_system.metadata.resource_limits.max_queue_connections")
	tests := []struct {
		name              string
		change            func(system, events *config.ResourceLimits)
		operations, reads int
	}{
		{"as it was", func(_, _ *config.ResourceLimits) {}, 8, 9},
		{"system connections", func(system, _ *config.ResourceLimits) { system.MaxDatabaseConnections = 3 }, 3, 9},
		{"events connections", func(_, events *config.ResourceLimits) { events.MaxDatabaseConnections = 4 }, 4, 9},
		{"system queues", func(system, _ *config.ResourceLimits) { system.MaxQueueConnections = 3 }, 8, 3},
		{"events queues", func(_, events *config.ResourceLimits) { events.MaxQueueConnections = 4 }, 8, 4},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var common config.Common
			common.Database.Pool.MaxConnections = 8
			cfg := config.Worker{}
			cfg.EventSystem.Processing = config.Processing{MaxConcurrentOperations: 20, Backoff: config.RetryBackoff{InitialDelay: 100, MaxDelay: 100, Multiplier: 1}}
			cfg.EventSystem.Timing = config.Timing{ProcessingTimeout: 100, ClaimTimeout: 300}
			cfg.System.ResourceLimits, cfg.EventSystem.Metadata.ResourceLimits = generous(), generous()
			cfg.System.ResourceLimits.MaxQueueConnections = 9
			tt.change(&cfg.System.ResourceLimits, &cfg.EventSystem.Metadata.ResourceLimits)
			common.Queues.PGMQ.MaxRetries = 1
			log := eventtest.NewLog()
			r := stranded(t, common, cfg, log)
			if got := eventtest.Parallel(t, r.ops); got != tt.operations {
				t.Errorf("%s: %d operations at once, want %d", tt.name, got, tt.operations)
			}
			for range 15 { // the database is gone: each read is repeated once, and keeps its place meanwhile
				go func() {
					_, _ = r.claimSteps(t.Context(), &space{queue: "q", wake: eventsystem.NewSignal()}, reading{}, 1)
				}()
			}
			synctest.Wait()
			if got := len(log.Lines()); got != tt.reads {
				t.Errorf("%s: %d queues are read at once, want %d", tt.name, got, tt.reads)
			}
		})
	}
}

// TestSnapshotsFollowTheSettings: when a worker looks how its steps fare, and
// what it finds.
func TestSnapshotsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.health_monitoring.health_check_interval_seconds", "worker.system.health_monitoring.error_rate_threshold",
		"worker.system.health_monitoring.performance_monitoring_enabled")
	tests := []struct {
		name   string
		change func(m *config.HealthMonitoring)
		status health.Status
		says   string
	}{
		{"as it was", func(*config.HealthMonitoring) {}, health.Degraded, "1 of 4 attempts failed; half took up to 1.048576s, 99 % up to 1.048576s"},
		{"error_rate_threshold", func(m *config.HealthMonitoring) { m.ErrorRateThreshold = 0.25 }, health.Healthy, "1 of 4 attempts failed; half"},
		{"health_check_interval_seconds", func(m *config.HealthMonitoring) { m.HealthCheckInterval = 20 }, health.Healthy, "no snapshot yet"},
		{"performance_monitoring_enabled", func(m *config.HealthMonitoring) { m.PerformanceMonitoringEnabled = false }, health.Degraded, "1 of 4 attempts failed"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			cfg := config.Worker{}
			cfg.System.HealthMonitoring = config.HealthMonitoring{HealthCheckInterval: 10, ErrorRateThreshold: 0.2, PerformanceMonitoringEnabled: true}
			tt.change(&cfg.System.HealthMonitoring)
			r := stranded(t, config.Common{}, cfg, slog.DiscardHandler)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go r.finished.run(ctx)
			for range 3 {
				r.finished.record(time.Second, nil)
			}
			r.finished.record(time.Second, &outcome.Failure{})
			<-time.After(11 * time.Second)
			status, says := r.finished.look(ctx)
			if status != tt.status || !strings.HasPrefix(says, tt.says) || strings.Contains(tt.name, "performance") && says != tt.says {
				t.Errorf("%s: %s, %s; want %s, %s", tt.name, status, says, tt.status, tt.says)
			}
		})
	}
}

// TestCommandsFollowTheSettings: how many hand-overs may wait until the
// orchestrator that has one more must.
func TestCommandsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.mpsc_channels.command_processor.command_buffer_size")
	for _, size := range []int{10, 20} {
		synctest.Test(t, func(t *testing.T) {
			var cfg config.Worker
			cfg.Channels.CommandProcessor.CommandBufferSize = size
			r := stranded(t, config.Common{}, cfg, slog.DiscardHandler)
			r.spaces = map[string]*space{"test": {}}
			r.draining = true // what is handed over is only noted
			given := 0
			go func() {
				for i := range 30 {
					r.Run("test", handedOver(i), time.Now())
					given++
				}
			}()
			synctest.Wait()
			if given != size {
				t.Errorf("%d hand-overs wait, want %d", given, size)
			}
			stop := make(chan struct{})
			go r.startClaimed(stop)
			synctest.Wait()
			close(stop)
			<-r.inlets.ended
			if given != 30 || len(r.running) != 30 {
				t.Errorf("%d hand-overs are taken and %d steps known, want 30", given, len(r.running))
			}
			r.Run("test", handedOver(99), time.Now()) // after the end: dropped
			if len(r.running) != 30 {
				t.Error("a step is started after the end")
			}
		})
	}
}

// handedOver is a step that an orchestrator hands over.
func handedOver(i int) []postgres.ClaimedStep {
	var s postgres.ClaimedStep
	s.Ordinal = int32(i)
	return []postgres.ClaimedStep{s}
}
