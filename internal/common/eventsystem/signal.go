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

// C is readable once per wake-up.
func (s *Signal) C() <-chan struct{} { return s.ch }

// Wait returns when the signal is raised, after d, or when ctx ends. A negative
// d means no timer.
func (s *Signal) Wait(ctx context.Context, d time.Duration) {
	if d < 0 {
		select {
		case <-s.ch:
		case <-ctx.Done():
		}
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ch:
	case <-timer.C:
	case <-ctx.Done():
	}
}
