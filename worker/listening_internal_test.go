package worker

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/eventtest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// A listened is a worker's listener on a server of its own, in a bubble.
type listened struct {
	*eventsystem.Listener

	server *eventtest.Server
	wake   *eventsystem.Signal
}

// listen runs the listener that the settings make, for so long, and calls during
// meanwhile.
func listen(t *testing.T, change func(cfg *config.Worker, s *eventtest.Server), during func(l listened)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var cfg config.Worker
		cfg.System.Listener = config.ListenerSupervisor{
			Listener:            config.Listener{BatchProcessing: true, ConnectionTimeout: 10, EventTimeout: 1000, MaxRetryAttempts: 2, RetryInterval: 5},
			HealthCheckInterval: 60,
		}
		cfg.EventSystem.Metadata.Listener = config.Listener{
			BatchProcessing: true, ConnectionTimeout: 10, EventTimeout: 1000, MaxRetryAttempts: 2, RetryInterval: 3,
		}
		cfg.System.EventDriven = config.EventDriven{Enabled: true, DeploymentMode: config.Hybrid, HealthMonitoringEnabled: true, HealthCheckInterval: 2000}
		cfg.Channels.EventListeners.PGMQEventBufferSize = 10
		server := eventtest.NewServer()
		change(&cfg, server)
		wake := eventsystem.NewSignal()
		l := eventsystem.NewListener(server.Config(t), map[string]*eventsystem.Signal{"steps": wake}, listening(&cfg), slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); l.Run(ctx) }()
		during(listened{l, server, wake})
		cancel()
		<-ended
		server.Cut()
	})
}

// TestConnectingFollowsTheSettings: when a worker tries to connect to a server
// that is down, or does not answer, and when it begins to poll.
func TestConnectingFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.listener.connection_timeout_seconds", "worker.system.listener.health_check_interval_seconds",
		"worker.system.listener.max_retry_attempts", "worker.system.listener.retry_interval_seconds")
	tests := []struct {
		name   string
		change func(l *config.ListenerSupervisor)
		frozen bool
		tries  []float64 // seconds
		polls  time.Duration
	}{
		{"as it was", func(*config.ListenerSupervisor) {}, false, []float64{0, 5, 10, 70, 130}, 10 * time.Second},
		{"retry_interval_seconds", func(l *config.ListenerSupervisor) { l.RetryInterval = 20 }, false, []float64{0, 20, 40, 100}, 40 * time.Second},
		{"max_retry_attempts", func(l *config.ListenerSupervisor) { l.MaxRetryAttempts = 0 }, false, []float64{0, 60, 120}, 0},
		{"health_check_interval_seconds", func(l *config.ListenerSupervisor) { l.HealthCheckInterval = 100 }, false, []float64{0, 5, 10, 110}, 10 * time.Second},
		{"no answer", func(*config.ListenerSupervisor) {}, true, []float64{0, 15, 30, 100}, 40 * time.Second},
		{"no answer, connection_timeout_seconds", func(l *config.ListenerSupervisor) { l.ConnectionTimeout = 40 }, true, []float64{0, 45, 90}, 130 * time.Second},
	}
	for _, tt := range tests {
		change := func(cfg *config.Worker, s *eventtest.Server) {
			s.Down, s.Frozen = func() bool { return !tt.frozen }, tt.frozen
			tt.change(&cfg.System.Listener)
		}
		listen(t, change, func(l listened) {
			began := time.Now()
			for !l.Lost() {
				<-time.After(time.Second)
				synctest.Wait()
			}
			if waited := time.Since(began); waited > tt.polls+time.Second {
				t.Errorf("%s: polls after %s, want %s", tt.name, waited, tt.polls)
			}
			if woken := len(l.wake.C()); woken != 1 {
				t.Errorf("%s: readers do not hear that they must poll", tt.name)
			}
			<-time.After(time.Until(began.Add(131 * time.Second)))
			if got := l.server.Seen("connect"); !slices.Equal(got, tt.tries) {
				t.Errorf("%s: connects at %v, want %v", tt.name, got, tt.tries)
			}
		})
	}
}

// TestLostConnectionIsMadeAnewSoon: after an outage the worker listens again
// sooner than retry_interval_seconds says, and short ones do not have it poll.
func TestLostConnectionIsMadeAnewSoon(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		outage, most time.Duration
		polls        bool
	}{{0, 100 * time.Millisecond, false}, {time.Second, 2100 * time.Millisecond, false}, {time.Minute, time.Minute, true}} {
		var back time.Time
		change := func(_ *config.Worker, s *eventtest.Server) { s.Down = func() bool { return time.Now().Before(back) } }
		listen(t, change, func(l listened) {
			synctest.Wait()
			<-l.wake.C() // it listens
			back = time.Now().Add(tt.outage)
			l.server.Cut()
			<-time.After(tt.outage)
			if polls := l.Lost(); polls != tt.polls {
				t.Errorf("after an outage of %s: polls is %t", tt.outage, polls)
			}
			for len(l.wake.C()) > 0 {
				<-l.wake.C() // word that it polls
			}
			<-l.wake.C()
			if took := time.Since(back); took > tt.most {
				t.Errorf("after an outage of %s it takes %s to listen again", tt.outage, took)
			}
		})
	}
}

// TestSubscribingFollowsTheSettings: how often a worker subscribes where that
// fails or is not answered, and when it gives the connection up.
func TestSubscribingFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.event_system.metadata.listener.connection_timeout_seconds",
		"worker.event_system.metadata.listener.max_retry_attempts", "worker.event_system.metadata.listener.retry_interval_seconds")
	all := func(string) bool { return true }
	none := func(string) bool { return false }
	tests := []struct {
		name    string
		change  func(l *config.Listener)
		fails   func(sql string) bool
		listens []float64 // seconds
		connect []float64
	}{
		{"as it was", func(*config.Listener) {}, all, []float64{0, 3, 6, 11, 14, 17}, []float64{0, 11}},
		{"max_retry_attempts", func(l *config.Listener) { l.MaxRetryAttempts = 0 }, all, []float64{0, 5, 10}, []float64{0, 5, 10}},
		{"retry_interval_seconds", func(l *config.Listener) { l.RetryInterval = 7 }, all, []float64{0, 7, 14, 19}, []float64{0, 19}},
		{"no answer", func(*config.Listener) {}, none, []float64{0, 15}, []float64{0, 15}},
		{"no answer, connection_timeout_seconds", func(l *config.Listener) { l.ConnectionTimeout = 2 }, none, []float64{0, 7, 14}, []float64{0, 7, 14}},
	}
	for _, tt := range tests {
		change := func(cfg *config.Worker, s *eventtest.Server) {
			s.Fails, s.Deaf = tt.fails, func(sql string) bool { return !tt.fails(sql) }
			tt.change(&cfg.EventSystem.Metadata.Listener)
		}
		listen(t, change, func(l listened) {
			<-time.After(20 * time.Second)
			if got := l.server.Seen(`listen "steps"`); !slices.Equal(got, tt.listens) {
				t.Errorf("%s: subscribes at %v, want %v", tt.name, got, tt.listens)
			}
			if got := l.server.Seen("connect"); !slices.Equal(got, tt.connect) {
				t.Errorf("%s: connects at %v, want %v", tt.name, got, tt.connect)
			}
		})
	}
}

// TestSilenceFollowsTheSettings: what a worker does when it hears nothing.
func TestSilenceFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.listener.event_timeout_seconds", "worker.event_system.metadata.listener.event_timeout_seconds",
		"worker.system.event_driven.health_monitoring_enabled", "worker.system.event_driven.health_check_interval_seconds")
	tests := []struct {
		name   string
		change func(cfg *config.Worker)
		probes []float64 // seconds
		looks  int
	}{
		{"as it was", func(*config.Worker) {}, nil, 0},
		{"connection", func(cfg *config.Worker) { cfg.System.Listener.EventTimeout = 40 }, []float64{40, 80}, 0},
		{"subscription", func(cfg *config.Worker) { cfg.EventSystem.Metadata.Listener.EventTimeout = 30 }, nil, 3},
		{"health_check_interval_seconds", func(cfg *config.Worker) { cfg.System.EventDriven.HealthCheckInterval = 35 }, []float64{35, 70}, 0},
		{"health_monitoring_enabled", func(cfg *config.Worker) {
			cfg.System.EventDriven.HealthMonitoringEnabled, cfg.System.EventDriven.HealthCheckInterval = false, 35
		}, nil, 0},
	}
	for _, tt := range tests {
		listen(t, func(cfg *config.Worker, _ *eventtest.Server) { tt.change(cfg) }, func(l listened) {
			synctest.Wait()
			<-l.wake.C() // it listens
			looks := 0
			over := time.After(100 * time.Second)
			for waiting := true; waiting; {
				select {
				case <-l.wake.C():
					looks++
				case <-over:
					waiting = false
				}
			}
			if got := l.server.Seen("-- ping"); !slices.Equal(got, tt.probes) || looks != tt.looks {
				t.Errorf("%s: probes at %v and looks %d times, want %v and %d", tt.name, got, looks, tt.probes, tt.looks)
			}
			if watched := len(l.Checks()) == 1; watched != (tt.name != "health_monitoring_enabled") {
				t.Errorf("%s: watched is %t", tt.name, watched)
			}
		})
	}
}

// TestNotificationsFollowTheSettings: how many looks three notifications lead to,
// and how many wait while nobody looks.
func TestNotificationsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.listener.batch_processing", "worker.event_system.metadata.listener.batch_processing",
		"worker.mpsc_channels.event_listeners.pgmq_event_buffer_size")
	tests := []struct {
		connection, subscription bool
		buffer, looks            int
		waiting                  string
	}{
		{true, true, 10, 1, "listening; 0 of 10 notifications wait"},
		{false, true, 10, 30, "listening; 10 of 10 notifications wait"},
		{true, false, 20, 30, "listening; 20 of 20 notifications wait"},
	}
	for _, tt := range tests {
		change := func(cfg *config.Worker, _ *eventtest.Server) {
			cfg.System.Listener.BatchProcessing, cfg.EventSystem.Metadata.Listener.BatchProcessing = tt.connection, tt.subscription
			cfg.Channels.EventListeners.PGMQEventBufferSize = tt.buffer
		}
		listen(t, change, func(l listened) {
			synctest.Wait()
			<-l.wake.C() // it listens
			l.server.Notify("steps", 30)
			synctest.Wait()
			if _, got := l.Checks()[0].Look(t.Context()); got != tt.waiting {
				t.Errorf("%v: says %q", tt, got)
			}
			looks := 0
			for len(l.wake.C()) > 0 {
				<-l.wake.C()
				looks++
				synctest.Wait()
			}
			if looks != tt.looks {
				t.Errorf("%v: 30 notifications lead to %d looks", tt, looks)
			}
			l.server.Cut()
			synctest.Wait()
			if status, got := l.Checks()[0].Look(t.Context()); status != health.Degraded || !strings.HasPrefix(got, "no connection") {
				t.Errorf("without a connection it is %s: %s", status, got)
			}
		})
	}
}
