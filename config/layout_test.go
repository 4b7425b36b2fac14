package config

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tasker-systems/tasker-go/config/legacy"
	"github.com/tasker-systems/tasker-go/internal/golden"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// realTree returns the v1 tree of the original, and skips the test where it is
// not at hand.
func realTree(t testing.TB) fs.FS {
	t.Helper()
	const root = "../../shared/data/legacy-v1/config/tasker"
	if _, err := os.Stat(root); err != nil {
		t.Skip("the v1 tree of the original is not at hand")
	}
	return os.DirFS(root)
}

// shopTree returns the v1 tree of testdata/migrate_tree.txtar with other files
// laid over or, where the content is empty, taken out.
func shopTree(t testing.TB, files map[string]string) fstest.MapFS {
	t.Helper()
	tree := fstest.MapFS{}
	archive, err := txtar.ParseFile("testdata/migrate_tree.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if v1, ok := strings.CutPrefix(f.Name, "v1/"); ok {
			tree[v1] = &fstest.MapFile{Data: f.Data}
		}
	}
	for name, content := range files {
		delete(tree, name)
		if content != "" {
			tree[name] = &fstest.MapFile{Data: []byte(content)}
		}
	}
	return tree
}

// from loads a tree for an environment, without variables.
func from(files fs.FS, environment Environment) Options {
	opts := options(environment, "")
	opts.FS = files
	return opts
}

// notesOf lists notes as action and key.
func notesOf(notes []Note, action legacy.Action) []string {
	var list []string
	for _, n := range notes {
		if n.Action == action {
			list = append(list, strings.TrimSpace(n.Path+" "+n.Target))
		}
	}
	return list
}

// TestV1RealOrchestration loads what an orchestrator of the original had in
// production.
func TestV1RealOrchestration(t *testing.T) {
	t.Parallel()
	cfg := load(t, ContextOrchestration, from(realTree(t), Production))
	if got := cfg.Common.Environment; got != Production {
		t.Errorf("the environment is %s", got)
	}
	if got, want := cfg.Common.Database.Pool, (Pool{MaxConnections: 50, MinConnections: 15, AcquireTimeout: 30, IdleTimeout: 600, MaxLifetime: 3600}); got != want {
		t.Errorf("the pool is %+v", got)
	}
	breakers := cfg.Common.CircuitBreakers
	if got, want := breakers.DefaultConfig, (Breaker{10, 60, 3}); got != want {
		t.Errorf("the breaker by default is %+v", got)
	}
	if got, want := breakers.ComponentConfigs["pgmq"], (Breaker{3, 15, 2}); got != want {
		t.Errorf("the breaker of pgmq is %+v", got)
	}
	o := cfg.Orchestration
	got := []int{
		cfg.Common.Queues.DefaultBatchSize, o.Channels.CommandProcessor.CommandBufferSize,
		o.Channels.EventSystems.EventChannelBufferSize, o.Channels.EventListeners.PGMQEventBufferSize,
		int(o.System.Web.RequestTimeout), int(o.Backoff.MaxBackoff), len(o.Backoff.DefaultBackoff), int(o.Archive.Retention),
	}
	if want := []int{50, 5000, 5000, 50000, 60000, 60, 6, 30}; !slices.Equal(got, want) {
		t.Errorf("batch, channels, timeout, backoff and retention are %v, want %v", got, want)
	}
	if got := cfg.Common.Telemetry.Tracing.SamplingRate; got != 0.1 {
		t.Errorf("the sampling rate is %v", got)
	}
	if cfg.Worker != nil {
		t.Error("there is a worker")
	}
}

// TestV1RealWorker loads what a worker of the original had in tests, without
// the orchestrator's files.
func TestV1RealWorker(t *testing.T) {
	t.Parallel()
	opts := from(closedFS{realTree(t), "orchestration.toml"}, Test)
	cfg := load(t, ContextWorker, opts)
	w := cfg.Worker
	if w.System.WorkerID != "test-worker-001" || w.System.StepProcessing.MaxConcurrentSteps != 10 {
		t.Errorf("the worker is %+v", w.System)
	}
	limits := ResourceLimits{MaxCPU: 80, MaxMemory: 512, MaxDatabaseConnections: 10, MaxQueueConnections: 20}
	if got := w.System.ResourceLimits; got != limits {
		t.Errorf("limits are %+v", got)
	}
	c := w.Channels
	got := []int{
		c.CommandProcessor.CommandBufferSize, c.EventSystems.EventChannelBufferSize, c.EventSubscribers.CompletionBufferSize,
		c.EventSubscribers.ResultBufferSize, c.EventListeners.PGMQEventBufferSize, c.InProcessEvents.BroadcastBufferSize,
		int(w.System.FallbackPoller.PollingInterval), w.System.FallbackPoller.BatchSize,
	}
	if want := []int{100, 100, 100, 100, 100, 1000, 45000, 5}; !slices.Equal(got, want) {
		t.Errorf("channels and poller are %v, want %v", got, want)
	}
	if cfg.Orchestration != nil {
		t.Error("there is an orchestrator")
	}
}

// closedFS is a file system that must not be asked for files of one name.
type closedFS struct {
	fs.FS

	closed string
}

func (c closedFS) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, "/"+c.closed) {
		return nil, errors.New(name + " is closed")
	}
	return c.FS.Open(name)
}

// TestV1RealComplete has the flat channels of both roles, each from its own
// file.
func TestV1RealComplete(t *testing.T) {
	t.Parallel()
	cfg := load(t, ContextComplete, from(realTree(t), Test))
	o, w := cfg.Orchestration.Channels.EventListeners.PGMQEventBufferSize, cfg.Worker.Channels.EventListeners.PGMQEventBufferSize
	if o != 500 || w != 100 {
		t.Errorf("the buffers of the listeners are %d and %d", o, w)
	}
}

// TestV1Shop is the same for a tree that is always at hand.
func TestV1Shop(t *testing.T) {
	t.Parallel()
	loaded, err := Resolve(ContextComplete, from(shopTree(t, nil), Production))
	if err != nil {
		t.Fatal(err)
	}
	cfg := loaded.Config
	o, w := cfg.Orchestration, cfg.Worker
	got := []int{
		cfg.Common.Database.Pool.MaxConnections, cfg.Common.Database.Pool.MinConnections, cfg.Common.CircuitBreakers.DefaultConfig.FailureThreshold,
		o.Channels.CommandProcessor.CommandBufferSize, w.Channels.CommandProcessor.CommandBufferSize,
		o.Channels.EventListeners.PGMQEventBufferSize, w.Channels.EventListeners.PGMQEventBufferSize, w.Channels.InProcessEvents.BroadcastBufferSize,
		int(o.Backoff.MaxBackoff), len(o.Backoff.DefaultBackoff), int(o.Archive.Retention),
		o.DecisionPoints.MaxStepsPerDecision, o.DecisionPoints.MaxDecisionDepth, o.DecisionPoints.WarnThresholdSteps, o.DecisionPoints.WarnThresholdDepth,
		int(o.Channels.TaskReadiness.EventChannel.SendTimeout),
	}
	if want := []int{60, 4, 12, 4500, 600, 9000, 650, 1500, 90, 3, 25, 90, 8, 15, 5, 50}; !slices.Equal(got, want) {
		t.Errorf("values are %v, want %v", got, want)
	}
	if cfg.Common.System.MaxCPU != 75 || cfg.Common.Environment != Production {
		t.Errorf("a whole number for a decimal field gives %v, in %s", cfg.Common.System.MaxCPU, cfg.Common.Environment)
	}
	routes := o.System.Web.Auth.ProtectedRoutes
	if want := (ProtectedRoute{Method: "POST", Path: "/v1/tasks", AuthType: AuthAPIKey}); len(routes) != 3 || routes[2] != want {
		t.Errorf("routes are %+v", routes)
	}
	if got, want := notesOf(loaded.Notes, legacy.Conflict), []string{"decision_points.max_steps_per_decision orchestration.decision_points.max_steps_per_decision"}; !slices.Equal(got, want) {
		t.Errorf("conflicts are %v", got)
	}
	if got := notesOf(loaded.Notes, legacy.Defaulted); !slices.Contains(got, "orchestration.mpsc_channels.task_readiness") || !slices.Contains(got, "orchestration.decision_points.enable_metrics") {
		t.Errorf("defaulted are %v", got)
	}
	i := slices.IndexFunc(loaded.Warnings.Problems, func(p Problem) bool { return p.Code == "legacy-layout" })
	if p := loaded.Warnings.Problems[i]; p.Pos.String() != "base/decision_points.toml:3:2" {
		t.Errorf("the warning is\n%s", p)
	}
}

// TestV1Leaves converts every key of the original's files: each is moved, with
// its value, or removed, by the table.
func TestV1Leaves(t *testing.T) {
	t.Parallel()
	tree := realTree(t)
	count := map[string]int{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		v1, problems := tomltree.Parse(name, data)
		section := strings.TrimSuffix(d.Name(), ".toml")
		now, notes, more := legacy.Convert(v1, legacy.Scope{File: section, Sections: ContextComplete.sections()})
		if len(problems)+len(more) > 0 {
			t.Errorf("%s: %v %v", name, problems, more)
		}
		found := leaves(nil, now)
		for key, text := range leaves(nil, v1) {
			count[filepath.ToSlash(filepath.Dir(name))+"/"+section]++
			former, target, ok := legacy.Find(section, key)
			switch {
			case !ok:
				t.Errorf("%s: nothing is known of %s", name, key)
			case target == "" || key == "environment" || key == "execution.environment":
				if !slices.ContainsFunc(notes, func(n Note) bool { return n.Action == legacy.Removed && strings.HasPrefix(key, n.Path) }) && key != "environment" {
					t.Errorf("%s: no note says that %s went", name, former.Key)
				}
			case found[target] != text:
				t.Errorf("%s: %s is %s, and %s is %s", name, key, text, target, found[target])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := count["base/common"] + count["base/orchestration"] + count["base/worker"]; got != 304 || count["base/decision_points"] != 7 { // and one empty table
		t.Errorf("base has %d and %d leaves, want 304 and 7", got, count["base/decision_points"])
	}
}

// TestV1Sources checks that every required key has a source in v1, but two.
func TestV1Sources(t *testing.T) {
	t.Parallel()
	var files []legacy.File
	for _, section := range append(ContextComplete.sections(), "decision_points") {
		data, err := fs.ReadFile(realTree(t), "base/"+section+".toml")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, legacy.File{Name: section, Section: section, Data: data})
	}
	tree, _, _ := legacy.ConvertFiles(files, ContextComplete.sections())
	list := missing(tree)
	if len(list) != 1 || strings.Join(list[0].Path, ".") != "orchestration.mpsc_channels.task_readiness" {
		t.Errorf("missing are %v", list)
	}
	if got := slices.Sorted(maps.Keys(leaves(nil, list[0].Value))); !slices.Equal(got, []string{"event_channel.buffer_size", "event_channel.send_timeout_ms"}) {
		t.Errorf("of the channel there are missing %v", got)
	}
}

// TestV1Environments asks for environments that there are not.
func TestV1Environments(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"prod", "Production", "staging"} {
		opts := from(shopTree(t, nil), "")
		opts.LookupEnv = env{"TASKER_ENV": name}.lookup
		r := report(t, ContextComplete, opts)
		if p := r.Problems[0]; p.Key != "TASKER_ENV" || !strings.Contains(p.Message, "test, development, production") {
			t.Errorf("%s gives %s", name, p)
		}
	}
}

// TestV1Keys loads the shop with other keys in it.
func TestV1Keys(t *testing.T) {
	t.Parallel()
	const overlay = "environments/test/"
	for _, c := range []struct {
		name, file, text string
		want             []string // errors
		removed          string
	}{
		{"task readiness", "common.toml", "environment = 'test'\n[task_readiness.notification.connection]\nmax = 1", nil, "task_readiness"},
		{"documentation", "common.toml", "environment = 'test'\n[database.pool]\nmax_connections_docs = 'x'\n[database._docs.x]\ny = 1", nil, ""},
		{"template path", "worker.toml", "template_path = ''", nil, ""},
		{"metadata", "orchestration.toml", "[orchestration_events.metadata]\nqueues = 1", nil, "orchestration_events.metadata"},
		{"typing error", "common.toml", "environment = 'test'\n[database.pool]\nmax_conections = 1", []string{"unknown-key common.database.pool.max_conections"}, ""},
		{"unknown table", "common.toml", "environment = 'test'\n[databse]\nx = 1", []string{"unknown-key databse"}, ""},
		{"wrong file", "orchestration.toml", "[worker_system]\nworker_id = 'x'", []string{"unknown-key worker_system"}, ""},
		{"bad route", "orchestration.toml", "[orchestration_system.web.auth.protected_routes]\n'GET' = {required = true}", []string{`bad-route orchestration.system.web.auth.protected_routes.GET`}, ""},
		{"two names", "common.toml", "environment = 'test'\n[shared_channels.ffi]\nruby_event_buffer_size = 100\n[mpsc_channels.shared.ffi]\nruby_event_buffer_size = 200", []string{"legacy-conflict common.mpsc_channels.ffi.ruby_event_buffer_size"}, ""},
		{"two names, one value", "common.toml", "environment = 'test'\n[shared_channels.ffi]\nruby_event_buffer_size = 100\n[mpsc_channels.shared.ffi]\nruby_event_buffer_size = 100", nil, ""},
		{"two environments", "common.toml", "environment = 'test'\n[execution]\nenvironment = 'production'", []string{"environment-conflict execution.environment"}, ""},
		{"only one environment", "common.toml", "[execution]\nenvironment = 'test'", nil, ""},
		{"environment of a role", "worker.toml", "environment = 'production'", []string{"environment-conflict environment"}, ""},
		{"table over scalar", "common.toml", "environment = 'test'\n[queues]\nbackend = {x = 1}", []string{"shape-clash common.queues.backend"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := from(shopTree(t, map[string]string{overlay + c.file: c.text}), Test)
			loaded, err := Resolve(ContextComplete, opts)
			if c.want != nil {
				if got := errorsOf(report(t, ContextComplete, opts)); !slices.Equal(got, c.want) {
					t.Errorf("errors are %v, want %v; %v", got, c.want, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := notesOf(loaded.Notes, legacy.Removed); c.removed != "" && !slices.Contains(got, c.removed) {
				t.Errorf("removed are %v", got)
			}
		})
	}
}

// TestLayouts loads trees of other layouts than Load, LoadV2 and LoadLegacy
// take.
func TestLayouts(t *testing.T) {
	t.Parallel()
	v1, v2 := from(shopTree(t, nil), Test), options(Test, "")
	onlyV2 := func(c Context, opts Options) (*Config, error) { return LoadV2(c, opts) }
	onlyV1 := func(c Context, opts Options) (*Config, error) {
		return LoadLegacy(c, opts, slog.New(slog.DiscardHandler))
	}
	mixed := from(shopTree(t, map[string]string{"environments/test/worker.toml": "[worker.system]\nworker_id = 'x'"}), Test)
	stray := from(shippedWith(t, map[string]string{"base/decision_points.toml": "[decision_points]\nenabled = false"}), Test)
	old := from(shippedWith(t, map[string]string{"environments/test/worker.toml": "[worker_system]\nworker_id = 'x'"}), Test)
	landedKey := from(shippedWith(t, map[string]string{"environments/test/orchestration.toml": "[orchestration]\nmode = 'standalone'"}), Test)
	for _, c := range []struct {
		name string
		load func(Context, Options) (*Config, error)
		opts Options
		want []string
		text string
	}{
		{"v1", Load, v1, nil, ""},
		{"v1 as v1", onlyV1, v1, nil, ""},
		{"v1 as v2", onlyV2, v1, []string{"legacy-layout decision_points"}, "tasker-cli config migrate"},
		{"v2 as v2", onlyV2, v2, nil, ""},
		{"v2 as v1", onlyV1, v2, []string{"legacy-layout "}, "use Load"},
		{"v2 over v1", Load, mixed, []string{"mixed-layout decision_points"}, "environments/test/worker.toml:1:9 worker.system has the present one"},
		{"decision points in v2", Load, stray, []string{"mixed-layout decision_points"}, "base/common.toml"},
		{"v1 over v2", Load, old, []string{"renamed-key worker_system"}, "write it as worker.system"},
		{"a landed key in v2", Load, landedKey, []string{"renamed-key orchestration.mode"}, "orchestration.system.mode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := c.load(ContextComplete, c.opts)
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			r, ok := errors.AsType[*Report](err)
			if !ok || !slices.Equal(errorsOf(r), c.want) || !strings.Contains(r.Error(), c.text) {
				t.Errorf("the error is\n%v", err)
			}
		})
	}
}

// TestV1SingleFile loads one file for each role.
func TestV1SingleFile(t *testing.T) {
	t.Parallel()
	const common = "environment = 'test'\n[database]\nurl = 'postgresql://db/x'\n[decision_points]\nenabled = false\n" +
		"[mpsc_channels.command_processor]\ncommand_buffer_size = 77\n"
	name := filepath.Join(t.TempDir(), "v1.toml")
	for _, c := range []struct {
		text    string
		context Context
	}{
		{common, ContextCommon},
		{common + "[worker_system]\nworker_id = 'w'", ContextWorker},
		{common + "[backoff]\nmax_backoff_seconds = 61", ContextOrchestration},
		{common + "[event_systems.worker]\nsystem_id = 'w'\n[orchestration]\nmode = 'distributed'", ContextComplete},
	} {
		write(t, name, []byte(c.text))
		if got, err := DetectContext(name); got != c.context {
			t.Errorf("%s is for %s, %v", c.text, got, err)
		}
		cfg := load(t, c.context, Options{Path: name, LookupEnv: env{}.lookup})
		if o := cfg.Orchestration; o != nil && (o.Channels.CommandProcessor.CommandBufferSize != 77 || o.DecisionPoints.Enabled) {
			t.Errorf("%s gives the orchestrator %+v", c.text, o)
		}
		if w := cfg.Worker; w != nil && w.Channels.CommandProcessor.CommandBufferSize != 77 {
			t.Errorf("%s gives the worker %+v", c.text, w)
		}
	}
	write(t, name, []byte(common+"[worker_system]\nworker_id = 'w'"))
	if got := errorsOf(report(t, ContextOrchestration, Options{Path: name, LookupEnv: env{}.lookup})); !slices.Equal(got, []string{"X23 orchestration"}) {
		t.Errorf("a worker's file for an orchestrator gives %v", got)
	}
}

// TestLoadLegacyLogsOnce also checks that the hook is called once per load.
func TestLoadLegacyLogsOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	calls := 0
	opts := from(shopTree(t, nil), Test)
	opts.OnLegacy = func(notes []Note) {
		if calls++; len(notes) == 0 {
			t.Error("there are no notes")
		}
	}
	if _, err := LoadLegacy(ContextComplete, opts, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); calls != 1 || strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "moved database -> common.database") {
		t.Errorf("after %d calls the log has\n%s", calls, got)
	}
}

// TestLandedLayout prints what is said to files of the layout that the original
// shipped.
func TestLandedLayout(t *testing.T) {
	t.Parallel()
	golden.Each(t, "testdata/landed*.txtar", func(t *testing.T, c *golden.Case) {
		c.Want("report.txt", report(t, ContextComplete, from(c.FS(), Test)).Error())
	})
}

// TestGenerateFromV1 merges the layers of v1 into a file of the present layout.
func TestGenerateFromV1(t *testing.T) {
	t.Parallel()
	for _, c := range Contexts()[1:] {
		opts := from(shopTree(t, nil), Production)
		data, err := Generate(c, opts)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "v2.toml")
		write(t, name, data)
		cfg, err := LoadV2(c, Options{Path: name, LookupEnv: env{}.lookup})
		if err != nil {
			t.Fatal(err)
		}
		if want := load(t, c, opts); !equalConfigs(cfg, want) {
			t.Errorf("%s differs", c)
		}
	}
}
