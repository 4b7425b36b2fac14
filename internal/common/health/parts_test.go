package health_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/tasker-systems/tasker-go/internal/common/health"
)

// TestParts: one that returns while its role goes on is missed, one that stops
// with it is not.
func TestParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parts := health.NewParts()
		check := parts.Check("system")
		ctx, stop := context.WithCancel(t.Context())
		fails := make(chan struct{})
		go parts.Run(ctx, "reader", func(ctx context.Context) { <-ctx.Done() })
		go parts.Run(ctx, "writer", func(context.Context) { <-fails })
		synctest.Wait()
		expect := func(want health.Status, says string) {
			t.Helper()
			if status, said := check.Look(t.Context()); status != want || said != says {
				t.Errorf("%s: %s; want %s: %s", status, said, want, says)
			}
		}
		expect(health.Healthy, "all 2 parts run")
		close(fails)
		synctest.Wait()
		expect(health.Unhealthy, "ended although they should run: writer")
		go parts.Run(ctx, "writer", func(ctx context.Context) { <-ctx.Done() })
		synctest.Wait()
		stop()
		synctest.Wait()
		expect(health.Healthy, "all 2 parts run")
	})
}
