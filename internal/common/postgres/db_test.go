package postgres

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// TestOpen looks at the settings of a session.
func TestOpen(t *testing.T) {
	t.Parallel()
	pool, err := Open(t.Context(), config.Database{
		URL:       testdb.New(t),
		Pool:      config.Pool{MaxConnections: 7, MinConnections: 2, AcquireTimeout: 30, IdleTimeout: 11, MaxLifetime: 13},
		Variables: config.SessionVariables{StatementTimeout: 1234},
	}, "a program")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for name, want := range map[string]string{
		"application_name": "a program", "statement_timeout": "1234ms", "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off",
	} {
		var got string
		if err := pool.QueryRow(t.Context(), `select current_setting($1)`, name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, want %q (%v)", name, got, want, err)
		}
	}
	cfg := pool.Config()
	if cfg.MaxConns != 7 || cfg.MinConns != 2 || cfg.MaxConnIdleTime != 11*time.Second || cfg.MaxConnLifetime != 13*time.Second {
		t.Errorf("pool of %d to %d connections, %s idle, %s old", cfg.MinConns, cfg.MaxConns, cfg.MaxConnIdleTime, cfg.MaxConnLifetime)
	}
}

// TestOpenRefuses says which server and what is wrong, and never the password.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	testdb.New(t) // skips the test where there is no PostgreSQL
	server, err := privatepg.Start(t.Context(), privatepg.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	wrong, err := url.Parse(server.TCPURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	right := *wrong
	wrong.User = url.UserPassword(privatepg.Role, "hunter2")
	right.Path = "/none"
	tests := []struct{ name, url, want string }{
		{"wrong password", wrong.String(), "connect to PostgreSQL at " + wrong.Host + "/postgres: password authentication failed for user \"tasker\" (SQLSTATE 28P01)"},
		{"no database", right.String(), `database "none" does not exist (SQLSTATE 3D000)`},
		{"nobody there", "postgresql://tasker:hunter2@127.0.0.1:1/tasker", "connection refused; is the server running and reachable?"},
		{"no URL", "postgresql://tasker:hunter2@[bad/tasker", "common.database.url does not parse; it looks like"},
	}
	for _, tt := range tests {
		_, err := Open(t.Context(), config.Database{
			URL: tt.url, Pool: config.Pool{MaxConnections: 2, AcquireTimeout: 30, IdleTimeout: 300, MaxLifetime: 3600},
		}, "test")
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestWhere(t *testing.T) {
	t.Parallel()
	for databaseURL, want := range map[string]string{
		"postgresql://ann:secret@db.example:5432/tasker": "db.example:5432/tasker",
		"postgresql:///tasker?host=/run/postgresql":      "/run/postgresql/tasker",
		"postgresql://ann:secret@[bad":                   "the configured URL",
	} {
		if got := Where(databaseURL); got != want {
			t.Errorf("%s is at %q, want %q", databaseURL, got, want)
		}
	}
}
