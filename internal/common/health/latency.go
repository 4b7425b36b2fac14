package health

import (
	"math/bits"
	"time"
)

// A Latency is a histogram of durations: powers of two of a microsecond, so that
// it never grows. The zero value is empty. It is not safe for concurrent use.
type Latency struct {
	buckets [40]int
	count   int
}

// Add counts a duration.
func (l *Latency) Add(d time.Duration) {
	l.buckets[min(bits.Len64(uint64(max(d.Microseconds(), 0))), len(l.buckets)-1)]++
	l.count++
}

// Merge counts what other has counted.
func (l *Latency) Merge(other *Latency) {
	for i, n := range other.buckets {
		l.buckets[i] += n
	}
	l.count += other.count
}

// Count is how many durations it has counted.
func (l *Latency) Count() int { return l.count }

// Quantile is what the given share of the durations, from 0 to 1, did not
// exceed; of an empty histogram zero. It is exact to a factor of two, upwards.
func (l *Latency) Quantile(share float64) time.Duration {
	seen := 0
	for i, n := range l.buckets {
		if seen += n; n > 0 && float64(seen) >= share*float64(l.count) {
			return time.Duration(1<<i) * time.Microsecond
		}
	}
	return 0
}
