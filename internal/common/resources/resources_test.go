package resources

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// A bench is a gauge in a bubble, with a pool and two channels that the test
// fills.
type bench struct {
	*Gauge

	mu           sync.Mutex
	pool         Pool
	work, events chan int
}

// wait has so many more waits for a connection take so long in all.
func (b *bench) wait(times int64, long time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool.Waits, b.pool.Waited = b.pool.Waits+times, b.pool.Waited+long
}

// observe runs a gauge with the settings, has change make the process ill after a
// second, and calls look two samples later.
func observe(t *testing.T, cfg config.System, change, look func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var common config.Common
		common.System, common.Database.Pool.AcquireTimeout = cfg, 20
		common.Channels.OverflowPolicy.LogWarningThreshold = 0.8
		monitor := channels.NewMonitor(common.Channels.OverflowPolicy, slog.New(slog.DiscardHandler))
		b := &bench{work: make(chan int, 20), events: make(chan int, 20), pool: Pool{Most: 8, Waits: 1000, Waited: 20 * time.Hour}}
		channels.WatchWork(monitor, "work", b.work)
		channels.Watch(monitor, "events", b.events)
		b.Gauge = New(common, monitor, func() Pool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.pool
		}, nil, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.Run(ctx)
		<-time.After(sampled)
		synctest.Wait()
		change(b)
		<-time.After(2 * sampled)
		synctest.Wait()
		look(b)
	})
}

func fill(ch chan int, n int) {
	for range n {
		ch <- 0
	}
}

// busy uses a processor: in a bubble no time passes meanwhile, so that it is more
// than all of them.
func busy() {
	for began := ProcessorTime(); ProcessorTime() == began; { // until the system has counted it
	}
}

// TestGauge: what a process that uses too much says of itself, and whether it
// takes on new tasks; and that it recovers.
func TestGauge(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.system.max_memory_mb", "common.system.max_cpu_percent")
	generous := config.System{MaxMemory: 1 << 20, MaxCPU: 1e9}
	tests := []struct {
		name     string
		cfg      config.System
		change   func(b *bench)
		ill      string // the check that is degraded; empty: none
		says     string
		overload string // a part of why nothing is taken on; empty: it is
	}{
		{"as it was", generous, func(*bench) {}, "", "", ""},
		{"max_memory_mb", config.System{MaxMemory: 1, MaxCPU: 1e9}, func(*bench) {}, "resources", "max_memory_mb is 1", "max_memory_mb is 1"},
		{"max_cpu_percent", config.System{MaxMemory: 1 << 20, MaxCPU: 0}, func(*bench) { busy() }, "resources", "max_cpu_percent is 0", ""},
		{"connections are quick", generous, func(b *bench) { b.wait(1000, 1900*time.Second) }, "", "", ""},
		{"connections are slow", generous, func(b *bench) {
			go func() {
				<-time.After(sampled / 2)
				for range 5 {
					b.wait(10, 21*time.Second)
					<-time.After(sampled)
				}
			}()
		}, "pool_utilization", "0 of 8 connections in use; waiting for one takes 2.1s", "2.1s on average"},
		{"work has room", generous, func(b *bench) { fill(b.work, 15) }, "", "", ""},
		{"work fills", generous, func(b *bench) { fill(b.work, 17) }, "channel_saturation", "work has 17 of 20", ""},
		{"work is full", generous, func(b *bench) { fill(b.work, 19) }, "channel_saturation", "work has 19 of 20", "channel work is full"},
		{"events are full", generous, func(b *bench) { fill(b.events, 20) }, "channel_saturation", "events has 20 of 20", ""},
	}
	for _, tt := range tests {
		observe(t, tt.cfg, tt.change, func(b *bench) {
			for _, c := range b.Checks() {
				status, said := c.Look(t.Context())
				if c.Name == "resources" && tt.overload != "" && strings.Contains(said, tt.overload) {
					continue
				}
				if ill := status != health.Healthy; ill != (c.Name == tt.ill) || ill && !strings.Contains(said, tt.says) {
					t.Errorf("%s: %s is %s: %s", tt.name, c.Name, status, said)
				}
			}
			if why := b.Overload(); (why != "") != (tt.overload != "") || !strings.Contains(why, tt.overload) {
				t.Errorf("%s: overload: %q", tt.name, why)
			}
			for len(b.work)+len(b.events) > 0 {
				select {
				case <-b.work:
				case <-b.events:
				}
			}
			if tt.cfg != generous {
				return
			}
			<-time.After(10 * sampled)
			synctest.Wait()
			for _, c := range b.Checks() {
				if status, said := c.Look(t.Context()); status != health.Healthy {
					t.Errorf("%s: it does not recover: %s is %s: %s", tt.name, c.Name, status, said)
				}
			}
			if why := b.Overload(); why != "" {
				t.Errorf("%s: it does not recover: %s", tt.name, why)
			}
		})
	}
}

// TestNoGauge: what has none is never overloaded.
func TestNoGauge(t *testing.T) {
	t.Parallel()
	if why := (*Gauge)(nil).Overload(); why != "" {
		t.Errorf("overloaded: %s", why)
	}
}
