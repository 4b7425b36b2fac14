package privaterabbit_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tasker-systems/tasker-go/internal/privaterabbit"
)

// TestNode: what a node has confirmed survives kill -9; after Close nothing of it
// is left.
func TestNode(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := privaterabbit.Start(ctx)
	if _, missing := errors.AsType[*privaterabbit.NotFoundError](err); missing && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceValue(s.Close)
	defer func() { _ = stop() }()
	if err := privaterabbit.Do(ctx, s.ManagementURL(), http.MethodPut, "api/vhosts/other"); err != nil {
		t.Fatal(err)
	}
	send(t, s.URL("other")) // a crash so soon after may take the queue with it: the broker notes with a delay what there is
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	send(t, s.URL("other"))
	conn, err := amqp.Dial(s.URL("other"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := ch.ConsumeWithContext(ctx, "kept", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if message, ok := <-kept; !ok || string(message.Body) != "hello" {
		t.Errorf("after the crash comes %q", message.Body)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := amqp.Dial(s.URL("other")); err == nil || strings.Contains(err.Error(), "password") {
		t.Errorf("a closed node says %v", err)
	}
}

// send publishes a message and waits for the confirm.
func send(t *testing.T, brokerURL string) {
	t.Helper()
	conn, err := amqp.Dial(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("kept", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	sent, err := ch.PublishWithDeferredConfirm("", "kept", true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	if confirmed, err := sent.WaitContext(t.Context()); err != nil || !confirmed {
		t.Fatalf("confirmed: %v, %v", confirmed, err)
	}
}
