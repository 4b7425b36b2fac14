// Package eventtest has the tests that the operators of all event systems must
// pass, so that each setting of each section acts. All time in it is synthetic.
package eventtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/health"
)

// Make returns the operator that a role makes of its settings.
type Make func(cfg config.EventSystem, log *slog.Logger) *eventsystem.Operator

// A Log keeps what is logged, a line per record, with the time since it began.
// It is a handler for slog.
type Log struct {
	mu    *sync.Mutex
	lines *[]string
	began time.Time
	attrs string
}

// NewLog returns a log that begins now.
func NewLog() *Log { return &Log{mu: &sync.Mutex{}, lines: &[]string{}, began: time.Now()} }

// Enabled implements [slog.Handler].
func (l *Log) Enabled(_ context.Context, level slog.Level) bool { return level > slog.LevelDebug }

// Handle implements [slog.Handler].
func (l *Log) Handle(_ context.Context, r slog.Record) error {
	line := fmt.Sprintf("%s %s", time.Since(l.began), r.Message) + l.attrs
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.lines = append(*l.lines, line)
	return nil
}

// WithAttrs implements [slog.Handler].
func (l *Log) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *l
	for _, a := range attrs {
		with.attrs += " " + a.String()
	}
	return &with
}

// WithGroup implements [slog.Handler].
func (l *Log) WithGroup(string) slog.Handler { return l }

// Lines returns what was logged so far.
func (l *Log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(*l.lines)
}

func settings() config.EventSystem {
	return config.EventSystem{
		SystemID: "the-system",
		Timing:   config.Timing{HealthCheckInterval: 10, VisibilityTimeout: 30, ProcessingTimeout: 30, ClaimTimeout: 300},
		Processing: config.Processing{
			MaxConcurrentOperations: 2, BatchSize: 1, MaxRetries: 4,
			Backoff: config.RetryBackoff{InitialDelay: 100, MaxDelay: 10000, Multiplier: 2},
		},
		Health: config.EventHealth{
			Enabled: true, PerformanceMonitoringEnabled: true, MaxConsecutiveErrors: 3, ErrorRateThresholdPerMinute: 5,
		},
	}
}

var errDown = errors.New("down")

// Retries has operations fail for good and looks when they are tried.
func Retries(t *testing.T, operator Make) {
	t.Helper()
	tests := []struct {
		name   string
		change func(cfg *config.EventSystem)
		want   []int // milliseconds between the tries; nil: other than the first
	}{
		{"as it was", func(*config.EventSystem) {}, []int{100, 200, 400, 800}},
		{"max_retries", func(cfg *config.EventSystem) { cfg.Processing.MaxRetries = 1 }, []int{100}},
		{"claim_timeout_seconds", func(cfg *config.EventSystem) { cfg.Timing.ClaimTimeout = 1 }, []int{100, 200, 400}},
		{"initial_delay_ms", func(cfg *config.EventSystem) { cfg.Processing.Backoff.InitialDelay = 50 }, []int{50, 100, 200, 400}},
		{"max_delay_ms", func(cfg *config.EventSystem) { cfg.Processing.Backoff.MaxDelay = 300 }, []int{100, 200, 300, 300}},
		{"multiplier", func(cfg *config.EventSystem) { cfg.Processing.Backoff.Multiplier = 3 }, []int{100, 300, 900, 2700}},
		{"jitter_percent", func(cfg *config.EventSystem) { cfg.Processing.Backoff.Jitter = 0.5 }, nil},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			cfg := settings()
			tt.change(&cfg)
			var tries []time.Time
			err := operator(cfg, slog.New(slog.DiscardHandler)).Do(t.Context(), "try", func(context.Context) error {
				tries = append(tries, time.Now())
				return errDown
			})
			var got []int
			for i := range len(tries) - 1 {
				got = append(got, int(tries[i+1].Sub(tries[i]).Milliseconds()))
			}
			if tt.want == nil && slices.Equal(got, tests[0].want) || tt.want != nil && !slices.Equal(got, tt.want) {
				t.Errorf("%s: pauses of %v ms, want %v", tt.name, got, tt.want)
			}
			if want := fmt.Sprintf("try, tried %d times: down", len(tries)); !errors.Is(err, errDown) || err.Error() != want {
				t.Errorf("%s: got error %v, want %s", tt.name, err, want)
			}
		})
	}
}

// Deadlines looks how long one try may take.
func Deadlines(t *testing.T, operator Make) {
	t.Helper()
	for _, timeout := range []config.Seconds{3, 40} {
		synctest.Test(t, func(t *testing.T) {
			cfg := settings()
			cfg.Timing.ProcessingTimeout, cfg.Processing.MaxRetries = timeout, 0
			began := time.Now()
			err := operator(cfg, slog.New(slog.DiscardHandler)).Do(t.Context(), "hang", func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
			if took := time.Since(began); took != timeout.Duration() || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with %d s an operation may take %s (%v)", timeout, took, err)
			}
		})
	}
}

// Concurrency looks how many operations go on at once.
func Concurrency(t *testing.T, operator Make) {
	t.Helper()
	for _, most := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			cfg := settings()
			cfg.Processing.MaxConcurrentOperations = most
			if got := Parallel(t, operator(cfg, slog.New(slog.DiscardHandler))); got != most {
				t.Errorf("%d operations at once, want %d", got, most)
			}
		})
	}
}

// Parallel counts how many operations an operator does at once, within a bubble
// of synctest.
func Parallel(t *testing.T, o *eventsystem.Operator) (inProgress int) {
	t.Helper()
	var mu sync.Mutex
	end := make(chan struct{})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			_ = o.Do(t.Context(), "wait", func(context.Context) error {
				mu.Lock()
				inProgress++
				mu.Unlock()
				<-end
				return nil
			})
		})
	}
	synctest.Wait()
	got := inProgress
	close(end)
	wg.Wait()
	return got
}

// Health has operations fail and looks how the event system calls itself.
func Health(t *testing.T, operator Make) {
	t.Helper()
	tests := []struct {
		name   string
		change func(cfg *config.EventSystem)
		errors int // after a success
		want   health.Status
	}{
		{"as it was", func(*config.EventSystem) {}, 2, health.Healthy},
		{"as it was, with an error more", func(*config.EventSystem) {}, 3, health.Unhealthy},
		{"max_consecutive_errors", func(cfg *config.EventSystem) { cfg.Health.MaxConsecutiveErrors = 4 }, 3, health.Healthy},
		{"error_rate_threshold_per_minute", func(cfg *config.EventSystem) { cfg.Health.ErrorRateThresholdPerMinute = 2 }, 2, health.Degraded},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			cfg := settings()
			tt.change(&cfg)
			o := operator(cfg, slog.New(slog.DiscardHandler))
			o.Record(time.Second, nil)
			for range tt.errors {
				o.Record(time.Second, errDown)
			}
			status, message := o.Checks("name")[0].Look(t.Context())
			if status != tt.want || !strings.HasPrefix(message, "the-system: ") || !strings.Contains(message, fmt.Sprintf("last %d operations", tt.errors+1)) {
				t.Errorf("%s: after %d errors it is %s (%s), want %s", tt.name, tt.errors, status, message, tt.want)
			}
			<-time.After(time.Minute) // the errors of a minute are over, those in a row are not
			if status, _ := o.Status(); (status == health.Unhealthy) != (tt.want == health.Unhealthy) || status == health.Degraded {
				t.Errorf("%s: a minute later it is %s", tt.name, status)
			}
			o.Record(time.Second, nil)
			if status, _ := o.Status(); status == health.Unhealthy {
				t.Errorf("%s: after a success it is %s", tt.name, status)
			}
		})
	}
	unwatched(t, operator)
}

// unwatched turns off what Health looks at.
func unwatched(t *testing.T, operator Make) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.Health.PerformanceMonitoringEnabled = false
		o := operator(cfg, slog.New(slog.DiscardHandler))
		o.Record(time.Second, nil)
		if _, message := o.Checks("name")[0].Look(t.Context()); message != "the-system: works" {
			t.Errorf("performance_monitoring_enabled: says %q", message)
		}
		cfg.Health.Enabled = false
		o = operator(cfg, slog.New(slog.DiscardHandler))
		for range 10 {
			o.Record(time.Second, errDown)
		}
		o.Run(t.Context()) // ends at once
		if status, _ := o.Status(); len(o.Checks("name")) != 0 || status != health.Healthy {
			t.Error("enabled: health is tracked all the same")
		}
	})
}

// SelfChecks looks when an event system that is unwell says so, and under which
// name.
func SelfChecks(t *testing.T, operator Make) {
	t.Helper()
	for _, tt := range []struct {
		id       string
		interval config.Seconds
		want     []string
	}{
		{"one", 10, []string{
			"10s event system is unwell event_system=one status=unhealthy why=3 errors in a row last_error=down",
			"20s event system is unwell event_system=one status=unhealthy why=3 errors in a row last_error=down",
			"30s event system is well again event_system=one",
		}},
		{"two", 25, []string{"25s event system is unwell event_system=two status=unhealthy why=3 errors in a row last_error=down"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := settings()
			cfg.SystemID, cfg.Timing.HealthCheckInterval = tt.id, tt.interval
			log := NewLog()
			o := operator(cfg, slog.New(log))
			ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
			defer cancel()
			for range 3 {
				o.Record(time.Second, errDown)
			}
			go func() {
				<-time.After(26 * time.Second)
				o.Record(time.Second, nil)
			}()
			o.Run(ctx)
			synctest.Wait()
			if got := log.Lines(); !slices.Equal(got, tt.want) {
				t.Errorf("with an interval of %d s it logs %q, want %q", tt.interval, got, tt.want)
			}
		})
	}
}
