package testdb_test

import (
	"context"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// connect opens a connection that is closed with the test.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// schemaExists reports whether the database has the migrations.
func schemaExists(t *testing.T, conn *pgx.Conn) (exists bool) {
	t.Helper()
	const sql = "select exists (select from pg_namespace where nspname = 'tasker')"
	if err := conn.QueryRow(t.Context(), sql).Scan(&exists); err != nil {
		t.Fatal(err)
	}
	return exists
}

func TestNewIsMigratedAndAlone(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			conn := connect(t, testdb.New(t))
			if !schemaExists(t, conn) {
				t.Error("the schema is not there")
			}
			if _, err := conn.Exec(t.Context(), "create table mine ()"); err != nil {
				t.Errorf("the database is shared: %v", err)
			}
		})
	}
}

func TestNewEmpty(t *testing.T) {
	t.Parallel()
	if schemaExists(t, connect(t, testdb.NewEmpty(t))) {
		t.Error("the schema is there")
	}
}

func TestDroppedAfterTheTest(t *testing.T) {
	t.Parallel()
	watcher := connect(t, testdb.NewEmpty(t))
	var name string
	t.Run("test", func(t *testing.T) {
		conn := connect(t, testdb.New(t))
		if err := conn.QueryRow(t.Context(), "select current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
	})
	var left int
	if err := watcher.QueryRow(t.Context(), "select count(*) from pg_database where datname = $1", name).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("database %s is left behind", name)
	}
}

func TestServerHasSettings(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, "work_mem=7MB", "shared_preload_libraries=pg_stat_statements")
	conn := connect(t, server.URL("postgres"))
	var workMem string
	if err := conn.QueryRow(t.Context(), "show work_mem").Scan(&workMem); err != nil || workMem != "7MB" {
		t.Errorf("work_mem is %q, error %v", workMem, err)
	}
	if _, err := conn.Exec(t.Context(), "create extension pg_stat_statements; select count(*) from pg_stat_statements"); err != nil {
		t.Error(err)
	}
}

func TestTemplateNameFollowsMigrations(t *testing.T) {
	t.Parallel()
	name := func(files fstest.MapFS) string {
		name, err := testdb.TemplateName(files)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	one := fstest.MapFS{"0001_a.sql": {Data: []byte("create table a ()")}}
	same := fstest.MapFS{"0001_a.sql": {Data: []byte("create table a ()")}, "migrations.go": {}}
	edited := fstest.MapFS{"0001_a.sql": {Data: []byte("create table b ()")}}
	more := fstest.MapFS{"0001_a.sql": one["0001_a.sql"], "0002_b.sql": {}}
	if name(one) != name(same) {
		t.Error("the name changes with what is no migration")
	}
	if name(one) == name(edited) || name(one) == name(more) {
		t.Error("the name stays when the migrations change")
	}
}
