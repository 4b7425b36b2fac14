// Package backoff says how long to wait before an attempt. It keeps no time
// itself.
package backoff

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// Delay is the wait after the given failed attempt, counted from 1. What the
// step's own retry sets goes before the configuration:
//
//   - neither base nor kind set: the configured list, continued exponentially
//     from its last entry;
//   - otherwise the kind (exponential unless said) over the base, or over the
//     list's first entry when only the kind is set.
//
// Jitter spreads the delay by up to the configured fraction either way, also
// below a second; caps hold after it.
func Delay(cfg config.Backoff, retry templates.Retry, attempt int) time.Duration {
	limit := cfg.MaxBackoff.Duration()
	if retry.MaxBackoff > 0 {
		limit = min(limit, retry.MaxBackoff.Duration())
	}
	d := plain(cfg, retry, max(attempt, 1))
	if cfg.JitterEnabled {
		d *= 1 + float64(cfg.JitterMax)*(2*rand.Float64()-1) //nolint:gosec // spreads load, guards nothing
	}
	return time.Duration(min(d, float64(limit)))
}

// plain is the delay in nanoseconds, without jitter and caps.
func plain(cfg config.Backoff, retry templates.Retry, attempt int) float64 {
	list := cfg.DefaultBackoff
	if retry.Backoff == "" && retry.BackoffBase == 0 {
		if attempt <= len(list) {
			return float64(list[attempt-1].Duration())
		}
		last := float64(list[len(list)-1].Duration())
		return grow(last, math.Pow(cfg.BackoffMultiplier, float64(attempt-len(list))))
	}
	base := float64(list[0].Duration())
	if retry.BackoffBase > 0 {
		base = float64(retry.BackoffBase.Duration())
	}
	switch retry.Backoff {
	case templates.BackoffNone:
		return 0
	case templates.BackoffLinear:
		return base * float64(attempt)
	case templates.BackoffFibonacci:
		return grow(base, fibonacci(attempt))
	case templates.BackoffExponential, "":
	}
	return grow(base, math.Pow(cfg.BackoffMultiplier, float64(attempt-1)))
}

// grow is base times factor. No wait stays none, however often it grows: the
// factor of a late attempt is infinite, and nothing times that is not a number.
func grow(base, factor float64) float64 {
	if base == 0 {
		return 0
	}
	return base * factor
}

// fibonacci is 1, 1, 2, 3, 5, … as a float, so that it cannot overflow.
func fibonacci(n int) float64 {
	a, b := 1.0, 1.0
	for range n - 1 {
		a, b = b, a+b
	}
	return a
}

// Asked is the wait that a handler asked for, within the configured cap.
func Asked(cfg config.Backoff, d time.Duration) time.Duration {
	return min(max(d, 0), cfg.MaxBackoff.Duration())
}

// Operation is the wait before a failed operation on the database or the broker
// is tried again (event_systems.*.processing.backoff); failures counts from 1.
func Operation(cfg config.RetryBackoff, failures int) time.Duration {
	d := float64(cfg.InitialDelay.Duration()) * math.Pow(cfg.Multiplier, float64(max(failures, 1)-1))
	d = min(d, float64(cfg.MaxDelay.Duration()))
	d *= 1 + float64(cfg.Jitter)*(2*rand.Float64()-1) //nolint:gosec // spreads load, guards nothing
	return time.Duration(min(d, float64(cfg.MaxDelay.Duration())))
}
