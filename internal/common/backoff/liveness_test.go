package backoff_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/backoff"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// TestDelayFollowsTheSettings changes one setting at a time and compares the
// first four waits of a step whose template does not say.
func TestDelayFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.backoff.backoff_multiplier", "orchestration.backoff.max_backoff_seconds",
		"orchestration.backoff.default_backoff_seconds")
	tests := []struct {
		name   string
		change func(b *config.Backoff)
		want   []int // seconds
	}{
		{"as it was", func(*config.Backoff) {}, []int{1, 5, 10, 20}},
		{"backoff_multiplier", func(b *config.Backoff) { b.BackoffMultiplier = 3 }, []int{1, 5, 15, 45}},
		{"max_backoff_seconds", func(b *config.Backoff) { b.MaxBackoff = 7 }, []int{1, 5, 7, 7}},
		{"default_backoff_seconds", func(b *config.Backoff) { b.DefaultBackoff = []config.Seconds{2, 3, 4} }, []int{2, 3, 4, 8}},
	}
	for _, tt := range tests {
		cfg := config.Backoff{BackoffMultiplier: 2, MaxBackoff: 100, DefaultBackoff: []config.Seconds{1, 5}}
		tt.change(&cfg)
		var got []int
		for attempt := range 4 {
			got = append(got, int(backoff.Delay(cfg, templates.Retry{}, attempt+1)/time.Second))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestJitterFollowsTheSettings draws many waits of 100 seconds: they spread as
// far as the settings say and no further.
func TestJitterFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.backoff.jitter_enabled", "orchestration.backoff.jitter_max_percentage")
	tests := []struct {
		enabled  bool
		most     config.Fraction
		min, max time.Duration // the spread, of which four fifths must be used
	}{
		{false, 0.5, 100 * time.Second, 100 * time.Second},
		{true, 0.1, 90 * time.Second, 110 * time.Second},
		{true, 0.5, 50 * time.Second, 150 * time.Second},
	}
	for _, tt := range tests {
		cfg := config.Backoff{
			BackoffMultiplier: 2, MaxBackoff: 1000, DefaultBackoff: []config.Seconds{100},
			JitterEnabled: tt.enabled, JitterMax: tt.most,
		}
		var waits []time.Duration
		for range 1000 {
			waits = append(waits, backoff.Delay(cfg, templates.Retry{}, 1))
		}
		low, high := slices.Min(waits), slices.Max(waits)
		if low < tt.min || high > tt.max || high-low < (tt.max-tt.min)*4/5 {
			t.Errorf("%t, %v: waits from %s to %s, want from %s to %s", tt.enabled, tt.most, low, high, tt.min, tt.max)
		}
	}
}
