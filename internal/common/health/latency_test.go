package health_test

import (
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/health"
)

func TestLatency(t *testing.T) {
	t.Parallel()
	var fast, all health.Latency
	if got := all.Quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %s", got)
	}
	for range 98 {
		fast.Add(900 * time.Microsecond)
	}
	all.Add(3 * time.Second)
	all.Add(-time.Second) // a clock that was set back
	all.Merge(&fast)
	if got := all.Count(); got != 100 {
		t.Errorf("counted %d", got)
	}
	for share, want := range map[float64]time.Duration{
		0: time.Microsecond, 0.5: 1024 * time.Microsecond, 0.99: 1024 * time.Microsecond, 1: 1 << 22 * time.Microsecond,
	} {
		if got := all.Quantile(share); got != want {
			t.Errorf("%v of the durations are up to %s, want %s", share, got, want)
		}
	}
	all.Add(1 << 62)
	if got := all.Quantile(1); got < 24*time.Hour {
		t.Errorf("a huge duration counts as %s", got)
	}
}
