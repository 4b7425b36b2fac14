// Package testdb gives each test a PostgreSQL database of its own.
//
// [New] returns the URL of a migrated database, [NewEmpty] that of an empty
// one. Both come from the server that $TASKER_TEST_DATABASE_URL names (a URL of
// a superuser) or, without it, from a private one that the test process starts
// once and that ends with it. [Server] is a server of the test's own, to be
// killed and restarted.
//
// A database is a copy of a template, which the first to need it makes and all
// test processes share; its name holds a hash of the migrations.
//
// Where no PostgreSQL is to be had, tests are skipped; they fail when $CI is set.
package testdb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/migrations"
)

// serverVar names the variable with the URL of the server to use.
const serverVar = "TASKER_TEST_DATABASE_URL"

// prefix begins the name of every database made here.
const prefix = "tasker_test_"

// New returns the URL of a migrated database that is the test's alone. It is
// dropped when the test ends, whoever is still connected.
func New(t testing.TB) string {
	t.Helper()
	admin := serverURL(t)
	name, err := template()
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	return create(t, admin, "template "+name+" strategy file_copy")
}

// NewEmpty is like [New], without the migrations.
func NewEmpty(t testing.TB) string {
	t.Helper()
	return create(t, serverURL(t), "template template0 strategy file_copy")
}

// Server returns a running server that is the test's alone and closed when it
// ends. It is durable, so that a kill loses nothing that was committed. The
// settings are PostgreSQL's, each as "name=value".
func Server(t testing.TB, settings ...string) *privatepg.Server {
	t.Helper()
	set := map[string]string{"shared_buffers": "64MB"}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		set[name] = value
	}
	server, err := privatepg.Start(t.Context(), privatepg.Options{Durable: true, Settings: set})
	if err != nil {
		unavailable(t, err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("testdb: %v", err)
		}
	})
	return server
}

// unavailable ends a test that has no server.
func unavailable(t testing.TB, err error) {
	t.Helper()
	_, missing := errors.AsType[*privatepg.NotFoundError](err)
	if !missing || os.Getenv("CI") != "" {
		t.Fatalf("testdb: %v", err)
	}
	t.Skipf("testdb: %v", err)
}

// serverURL returns the URL of the process's server, for a superuser.
func serverURL(t testing.TB) string {
	t.Helper()
	admin, err := findServer()
	if err != nil {
		unavailable(t, err)
	}
	return admin
}

func findServer() (string, error) {
	if configured := os.Getenv(serverVar); configured != "" {
		return configured, nil
	}
	server, err := private()
	if err != nil {
		return "", err
	}
	return server.URL("postgres"), nil
}

// private returns the process's private server. Nobody closes it: it ends with
// the process that owns it.
var private = sync.OnceValues(func() (*privatepg.Server, error) {
	return privatepg.Start(context.Background(), privatepg.Options{
		Settings: map[string]string{"shared_buffers": "64MB"},
	})
})

// create makes a database, from whatever the clause says, and returns its URL.
func create(t testing.TB, admin, clause string) string {
	t.Helper()
	name := prefix + strings.ToLower(rand.Text()[:16])
	if err := execute(t.Context(), admin, "create database "+name+" "+clause); err != nil {
		t.Fatalf("testdb: create database: %v", err)
	}
	t.Cleanup(func() {
		// t.Context has ended by now.
		err := execute(context.WithoutCancel(t.Context()), admin, "drop database if exists "+name+" with (force)")
		if err != nil {
			t.Errorf("testdb: drop database: %v", err)
		}
	})
	databaseURL, err := withDatabase(admin, name)
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	return databaseURL
}

// template makes sure, once per process, that the server has the template of
// the present migrations, and returns its name.
var template = sync.OnceValues(func() (string, error) {
	admin, err := findServer()
	if err != nil {
		return "", err
	}
	name, err := templateName(migrations.FS)
	if err != nil {
		return "", err
	}
	ctx := context.Background() // the template is not for one test
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)

	// One process makes it, the others wait. The lock ends with the session.
	if _, err := conn.Exec(ctx, "select pg_advisory_lock(hashtext($1))", name); err != nil {
		return "", fmt.Errorf("lock template %s: %w", name, err)
	}
	var exists bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&exists)
	if err != nil {
		return "", fmt.Errorf("look for template %s: %w", name, err)
	}
	if exists {
		return name, nil
	}
	if err := buildTemplate(ctx, conn, admin, name); err != nil {
		return "", fmt.Errorf("make template %s: %w", name, err)
	}
	return name, nil
})

// buildTemplate migrates a database under another name and renames it when it
// is complete.
func buildTemplate(ctx context.Context, conn *pgx.Conn, admin, name string) error {
	draft := name + "_draft"
	for _, sql := range []string{
		"drop database if exists " + draft + " with (force)",
		"create database " + draft + " template template0",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	draftURL, err := withDatabase(admin, draft)
	if err != nil {
		return err
	}
	if _, err := migrations.Apply(ctx, draftURL); err != nil {
		return err
	}
	for _, sql := range []string{
		// A database that someone is connected to cannot be copied.
		"alter database " + draft + " allow_connections false",
		"alter database " + draft + " rename to " + name,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// templateName returns a name that changes with the migrations.
func templateName(files fs.FS) (string, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n", name, len(content))
		hash.Write(content)
	}
	return prefix + "template_" + hex.EncodeToString(hash.Sum(nil)[:8]), nil
}

// execute runs one statement on a connection of its own.
func execute(ctx context.Context, databaseURL, sql string) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// withDatabase returns the URL of another database on the same server.
func withDatabase(serverURL, database string) (string, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return "", fmt.Errorf("read %s: not a URL", serverVar) // err would show a password
	}
	u.Path = "/" + database
	return u.String(), nil
}
