package eventsystem

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A Listener raises signals when PostgreSQL notifies their channels. It has a
// connection of its own, since LISTEN holds one for good.
type Listener struct {
	Connect  *pgx.ConnConfig    // copied, never changed
	Channels map[string]*Signal // what to raise for which channel
	Retry    time.Duration      // pause before connecting anew
	Timeout  time.Duration      // of one attempt to connect, and of the probe
	Idle     time.Duration      // silence after which the connection is probed
	Log      *slog.Logger
}

// Run listens until ctx ends. A broken connection is made anew; whatever was
// missed meanwhile is made good by raising every signal.
func (l *Listener) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := l.listen(ctx); err != nil && ctx.Err() == nil {
			l.Log.WarnContext(ctx, "listener lost its connection; polling goes on", "error", err, "retry_in", l.Retry)
		}
		select {
		case <-ctx.Done():
		case <-time.After(l.Retry):
		}
	}
}

func (l *Listener) listen(ctx context.Context) error {
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		// The context may have ended; closing says goodbye all the same.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Timeout)
		defer cancel()
		_ = conn.Close(closing) // the connection is given up either way
	}()
	for _, s := range l.Channels {
		s.Raise()
	}
	for {
		n, err := l.next(ctx, conn)
		if err != nil {
			return err
		}
		if s := l.Channels[n]; s != nil {
			s.Raise()
		}
	}
}

func (l *Listener) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, l.Connect.Copy())
	if err != nil {
		return nil, err
	}
	if err := postgres.Listen(ctx, conn, slices.Sorted(maps.Keys(l.Channels))); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// next waits for a notification; after some silence it makes sure that the
// server still answers, since a connection can die without a word.
func (l *Listener) next(ctx context.Context, conn *pgx.Conn) (string, error) {
	for {
		waiting, cancel := context.WithTimeout(ctx, l.Idle)
		n, err := conn.WaitForNotification(waiting)
		cancel()
		if err == nil {
			return n.Channel, nil
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return "", err
		}
		probing, cancel := context.WithTimeout(ctx, l.Timeout)
		err = conn.Ping(probing)
		cancel()
		if err != nil {
			return "", err
		}
	}
}
