package backoff

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

func TestDelay(t *testing.T) {
	t.Parallel()
	cfg := config.Backoff{BackoffMultiplier: 2, MaxBackoff: 100, DefaultBackoff: []config.Seconds{1, 3, 10}}
	seconds := func(n ...float64) []time.Duration {
		out := make([]time.Duration, len(n))
		for i, s := range n {
			out[i] = time.Duration(s * float64(time.Second))
		}
		return out
	}
	tests := []struct {
		name  string
		retry templates.Retry
		want  []time.Duration // after attempt 1, 2, …
	}{
		{"the list, then on from its end", templates.Retry{}, seconds(1, 3, 10, 20, 40, 80, 100, 100)},
		{"base alone", templates.Retry{BackoffBase: 500}, seconds(0.5, 1, 2, 4, 8)},
		{"none", templates.Retry{Backoff: templates.BackoffNone, BackoffBase: 500}, seconds(0, 0, 0)},
		{"linear", templates.Retry{Backoff: templates.BackoffLinear, BackoffBase: 500}, seconds(0.5, 1, 1.5, 2)},
		{"linear over the list's first", templates.Retry{Backoff: templates.BackoffLinear}, seconds(1, 2, 3, 4)},
		{"exponential", templates.Retry{Backoff: templates.BackoffExponential, BackoffBase: 100}, seconds(0.1, 0.2, 0.4, 0.8)},
		{"fibonacci", templates.Retry{Backoff: templates.BackoffFibonacci, BackoffBase: 1000}, seconds(1, 1, 2, 3, 5, 8, 13)},
		{"own cap", templates.Retry{MaxBackoff: 2500}, seconds(1, 2.5, 2.5)},
		{"own cap above the configured one", templates.Retry{BackoffBase: 3_600_000, MaxBackoff: 3_600_000}, seconds(100, 100)},
	}
	for _, tt := range tests {
		for i, want := range tt.want {
			if got := Delay(cfg, tt.retry, i+1); got != want {
				t.Errorf("%s: after attempt %d wait %s, want %s", tt.name, i+1, got, want)
			}
		}
	}
}

// drawConfig draws any configuration that loads.
func drawConfig(t *rapid.T) config.Backoff {
	return config.Backoff{
		BackoffMultiplier: rapid.Float64Range(1, 10).Draw(t, "multiplier"),
		JitterEnabled:     rapid.Bool().Draw(t, "jitter"),
		JitterMax:         config.Fraction(rapid.Float64Range(0, 1).Draw(t, "most jitter")),
		MaxBackoff:        config.Seconds(rapid.IntRange(1, 3600).Draw(t, "cap")),
		DefaultBackoff: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) config.Seconds {
			return config.Seconds(rapid.IntRange(0, 3600).Draw(t, "seconds"))
		}), 1, 20).Draw(t, "list"),
	}
}

func drawRetry(t *rapid.T) templates.Retry {
	return templates.Retry{
		Backoff: rapid.SampledFrom([]templates.Backoff{
			"", templates.BackoffNone, templates.BackoffLinear, templates.BackoffExponential, templates.BackoffFibonacci,
		}).Draw(t, "kind"),
		BackoffBase: config.Milliseconds(rapid.IntRange(0, 3_600_000).Draw(t, "base")),
		MaxBackoff:  config.Milliseconds(rapid.IntRange(0, 3_600_000).Draw(t, "own cap")),
	}
}

// TestDelayLaws: a delay is never negative nor above any cap, however many
// attempts there were; jitter moves it by its fraction at most.
func TestDelayLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg, retry := drawConfig(t), drawRetry(t)
		attempt := rapid.IntRange(-1, 10_000).Draw(t, "attempt")
		got := Delay(cfg, retry, attempt)
		limit := cfg.MaxBackoff.Duration()
		if retry.MaxBackoff > 0 {
			limit = min(limit, retry.MaxBackoff.Duration())
		}
		if got < 0 || got > limit {
			t.Fatalf("%s is not within 0 and %s", got, limit)
		}
		steady := cfg
		steady.JitterEnabled = false
		plain := Delay(steady, retry, attempt)
		if !cfg.JitterEnabled {
			if got != plain {
				t.Fatalf("%s, then %s without jitter", got, plain)
			}
			return
		}
		if plain < limit { // a capped delay says nothing about the one before the cap
			spread := float64(cfg.JitterMax) * float64(plain)
			if d := float64(got - plain); d < -spread-1 || d > spread+1 {
				t.Fatalf("%s is further from %s than %.0f%%", got, plain, 100*cfg.JitterMax)
			}
		}
	})
}

// TestDelayGrows: without jitter no attempt is followed by a shorter wait than
// the one before, once a list that is not sorted is left behind.
func TestDelayGrows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg, retry := drawConfig(t), drawRetry(t)
		cfg.JitterEnabled = false
		attempt := rapid.IntRange(len(cfg.DefaultBackoff), 1000).Draw(t, "attempt")
		if a, b := Delay(cfg, retry, attempt), Delay(cfg, retry, attempt+1); a > b {
			t.Fatalf("%s after attempt %d, then %s", a, attempt, b)
		}
	})
}

func TestAsked(t *testing.T) {
	t.Parallel()
	cfg := config.Backoff{MaxBackoff: 10}
	for asked, want := range map[time.Duration]time.Duration{
		-time.Second: 0, 0: 0, time.Millisecond: time.Millisecond, 10 * time.Second: 10 * time.Second, time.Hour: 10 * time.Second,
	} {
		if got := Asked(cfg, asked); got != want {
			t.Errorf("asked for %s: wait %s, want %s", asked, got, want)
		}
	}
}

func TestOperation(t *testing.T) {
	t.Parallel()
	cfg := config.RetryBackoff{InitialDelay: 100, MaxDelay: 1000, Multiplier: 3}
	for failures, want := range map[int]time.Duration{
		0: 100 * time.Millisecond, 1: 100 * time.Millisecond, 2: 300 * time.Millisecond, 3: 900 * time.Millisecond, 4: time.Second, 5000: time.Second,
	} {
		if got := Operation(cfg, failures); got != want {
			t.Errorf("after %d failures wait %s, want %s", failures, got, want)
		}
	}
}

func TestOperationLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := config.RetryBackoff{
			InitialDelay: config.Milliseconds(rapid.IntRange(1, 60_000).Draw(t, "initial")),
			MaxDelay:     config.Milliseconds(rapid.IntRange(1, 600_000).Draw(t, "max")),
			Multiplier:   rapid.Float64Range(1, 10).Draw(t, "multiplier"),
			Jitter:       config.Fraction(rapid.Float64Range(0, 1).Draw(t, "jitter")),
		}
		got := Operation(cfg, rapid.IntRange(0, 10_000).Draw(t, "failures"))
		if got < 0 || got > cfg.MaxDelay.Duration() {
			t.Fatalf("%s is not within 0 and %s", got, cfg.MaxDelay.Duration())
		}
	})
}
