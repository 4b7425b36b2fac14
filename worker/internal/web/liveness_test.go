package web_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/worker/internal/web"
)

// deadlines stands in for a database: it tells how much time a query is given.
type deadlines struct {
	postgres.DB
	left chan time.Duration
}

func (d deadlines) Exec(ctx context.Context, _ string, _ ...any) (pgconn.CommandTag, error) {
	deadline, _ := ctx.Deadline()
	d.left <- time.Until(deadline)
	return pgconn.CommandTag{}, errors.New("down")
}

// TestServerFollowsTheSettings starts servers with different settings and looks
// whether and where they listen, and what a request may take.
func TestServerFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.web.enabled", "worker.system.web.bind_address", "worker.system.web.request_timeout_ms")
	tests := []struct {
		web        config.Web
		host       string // empty: it does not listen
		over, upTo time.Duration
	}{
		{config.Web{Enabled: false, BindAddress: "127.0.0.1:0", RequestTimeout: 300}, "", 0, 0},
		{config.Web{Enabled: true, BindAddress: "127.0.0.1:0", RequestTimeout: 300}, "127.0.0.1", 0, 300 * time.Millisecond},
		{config.Web{Enabled: true, BindAddress: "[::]:0", RequestTimeout: 1500}, "::", 300 * time.Millisecond, 1500 * time.Millisecond},
	}
	for _, tt := range tests {
		db := deadlines{left: make(chan time.Duration, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		deps := web.Deps{DB: db, Slots: func() (inUse, capacity int) { return 0, 1 }, Log: slog.New(slog.DiscardHandler)}
		ready, ended := make(chan string, 1), make(chan error, 1)
		go func() {
			ended <- web.Serve(ctx, config.Common{}, config.WorkerWeb{Web: tt.web}, deps, func(address string) { ready <- address })
		}()
		host, port, _ := net.SplitHostPort(<-ready)
		if host != tt.host {
			t.Errorf("%v: listens on %q, want %q", tt.web, host, tt.host)
		}
		if port != "" {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:"+port+"/health/ready", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Close = true
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if left := <-db.left; left <= tt.over || left > tt.upTo {
				t.Errorf("%v: a request has %s left, want up to %s", tt.web, left, tt.upTo)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
