// Package testbroker gives each test a RabbitMQ virtual host of its own, as
// package testdb gives it a database.
//
// They come from the broker that $TASKER_TEST_RABBITMQ_URL and
// $TASKER_TEST_RABBITMQ_MANAGEMENT_URL name (URLs of an administrator) or, without
// these, from a private one that the test process starts once and that ends with
// it. [Server] is a node of the test's own, to be killed and restarted.
//
// Where no RabbitMQ is to be had, tests are skipped; they fail when $CI is set.
package testbroker

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/privaterabbit"
)

// The variables with the URLs of the broker to use.
const (
	URLVariable        = "TASKER_TEST_RABBITMQ_URL"
	ManagementVariable = "TASKER_TEST_RABBITMQ_MANAGEMENT_URL"
)

// New returns the URL of an empty virtual host that is the test's alone. It is
// deleted when the test ends, whoever is still connected.
func New(t testing.TB) string {
	t.Helper()
	broker, management := os.Getenv(URLVariable), os.Getenv(ManagementVariable)
	if broker == "" {
		server, err := private()
		if err != nil {
			unavailable(t, err)
		}
		broker, management = server.URL("/"), server.ManagementURL()
	}
	return newHost(t, broker, management)
}

// newHost makes a virtual host.
func newHost(t testing.TB, broker, management string) string {
	t.Helper()
	name := "tasker_test_" + strings.ToLower(rand.Text()[:16])
	if err := privaterabbit.Do(t.Context(), management, http.MethodPut, "api/vhosts/"+name); err != nil {
		t.Fatalf("testbroker: create virtual host: %v", err)
	}
	t.Cleanup(func() {
		// t.Context has ended by now.
		err := privaterabbit.Do(context.WithoutCancel(t.Context()), management, http.MethodDelete, "api/vhosts/"+name)
		if err != nil {
			t.Errorf("testbroker: delete virtual host: %v", err)
		}
	})
	return privaterabbit.VHost(broker, name)
}

// Server returns a running node that is the test's alone and closed when it
// ends.
func Server(t testing.TB) *privaterabbit.Server {
	t.Helper()
	server, err := privaterabbit.Start(t.Context())
	if err != nil {
		unavailable(t, err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("testbroker: %v", err)
		}
	})
	return server
}

// unavailable ends a test that has no broker.
func unavailable(t testing.TB, err error) {
	t.Helper()
	_, missing := errors.AsType[*privaterabbit.NotFoundError](err)
	if !missing || os.Getenv("CI") != "" {
		t.Fatalf("testbroker: %v", err)
	}
	t.Skipf("testbroker: %v", err)
}

// private returns the process's private broker. Nobody closes it: it ends with
// the process that owns it.
var private = sync.OnceValues(func() (*privaterabbit.Server, error) {
	return privaterabbit.Start(context.Background())
})
