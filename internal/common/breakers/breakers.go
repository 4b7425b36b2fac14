// Package breakers keeps a process from calling what keeps failing, and from
// waiting for it.
//
// Each component has a breaker of its own: web (the database calls of the API),
// pgmq (reads of queues and wake-ups) and task_readiness (what looks for lost
// work). A breaker that is closed lets calls through. It opens after so many
// failures in a row, refuses calls for a while, and then lets as many trials
// through as must succeed before it closes; one that fails opens it anew.
//
// Only what the other side is to blame for counts as a failure. What a caller
// did wrong shows that the component answers, and what a caller gave up itself
// says nothing about it.
package breakers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// The components, as common.circuit_breakers.component_configs names them. That
// of messaging bears the name of the backend.
const (
	Web           = "web"
	TaskReadiness = "task_readiness"
)

// A Set has the breakers of a process. It is safe for concurrent use, and nil
// where breakers are off.
type Set struct {
	cfg   config.CircuitBreakers
	fails func(error) bool
	log   *slog.Logger

	mu       sync.Mutex
	breakers map[string]*Breaker
}

// New returns the breakers that cfg describes, nil if it turns them off. Fails
// says of an error whether what was called is to blame.
func New(cfg config.CircuitBreakers, fails func(error) bool, metrics *telemetry.Metrics, log *slog.Logger) *Set {
	if !cfg.Enabled {
		return nil
	}
	s := &Set{cfg: cfg, fails: fails, log: log, breakers: map[string]*Breaker{}}
	const states = ": 0 closed, 1 half-open, 2 open."
	metrics.Gauge("tasker.circuit_breaker.state", "", "State of each circuit breaker"+states, func(observe telemetry.Observe) {
		for _, b := range s.all() {
			observe(float64(b.sampled.Load()), b.name)
		}
	}, "component")
	metrics.Gauge("tasker.api.circuit_breaker.state", "", "State of the circuit breaker of the API"+states, func(observe telemetry.Observe) {
		if b := s.named(Web); b != nil {
			observe(float64(b.sampled.Load()))
		}
	})
	metrics.Total("tasker.circuit_breaker.rejections", "Calls that a circuit breaker has refused.", func(observe telemetry.Observe) {
		for _, b := range s.all() {
			observe(float64(b.refused.Load()), b.name)
		}
	}, "component")
	return s
}

// Of returns the breaker of a component, always the same, with the settings of
// its entry in component_configs or else the default ones. Beyond
// max_circuit_breakers there is none, which the log has as an error.
func (s *Set) Of(component string) *Breaker {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.breakers[component]; b != nil {
		return b
	}
	if most := s.cfg.GlobalSettings.MaxCircuitBreakers; len(s.breakers) >= most {
		s.log.Error("a component goes without a circuit breaker; raise common.circuit_breakers.global_settings.max_circuit_breakers",
			"component", component, "max_circuit_breakers", most)
		return nil
	}
	cfg, own := s.cfg.ComponentConfigs[component]
	if !own {
		cfg = s.cfg.DefaultConfig
	}
	s.breakers[component] = s.newBreaker(component, cfg)
	return s.breakers[component]
}

func (s *Set) named(component string) *Breaker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.breakers[component]
}

// all returns the breakers in the order of their names.
func (s *Set) all() []*Breaker {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Breaker, 0, len(s.breakers))
	for _, name := range slices.Sorted(maps.Keys(s.breakers)) {
		all = append(all, s.breakers[name])
	}
	return all
}

// Run samples the states for the metrics each
// metrics_collection_interval_seconds until ctx ends.
func (s *Set) Run(ctx context.Context) {
	if s == nil {
		return
	}
	ticker := time.NewTicker(s.cfg.GlobalSettings.MetricsCollectionInterval.Duration())
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, b := range s.all() {
			b.sampled.Store(int64(b.circuit.State()))
		}
	}
}

// Checks are the breakers' part in the health of their process: degraded while
// one is not closed.
func (s *Set) Checks() []health.Check {
	if s == nil {
		return nil
	}
	return []health.Check{{Name: "circuit_breakers", Look: func(context.Context) (health.Status, string) {
		status, said := health.Healthy, []string{}
		for _, b := range s.all() {
			state := b.circuit.State()
			if state != gobreaker.StateClosed {
				status = health.Degraded
			}
			said = append(said, fmt.Sprintf("%s is %s", b.name, state))
		}
		return status, strings.Join(said, ", ")
	}}}
}

// A Breaker is that of one component. A nil one lets everything through.
type Breaker struct {
	name    string
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	wait    time.Duration // from open to half-open
	dwell   time.Duration // in a state at least
	since   atomic.Int64  // of the state, in Unix nanoseconds
	sampled atomic.Int64  // the state at the last sample
	refused atomic.Int64  // calls
}

func (s *Set) newBreaker(name string, cfg config.Breaker) *Breaker {
	b := &Breaker{name: name, dwell: s.cfg.GlobalSettings.MinStateTransitionInterval.Duration()}
	b.wait = max(cfg.Timeout.Duration(), b.dwell)
	b.since.Store(time.Now().UnixNano())
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, Timeout: b.wait,
		MaxRequests: uint32(cfg.SuccessThreshold), //nolint:gosec // 1 to 100 by its range
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			return int(counts.ConsecutiveFailures) >= cfg.FailureThreshold && b.inState() >= b.dwell
		},
		IsSuccessful: func(err error) bool { return err == nil || !s.fails(err) },
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.since.Store(time.Now().UnixNano())
			tell := s.log.Info
			if to == gobreaker.StateOpen {
				tell = s.log.Warn
			}
			tell("circuit breaker changes its state", "component", name, "from", from.String(), "to", to.String())
		},
	})
	return b
}

// inState is how long the breaker has been in its state.
func (b *Breaker) inState() time.Duration { return time.Since(time.Unix(0, b.since.Load())) }

// An OpenError says that a breaker has refused a call.
type OpenError struct {
	Component string
	After     time.Duration // until the next trial; more than zero
}

// Error names the component.
func (e *OpenError) Error() string {
	return fmt.Sprintf("the circuit breaker of %s is open: calls kept failing", e.Component)
}

// Allow asks whether a call may be made. Done, which must be called once, takes
// how the call ended. The error is an [*OpenError].
func (b *Breaker) Allow() (done func(error), err error) {
	if b == nil {
		return func(error) {}, nil
	}
	done, err = b.circuit.Allow()
	if err != nil {
		b.refused.Add(1)
		return nil, &OpenError{Component: b.name, After: b.After()}
	}
	return done, nil
}

// After is how long the breaker will refuse calls, at least a moment when it is
// not closed, zero when it is.
func (b *Breaker) After() time.Duration {
	if b == nil || b.circuit.State() == gobreaker.StateClosed {
		return 0
	}
	return max(b.wait-b.inState(), time.Millisecond)
}
