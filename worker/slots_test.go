package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestSlotsTake(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		capacity, used int
		ask, want      int
		waited         time.Duration
	}{
		{"all free", 8, 0, 3, 3, 0},
		{"more than there are", 8, 0, 100, 8, 0},
		{"a quarter is enough", 8, 6, 100, 2, 0},
		{"fewer, after lingering", 8, 7, 100, 1, time.Millisecond},
		{"few slots do not linger", 3, 2, 100, 1, 0},
		{"few asked for do not linger", 100, 98, 2, 2, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSlots(tt.capacity)
				s.tryTake(tt.used)
				began := time.Now()
				if got := s.take(t.Context(), tt.ask); got != tt.want {
					t.Errorf("took %d, want %d", got, tt.want)
				}
				if waited := time.Since(began); waited != tt.waited {
					t.Errorf("waited %s, want %s", waited, tt.waited)
				}
				if got := s.inUse(); got != tt.used+tt.want {
					t.Errorf("%d in use, want %d", got, tt.used+tt.want)
				}
			})
		})
	}
}

func TestSlotsTakeWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(4)
		s.tryTake(4)
		taken := make(chan int)
		go func() { taken <- s.take(t.Context(), 4) }()
		synctest.Wait()
		s.release(2)
		if got := <-taken; got != 2 {
			t.Errorf("took %d of 2", got)
		}
	})
}

func TestSlotsTakeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(4)
		s.tryTake(4)
		ctx, cancel := context.WithCancel(t.Context())
		taken := make(chan int)
		go func() { taken <- s.take(ctx, 4) }()
		synctest.Wait()
		cancel()
		if got := <-taken; got != 0 {
			t.Errorf("took %d", got)
		}
	})
}

// TestSlotsWakeEveryTaker: one release may be enough for several takers.
func TestSlotsWakeEveryTaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const takers = 5
		s := newSlots(takers)
		s.tryTake(takers)
		taken := make(chan int)
		for range takers {
			go func() { taken <- s.take(t.Context(), 1) }()
		}
		synctest.Wait()
		s.release(takers)
		for range takers {
			if got := <-taken; got != 1 {
				t.Errorf("took %d", got)
			}
		}
	})
}

// TestSlotsAreConserved: what is taken and free is always the capacity.
func TestSlotsAreConserved(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.IntRange(1, 50).Draw(t, "capacity")
		s := newSlots(capacity)
		held := 0
		for range rapid.IntRange(0, 50).Draw(t, "operations") {
			if rapid.Bool().Draw(t, "take") {
				ask := rapid.IntRange(0, 60).Draw(t, "ask")
				got := s.tryTake(ask)
				if got != min(ask, capacity-held) {
					t.Fatalf("took %d of %d with %d of %d in use", got, ask, held, capacity)
				}
				held += got
			} else {
				n := rapid.IntRange(0, held).Draw(t, "release")
				s.release(n)
				held -= n
			}
			if s.inUse() != held {
				t.Fatalf("%d in use, want %d", s.inUse(), held)
			}
		}
	})
}
