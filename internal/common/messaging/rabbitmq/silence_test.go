package rabbitmq_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/messaging/rabbitmq"
	"github.com/tasker-systems/tasker-go/internal/testbroker"
)

// A gate stands between a broker and its clients. Once it is shut it lets nothing
// more come back, and keeps all connections.
type gate struct {
	listener net.Listener
	shut     chan struct{}
	conns    sync.WaitGroup
}

func newGate(t *testing.T, broker string) *gate {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: listener, shut: make(chan struct{})}
	g.conns.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			g.conns.Go(func() { g.carry(near, broker) })
		}
	})
	t.Cleanup(func() { listener.Close(); g.conns.Wait() })
	return g
}

// carry ends when the client hangs up.
func (g *gate) carry(near net.Conn, broker string) {
	defer near.Close()
	far, err := new(net.Dialer).DialContext(context.Background(), "tcp", broker)
	if err != nil {
		return
	}
	g.conns.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := far.Read(buffer)
			if err != nil {
				return
			}
			select {
			case <-g.shut:
			default:
				_, _ = near.Write(buffer[:n]) // a client that is gone is noticed by the other direction
			}
		}
	})
	_, _ = io.Copy(far, near)
	far.Close()
}

// TestSilentBroker: a broker that keeps the connection and answers nothing any more
// keeps neither a caller waiting nor the process from stopping.
func TestSilentBroker(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testbroker.New(t))
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, u.Host)
	u.Host = g.listener.Addr().String()
	b, err := rabbitmq.Open(t.Context(), config.RabbitMQ{ConnectionTimeout: 1, URL: u.String(), Heartbeat: 600}, names, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var parts sync.WaitGroup
	parts.Go(func() { b.Run(ctx) })
	arrived := make(chan struct{}, 10)
	c := b.Consumer("steps", 5, func() { arrived <- struct{}{} })
	parts.Go(func() { c.Run(ctx) })
	if err := b.Declare(ctx, "steps"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(ctx, batch("steps", 1)); err != nil {
		t.Fatal(err)
	}
	<-arrived
	close(g.shut)
	if _, err := b.Ready(ctx, "steps"); err == nil || !strings.Contains(err.Error(), "no answer within 1s") {
		t.Errorf("the broker is asked in vain: %v", err)
	}
	stop()
	parts.Wait() // with heartbeats of ten minutes nothing but the end of ctx ends them
}
