// Package enginetest runs the engine inside a test: a database of the test's
// own, the roles in this process, combined or split as in production, and a
// client. Nothing in it sleeps: tests wait for tasks, or for a query to come
// true.
//
// Start reading at [Start]; [Each] runs a test once per deployment. When a test
// ends, the engine stops in good order, every invariant must hold, and no task or
// step may have moved as the tables of package state do not allow.
package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// Namespace is the one that templates of tests are in.
const Namespace = "test"

// patience bounds every wait, on the slowest machine that runs the tests.
const patience = time.Minute

// A Deployment says which roles share a process.
type Deployment string

// The deployments.
const (
	Combined Deployment = "combined" // both roles in one process, with local hand-off
	Split    Deployment = "split"    // a process each
	None     Deployment = "none"     // the test starts what it needs
)

// Each runs a parallel subtest per deployment.
func Each(t *testing.T, run func(t *testing.T, d Deployment)) {
	t.Helper()
	for _, d := range []Deployment{Combined, Split} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			run(t, d)
		})
	}
}

// Handlers are the handlers of a test by name.
type Handlers map[string]tasker.HandlerFunc

// Settings are values of the configuration by key, as TOML spells them.
type Settings map[string]string

// Options say what to run.
type Options struct {
	Deployment Deployment
	Templates  fs.FS // *.yaml in its root, such as taskertest.YAML makes; always_unique unless they say otherwise
	Handlers   Handlers
	Events     *tasker.Events // of every process; nil: none
	Settings   Settings       // over those of the test environment
	URL        string         // of a migrated database; empty: a new one
	Record     bool           // every change of state, for [Engine.Moves]
}

// An Engine is a running Tasker.
type Engine struct {
	Client *client.Client
	Pool   *pgxpool.Pool // to look behind the scenes
	Config *config.Config
	Names  messaging.Names
	Log    *slog.Logger // shown if the test fails

	// Templates are what the next worker registers.
	Templates fs.FS

	events *tasker.Events

	t         testing.TB
	mu        sync.Mutex
	processes []*Process
}

// Start starts an engine and returns once it works.
func Start(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.URL == "" {
		o.URL = testdb.New(t)
	}
	settings := backend(t)
	maps.Copy(settings, o.Settings)
	e := &Engine{t: t, Log: logTo(t), Templates: o.Templates, events: o.Events, Config: Load(t, o.URL, settings)}
	e.Names = messaging.NewNames(e.Config.Common.Queues)
	var err error
	if e.Pool, err = postgres.Open(t.Context(), e.Config.Common.Database, "enginetest"); err != nil {
		t.Fatal(err)
	}
	e.watchMoves(o.Record)
	e.Client = client.New(e.Pool, e.Config.Common)
	t.Cleanup(func() {
		defer e.Pool.Close()
		defer e.Client.Close()
		e.Check() // while it runs
		e.Stop()
		e.Check()
		e.checkMoves()
	})
	e.Play(o.Deployment, o.Handlers)
	return e
}

// Play starts the processes of a deployment and returns once they work.
func (e *Engine) Play(d Deployment, handlers Handlers) {
	e.t.Helper()
	switch d {
	case Combined:
		e.StartCombined(handlers)
	case Split:
		e.StartOrchestrator()
		e.StartWorker(handlers)
	case None:
	}
}

// Load returns the configuration of the test environment for a database, with
// the APIs turned off and any number of orchestrators allowed unless the settings
// say otherwise.
func Load(t testing.TB, databaseURL string, settings Settings) *config.Config {
	t.Helper()
	all := Settings{
		"common.queues.pgmq.shutdown_timeout_seconds":                  "5",
		"common.system.max_memory_mb":                                  "65536",
		"common.system.max_cpu_percent":                                "100",
		"worker.system.resource_limits.max_cpu_percent":                "100", // tests share the processors and the memory of one process
		"worker.event_system.metadata.resource_limits.max_cpu_percent": "100",
		"worker.system.resource_limits.max_memory_mb":                  "65536",
		"worker.event_system.metadata.resource_limits.max_memory_mb":   "65536",
		"orchestration.system.mode":                                    `"distributed"`,
		"orchestration.system.web.enabled":                             "false",
		"worker.system.web.enabled":                                    "false",
	}
	maps.Copy(all, settings)
	var overlay bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&overlay, "%s = %s\n", key, all[key])
	}
	cfg, err := config.LoadCombined(config.Options{
		Environment: string(config.Test), Overlay: overlay.Bytes(),
		LookupEnv: func(name string) (string, bool) {
			value, ok := map[string]string{"DATABASE_URL": databaseURL}[name]
			return value, ok
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Check fails the test for whatever breaks an invariant at this moment.
func (e *Engine) Check() {
	e.t.Helper()
	ctx := context.WithoutCancel(e.t.Context()) // it also runs in clean-ups
	namespaces, err := postgres.Namespaces(ctx, e.Pool)
	if err != nil {
		e.t.Error(err)
		return
	}
	queues := postgres.Queues{Steps: map[string]string{}, Results: e.Names.Results()}
	for _, namespace := range namespaces {
		queues.Steps[namespace] = e.Queue(namespace)
	}
	found, err := postgres.Check(ctx, e.Pool, queues)
	if err != nil {
		e.t.Error(err)
	}
	for _, v := range found {
		e.t.Error(v)
	}
}

// Queue returns the name of the step queue of a namespace.
func (e *Engine) Queue(namespace string) string {
	e.t.Helper()
	queue, err := e.Names.Steps(namespace)
	if err != nil {
		e.t.Fatal(err)
	}
	return queue
}

// Register registers the engine's templates, for tests that start no worker.
func (e *Engine) Register() {
	e.t.Helper()
	loaded, err := templates.LoadFS(alwaysUnique(e.Templates))
	if err != nil {
		e.t.Fatal(err)
	}
	if err := catalog.New(e.Pool, e.Names, e.Config.Common.Environment, e.Config.Common.TaskTemplates).Register(e.t.Context(), loaded); err != nil {
		e.t.Fatal(err)
	}
	if err := postgres.CreateQueues(e.t.Context(), e.Pool, []string{e.Names.Results()}); err != nil {
		e.t.Fatal(err)
	}
}

// Create creates a task of a template in the test's namespace and returns its
// id.
func (e *Engine) Create(template string, input any) string {
	e.t.Helper()
	id, err := e.Client.CreateTask(e.t.Context(), client.Request{Namespace: Namespace, Template: template, Context: input})
	if err != nil {
		e.t.Fatal(err)
	}
	return id
}

// Wait waits until nothing in the task can move any more.
func (e *Engine) Wait(id string) *client.Task {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	task, err := e.Client.Wait(ctx, id)
	if err != nil {
		e.t.Fatal(err)
	}
	return task
}

// Run creates a task and waits for its end.
func (e *Engine) Run(template string, input any) *client.Task {
	e.t.Helper()
	return e.Wait(e.Create(template, input))
}

// Exec runs a statement and returns how many rows it concerned. It may move
// tasks and steps as the engine never would.
func (e *Engine) Exec(sql string, args ...any) int64 {
	e.t.Helper()
	var tag pgconn.CommandTag
	err := pgx.BeginFunc(e.t.Context(), e.Pool, func(tx pgx.Tx) (err error) {
		if _, err = tx.Exec(e.t.Context(), `set local `+byHand+` = on`); err == nil {
			tag, err = tx.Exec(e.t.Context(), sql, args...)
		}
		return err
	})
	if err != nil {
		e.t.Fatalf("%s: %v", sql, err)
	}
	return tag.RowsAffected()
}

// Query returns the one value that a query has.
func Query[T any](e *Engine, sql string, args ...any) T {
	e.t.Helper()
	var value T
	if err := e.Pool.QueryRow(e.t.Context(), sql, args...).Scan(&value); err != nil {
		e.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// Await waits until a query, of one row with one boolean, says true. A server
// that is away for a while is waited for.
func (e *Engine) Await(sql string, args ...any) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		var holds bool
		err := e.Pool.QueryRow(ctx, sql, args...).Scan(&holds)
		if err == nil && holds {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			e.t.Fatalf("%s: not true in time (last error: %v)", sql, err)
		}
	}
}

// Receive waits for a value, such as word from a handler.
func Receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

// logTo returns a logger whose text the test shows if it fails.
func logTo(t testing.TB) *slog.Logger {
	out := &text{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("log of the engine:\n" + out.String())
		}
	})
	return slog.New(slog.NewTextHandler(out, nil))
}

// text is a buffer for many goroutines; a handler that ignores its end may log
// after the test.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *text) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
