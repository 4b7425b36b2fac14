// Package channels watches how full the bounded channels of a process are, and
// says so before they hold up work.
package channels

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/config"
)

// A Monitor samples the channels it is told of. It is safe for concurrent use.
type Monitor struct {
	cfg config.OverflowPolicy
	log *slog.Logger

	mu      sync.Mutex
	watched []watched
}

type watched struct {
	name     string
	work     bool
	used     func() int
	capacity int
	warned   bool // at the last sample
}

// NewMonitor returns a monitor that warns as cfg says.
func NewMonitor(cfg config.OverflowPolicy, log *slog.Logger) *Monitor {
	return &Monitor{cfg: cfg, log: log}
}

// Watch adds a channel under a name, which several may share. One without room
// is not watched: it is full by nature.
func Watch[T any](m *Monitor, name string, ch <-chan T) { watch(m, name, false, ch) }

// WatchWork is [Watch] for a channel that holds up all work behind it when it
// is full.
func WatchWork[T any](m *Monitor, name string, ch <-chan T) { watch(m, name, true, ch) }

func watch[T any](m *Monitor, name string, work bool, ch <-chan T) {
	if m == nil || cap(ch) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched = append(m.watched, watched{name: name, work: work, used: func() int { return len(ch) }, capacity: cap(ch)})
}

// A Level is how full a channel is.
type Level struct {
	Name     string
	Work     bool // see [WatchWork]
	Used     int
	Capacity int
}

// Share is the part in use, from 0 to 1.
func (l Level) Share() float64 { return float64(l.Used) / float64(l.Capacity) }

// Levels returns how full all channels are at this moment, in the order in
// which they were added.
func (m *Monitor) Levels() []Level {
	m.mu.Lock()
	defer m.mu.Unlock()
	levels := make([]Level, len(m.watched))
	for i, w := range m.watched {
		levels[i] = Level{w.name, w.work, w.used(), w.capacity}
	}
	return levels
}

// Full reports whether a channel is fuller than log_warning_threshold.
func (m *Monitor) Full(l Level) bool { return l.Share() >= float64(m.cfg.LogWarningThreshold) }

// Run samples until ctx ends, at the interval of
// metrics.saturation_check_interval_seconds, unless metrics.enabled is off.
func (m *Monitor) Run(ctx context.Context) {
	if !m.cfg.Metrics.Enabled {
		return
	}
	ticker := time.NewTicker(m.cfg.Metrics.SaturationCheckInterval.Duration())
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.sample(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// sample warns of each channel that is fuller than log_warning_threshold, and
// says when it is so no longer.
func (m *Monitor) sample(ctx context.Context) {
	for i, l := range m.Levels() {
		full := m.Full(l)
		before := m.mark(i, full)
		about := m.log.With("channel", l.Name, "used", l.Used, "capacity", l.Capacity)
		switch {
		case full:
			about.WarnContext(ctx, "channel is filling up; what reads it is slower than what writes it")
		case before:
			about.InfoContext(ctx, "channel has room again")
		}
	}
}

// mark notes whether a warning was given and returns what was noted before.
func (m *Monitor) mark(i int, full bool) (before bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, m.watched[i].warned = m.watched[i].warned, full
	return before
}
