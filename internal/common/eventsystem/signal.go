// Package eventsystem wakes the loops that read queues: by notifications of
// PostgreSQL, by calls within the process, and by timers for what both miss.
// A wake-up carries no work; losing one costs a poll interval.
package eventsystem

import (
	"context"
	"time"
)

// A Signal wakes one loop. Several wake-ups before the loop looks are one.
type Signal struct {
	ch chan struct{}
}

// NewSignal returns a signal that nobody has raised.
func NewSignal() *Signal { return &Signal{ch: make(chan struct{}, 1)} }

// Raise wakes the loop, now or when it looks next. It never blocks.
func (s *Signal) Raise() {
	select {
	case s.ch <- struct{}{}:
	default:
	}
}

// Hand wakes the loop and waits, while ctx lasts, until it has taken the wake-up
// before.
func (s *Signal) Hand(ctx context.Context) {
	select {
	case s.ch <- struct{}{}:
	case <-ctx.Done():
	}
}

// C is readable once per wake-up.
func (s *Signal) C() <-chan struct{} { return s.ch }

// Wait returns when the signal is raised, after d, or when ctx ends, and whether
// it was raised. A negative d means no timer.
func (s *Signal) Wait(ctx context.Context, d time.Duration) (raised bool) {
	var over <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-s.ch:
		return true
	case <-over:
	case <-ctx.Done():
	}
	return false
}
