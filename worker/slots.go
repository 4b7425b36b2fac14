package worker

import (
	"context"
	"sync"
	"time"
)

// slots bound how many steps a worker has in hand: running, or over and not
// stored yet.
type slots struct {
	capacity int
	linger   time.Duration

	mu    sync.Mutex
	free  int
	freed chan struct{} // readable when slots became free
}

func newSlots(capacity int) *slots {
	return &slots{capacity: capacity, linger: time.Millisecond, free: capacity, freed: make(chan struct{}, 1)}
}

// take waits for free slots and takes up to n. While the worker is busy it
// lingers for more to come free: claiming one step at a time would cost a
// transaction each. It returns 0 when ctx has ended.
func (s *slots) take(ctx context.Context, n int) int {
	for {
		free := s.available()
		if free >= min(n, max(1, s.capacity/4)) {
			if taken := s.tryTake(n); taken > 0 {
				return taken
			}
		}
		var lingered <-chan time.Time
		if free > 0 {
			timer := time.NewTimer(s.linger)
			defer timer.Stop()
			lingered = timer.C
		}
		select {
		case <-s.freed:
		case <-lingered:
			if taken := s.tryTake(n); taken > 0 {
				return taken
			}
		case <-ctx.Done():
			return 0
		}
	}
}

func (s *slots) available() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free
}

// tryTake takes up to n free slots without waiting.
func (s *slots) tryTake(n int) int {
	s.mu.Lock()
	taken := min(n, s.free)
	s.free -= taken
	left := s.free
	s.mu.Unlock()
	if left > 0 {
		s.announce() // to the other takers
	}
	return taken
}

// release gives slots back.
func (s *slots) release(n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	s.free += n
	s.mu.Unlock()
	s.announce()
}

func (s *slots) announce() {
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// inUse is how many slots are taken.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.capacity - s.free
}
