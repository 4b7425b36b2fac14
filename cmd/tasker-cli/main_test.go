package main

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tasker-systems/tasker-go/combined"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/demo"
	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tasker-cli": main})
}

// TestOffline runs the transcripts that need nothing.
func TestOffline(t *testing.T) {
	transcripts(t, "testdata/offline", func(testing.TB, *testscript.Env) {})
}

// TestDatabase runs the transcripts that need an empty database, which
// DATABASE_URL names.
func TestDatabase(t *testing.T) {
	transcripts(t, "testdata/database", func(t testing.TB, env *testscript.Env) {
		env.Setenv("DATABASE_URL", testdb.NewEmpty(t))
	})
}

// TestServer runs the transcripts that need a running Tasker, which
// TASKER_ORCHESTRATION_URL names; ADDRESS is where it listens. SPARE_DATABASE_URL
// is a database that it does not use.
func TestServer(t *testing.T) {
	transcripts(t, "testdata/server", func(t testing.TB, env *testscript.Env) {
		databaseURL := testdb.New(t)
		address := serve(t, databaseURL)
		env.Setenv("DATABASE_URL", databaseURL)
		env.Setenv("SPARE_DATABASE_URL", testdb.New(t))
		env.Setenv("ADDRESS", address)
		env.Setenv("TASKER_ORCHESTRATION_URL", "http://"+address)
	})
}

// TestPrivate runs the transcripts that start a PostgreSQL of their own. All it
// leaves behind would be in TMPDIR.
func TestPrivate(t *testing.T) {
	transcripts(t, "testdata/private", func(t testing.TB, env *testscript.Env) {
		testdb.NewEmpty(t) // skips where there is no PostgreSQL

		dir, err := os.MkdirTemp("/tmp", "tasker-cli-test-") //nolint:usetesting // t.TempDir is closed to the server's user
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil { // for the user of the server
			t.Fatal(err)
		}
		t.Cleanup(func() {
			left, err := os.ReadDir(dir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		env.Setenv("TMPDIR", dir)
	})
}

// TestPassword runs the transcripts that need a database with a password:
// DATABASE_URL has it, WRONG_DATABASE_URL another one.
func TestPassword(t *testing.T) {
	transcripts(t, "testdata/password", func(t testing.TB, env *testscript.Env) {
		testdb.NewEmpty(t) // skips where there is no PostgreSQL
		server, err := privatepg.Start(t.Context(), privatepg.Options{
			Listen: "127.0.0.1:0", Settings: map[string]string{"shared_buffers": "16MB"},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
		u, err := url.Parse(server.TCPURL(privatepg.Database))
		if err != nil {
			t.Fatal(err)
		}
		env.Setenv("DATABASE_URL", u.String())
		u.User = url.UserPassword(privatepg.Role, "not-the-pa55word")
		env.Setenv("WRONG_DATABASE_URL", u.String())
	})
}

// transcripts runs those of a folder. UPDATE_GOLDEN=1 writes anew the files that
// they compare with.
func transcripts(t *testing.T, dir string, setup func(testing.TB, *testscript.Env)) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_GOLDEN") == "1",
		Deadline:            time.Now().Add(8 * time.Minute), // a command that hangs says where
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("TASKER_PG_BIN", os.Getenv("TASKER_PG_BIN"))
			env.Setenv("TZ", "UTC")
			setup(env.T().(testing.TB), env)
			return nil
		},
	})
}

// exits is the command "exits CODE PROGRAM ARGUMENTS...".
func exits(ts *testscript.TestScript, neg bool, args []string) { //nolint:revive // the signature is testscript's
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENTS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// serve runs Tasker on a migrated database until the test ends, and returns the
// address of its API.
func serve(t testing.TB, databaseURL string) string {
	t.Helper()
	variables := map[string]string{"DATABASE_URL": databaseURL}
	cfg, err := config.LoadCombined(config.Options{
		Environment: "test",
		LookupEnv:   func(name string) (string, bool) { value, ok := variables[name]; return value, ok },
		Overlay:     []byte("orchestration.system.web.bind_address = '127.0.0.1:0'\nworker.system.web.enabled = false\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- combined.Run(ctx, cfg, slog.New(slog.DiscardHandler), combined.Options{
			Handlers: demo.Handlers(), Templates: demo.Templates(),
			Ready: func(orchestration, _ string) { ready <- orchestration },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	select {
	case address := <-ready:
		return address
	case err := <-ended:
		ended <- nil // for the cleanup
		t.Fatalf("serve: %v", err)
		return ""
	}
}
