package rabbitmq

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/testbroker"
)

// TestHeartbeat: what is configured is what both ends agree on.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.rabbitmq.heartbeat_seconds")
	brokerURL := testbroker.New(t)
	for _, seconds := range []config.Seconds{3, 7} {
		b, err := Open(t.Context(), config.RabbitMQ{ConnectionTimeout: 30, URL: brokerURL, Heartbeat: seconds}, messaging.Names{}, "test",
			slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if agreed := b.outward.conn.Config.Heartbeat; agreed != seconds.Duration() {
			t.Errorf("the heartbeat is %v, want %v", agreed, seconds.Duration())
		}
		b.Close()
	}
}

// TestConnectionTimeout: a broker that takes the connection and says nothing is
// given up after connection_timeout_seconds, and not before.
func TestConnectionTimeout(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.rabbitmq.connection_timeout_seconds")
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	open := func(ctx context.Context, timeout config.Seconds) error {
		_, err := Open(ctx, config.RabbitMQ{
			ConnectionTimeout: timeout, URL: "amqp://user:secret@" + silent.Addr().String(), Heartbeat: 10,
		}, messaging.Names{}, "test", slog.New(slog.DiscardHandler))
		return err
	}
	patient, stop := context.WithCancelCause(t.Context())
	outcome := make(chan error, 1)
	go func() { outcome <- open(patient, 300) }()
	if err := open(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "no answer within 1s") {
		t.Errorf("after a second: %v", err)
	}
	enough := errors.New("enough")
	stop(enough) // the second has passed, and the other waits still
	if err := <-outcome; !errors.Is(err, enough) {
		t.Errorf("with five minutes: %v", err)
	}
}

// TestPause: attempts to connect come less and less often, never at the same time
// everywhere.
func TestPause(t *testing.T) {
	t.Parallel()
	for failures, most := range map[int]time.Duration{1: 50 * time.Millisecond, 3: 200 * time.Millisecond, 8: 5 * time.Second, 1000: 5 * time.Second} {
		if d := pause(failures); d > most || d < most/2 {
			t.Errorf("after %d failures the pause is %v, want half of %v or more", failures, d, most)
		}
	}
}
