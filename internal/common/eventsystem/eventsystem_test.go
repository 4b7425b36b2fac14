package eventsystem_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

func TestSignal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		raise  int           // times, before the wait
		wait   time.Duration // negative: no timer
		waited time.Duration
	}{
		{"raised before", 1, -1, 0},
		{"raised often before", 3, time.Hour, 0},
		{"never raised", 0, time.Minute, time.Minute},
		{"no wait at all", 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := eventsystem.NewSignal()
				for range tt.raise {
					s.Raise()
				}
				began := time.Now()
				s.Wait(t.Context(), tt.wait)
				if waited := time.Since(began); waited != tt.waited {
					t.Errorf("waited %s, want %s", waited, tt.waited)
				}
				if tt.raise > 0 { // several wake-ups are one
					s.Wait(t.Context(), time.Minute)
					if waited := time.Since(began); waited != time.Minute {
						t.Errorf("woken again after %s", waited)
					}
				}
			})
		})
	}
}

func TestSignalWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{-1, time.Hour} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			eventsystem.NewSignal().Wait(ctx, d)
			if waited := time.Since(began); waited != time.Second {
				t.Errorf("waited %s for a context of one second", waited)
			}
			cancel()
		}
	})
}

// received waits until a signal is raised.
func received(t *testing.T, s *eventsystem.Signal) {
	t.Helper()
	select {
	case <-s.C():
	case <-time.After(time.Minute):
		t.Fatal("the signal was not raised")
	}
}

// TestListener has a notification raise its signal and no other, and a lost
// connection raise all, since some may have been missed.
func TestListener(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig(testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["application_name"] = "listener"
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	a, b := eventsystem.NewSignal(), eventsystem.NewSignal()
	l := eventsystem.NewListener(cfg, map[string]*eventsystem.Signal{"channel.a": a, `channel "b"`: b}, eventsystem.Listening{
		Connect: 10 * time.Second, Retry: 10 * time.Millisecond, Attempts: 1000, Quiet: 20 * time.Millisecond, Subscribe: 10 * time.Second,
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); l.Run(ctx) }()
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}

	received(t, a) // it listens
	received(t, b)
	exec(`notify "channel.a"`)
	received(t, a)
	exec(`notify "channel ""b"""`)
	received(t, b)
	select {
	case <-a.C():
		t.Error("a notification raised another channel's signal")
	default:
	}
	exec(`select pg_terminate_backend(pid) from pg_stat_activity
		where application_name = 'listener' and pid <> pg_backend_pid() and datname = current_database()`)
	received(t, a)
	received(t, b)
	exec(`notify "channel.a"`)
	received(t, a)
	cancel()
	<-ended
}

// TestNotifier sends what is due when its context ends, and several wake-ups of
// one channel as one.
func TestNotifier(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		return conn
	}
	listening := connect()
	if _, err := listening.Exec(t.Context(), `listen a; listen b`); err != nil {
		t.Fatal(err)
	}
	n := eventsystem.NewNotifier(connect(), slog.New(slog.DiscardHandler))
	for range 3 {
		n.Wake("a")
		n.Wake("b")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n.Run(ended)
	got := map[string]int{}
	for len(got) < 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		notification, err := listening.WaitForNotification(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		got[notification.Channel]++
	}
	if got["a"] != 1 || got["b"] != 1 {
		t.Errorf("notified %v", got)
	}
}
