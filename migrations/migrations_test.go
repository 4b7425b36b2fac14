package migrations_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/migrations"
)

// applied counts the migrations that a database has, and all.
func applied(t *testing.T, databaseURL string) (has, all int) {
	t.Helper()
	status, err := migrations.Status(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for _, m := range status {
		if m.Version <= last || !strings.HasSuffix(m.Name, ".sql") {
			t.Errorf("after migration %d comes %+v", last, m)
		}
		last = m.Version
		if m.Applied {
			has++
		}
	}
	return has, len(status)
}

func TestApply(t *testing.T) {
	t.Parallel()
	databaseURL := testdb.NewEmpty(t)
	if has, all := applied(t, databaseURL); has != 0 || all < 2 {
		t.Errorf("a new database has %d of %d migrations", has, all)
	}
	if exists := query[bool](t, databaseURL, `select exists (select from pg_namespace where nspname in ('tasker', 'pgmq'))`); exists {
		t.Error("looking at the status has changed the database")
	}
	first, err := migrations.Apply(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	if has, all := applied(t, databaseURL); has != all || len(first) != all {
		t.Errorf("applied %d, has %d of %d", len(first), has, all)
	}
	again, err := migrations.Apply(t.Context(), databaseURL)
	if len(again) != 0 || err != nil {
		t.Errorf("a second time applied %v, %v", again, err)
	}
}

// TestApplyAtOnce: any number of processes may start on a new database.
func TestApplyAtOnce(t *testing.T) {
	t.Parallel()
	databaseURL := testdb.NewEmpty(t)
	var g errgroup.Group
	counts := make(chan int, 4)
	for range cap(counts) {
		g.Go(func() error {
			done, err := migrations.Apply(t.Context(), databaseURL)
			counts <- len(done)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	close(counts)
	sum := 0
	for n := range counts {
		sum += n
	}
	if has, all := applied(t, databaseURL); has != all || sum != all {
		t.Errorf("applied %d in all, has %d of %d", sum, has, all)
	}
}

// TestAsOrdinaryUser applies the migrations as a role that owns the database and
// has a schema of its own name.
func TestAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	databaseURL := testdb.NewEmpty(t)
	name := strings.TrimPrefix(query[string](t, databaseURL, `select current_database()`), "tasker_test_")
	role := "role_" + name
	query[string](t, databaseURL, `create role `+role+` login password 'hunter2'`, `create schema `+role+` authorization `+role,
		`do $$ begin execute 'alter database ' || current_database() || ' owner to `+role+`'; end $$`, `select ''`)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		conn, err := pgx.Connect(ctx, databaseURL)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, `reassign owned by `+role+` to current_user; drop owned by `+role+`; drop role `+role); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "hunter2")
	if _, err := migrations.Apply(t.Context(), u.String()); err != nil {
		t.Fatal(err)
	}
	if has, all := applied(t, u.String()); has != all {
		t.Errorf("has %d of %d migrations", has, all)
	}
}

// TestErrorsKeepThePassword: what goes wrong is said without the secret in the
// URL.
func TestErrorsKeepThePassword(t *testing.T) {
	t.Parallel()
	server, err := privatepg.Start(t.Context(), privatepg.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Skip(err) // testdb says why in the other tests
	}
	t.Cleanup(func() { _ = server.Close() })
	wrong, err := url.Parse(server.TCPURL(privatepg.Database))
	if err != nil {
		t.Fatal(err)
	}
	wrong.User = url.UserPassword(privatepg.Role, "hunter2")
	none := *wrong
	none.Path = "/none"
	for name, databaseURL := range map[string]string{
		"wrong password": wrong.String(),
		"no database":    none.String(),
		"nobody there":   "postgresql://tasker:hunter2@127.0.0.1:1/tasker",
		"no URL":         "postgresql://tasker:hunter2@[bad/tasker",
		"no port":        "postgresql://tasker:hunter2@localhost:many/tasker",
	} {
		for what, try := range map[string]func(context.Context, string) ([]migrations.Migration, error){
			"apply": migrations.Apply, "status": migrations.Status,
		} {
			got, err := try(t.Context(), databaseURL)
			if err == nil || len(got) != 0 || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s, %s: got %v, %v", name, what, got, err)
			}
		}
	}
}

// query runs statements on a connection of its own and returns the value of the
// last.
func query[T any](t *testing.T, databaseURL string, statements ...string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var value T
	for i, sql := range statements {
		if i < len(statements)-1 {
			_, err = conn.Exec(t.Context(), sql)
		} else {
			err = conn.QueryRow(t.Context(), sql).Scan(&value)
		}
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return value
}
