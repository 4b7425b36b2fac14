package web_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

// deadlines stands in for a database: it tells how much time a query is given.
type deadlines struct {
	postgres.Pool
	left chan time.Duration
}

func (d deadlines) Exec(ctx context.Context, _ string, _ ...any) (pgconn.CommandTag, error) {
	deadline, _ := ctx.Deadline()
	d.left <- time.Until(deadline)
	return pgconn.CommandTag{}, errors.New("down")
}

func (deadlines) QueryRow(context.Context, string, ...any) pgx.Row { return noRow{} }

type noRow struct{}

func (noRow) Scan(...any) error { return errors.New("down") }

// TestServerFollowsTheSettings starts servers with different settings and looks
// whether and where they listen, and what a request may take.
func TestServerFollowsTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.system.web.enabled", "orchestration.system.web.bind_address", "orchestration.system.web.request_timeout_ms")
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
		deps := web.Deps{DB: db, Log: slog.New(slog.DiscardHandler)}
		ready, ended := make(chan string, 1), make(chan error, 1)
		go func() {
			ended <- web.Serve(ctx, config.Common{}, config.OrchestrationWeb{Web: tt.web}, deps, func(address string) { ready <- address })
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

// TestRequestsAreBounded has clients wait for a task until there is no room for
// one more.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.system.web.max_concurrent_requests")
	for _, most := range []int{1, 3} {
		s := startServer(t, fmt.Sprintf("max_concurrent_requests = %d", most))
		created := s.ask(http.MethodPost, "/v1/tasks", `{"name": "diamond", "namespace": "shapes"}`)
		path := created.header.Get("Location") + "?wait=20"
		var waiting sync.WaitGroup
		for range most {
			waiting.Go(func() {
				for s.ask(http.MethodGet, path, "").status == http.StatusServiceUnavailable { // for want of room, or at the end
					if t.Context().Err() != nil {
						return
					}
				}
			})
		}
		for refused := 0; refused == 0; {
			if a := s.ask(http.MethodGet, "/v1/templates", ""); a.status == http.StatusServiceUnavailable {
				refused++
				if !strings.Contains(a.body, "BACKPRESSURE") || !strings.Contains(a.body, fmt.Sprintf("%d requests are in hand", most)) || a.header.Get("Retry-After") == "" {
					t.Errorf("refused with %s", a.body)
				}
			}
		}
		if a := s.ask(http.MethodGet, "/health/ready", ""); a.status != http.StatusOK {
			t.Errorf("a server without room answers %d when asked for its health", a.status)
		}
		s.stop()
		waiting.Wait()
	}
}
