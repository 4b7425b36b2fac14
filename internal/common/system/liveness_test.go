package system_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// open opens a system on a database with the given settings.
func open(t *testing.T, databaseURL string, settings enginetest.Settings) *system.Context {
	t.Helper()
	sys, err := system.Open(t.Context(), enginetest.Load(t, databaseURL, settings).Common, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sys.Close)
	return sys
}

// ask returns what the server says of a connection of the pool.
func ask(ctx context.Context, t *testing.T, sys *system.Context, query string) (answer string) {
	t.Helper()
	if err := sys.Pool.QueryRow(ctx, query).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestConnectionsFollowTheSettings opens two systems whose settings all differ.
func TestConnectionsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.database.url", "common.database.pool.max_connections", "common.database.pool.min_connections",
		"common.database.pool.idle_timeout_seconds", "common.database.pool.max_lifetime_seconds",
		"common.database.variables.statement_timeout", "common.system.process_name")
	tests := []struct {
		settings          enginetest.Settings
		maximum, minimum  int32
		idle, lifetime    string
		statement, naming string
	}{
		{
			enginetest.Settings{
				"common.database.pool.max_connections": "3", "common.database.pool.min_connections": "0",
				"common.database.pool.idle_timeout_seconds": "7", "common.database.pool.max_lifetime_seconds": "70",
				"common.database.variables.statement_timeout": "11000", "common.system.process_name": "'first'",
			}, 3, 0, "7s", "1m10s", "11s", "first",
		},
		{
			enginetest.Settings{
				"common.database.pool.max_connections": "4", "common.database.pool.min_connections": "1",
				"common.database.pool.idle_timeout_seconds": "8", "common.database.pool.max_lifetime_seconds": "80",
				"common.database.variables.statement_timeout": "12000", "common.system.process_name": "'second'",
			}, 4, 1, "8s", "1m20s", "12s", "second",
		},
	}
	for _, tt := range tests {
		databaseURL := testdb.New(t)
		sys := open(t, databaseURL, tt.settings)
		u, err := url.Parse(databaseURL)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t.Context(), t, sys, `select current_database()`); got != path.Base(u.Path) {
			t.Errorf("connected to %s, not to %s", got, u.Path)
		}
		if got := ask(t.Context(), t, sys, `show statement_timeout`); got != tt.statement {
			t.Errorf("statement_timeout is %s, want %s", got, tt.statement)
		}
		if got := ask(t.Context(), t, sys, `show application_name`); got != tt.naming {
			t.Errorf("application_name is %s, want %s", got, tt.naming)
		}
		pool := sys.Pool.Config()
		if got := sys.Pool.Stat().MaxConns(); got != tt.maximum || pool.MinConns != tt.minimum {
			t.Errorf("the pool keeps %d to %d connections, want %d to %d", pool.MinConns, got, tt.minimum, tt.maximum)
		}
		if idle, lifetime := pool.MaxConnIdleTime.String(), pool.MaxConnLifetime.String(); idle != tt.idle || lifetime != tt.lifetime {
			t.Errorf("connections idle %s and live %s, want %s and %s", idle, lifetime, tt.idle, tt.lifetime)
		}
	}
}

// TestEnvironmentDecidesAboutTemplates: a template may change under its version
// everywhere but in production.
func TestEnvironmentDecidesAboutTemplates(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.environment")
	const before = `{name: x, namespace: test, version: 1.0.0, steps: [{name: only, handler: {callable: a}}]}`
	after := strings.Replace(before, "callable: a", "callable: b", 1)
	for environment, refused := range map[config.Environment]bool{config.Test: false, config.Development: false, config.Production: true} {
		cfg := enginetest.Load(t, testdb.New(t), nil).Common
		cfg.Environment = environment
		sys, err := system.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sys.Close)
		for i, text := range []string{before, after} {
			loaded, err := templates.LoadFS(taskertest.YAML(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := sys.Catalog.Register(t.Context(), loaded); (err != nil) != (refused && i == 1) {
				t.Errorf("%s, registration %d: %v", environment, i+1, err)
			}
		}
	}
}

// TestWaitsForConnectionsAreBounded holds the only connection of a pool: how long
// the next query waits for it.
func TestWaitsForConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.database.pool.acquire_timeout_seconds")
	databaseURL := testdb.New(t)
	wait := func(timeout string, patience time.Duration) error {
		sys := open(t, databaseURL, enginetest.Settings{
			"common.database.pool.acquire_timeout_seconds": timeout,
			"common.database.pool.max_connections":         "1", "common.database.pool.min_connections": "0",
		})
		held, err := sys.Pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer held.Release()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err = sys.Pool.Exec(ctx, `select 1`)
		return errors.Join(err, ctx.Err())
	}
	if err := wait("1", time.Minute); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a query without a connection ends with %v", err)
	}
	if err := wait("300", 2*time.Second); !strings.Contains(err.Error(), "\n") {
		t.Errorf("a query that may wait ends before its caller gives up: %v", err)
	}
}
