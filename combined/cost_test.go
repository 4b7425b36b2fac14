package combined_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/migrations"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// TestCost holds the engine to the cost model of the design (section 5): row
// versions, commits and statements of a thousand chains of four steps, and of an
// engine that has nothing to do.
func TestCost(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, "shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=top")
	for _, tt := range []struct {
		deployment   enginetest.Deployment
		rowsPerStep  float64 // versions of rows of steps, creation included
		rowsPerChain float64 // those of the task itself included
	}{
		{enginetest.Combined, 3, 14},
		{enginetest.Split, 5, 21},
	} {
		t.Run(string(tt.deployment), func(t *testing.T) {
			// Its own database, since counters are kept per database.
			url := server.URL(string(tt.deployment))
			setUp(t, server.URL("postgres"), "create database "+string(tt.deployment))
			setUp(t, url, "create extension pg_stat_statements")
			if _, err := migrations.Apply(t.Context(), url); err != nil {
				t.Fatal(err)
			}
			const chains, steps = 1000, 4 * 1000
			e := startCost(t, tt.deployment, url)
			e.Run("chain", nil)
			idle(t, e)
			settle(e)
			reset(e)
			e.Play(tt.deployment, enginetest.Handlers{"ok": ok})
			createChains(t, e, chains)
			e.Await(`select count(*) = 0 from tasker.tasks where finished_at is null`)
			applied := calls(e, "%completed as (%")
			if perCommit := float64(steps) / float64(applied); perCommit < 50 {
				t.Errorf("%.0f steps per commit (%d commits), want at least 50", perCommit, applied)
			}
			if n := most(e); n > steps/20 {
				t.Errorf("a statement runs %d times for %d steps: does it run per step?\n%s", n, steps, report(e))
			}
			settle(e)
			rows, hot := written(e, "steps")
			tasks, _ := written(e, "tasks")
			t.Logf("%.2f row versions per step, %.2f per task, %.1f%% HOT, %d commits", rows/steps, tasks/chains, 100*hot, applied)
			if rows/steps > tt.rowsPerStep || (rows+tasks)/chains > tt.rowsPerChain {
				t.Errorf("%.2f row versions per step, %.2f per chain with its task, want at most %.2f and %.2f",
					rows/steps, (rows+tasks)/chains, tt.rowsPerStep, tt.rowsPerChain)
			}
			if hot < 0.95 {
				t.Errorf("%.1f%% of the updates of steps are HOT, want 95%%", 100*hot)
			}
			if attempts, _ := written(e, "step_attempts"); attempts != 0 {
				t.Errorf("%.0f rows of history for steps that succeeded", attempts)
			}
		})
	}
}

func startCost(t *testing.T, d enginetest.Deployment, url string) *enginetest.Engine {
	t.Helper()
	return enginetest.Start(t, enginetest.Options{
		Deployment: d, URL: url, Handlers: enginetest.Handlers{"ok": ok},
		Templates: taskertest.YAML(`
name: chain
namespace: test
steps:
  - {name: a, handler: {callable: ok}}
  - {name: b, handler: {callable: ok}, dependencies: [a]}
  - {name: c, handler: {callable: ok}, dependencies: [b]}
  - {name: d, handler: {callable: ok}, dependencies: [c]}`),
		Settings: enginetest.Settings{
			"worker.system.step_processing.max_concurrent_steps":               "500",
			"worker.mpsc_channels.event_subscribers.completion_buffer_size":    "1000",
			"worker.mpsc_channels.event_subscribers.result_buffer_size":        "1000",
			"worker.mpsc_channels.event_systems.event_channel_buffer_size":     "1000",
			"worker.event_system.metadata.fallback_poller.polling_interval_ms": "100",
		},
	})
}

func createChains(t *testing.T, e *enginetest.Engine, n int) {
	t.Helper()
	requests := make([]client.Request, n)
	for i := range requests {
		requests[i] = client.Request{Namespace: enginetest.Namespace, Template: "chain"}
	}
	if _, err := e.Client.CreateTasks(t.Context(), requests); err != nil {
		t.Fatal(err)
	}
}

// idle looks at an engine that has nothing to do, while it polls ten times.
func idle(t *testing.T, e *enginetest.Engine) {
	t.Helper()
	const poll = 100 * time.Millisecond
	reset(e)
	began := time.Now()
	e.Await(`select coalesce(sum(calls) >= 10, false) from pg_stat_statements where query like '%leased as (%'`)
	n := statements(e)
	// Each poll claims and looks when the next message is due. Two more loops look
	// every five seconds: one at the results, one at all there is.
	polls := int(time.Since(began)/poll) + 1
	if most := 2*polls + 30; n > most {
		t.Errorf("%d statements in %d polls while idle, want at most %d\n%s", n, polls, most, report(e))
	}
}

// setUp runs one statement on a connection of its own.
func setUp(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// settle stops the engine and waits until every session has ended: then they
// hand in their counters.
func settle(e *enginetest.Engine) {
	e.Stop()
	e.Pool.Reset()
	e.Await(`select count(*) = 1 from pg_stat_activity where datname = current_database() and backend_type = 'client backend'`)
}

func reset(e *enginetest.Engine) {
	e.Exec(`select pg_stat_statements_reset(), pg_stat_reset()`)
}

// mine are the statements of the engine, without those of the test itself.
const mine = `
	from pg_stat_statements
	where dbid = (select oid from pg_database where datname = current_database())
	and query not like '%pg_stat%' and query not like 'select count(*) = $1 from tasker.tasks%'`

func calls(e *enginetest.Engine, like string) int {
	return enginetest.Query[int](e, `select coalesce(sum(calls), 0)::int`+mine+` and query like $1`, like)
}

// most is how often the statement ran that ran most often.
func most(e *enginetest.Engine) int {
	return enginetest.Query[int](e, `select coalesce(max(calls), 0)::int`+mine)
}

func statements(e *enginetest.Engine) int { return calls(e, "%") }

// report lists what ran most often.
func report(e *enginetest.Engine) string {
	lines := enginetest.Query[[]string](e, `
		select array_agg(calls || ' × ' || substr(regexp_replace(query, '\s+', ' ', 'g'), 1, 90) order by calls desc)`+mine)
	return strings.Join(lines, "\n")
}

// written returns how many versions of rows of a table were written, and which
// share of its updates was HOT.
func written(e *enginetest.Engine, table string) (versions, hot float64) {
	row := enginetest.Query[[]float64](e, `
		select array[n_tup_ins + n_tup_upd + n_tup_del, n_tup_hot_upd::float8 / greatest(n_tup_upd, 1)]
		from pg_stat_user_tables
		where schemaname = 'tasker' and relname = $1`, table)
	return row[0], row[1]
}
