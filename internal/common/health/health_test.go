package health_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/health"
)

// found is a check that always finds the same.
func found(name string, s health.Status) health.Check {
	return health.Check{Name: name, Look: func(context.Context) (health.Status, string) { return s, "it is " + string(s) }}
}

func TestLookReportsTheWorst(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		checks []health.Check
		want   health.Status
		ready  bool
	}{
		{"nothing to check", nil, health.Healthy, true},
		{"all well", []health.Check{found("a", health.Healthy), found("b", health.Healthy)}, health.Healthy, true},
		{"one degraded", []health.Check{found("a", health.Degraded), found("b", health.Healthy)}, health.Degraded, true},
		{"one unhealthy", []health.Check{found("a", health.Unhealthy), found("b", health.Degraded)}, health.Unhealthy, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := health.Look(t.Context(), test.checks)
			if got.Status != test.want || got.Ready() != test.ready {
				t.Errorf("got status %s, ready %t; want %s, %t", got.Status, got.Ready(), test.want, test.ready)
			}
			for _, c := range test.checks {
				if got.Checks[c.Name].Message == "" || got.Checks[c.Name].LastChecked.IsZero() {
					t.Errorf("check %s: got %+v", c.Name, got.Checks[c.Name])
				}
			}
		})
	}
}

func TestLookDoesNotHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		hanging := health.Check{Name: "hanging", Look: func(ctx context.Context) (health.Status, string) {
			<-ctx.Done()
			return health.Unhealthy, "no answer"
		}}
		got := health.Look(t.Context(), []health.Check{hanging, found("other", health.Healthy)})
		if took := time.Since(began); took != 2*time.Second || got.Ready() || len(got.Checks) != 2 {
			t.Errorf("took %s: %+v", took, got)
		}
	})
}
