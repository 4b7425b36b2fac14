package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/apiclient"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// A site is a database and the processes that a test runs on it. When the test
// ends, those that still run must stop in good order, and every invariant must
// hold before and after.
type site struct {
	*enginetest.Engine // looks at the database; runs nothing

	t     testing.TB
	url   string // of the database
	env   []string
	dir   string // of the configuration files
	calls <-chan call
}

// newSite returns a site on a database of its own or, where the URL is not
// empty, on that one. The settings are laid over the test environment.
func newSite(t testing.TB, url string, settings enginetest.Settings) *site {
	t.Helper()
	if url == "" {
		url = testdb.New(t)
	}
	s := &site{t: t, url: url, dir: t.TempDir()}
	s.Engine = enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, URL: url, Settings: settings})
	all := enginetest.Settings{
		"orchestration.system.web.bind_address": `"127.0.0.1:0"`,
		"worker.system.web.bind_address":        `"127.0.0.1:0"`,
	}
	maps.Copy(all, settings)
	writeConfig(t, s.dir, all)
	stage, calls := newStage(t)
	s.calls = calls
	s.env = []string{"TASKER_ENV=test", "DATABASE_URL=" + url, stageVar + "=" + stage}
	return s
}

// writeConfig generates a configuration file for each context, as `tasker-cli
// config generate` does.
func writeConfig(t testing.TB, dir string, settings enginetest.Settings) {
	t.Helper()
	for _, c := range config.Contexts() {
		var overlay strings.Builder
		for _, key := range slices.Sorted(maps.Keys(settings)) {
			section, _, _ := strings.Cut(key, ".")
			if c == config.ContextComplete || section == string(config.ContextCommon) || section == string(c) {
				fmt.Fprintf(&overlay, "%s = %s\n", key, settings[key])
			}
		}
		text, err := config.Generate(c, config.Options{
			Environment: string(config.Test), Overlay: []byte(overlay.String()),
			LookupEnv: func(string) (string, bool) { return "", false },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(configFile(dir, c), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func configFile(dir string, c config.Context) string { return filepath.Join(dir, string(c)+".toml") }

// start runs a program on the site and returns at once.
func (s *site) start(p program, args ...string) *child {
	s.t.Helper()
	return start(s.t, p, append(s.env, "TASKER_CONFIG_PATH="+configFile(s.dir, p.context())), args...)
}

// startWorker runs a worker and returns once it works.
func (s *site) startWorker(p program) *child {
	s.t.Helper()
	c := s.start(p)
	c.address("worker")
	return c
}

// startOrchestrator runs an orchestrator and returns once it works.
func (s *site) startOrchestrator() *child {
	s.t.Helper()
	c := s.start(orchestrationServer)
	c.address("orchestration")
	return c
}

// api returns a client of the API of an orchestrator.
func (s *site) api(c *child) *apiclient.Client {
	s.t.Helper()
	api, err := apiclient.New("http://"+c.address("orchestration"), apiclient.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	return api
}

// create creates n tasks of one of the templates in stage_test.go.
func (s *site) create(template string, n int) []string {
	s.t.Helper()
	requests := make([]client.Request, n)
	for i := range requests {
		requests[i] = client.Request{Namespace: namespace, Template: template}
	}
	ids, err := s.Client.CreateTasks(s.t.Context(), requests)
	if err != nil {
		s.t.Fatal(err)
	}
	return ids
}

// call waits for the next word from a handler.
func (s *site) call() call {
	s.t.Helper()
	return enginetest.Receive(s.t, s.calls)
}

// releaseAll lets every handler go on that calls from now on.
func (s *site) releaseAll() {
	go func() {
		for {
			select {
			case c := <-s.calls:
				close(c.release)
			case <-s.t.Context().Done():
				return
			}
		}
	}()
}

// awaitComplete waits until at least n steps are complete.
func (s *site) awaitComplete(n int) {
	s.t.Helper()
	s.Await(`select count(*) >= $1 from tasker.steps where state = 'complete'`, n)
}

// awaitEnd waits until every task is over, and then holds the books: all tasks
// complete, each success applied once, nothing consumed an attempt but failures of
// handlers.
func (s *site) awaitEnd() {
	s.t.Helper()
	s.Await(`select not exists (select from tasker.tasks where finished_at is null)`)
	s.Check()
	for _, audit := range []struct{ wrong, sql string }{
		{"tasks are not complete", `select count(*) from tasker.tasks where state <> 'complete'`},
		// Had another execution of a step been applied as well, before or after,
		// the result on the row and the one that its dependents saw would differ.
		{"dependencies were not seen as they are stored", `
			select count(*)
			from tasker.steps s
			cross join lateral unnest(s.depends_on) o (ordinal)
			join tasker.steps d on d.task_id = s.task_id and d.ordinal = o.ordinal
			where s.result->'from'->>d.name is distinct from d.result->>'token'`},
		{"steps have seen results of others than their dependencies", `
			select count(*)
			from tasker.steps s
			where (select count(*) from jsonb_object_keys(s.result->'from')) <> coalesce(cardinality(s.depends_on), 0)`},
		{"steps have another number of attempts or lost leases than the log says", `
			select count(*)
			from tasker.steps s
			cross join lateral (
				select count(*) filter (where a.error->>'kind' = 'lease_lost') as lost,
					count(*) filter (where a.error->>'kind' <> 'lease_lost') as failed
				from tasker.step_attempts a
				where a.task_id = s.task_id and a.ordinal = s.ordinal
			) a
			where s.attempt <> a.failed + 1 or s.lost <> a.lost`},
		{"attempts failed that should not have", `
			select count(*)
			from tasker.step_attempts
			where error->>'kind' <> 'lease_lost' and error->>'message' <> 'the first attempt fails'`},
	} {
		if n := enginetest.Query[int](s.Engine, audit.sql); n != 0 {
			s.t.Errorf("%d %s", n, audit.wrong)
		}
	}
}

// within reports an error unless at most d lie between two moments.
func (s *site) within(what string, from, to time.Time, d time.Duration) {
	s.t.Helper()
	if took := to.Sub(from); took > d {
		s.t.Errorf("%s took %v, want at most %v", what, took, d)
	}
}
