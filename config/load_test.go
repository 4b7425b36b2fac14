package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tasker-systems/tasker-go/internal/golden"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// env stands for the environment of a process.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	value, set := e[name]
	return value, set
}

// options loads the built-in tree for an environment, with variables as name,
// value, name, value.
func options(environment Environment, overlay string, variables ...string) Options {
	vars := env{}
	for i := 0; i < len(variables); i += 2 {
		vars[variables[i]] = variables[i+1]
	}
	opts := Options{Environment: string(environment), LookupEnv: vars.lookup}
	if overlay != "" {
		opts.Overlay = []byte(overlay)
	}
	return opts
}

func load(t testing.TB, c Context, opts Options) *Config {
	t.Helper()
	cfg, err := Load(c, opts)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// report loads what must be invalid.
func report(t testing.TB, c Context, opts Options) *Report {
	t.Helper()
	_, err := Load(c, opts)
	r, ok := errors.AsType[*Report](err)
	if !ok {
		t.Fatalf("the error is %v, want a report", err)
	}
	return r
}

// errorsOf lists the errors of a report as code and key.
func errorsOf(r *Report) []string {
	var list []string
	for _, p := range r.Problems {
		if p.Severity.String() == "error" {
			list = append(list, p.Code+" "+p.Key)
		}
	}
	return list
}

// shippedWith returns the shipped tree with other files laid over or, where the
// content is empty, taken out.
func shippedWith(t testing.TB, files map[string]string) fstest.MapFS {
	t.Helper()
	tree := fstest.MapFS{}
	err := fs.WalkDir(embedded, "tasker", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := embedded.ReadFile(path)
		tree[strings.TrimPrefix(path, "tasker/")] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		delete(tree, name)
		if content != "" {
			tree[name] = &fstest.MapFile{Data: []byte(content)}
		}
	}
	return tree
}

func TestLoadMergesOverlays(t *testing.T) {
	t.Parallel()
	cfg := load(t, ContextComplete, options(Test, ""))
	pool := cfg.Common.Database.Pool
	want := Pool{MaxConnections: 10, MinConnections: 2, AcquireTimeout: 5, IdleTimeout: 60, MaxLifetime: 3600}
	if pool != want {
		t.Errorf("the pool is %+v, want %+v", pool, want)
	}
	if got := cfg.Orchestration.Backoff.DefaultBackoff; !slices.Equal(got, []Seconds{1, 2, 4}) {
		t.Errorf("the array over the table of waits gives %v", got)
	}
	if got := cfg.Orchestration.DecisionPoints; got.MaxStepsPerDecision != 10 || !got.Enabled {
		t.Errorf("decision points are %+v", got)
	}
	if got := cfg.Worker.System.ResourceLimits.MaxCPU; got != 80 {
		t.Errorf("a whole number for a decimal field gives %v", got)
	}
	if got := cfg.Common.CircuitBreakers.GlobalSettings.MinStateTransitionInterval.Duration(); got != time.Second {
		t.Errorf("the transition interval is %v", got)
	}
	if got := cfg.Orchestration.System.Web.Auth; got.JWTTokenExpiry != 24 || len(got.ProtectedRoutes) != 5 {
		t.Errorf("the defaults of auth are %+v", got)
	}
}

func TestLoadNumberedWaits(t *testing.T) {
	t.Parallel()
	const table = "[orchestration.backoff.default_backoff_seconds]\n"
	cfg := load(t, ContextOrchestration, options(Development, table+"0 = 9"))
	if got, want := cfg.Orchestration.Backoff.DefaultBackoff, []Seconds{9, 2, 4, 8, 16}; !slices.Equal(got, want) {
		t.Errorf("waits are %v, want %v", got, want)
	}
	r := report(t, ContextOrchestration, options(Development, table+"6 = 9"))
	if got, want := errorsOf(r), []string{"bad-index orchestration.backoff.default_backoff_seconds.6"}; !slices.Equal(got, want) {
		t.Errorf("errors are %v, want %v", got, want)
	}
}

// TestLoadSections checks which sections a context has, and that asking for a
// missing one is a typed error.
func TestLoadSections(t *testing.T) {
	t.Parallel()
	for _, c := range Contexts() {
		cfg := load(t, c, options(Test, ""))
		_, err := cfg.NeedOrchestration()
		if has := c == ContextOrchestration || c == ContextComplete; has != (err == nil) {
			t.Errorf("%s: asking for orchestration gives %v", c, err)
		}
		_, err = cfg.NeedWorker()
		if has := c == ContextWorker || c == ContextComplete; has != (err == nil) {
			t.Errorf("%s: asking for worker gives %v", c, err)
		}
		if err != nil {
			if e, ok := errors.AsType[*SectionError](err); !ok || e.Section != "worker" {
				t.Errorf("%s: the error is %v", c, err)
			}
		}
	}
}

// TestLoadOpensOnlyItsFiles breaks the files of one role: the other does not
// notice.
func TestLoadOpensOnlyItsFiles(t *testing.T) {
	t.Parallel()
	opts := options(Test, "")
	opts.FS = shippedWith(t, map[string]string{"base/worker.toml": "[worker", "environments/test/worker.toml": "="})
	load(t, ContextOrchestration, opts)
	load(t, ContextCommon, opts)
	r := report(t, ContextComplete, opts)
	if got := r.Problems[0].Pos.String(); got != "base/worker.toml:1:7" || len(r.Problems) != 2 {
		t.Errorf("the problems are\n%s", r.Error())
	}
}

func TestLoadMissingFiles(t *testing.T) {
	t.Parallel()
	opts := options(Test, "")
	opts.FS = shippedWith(t, map[string]string{"base/orchestration.toml": "", "base/worker.toml": ""})
	_, err := Load(ContextComplete, opts)
	for _, want := range []string{"base/orchestration.toml", "base/worker.toml"} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want it to name %s", err, want)
		}
	}
	opts.FS = shippedWith(t, map[string]string{"environments/test/worker.toml": ""})
	loaded, err := Resolve(ContextWorker, opts)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(loaded.Sources); got != 3 {
		t.Errorf("sources are %v", loaded.Sources)
	}
	opts = options(Development, "")
	opts.FS = shippedWith(t, map[string]string{
		"environments/development/common.toml": "", "environments/development/orchestration.toml": "", "environments/development/worker.toml": "",
	})
	if loaded, err = Resolve(ContextCommon, opts); err != nil {
		t.Fatal(err)
	}
	if w := loaded.Warnings.Problems; len(w) != 1 || w[0].Code != "no-overlay" {
		t.Errorf("warnings are %v", w)
	}
}

func TestLoadEnvironmentNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"prod", "Production", "staging"} {
		r := report(t, ContextCommon, Options{LookupEnv: env{"TASKER_ENV": name}.lookup})
		if p := r.Problems[0]; p.Key != "TASKER_ENV" || !strings.Contains(p.Message, "test, development, production") {
			t.Errorf("%s gives %s", name, p)
		}
	}
	if got := load(t, ContextCommon, Options{LookupEnv: env{}.lookup}).Common.Environment; got != Development {
		t.Errorf("without TASKER_ENV the environment is %s", got)
	}
	if got := load(t, ContextCommon, Options{LookupEnv: env{"TASKER_ENV": "test"}.lookup}).Common.Environment; got != Test {
		t.Errorf("with TASKER_ENV=test the environment is %s", got)
	}
}

// TestLoadEnvironmentAlias checks the top-level environment of the proposal.
func TestLoadEnvironmentAlias(t *testing.T) {
	t.Parallel()
	const common = "environments/test/common.toml"
	for _, c := range []struct {
		file, text string
		want       []string
	}{
		{common, `environment = "test"`, nil},
		{common, "environment = \"test\"\n[common]\nenvironment = \"test\"", nil},
		{common, "environment = \"development\"\n[common]\nenvironment = \"test\"", []string{"environment-conflict environment"}},
		{common, `environment = "development"`, []string{"X15 common.environment"}},
		{"environments/test/worker.toml", `environment = "test"`, nil},
		{"environments/test/worker.toml", `environment = "production"`, []string{"environment-conflict environment"}},
	} {
		opts := options(Test, "")
		opts.FS = shippedWith(t, map[string]string{c.file: c.text})
		if c.want == nil {
			load(t, ContextWorker, opts)
		} else if got := errorsOf(report(t, ContextWorker, opts)); !slices.Equal(got, c.want) {
			t.Errorf("%s in %s gives %v, want %v", c.text, c.file, got, c.want)
		}
	}
}

func TestLoadDatabaseURL(t *testing.T) {
	t.Parallel()
	const byDefault = "postgresql://tasker:tasker@localhost:5432/tasker_development"
	for _, c := range []struct {
		variables []string
		want      string
	}{
		{nil, byDefault},
		{[]string{"DATABASE_URL", ""}, byDefault},
		{[]string{"DATABASE_URL", "postgres://u:p%40s@db.example:5432/x?sslmode=require"}, ""},
		{[]string{"DATABASE_URL", "postgresql://u@[::1]:5432/x"}, ""},
		{[]string{"DATABASE_URL", "postgresql:///x?host=/var/run/postgresql"}, ""},
		{[]string{"DATABASE_URL", "postgresql://a:1,b:2/x"}, ""},
		{[]string{"DATABASE_URL", "postgresql://u:${DATABASE_URL}@h/db"}, ""}, // taken literally
	} {
		if c.want == "" {
			c.want = c.variables[1]
		}
		if got := load(t, ContextCommon, options(Development, "", c.variables...)).Common.Database.URL; got != c.want {
			t.Errorf("%v gives %s", c.variables, got)
		}
	}
	for _, bad := range []string{"mysql://u:hunter2@h/db", "hunter2", "postgresql://u:hunter2@h/d b\n[common.system]"} {
		r := report(t, ContextCommon, options(Development, "", "DATABASE_URL", bad))
		if got := errorsOf(r); !slices.Equal(got, []string{"bad-url common.database.url"}) || strings.Contains(r.Error(), "hunter2") {
			t.Errorf("%q gives\n%s", bad, r)
		}
	}
	r := report(t, ContextCommon, options(Production, ""))
	if p := r.Problems[0]; p.Code != "unset-variable" || p.Key != "common.database.url" || !strings.Contains(p.Message, "DATABASE_URL") {
		t.Errorf("production without a database gives\n%s", r)
	}
	r = report(t, ContextCommon, options(Production, "", "DATABASE_URL", ""))
	if p := r.Problems[0]; p.Key != "common.database.url" || p.Message != "is empty" || p.Chain[0].Uses[0].How != tomltree.Empty {
		t.Errorf("production with an empty variable gives\n%s", r)
	}
}

func TestLoadVariables(t *testing.T) {
	t.Parallel()
	metrics := func(opts Options) string { return load(t, ContextCommon, opts).Common.Telemetry.Metrics.ExportEndpoint }
	if got := metrics(options(Development, "")); got != "" {
		t.Errorf("the endpoint is %q", got)
	}
	if got := metrics(options(Development, "", "TELEMETRY_ENDPOINT", "http://c:1")); got != "http://c:1" {
		t.Errorf("the endpoint is %q", got)
	}
	const home = "[common.system]\nprocess_name = \"${HOME:-x}\" # ${PATH} in a comment is none\n"
	for _, vars := range [][]string{nil, {"HOME", "/root"}} {
		if got := errorsOf(report(t, ContextCommon, options(Test, home, vars...))); !slices.Equal(got, []string{"forbidden-variable common.system.process_name"}) {
			t.Errorf("errors are %v", got)
		}
	}
	const typed = "[common.database.pool]\nmax_connections = \"${TASKER_WORKER_ID:-30}\"\n"
	if got := load(t, ContextCommon, options(Test, typed, "TASKER_WORKER_ID", "12")).Common.Database.Pool.MaxConnections; got != 12 {
		t.Errorf("a placeholder for a number gives %d", got)
	}
	// An overlay hides a placeholder of the base: it is not looked up.
	load(t, ContextCommon, options(Production, "[common.database]\nurl = \"postgresql://db/x\""))
	injected := "p\"w\\n\n[common.system]"
	if got := load(t, ContextWorker, options(Test, "[worker.system]\nworker_id = \"${TASKER_WORKER_ID}\"", "TASKER_WORKER_ID", injected)).Worker.System.WorkerID; got != injected {
		t.Errorf("the value became %q", got)
	}
}

// TestLoadReportsAllVariables has two required variables missing, and other
// faults besides.
// TestLoadDefaultVariables covers defaults that name a variable: the key stands in
// no file.
func TestLoadDefaultVariables(t *testing.T) {
	t.Parallel()
	const preset, given, written = "amqp://guest:guest@localhost:5672/", "amqps://tasker:secret@broker:5671/tasker", "amqp://other:secret@here:5672/"
	for _, c := range []struct {
		name, overlay, want string
		variables           []string
	}{
		{name: "unset", want: preset},
		{name: "set", want: given, variables: []string{"RABBITMQ_URL", given}},
		{name: "written", want: written, variables: []string{"RABBITMQ_URL", given}, overlay: "[common.queues.rabbitmq]\nurl = '" + written + "'"},
	} {
		if got := load(t, ContextCommon, options(Test, c.overlay, c.variables...)).Common.Queues.RabbitMQ.URL; got != c.want {
			t.Errorf("%s: the broker is %s, want %s", c.name, got, c.want)
		}
	}
	got := errorsOf(report(t, ContextCommon, options(Test, "", "RABBITMQ_URL", "http://broker")))
	if want := []string{"bad-url common.queues.rabbitmq.url"}; !slices.Equal(got, want) {
		t.Errorf("a bad URL gives %q, want %q", got, want)
	}
}

func TestLoadReportsAllVariables(t *testing.T) {
	t.Parallel()
	overlay := "[common.queues]\ndefault_batch_size = 0\n[worker.system]\nworker_id = \"${TASKER_WORKER_ID}\"\n"
	want := []string{"unset-variable common.database.url", "out-of-range common.queues.default_batch_size", "unset-variable worker.system.worker_id"}
	if got := errorsOf(report(t, ContextWorker, options(Production, overlay))); !slices.Equal(got, want) {
		t.Errorf("errors are %v, want %v", got, want)
	}
	opts := options(Production, "[worker.system]\nworker_id = \"${TASKER_WORKER_ID}\"\n")
	opts.Offline = true
	loaded, err := Resolve(ContextWorker, opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Unset) != 2 || loaded.Unset[0].Variable != "DATABASE_URL" || loaded.Unset[1].Key != "worker.system.worker_id" {
		t.Errorf("unset are %v", loaded.Unset)
	}
}

func TestLoadTypos(t *testing.T) {
	t.Parallel()
	const metadata = "orchestration.event_systems.orchestration.metadata"
	for _, c := range []struct{ overlay, want, fix string }{
		{
			"[orchestration.event_systems.orchestration.processing.backoff]\ninitial_dealy_ms = 1",
			"unknown-key orchestration.event_systems.orchestration.processing.backoff.initial_dealy_ms", "did you mean initial_delay_ms?",
		},
		{"[common.circuit_breakers.component_configs.web]\nfailure_threshold = 1\ntimeout_seconds = 1\nsuccess_threshold = 1\nfailure_treshold = 1", "unknown-key common.circuit_breakers.component_configs.web.failure_treshold", "did you mean failure_threshold?"},
		{"[worker.event_systems.workers]\nsystem_id = 'x'", "unknown-key worker.event_systems", "did you mean event_system?"},
		{"[commmon.database]\nurl = 'x'", "unknown-key commmon", "did you mean common?"},
		{"[common]\ninclude_docs = true", "unknown-key common.include_docs", "remove it; config explain lists the keys there are"},
		{"[common]\nmax_connections = 1", "unknown-key common.max_connections", "a key of that name is common.database.pool.max_connections"},
		{"[common]\nmax_conections = 1", "unknown-key common.max_conections", "a key of that name is common.database.pool.max_connections"},
		{"[common]\nbackoff_multiplier = 1", "unknown-key common.backoff_multiplier", "a key of that name is orchestration.backoff.backoff_multiplier"},
		{"[worker]\nmax_retries = 1", "unknown-key worker.max_retries", "keys of that name are worker.system.step_processing.max_retries, worker.event_system.processing.max_retries"},
		{"[orchestration]\nmode = 'standalone'", "renamed-key orchestration.mode", "write it as orchestration.system.mode"},
		{"[common.backoff]\nmax_backoff_seconds = 5", "renamed-key common.backoff", "write it as orchestration.backoff"},
		{"[common.database]\ndatabase = 'tasker'", "removed-key common.database.database", "remove it"},
		{"[orchestration.system.web.rate_limiting]\nenabled = true", "removed-key orchestration.system.web.rate_limiting", "remove it"},
		{"[" + metadata + "]\nx = 1", "removed-key " + metadata + ".x", "remove it"},
	} {
		r := report(t, ContextComplete, options(Test, c.overlay))
		i := slices.IndexFunc(r.Problems, func(p Problem) bool { return p.Severity == tomltree.Error })
		if got := errorsOf(r); !slices.Equal(got, []string{c.want}) || r.Problems[i].Fix != c.fix {
			t.Errorf("%s gives\n%s", c.overlay, r)
		}
	}
	load(t, ContextComplete, options(Test, "[orchestration.event_systems.orchestration.metadata]\n[common._docs]\nx = 1\n[common.database]\nurl_docs = 'where'"))
}

func TestLoadWrongFile(t *testing.T) {
	t.Parallel()
	opts := options(Test, "")
	opts.FS = shippedWith(t, map[string]string{"environments/test/orchestration.toml": "[common.database]\nurl = 'x'"})
	if got := errorsOf(report(t, ContextOrchestration, opts)); !slices.Equal(got, []string{"wrong-file common"}) {
		t.Errorf("errors are %v", got)
	}
}

// TestLoadFindsFiles checks the order in which places are looked at.
func TestLoadFindsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "config"), embedded); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "one.toml")
	data, err := Generate(ContextCommon, options(Test, "[common.system]\nprocess_name = 'from file'"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "config")
	for _, c := range []struct {
		vars env
		opts Options
		want string // in the first source
	}{
		{env{}, Options{}, "built-in/base/common.toml"},
		{env{"TASKER_CONFIG_ROOT": root}, Options{}, "config/tasker/base/common.toml"},
		{env{"TASKER_CONFIG_ROOT": root + "/tasker/"}, Options{}, "config/tasker/base/common.toml"},
		{env{"TASKER_CONFIG_ROOT": root, "TASKER_CONFIG_PATH": file}, Options{}, "one.toml"},
		{env{"TASKER_CONFIG_PATH": file}, Options{Root: root}, "config/tasker/base/common.toml"},
		{env{"TASKER_CONFIG_ROOT": "nowhere"}, Options{Path: file}, "one.toml"},
	} {
		c.opts.LookupEnv = func(name string) (string, bool) {
			if name == "TASKER_ENV" {
				return "test", true
			}
			return c.vars.lookup(name)
		}
		loaded, err := Resolve(ContextCommon, c.opts)
		if err != nil {
			t.Errorf("%v %v: %v", c.vars, c.opts.Root, err)
		} else if got := filepath.ToSlash(loaded.Sources[0]); !strings.HasSuffix(got, c.want) {
			t.Errorf("%v %v is read from %s, want %s", c.vars, c.opts.Root, got, c.want)
		}
	}
	for _, name := range []string{"TASKER_CONFIG_ROOT", "TASKER_CONFIG_PATH"} {
		_, err := Load(ContextCommon, Options{LookupEnv: env{name: "nowhere"}.lookup})
		if e, ok := errors.AsType[*ReadError](err); !ok || !strings.Contains(err.Error(), "nowhere") || e.ExitCode() != 3 {
			t.Errorf("%s=nowhere gives %v", name, err)
		}
	}
}

// TestLoadConcurrently loads with different environments at once.
func TestLoadConcurrently(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for _, id := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			cfg := load(t, ContextWorker, options(Test, "[worker.system]\nworker_id = \"${TASKER_WORKER_ID}\"", "TASKER_WORKER_ID", id))
			if cfg.Worker.System.WorkerID != id {
				t.Errorf("worker %s loaded %s", id, cfg.Worker.System.WorkerID)
			}
		})
	}
	wg.Wait()
}

// TestReports prints everything that is wrong with the files of every
// testdata/report_*.txtar, laid over the built-in tree: those of an environment,
// and an overlay over all. The cases make docs/configuration-errors.md.
func TestReports(t *testing.T) {
	t.Parallel()
	t.Cleanup(func() { errorsDocument(t) }) // when the cases are up to date
	golden.Each(t, "testdata/report_*.txtar", func(t *testing.T, c *golden.Case) {
		environment, files, vars := Test, map[string]string{}, []string{}
		opts := Options{}
		for name, f := range c.FS() {
			switch {
			case name == "variables":
				for line := range strings.Lines(string(f.Data)) {
					key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
					vars = append(vars, key, value)
				}
			case name == "overlay":
				opts.Overlay = f.Data
			case name != "report.txt":
				files[name] = string(f.Data)
				if strings.HasPrefix(name, "environments/production/") {
					environment = Production
				}
			}
		}
		opts.Environment, opts.LookupEnv = string(environment), options(environment, "", vars...).LookupEnv
		opts.FS = shippedWith(t, files)
		all, found := report(t, ContextComplete, opts), &Report{}
		for _, p := range all.Problems {
			if p.Severity == tomltree.Error { // the warnings are those of the shipped tree
				found.Add(p)
			}
		}
		text := found.Error()
		if strings.Contains(all.Error(), "hunter2") {
			t.Errorf("a secret shows:\n%s", text)
		}
		for _, word := range []string{"config.", "int", "string)", "struct", "Milliseconds", "float64"} {
			if strings.Contains(text, word+" ") {
				t.Errorf("a word of the code shows, %s:\n%s", word, text)
			}
		}
		c.Want("report.txt", text)
	})
}
