package combined

import (
	"testing"
	"testing/synctest"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// TestCompletionBufferFollowsTheSettings: how many outcomes may wait until a
// handler that has one more must.
func TestCompletionBufferFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.mpsc_channels.event_subscribers.completion_buffer_size")
	for _, size := range []int{10, 20} {
		synctest.Test(t, func(t *testing.T) {
			cfg := &config.Config{Orchestration: &config.Orchestration{}, Worker: &config.Worker{}}
			cfg.Orchestration.EventSystems.Orchestration.Processing.MaxConcurrentOperations = 1
			cfg.Worker.Channels.EventSubscribers.CompletionBufferSize = size
			line := newLine(cfg)
			taken := 0
			go func() {
				for range 100 {
					line.Report(outcome.Outcome{})
					taken++
				}
			}()
			synctest.Wait()
			if taken != size {
				t.Errorf("%d outcomes are taken, want %d", taken, size)
			}
			line.Close()
		})
	}
}
