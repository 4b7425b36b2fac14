package privatepg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/privatepg"
)

// childVar makes the test binary an owner of a server, to be killed: its value
// is the folder, or "temporary".
const childVar = "PRIVATEPG_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVar); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

// child starts a server, prints its folder and URL, and waits to be killed.
func child(dir string) {
	if dir == "temporary" {
		dir = ""
	}
	s, err := privatepg.Start(context.Background(), privatepg.Options{Dir: dir, Settings: small})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.Dir())
	fmt.Println(s.URL(privatepg.Database))
	select {}
}

// small keeps the tests' servers from taking memory.
var small = map[string]string{"shared_buffers": "16MB", "max_connections": "20"}

// start starts a server that is closed with the test.
func start(t *testing.T, opts privatepg.Options) *privatepg.Server {
	t.Helper()
	if opts.Settings == nil {
		opts.Settings = small
	}
	s, err := privatepg.Start(t.Context(), opts)
	if _, ok := errors.AsType[*privatepg.NotFoundError](err); ok && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// query runs a statement that returns one text, on a connection of its own.
func query(t *testing.T, databaseURL, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var text string
	if err := conn.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// persistent returns a folder that does not exist yet and that root's server
// user can reach, unlike t.TempDir's.
func persistent(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("/tmp", "privatepg-test-") //nolint:usetesting // t.TempDir is closed to the server's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(parent, "pg")
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("%s: not after 30 s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

func TestThrowAwayServer(t *testing.T) {
	t.Parallel()
	s := start(t, privatepg.Options{})
	databaseURL := s.URL(privatepg.Database)

	for sql, want := range map[string]string{
		"select current_user::text":       privatepg.Role,
		"show fsync":                      "off",
		"show listen_addresses":           "",
		"show max_connections":            "20",
		"show jit":                        "off",
		"show server_encoding":            "UTF8",
		"select current_database()::text": privatepg.Database,
		"select rolsuper::text from pg_roles where rolname = current_user": "true",
	} {
		if got := query(t, databaseURL, sql); got != want {
			t.Errorf("%s: got %q, want %q", sql, got, want)
		}
	}
	if info, err := os.Stat(s.Dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder of the socket: mode %v, error %v; want it closed to others", info.Mode(), err)
	}
	if s.TCPURL(privatepg.Database) != "" {
		t.Error("has a TCP URL without having been asked")
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if exists(s.Dir()) {
		t.Errorf("%s is left behind", s.Dir())
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := s.Restart(t.Context()); err == nil {
		t.Error("Restart after Close: no error")
	}
}

func TestTwoServersAtOnce(t *testing.T) {
	t.Parallel()
	a, b := start(t, privatepg.Options{}), start(t, privatepg.Options{})
	const id = "select system_identifier::text from pg_control_system()"
	if query(t, a.URL("postgres"), id) == query(t, b.URL("postgres"), id) {
		t.Error("both URLs lead to one server")
	}
}

func TestTCP(t *testing.T) {
	t.Parallel()
	s := start(t, privatepg.Options{Listen: "127.0.0.1:0"})
	withPassword := s.TCPURL(privatepg.Database)
	if got := query(t, withPassword, "select host(inet_server_addr())"); got != "127.0.0.1" {
		t.Errorf("connected to %q", got)
	}

	u, err := url.Parse(withPassword)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(privatepg.Role, "wrong")
	if conn, err := pgx.Connect(t.Context(), u.String()); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a wrong password is accepted over TCP")
	}

	if _, err := privatepg.Start(t.Context(), privatepg.Options{Listen: u.Host}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second server on the port: error %v, want address in use", err)
	}
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	s := start(t, privatepg.Options{Durable: true})
	databaseURL := s.URL(privatepg.Database)
	if got := query(t, databaseURL, "show synchronous_commit"); got != "on" {
		t.Errorf("durable server has synchronous_commit = %s", got)
	}
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "create table kept as select 'before the crash' as word"); err != nil {
		t.Fatal(err)
	}

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the connection survived the kill")
	}
	if err := s.Kill(); err != nil {
		t.Errorf("kill what is dead: %v", err)
	}
	for range 2 { // once from down, once from running
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := query(t, databaseURL, "select word from kept"); got != "before the crash" {
			t.Errorf("after the restart: %q", got)
		}
	}
}

func TestPersistentFolder(t *testing.T) {
	t.Parallel()
	opts := privatepg.Options{Dir: persistent(t)}
	first := start(t, opts)
	conn, err := pgx.Connect(t.Context(), first.URL(privatepg.Database))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "create table kept as select 'first' as word"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())

	second := start(t, opts)
	if first.Attached() || !second.Attached() {
		t.Errorf("attached: first %v, second %v", first.Attached(), second.Attached())
	}
	if first.URL("x") != second.URL("x") {
		t.Errorf("URL of the second %s, of the first %s", second.URL("x"), first.URL("x"))
	}
	if err := second.Kill(); !errors.Is(err, privatepg.ErrAttached) {
		t.Errorf("kill through the second: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if got := query(t, first.URL(privatepg.Database), "select word from kept"); got != "first" {
		t.Errorf("after closing the second: %q", got)
	}

	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// A pid file whose number has come to be that of a living process.
	pidFile := filepath.Join(opts.Dir, "data", "postmaster.pid")
	stale := fmt.Sprintf("%d\n%s\n1\n5432\n%s\n\n0 0\nready   \n", os.Getpid(), opts.Dir, opts.Dir)
	if err := os.WriteFile(pidFile, []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	third := start(t, opts)
	if got := query(t, third.URL(privatepg.Database), "select word from kept"); got != "first" {
		t.Errorf("in the third life: %q", got)
	}
}

// TestLongPath has a folder whose path is too long for a socket.
func TestLongPath(t *testing.T) {
	t.Parallel()
	s := start(t, privatepg.Options{Dir: filepath.Join(persistent(t), strings.Repeat("long", 30))})
	u, err := url.Parse(s.URL(privatepg.Database))
	if err != nil {
		t.Fatal(err)
	}
	query(t, u.String(), "select 'connected'")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if socketDir := u.Query().Get("host"); exists(socketDir) {
		t.Errorf("%s is left behind", socketDir)
	}
}

// TestOwnerKilled kills the process that owns a server and expects the server
// to end, and a throw-away folder to go.
func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	start(t, privatepg.Options{}) // skips without PostgreSQL

	t.Run("temporary", func(t *testing.T) {
		t.Parallel()
		killOwner(t, "temporary", nil, func(folder string) bool { return !exists(folder) })
	})
	t.Run("persistent", func(t *testing.T) {
		t.Parallel()
		dir := persistent(t)
		killOwner(t, dir, nil, func(folder string) bool {
			return !exists(filepath.Join(folder, "data", "postmaster.pid"))
		})
		if s := start(t, privatepg.Options{Dir: dir}); s.Attached() {
			t.Error("attached to the server of a dead owner")
		}
	})
	t.Run("as an ordinary user", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("only root can become another user; the other tests ran as one")
		}
		nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
		killOwner(t, "temporary", nobody, func(folder string) bool { return !exists(folder) })
	})
}

// killOwner has a child process own a server, kills it by SIGKILL and waits
// until gone holds for the server's folder.
func killOwner(t *testing.T, dir string, as *syscall.Credential, gone func(folder string) bool) {
	t.Helper()
	binary := copyOfTest(t)
	var cmd *exec.Cmd
	var out io.Reader
	// A process that another test has just forked may still have the copy open.
	eventually(t, "a copy of the test that can be run", func() bool {
		cmd = exec.CommandContext(t.Context(), binary)
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), childVar+"="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		var err error
		if out, err = cmd.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		err = cmd.Start()
		if err != nil && !errors.Is(err, syscall.ETXTBSY) {
			t.Fatal(err)
		}
		return err == nil
	})
	lines := bufio.NewScanner(out)
	lines.Scan()
	folder := lines.Text()
	lines.Scan()
	databaseURL := lines.Text()
	query(t, databaseURL, "select 'up'")

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	eventually(t, "the end of the server in "+folder, func() bool { return gone(folder) })
	if conn, err := pgx.Connect(t.Context(), databaseURL); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the server survived its owner")
	}
}

// copyOfTest puts the test's program where every user may run it.
func copyOfTest(t *testing.T) string {
	t.Helper()
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	name := persistent(t) + ".test"
	if err := os.WriteFile(name, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestSweep leaves a folder as a machine failure would and starts another server.
func TestSweep(t *testing.T) {
	t.Parallel()
	live := start(t, privatepg.Options{})
	info, err := os.Stat(live.Dir())
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	abandoned, err := os.MkdirTemp(filepath.Dir(live.Dir()), "tasker-pg-") //nolint:usetesting // where the sweep looks
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(abandoned, "server.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(abandoned, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for _, dir := range []string{live.Dir(), abandoned} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	start(t, privatepg.Options{})
	if exists(abandoned) {
		t.Errorf("%s is still there", abandoned)
	}
	query(t, live.URL(privatepg.Database), "select 'still up'")
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	occupied := persistent(t)
	if err := os.MkdirAll(filepath.Join(occupied, "photos"), 0o755); err != nil {
		t.Fatal(err)
	}
	otherVersion := persistent(t)
	if err := start(t, privatepg.Options{Dir: otherVersion}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(otherVersion, "data", "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opts privatepg.Options
		want string
	}{
		"folder of others": {privatepg.Options{Dir: occupied}, "is not empty"},
		"other version":    {privatepg.Options{Dir: otherVersion}, "of PostgreSQL 9,"},
		"bad setting": {
			privatepg.Options{Settings: map[string]string{"no_such_setting": "1"}},
			`unrecognized configuration parameter "no_such_setting"`,
		},
	} {
		s, err := privatepg.Start(t.Context(), c.opts)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestStartCancelled(t *testing.T) {
	t.Parallel()
	start(t, privatepg.Options{}) // skips without PostgreSQL
	cause := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := privatepg.Start(ctx, privatepg.Options{}); err == nil {
		t.Error("started under a context that had ended")
	}
}
