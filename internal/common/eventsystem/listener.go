package eventsystem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// Listening says how a listener keeps its connection, which others supervise as
// they see fit, and its subscription, and how it passes notifications on.
type Listening struct {
	Connect  time.Duration // of one attempt to connect
	Retry    time.Duration // pause between two of them, the longest after a loss
	Attempts int           // as many may fail in a row before readers poll in place of listening
	Recheck  time.Duration // pause between attempts from then on
	Quiet    time.Duration // silence after which the connection is probed
	Probe    time.Duration // how often it is probed in any case; zero: not
	Watched  bool          // whether it shows in the health of the process

	Subscribe         time.Duration // of one attempt to subscribe, on a connection that works
	SubscribeRetry    time.Duration // pause between two of them
	SubscribeAttempts int           // as many are repeated before the connection is given up
	Silence           time.Duration // silence after which readers look all the same; zero: they do not
	Buffer            int           // notifications that may wait
	OneByOne          bool          // each leads to a look of its own, where several may share one
}

// A Listener raises signals when PostgreSQL notifies their channels. It has a
// connection of its own, since LISTEN holds one for good.
type Listener struct {
	connect  *pgx.ConnConfig // copied, never changed
	channels map[string]*Signal
	Listening
	log *slog.Logger

	received chan string // the channels of notifications that wait
	up       atomic.Bool // it is subscribed
	lost     atomic.Bool // it was too long not
}

// NewListener returns a listener that raises the signals of channels.
func NewListener(connect *pgx.ConnConfig, channels map[string]*Signal, how Listening, log *slog.Logger) *Listener {
	return &Listener{connect: connect, channels: channels, Listening: how, log: log, received: make(chan string, how.Buffer)}
}

// Follow has the listener raise the signals of other channels, when it does not
// run.
func (l *Listener) Follow(channels map[string]*Signal) { l.channels = channels }

// soon is about how long after the loss of a connection that worked the first
// attempt to make it anew comes. The pauses double from there up to Retry.
const soon = 100 * time.Millisecond

// Run listens until ctx ends. A broken connection is made anew; whatever was
// missed meanwhile is made good by raising every signal.
func (l *Listener) Run(ctx context.Context) {
	passing := make(chan struct{})
	go func() { defer close(passing); l.pass(ctx) }()
	defer func() { <-passing }()
	for failures, quick := 0, time.Duration(0); ctx.Err() == nil; {
		err := l.listen(ctx)
		if l.up.Swap(false) {
			failures, quick = 0, soon
		}
		pause := l.Retry
		switch {
		case quick > 0 && quick < l.Retry: // most outages are short, and these tries are not counted
			pause = quick/2 + rand.N(quick/2) //nolint:gosec // only keeps processes apart
			quick *= 2
		case failures < l.Attempts:
			failures, quick = failures+1, 0
		default:
			failures, pause = failures+1, l.Recheck
		}
		if ctx.Err() == nil {
			l.log.WarnContext(ctx, "listener lost its connection; polling goes on", "error", err, "failures", failures, "retry_in", pause)
		}
		if failures > l.Attempts && !l.lost.Swap(true) {
			l.raise() // readers poll from now on
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Lost reports whether notifications have failed to come in for so long that
// readers must poll. A listener that is nil is.
func (l *Listener) Lost() bool { return l == nil || l.lost.Load() }

// Checks are the listener's part in the health of its process; none when it is
// nil or not watched.
func (l *Listener) Checks() []health.Check {
	if l == nil || !l.Watched {
		return nil
	}
	return []health.Check{{Name: "notifications", Look: func(context.Context) (health.Status, string) {
		if !l.up.Load() {
			return health.Degraded, "no connection for notifications; work is found by polling"
		}
		return health.Healthy, fmt.Sprintf("listening; %d of %d notifications wait", len(l.received), cap(l.received))
	}}}
}

// listen subscribes and receives until something fails.
func (l *Listener) listen(ctx context.Context) error {
	conn, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer func() {
		// The context may have ended; closing says goodbye all the same.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Connect)
		defer cancel()
		_ = conn.Close(closing) // the connection is given up either way
	}()
	if err := l.subscribe(ctx, conn); err != nil {
		return err
	}
	l.up.Store(true)
	l.lost.Store(false)
	l.raise()
	return l.receive(ctx, conn)
}

func (l *Listener) dial(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Connect)
	defer cancel()
	return pgx.ConnectConfig(ctx, l.connect.Copy())
}

func (l *Listener) subscribe(ctx context.Context, conn *pgx.Conn) error {
	channels := slices.Sorted(maps.Keys(l.channels))
	for failures := 1; ; failures++ {
		subscribing, cancel := context.WithTimeout(ctx, l.Subscribe)
		err := postgres.Listen(subscribing, conn, channels)
		cancel()
		if err == nil || conn.IsClosed() || failures > l.SubscribeAttempts {
			return err
		}
		l.log.WarnContext(ctx, "subscription failed; trying again", "error", err, "failures", failures, "retry_in", l.SubscribeRetry)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(l.SubscribeRetry):
		}
	}
}

// receive takes notifications. After some silence it makes sure that the server
// still answers, since a connection can die without a word, and has readers look.
func (l *Listener) receive(ctx context.Context, conn *pgx.Conn) error {
	heard, looked, probed := time.Now(), time.Now(), time.Now()
	for {
		next := heard.Add(l.Quiet)
		if l.Silence > 0 {
			next = earlier(next, looked.Add(l.Silence))
		}
		if l.Probe > 0 {
			next = earlier(next, probed.Add(l.Probe))
		}
		channel, err := wait(ctx, conn, next)
		now := time.Now()
		switch {
		case err == nil:
			heard, looked = now, now
			select {
			case l.received <- channel:
			case <-ctx.Done():
			}
			continue
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		if l.Silence > 0 && !now.Before(looked.Add(l.Silence)) {
			l.raise()
			looked = now
		}
		if now.Before(heard.Add(l.Quiet)) && (l.Probe == 0 || now.Before(probed.Add(l.Probe))) {
			continue
		}
		if err := l.probe(ctx, conn); err != nil {
			return err
		}
		heard, probed = now, now
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// wait waits for a notification until the given time and returns its channel.
func wait(ctx context.Context, conn *pgx.Conn, until time.Time) (string, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	n, err := conn.WaitForNotification(ctx)
	if err != nil {
		return "", err
	}
	return n.Channel, nil
}

func (l *Listener) probe(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, l.Connect)
	defer cancel()
	return conn.Ping(ctx)
}

// pass raises the signals of what has been received: of all that waits at once,
// or of each by itself.
func (l *Listener) pass(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case channel := <-l.received:
			s := l.channels[channel]
			switch {
			case s == nil:
			case l.OneByOne:
				s.Hand(ctx)
			default:
				s.Raise()
			}
		}
	}
}

func (l *Listener) raise() {
	for _, s := range l.channels {
		s.Raise()
	}
}
