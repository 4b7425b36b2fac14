package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/privatepg"
)

// A running is a command under way.
type running struct {
	interrupt context.CancelFunc // what Ctrl-C does
	code      <-chan int
}

// start runs tasker-cli until the test ends.
func start(t *testing.T, stdout, stderr io.Writer, args ...string) running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	code := make(chan int, 1)
	var ended sync.WaitGroup
	env := Env{Stdout: stdout, Stderr: stderr, LookupEnv: func(string) (string, bool) { return "", false }}
	ended.Go(func() { code <- Main(ctx, env, args) })
	t.Cleanup(func() {
		cancel()
		ended.Wait()
	})
	return running{cancel, code}
}

// requirePostgreSQL skips a test where none is installed; it fails in CI.
func requirePostgreSQL(t *testing.T) {
	t.Helper()
	_, err := privatepg.Find(t.Context())
	if _, missing := errors.AsType[*privatepg.NotFoundError](err); missing && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// openFolder returns a folder that the user of a private server can reach,
// unlike t.TempDir's.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tasker-cli-test-") //nolint:usetesting // t.TempDir is closed to the server's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startDev runs dev and returns where it says everything is.
func startDev(t *testing.T, data string) (running, map[string]string) {
	t.Helper()
	out, in := io.Pipe()
	var log lockedBuilder
	r := start(t, in, &log, "dev", "--json", "--data", data, "--listen", "127.0.0.1:0", "--worker-listen", "127.0.0.1:0")
	type answer struct {
		line string
		err  error
	}
	first := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(out).ReadString('\n')
		first <- answer{line, err}
	}()
	select {
	case got := <-first:
		places := map[string]string{}
		if err := errors.Join(got.err, json.Unmarshal([]byte(got.line), &places)); err != nil {
			t.Fatal(err)
		}
		return r, places
	case code := <-r.code:
		_ = in.Close()
		t.Fatalf("dev ended with %d: %s", code, log.String())
		return r, nil
	}
}

// TestDev starts dev, attaches a second one, runs a task through both, stops
// them, and finds the task again after a new start.
func TestDev(t *testing.T) {
	t.Parallel()
	requirePostgreSQL(t)
	data := filepath.Join(openFolder(t), "pg")
	first, places := startDev(t, data)
	if !strings.HasSuffix(places["database"], data) || places["worker_url"] == "" {
		t.Errorf("dev says %v", places)
	}
	second, others := startDev(t, data)
	if want := "the private PostgreSQL of another process, in " + data; others["database"] != want {
		t.Errorf("the second dev works on %q, want %q", others["database"], want)
	}
	var id strings.Builder
	if code := run(t, &id, "task", "create", "demo/diamond", "--context", `{"number": 6}`, "--server", others["orchestration_url"]); code != 0 {
		t.Fatalf("task create ended with %d", code)
	}
	task := strings.TrimSpace(id.String())
	if code := run(t, io.Discard, "task", "wait", task, "--timeout", "1m", "--server", places["orchestration_url"]); code != 0 {
		t.Errorf("task wait ended with %d", code)
	}
	for _, r := range []running{second, first} {
		r.interrupt()
		if code := <-r.code; code != 0 {
			t.Errorf("dev ended with %d after Ctrl-C", code)
		}
	}
	_, places = startDev(t, data)
	if code := run(t, io.Discard, "task", "get", task, "--server", places["orchestration_url"]); code != 0 {
		t.Errorf("task get ended with %d: the data is gone", code)
	}
}

// run runs a command to its end.
func run(t *testing.T, stdout io.Writer, args ...string) int {
	t.Helper()
	var log lockedBuilder
	code := <-start(t, stdout, &log, args...).code
	if code != 0 {
		t.Log(log.String())
	}
	return code
}

// A lockedBuilder may be written to by many.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuilder) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// An interrupter ends a command once it has written a text.
type interrupter struct {
	lockedBuilder

	text      string
	interrupt func()
}

func (i *interrupter) Write(p []byte) (int, error) {
	n, err := i.lockedBuilder.Write(p)
	if strings.Contains(i.String(), i.text) {
		i.interrupt()
	}
	return n, err
}

// TestDemoInterrupted ends the demo in its middle: it leaves nothing behind.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	requirePostgreSQL(t)
	pressed := make(chan struct{})
	var once sync.Once
	stderr := &interrupter{text: "ok  diamond", interrupt: func() { once.Do(func() { close(pressed) }) }}
	var stdout strings.Builder
	r := start(t, &stdout, stderr, "demo")
	var code int
	select {
	case <-pressed:
		r.interrupt()
		code = <-r.code
	case code = <-r.code:
	}
	said := stderr.String()
	if code != ExitFailed || !strings.HasSuffix(said, "tasker-cli: interrupted\n") || stdout.Len() > 0 {
		t.Errorf("exit code %d, %q, %q", code, stdout.String(), said)
	}
	folder := regexp.MustCompile(`in (/\S+),`).FindStringSubmatch(said)
	if folder == nil {
		t.Fatalf("no folder in %q", said)
	}
	if _, err := os.Stat(folder[1]); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", folder[1], err)
	}
}
