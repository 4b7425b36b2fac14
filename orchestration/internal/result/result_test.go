package result

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

func TestNext(t *testing.T) {
	t.Parallel()
	cfg := config.Backoff{BackoffMultiplier: 2, MaxBackoff: 60, DefaultBackoff: []config.Seconds{1, 2, 4}}
	tests := []struct {
		name    string
		attempt Attempt
		failure outcome.Failure
		delay   time.Duration
		again   bool
	}{
		{"first of three", Attempt{Number: 1, MaxAttempts: 3}, outcome.Failure{}, time.Second, true},
		{"second of three", Attempt{Number: 2, MaxAttempts: 3}, outcome.Failure{}, 2 * time.Second, true},
		{"last", Attempt{Number: 3, MaxAttempts: 3}, outcome.Failure{}, 0, false},
		{"only", Attempt{Number: 1, MaxAttempts: 1}, outcome.Failure{}, 0, false},
		{"permanent", Attempt{Number: 1, MaxAttempts: 3}, outcome.Failure{Permanent: true}, 0, false},
		{"permanent, although it asks for later", Attempt{Number: 1, MaxAttempts: 3}, outcome.Failure{Permanent: true, RetryAfter: 5}, 0, false},
		{"asked for later", Attempt{Number: 1, MaxAttempts: 3}, outcome.Failure{RetryAfter: 5.5}, 5500 * time.Millisecond, true},
		{"asked for much later", Attempt{Number: 1, MaxAttempts: 3}, outcome.Failure{RetryAfter: 3600}, time.Minute, true},
		{"asked for later, at the last", Attempt{Number: 3, MaxAttempts: 3}, outcome.Failure{RetryAfter: 5}, 0, false},
		{
			"the template's backoff",
			Attempt{Number: 2, MaxAttempts: 3, Retry: templates.Retry{Backoff: templates.BackoffLinear, BackoffBase: 10}},
			outcome.Failure{},
			20 * time.Millisecond, true,
		},
		{
			"the request goes before the template",
			Attempt{Number: 2, MaxAttempts: 3, Retry: templates.Retry{Backoff: templates.BackoffNone}},
			outcome.Failure{RetryAfter: 5},
			5 * time.Second, true,
		},
	}
	for _, tt := range tests {
		if delay, again := Next(cfg, tt.attempt, &tt.failure); delay != tt.delay || again != tt.again {
			t.Errorf("%s: %s, %t, want %s, %t", tt.name, delay, again, tt.delay, tt.again)
		}
	}
}

// TestNextLaws: attempts end, and no wait is negative or above the cap.
func TestNextLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := config.Backoff{
			BackoffMultiplier: rapid.Float64Range(1, 10).Draw(t, "multiplier"), JitterEnabled: true,
			JitterMax:  config.Fraction(rapid.Float64Range(0, 1).Draw(t, "jitter")),
			MaxBackoff: config.Seconds(rapid.IntRange(1, 3600).Draw(t, "cap")), DefaultBackoff: []config.Seconds{1, 2},
		}
		a := Attempt{Number: rapid.Int32Range(1, 200).Draw(t, "attempt"), MaxAttempts: rapid.Int32Range(1, 100).Draw(t, "of")}
		f := &outcome.Failure{Permanent: rapid.Bool().Draw(t, "permanent"), RetryAfter: rapid.Float64Range(-10, 1e9).Draw(t, "retry after")}
		delay, again := Next(cfg, a, f)
		if again != (!f.Permanent && a.Number < a.MaxAttempts) {
			t.Fatalf("again is %t for attempt %d of %d", again, a.Number, a.MaxAttempts)
		}
		if delay < 0 || delay > cfg.MaxBackoff.Duration() || !again && delay != 0 {
			t.Fatalf("wait %s", delay)
		}
	})
}
