package breakers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/breakers"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

var (
	errAway   = errors.New("nobody answers")
	errCaller = errors.New("no such thing")
)

func fails(err error) bool { return errors.Is(err, errAway) }

func settings() config.CircuitBreakers {
	return config.CircuitBreakers{
		Enabled: true,
		GlobalSettings: config.BreakerGlobals{
			MaxCircuitBreakers: 2, MetricsCollectionInterval: 30, MinStateTransitionInterval: 0.5,
		},
		DefaultConfig:    config.Breaker{FailureThreshold: 5, Timeout: 30, SuccessThreshold: 2},
		ComponentConfigs: map[string]config.Breaker{"pgmq": {FailureThreshold: 3, Timeout: 15, SuccessThreshold: 2}},
	}
}

func newSet(cfg config.CircuitBreakers) *breakers.Set {
	return breakers.New(cfg, fails, nil, slog.New(slog.DiscardHandler))
}

// call makes a call that ends with err, if the breaker lets it.
func call(b *breakers.Breaker, err error) (refused bool) {
	done, open := b.Allow()
	if open != nil {
		return true
	}
	done(err)
	return false
}

// life is what a breaker does when what it guards fails, and comes back.
type life struct {
	failures  int           // until it opens
	rests     time.Duration // until it lets a trial through
	successes int           // until it closes; while it does not, a failure opens it at once
}

func lifeOf(b *breakers.Breaker) (l life) {
	const most = 1000
	for l.failures < most && b.After() == 0 {
		call(b, errAway)
		l.failures++
	}
	if l.failures == most {
		return l
	}
	for began := time.Now(); call(b, nil); l.rests = time.Since(began) {
		<-time.After(100 * time.Millisecond)
	}
	for l.successes = 1; b.After() > 0; l.successes++ {
		call(b, nil)
	}
	return l
}

// TestBreakersFollowTheSettings: when a breaker opens, how long it stays so, and
// when it closes.
func TestBreakersFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.circuit_breakers.enabled", "common.circuit_breakers.default_config.failure_threshold",
		"common.circuit_breakers.default_config.timeout_seconds", "common.circuit_breakers.default_config.success_threshold",
		"common.circuit_breakers.component_configs.*.failure_threshold", "common.circuit_breakers.component_configs.*.timeout_seconds",
		"common.circuit_breakers.component_configs.*.success_threshold",
		"common.circuit_breakers.global_settings.min_state_transition_interval_seconds")
	tests := []struct {
		name   string
		change func(cfg *config.CircuitBreakers)
		web    life
		pgmq   life
	}{
		{"as it was", func(*config.CircuitBreakers) {}, life{5, 30 * time.Second, 2}, life{3, 15 * time.Second, 2}},
		{
			"default_config", func(cfg *config.CircuitBreakers) {
				cfg.DefaultConfig = config.Breaker{FailureThreshold: 7, Timeout: 40, SuccessThreshold: 4}
			},
			life{7, 40 * time.Second, 4},
			life{3, 15 * time.Second, 2},
		},
		{"component_configs", func(cfg *config.CircuitBreakers) {
			cfg.ComponentConfigs["pgmq"] = config.Breaker{FailureThreshold: 1, Timeout: 60, SuccessThreshold: 1}
		}, life{5, 30 * time.Second, 2}, life{1, time.Minute, 1}},
		{
			"an open one rests as long as any state lasts", func(cfg *config.CircuitBreakers) { cfg.GlobalSettings.MinStateTransitionInterval = 20 },
			life{5, 30 * time.Second, 2},
			life{3, 20 * time.Second, 2},
		},
		{"enabled", func(cfg *config.CircuitBreakers) { cfg.Enabled = false }, life{failures: 1000}, life{failures: 1000}},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			cfg := settings()
			tt.change(&cfg)
			set := newSet(cfg)
			web, pgmq := set.Of(breakers.Web), set.Of("pgmq")
			<-time.After(time.Minute) // in the first state
			for name, pair := range map[string][2]life{"web": {lifeOf(web), tt.web}, "pgmq": {lifeOf(pgmq), tt.pgmq}} {
				if got, want := pair[0], pair[1]; got.failures != want.failures || got.successes != want.successes ||
					got.rests < want.rests || got.rests > want.rests+100*time.Millisecond {
					t.Errorf("%s: %s: got %v, want %v", tt.name, name, got, want)
				}
			}
		})
	}
}

// TestFlapping: a breaker that has just closed does not open again before it has
// been closed for min_state_transition_interval_seconds, whatever fails.
func TestFlapping(t *testing.T) {
	t.Parallel()
	for _, dwell := range []config.DecimalSeconds{0.5, 10} {
		synctest.Test(t, func(t *testing.T) {
			cfg := settings()
			cfg.GlobalSettings.MinStateTransitionInterval = dwell
			b := newSet(cfg).Of(breakers.Web)
			<-time.After(time.Minute)
			lifeOf(b)
			closed := time.Now()
			for b.After() == 0 {
				call(b, errAway)
				<-time.After(10 * time.Millisecond)
			}
			if took := time.Since(closed); took < dwell.Duration() || took > dwell.Duration()+20*time.Millisecond {
				t.Errorf("opens after %s, want %s", took, dwell.Duration())
			}
		})
	}
}

// TestWhatCounts: only failures of what is called, in a row.
func TestWhatCounts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		calls []error
		opens bool
	}{
		{"failures in a row", []error{errAway, errAway, errAway}, true},
		{"a success between", []error{errAway, errAway, nil, errAway}, false},
		{"faults of the caller", []error{errCaller, errCaller, errCaller, errCaller}, false},
		{"a fault of the caller between", []error{errAway, errAway, errCaller, errAway}, false},
		{"given up by the caller", []error{context.Canceled, context.Canceled, context.Canceled, context.Canceled}, false},
		{"given up between", []error{errAway, errAway, fmt.Errorf("query: %w", context.Canceled), errAway}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newSet(settings()).Of("pgmq")
			<-time.After(time.Minute)
			for _, err := range tt.calls {
				call(b, err)
			}
			if opens := b.After() > 0; opens != tt.opens {
				t.Errorf("%s: opens is %t", tt.name, opens)
			}
		})
	}
}

// TestOpenSaysForHowLong: who is refused learns when to come back, and a trial
// that fails starts the wait anew.
func TestOpenSaysForHowLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		set := newSet(settings())
		b := set.Of("pgmq")
		look := set.Checks()[0].Look
		if status, said := look(t.Context()); status != health.Healthy || said != "pgmq is closed" {
			t.Errorf("%s: %s", status, said)
		}
		<-time.After(time.Minute)
		for range 3 {
			call(b, errAway)
		}
		<-time.After(5 * time.Second)
		_, err := b.Allow()
		open, ok := errors.AsType[*breakers.OpenError](err)
		if !ok || open.After != 10*time.Second || open.Component != "pgmq" {
			t.Fatalf("refused with %#v", err)
		}
		if status, said := look(t.Context()); status != health.Degraded || said != "pgmq is open" {
			t.Errorf("%s: %s", status, said)
		}
		<-time.After(10*time.Second + 1)
		if call(b, errAway) {
			t.Error("no trial is let through")
		}
		if after := b.After(); after != 15*time.Second {
			t.Errorf("after a trial that failed it rests %s", after)
		}
	})
}

// TestMostBreakers: a component beyond max_circuit_breakers has none, and the log
// says so.
func TestMostBreakers(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.circuit_breakers.global_settings.max_circuit_breakers")
	for most, want := range map[int]int{2: 2, 3: 3} {
		cfg := settings()
		cfg.GlobalSettings.MaxCircuitBreakers = most
		var log strings.Builder
		set := breakers.New(cfg, fails, nil, slog.New(slog.NewTextHandler(&log, nil)))
		made := map[*breakers.Breaker]bool{}
		for _, component := range []string{"a", "b", "c", "b"} {
			if b := set.Of(component); b != nil {
				made[b] = true
			}
		}
		if len(made) != want || strings.Contains(log.String(), "level=ERROR") != (want < 3) {
			t.Errorf("max_circuit_breakers = %d: %d breakers; log: %s", most, len(made), log.String())
		}
	}
}

// TestSamples: how soon the metrics show that a breaker has opened.
func TestSamples(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.circuit_breakers.global_settings.metrics_collection_interval_seconds")
	for _, interval := range []config.Seconds{10, 25} {
		synctest.Test(t, func(t *testing.T) {
			metrics, err := telemetry.New(config.Telemetry{Enabled: true, Metrics: config.Metrics{Enabled: true}}, telemetry.Process{})
			if err != nil {
				t.Fatal(err)
			}
			cfg := settings()
			cfg.GlobalSettings.MetricsCollectionInterval = interval
			set := breakers.New(cfg, fails, metrics, slog.New(slog.DiscardHandler))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go set.Run(ctx)
			web := set.Of(breakers.Web)
			<-time.After(time.Second)
			for range 5 {
				call(web, errAway)
			}
			call(web, nil)
			shows := func(line string) bool {
				w := httptest.NewRecorder()
				metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
				return strings.Contains(w.Body.String(), "\n"+line+"\n")
			}
			if !shows(`tasker_circuit_breaker_rejections_total{component="web"} 1`) {
				t.Error("the call that was refused is not counted")
			}
			for _, line := range []string{`tasker_circuit_breaker_state{component="web"} `, `tasker_api_circuit_breaker_state `} {
				if !shows(line + "0") {
					t.Errorf("%s: it shows before the first sample", line)
				}
			}
			began := time.Now()
			for !shows(`tasker_circuit_breaker_state{component="web"} 2`) {
				<-time.After(time.Second)
			}
			if took := time.Since(began) + time.Second; took < interval.Duration() || took > interval.Duration()+2*time.Second {
				t.Errorf("it shows after %s, want %s", took, interval.Duration())
			}
			if !shows(`tasker_api_circuit_breaker_state 2`) {
				t.Error("the breaker of the API does not show by its own name")
			}
		})
	}
}
