package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/eventtest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

const single = `{name: single, namespace: test, steps: [{name: only, handler: {callable: work}}]}`

// TestSweepsFollowTheInterval counts the sweeps of a worker without a database.
func TestSweepsFollowTheInterval(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.fallback_poller.enabled", "worker.system.fallback_poller.polling_interval_ms")
	for _, tt := range []struct {
		enabled  bool
		interval config.Milliseconds
		want     []string
	}{
		{true, 5000, []string{"5s", "10s", "15s", "20s"}}, {true, 8000, []string{"8s", "16s"}}, {false, 5000, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			var cfg config.Worker
			cfg.System.FallbackPoller.Enabled, cfg.System.FallbackPoller.PollingInterval = tt.enabled, tt.interval
			log := eventtest.NewLog()
			ctx, cancel := context.WithTimeout(t.Context(), 21*time.Second)
			defer cancel()
			stranded(t, config.Common{}, cfg, log).sweep(ctx)
			var got []string
			for _, line := range log.Lines() {
				at, _, _ := strings.Cut(line, " ")
				got = append(got, at)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%t, %d: sweeps at %v, want %v", tt.enabled, tt.interval, got, tt.want)
			}
		})
	}
}

// openSystem opens a system on a database of its own, where the template single is
// registered.
func openSystem(t *testing.T) (*config.Config, *system.Context, map[string]*space) {
	t.Helper()
	cfg, err := config.LoadCombined(config.Options{
		Environment: "test",
		LookupEnv: func(name string) (string, bool) {
			return map[string]string{"DATABASE_URL": testdb.New(t)}[name], name == "DATABASE_URL"
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	sys, err := system.Open(t.Context(), cfg.Common, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sys.Close)
	all, err := templates.LoadFS(fstest.MapFS{"single.yaml": &fstest.MapFile{Data: []byte(single)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := sys.Catalog.Register(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	spaces, err := spacesOf(sys, all, 1)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, sys, spaces
}

// TestSweepsFollowTheSettings has steps lose their messages: which of them a
// sweep sends again, and for how long one that runs is left to its worker.
func TestSweepsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.fallback_poller.batch_size", "worker.system.fallback_poller.age_threshold_seconds",
		"worker.system.fallback_poller.max_age_hours", "worker.system.fallback_poller.processable_states",
		"worker.system.fallback_poller.visibility_timeout_seconds")
	cfg, sys, spaces := openSystem(t)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := sys.Pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	queue := "pgmq.q_" + spaces["test"].queue
	c := client.New(sys.Pool, cfg.Common)
	defer c.Close()
	for i := range 4 { // the last one runs
		if _, err := c.CreateTask(t.Context(), client.Request{Namespace: "test", Template: "single", Context: map[string]int{"n": i}}); err != nil {
			t.Fatal(err)
		}
	}
	exec(`update tasker.steps set enqueued_at = now() - interval '1 minute'`)
	exec(`update tasker.steps set state = 'in_progress', attempt = 1, process_id = $1, started_at = now() - interval '1 minute'
		where task_id = (select max(task_id::text)::uuid from tasker.tasks)`, uuid.New())
	tests := []struct {
		name   string
		change func(p *config.TaskSweeper)
		sent   int
		lease  string // of the one that runs, to the minute
	}{
		{"as it was", func(*config.TaskSweeper) {}, 4, "5m"},
		{"batch_size", func(p *config.TaskSweeper) { p.BatchSize = 3 }, 3, "5m"}, // the one that runs goes first
		{"age_threshold_seconds", func(p *config.TaskSweeper) { p.AgeThreshold = 300 }, 0, "0m"},
		{"max_age_hours", func(p *config.TaskSweeper) { p.MaxAge = 0 }, 4, "5m"}, // without end
		{"processable_states", func(p *config.TaskSweeper) { p.ProcessableStates = []tasker.TaskState{tasker.TaskWaitingForRetry} }, 0, "0m"},
		{"visibility_timeout_seconds", func(p *config.TaskSweeper) { p.VisibilityTimeout = 600 }, 4, "10m"},
		{"max_age_hours, all older", func(*config.TaskSweeper) {
			exec(`update tasker.steps set enqueued_at = enqueued_at - interval '2 hours', started_at = started_at - interval '2 hours'`)
		}, 0, "0m"},
		{"max_age_hours, raised", func(p *config.TaskSweeper) { p.MaxAge = 3 }, 4, "5m"},
	}
	for _, tt := range tests {
		exec(`delete from ` + queue)
		worker := *cfg.Worker
		worker.System.FallbackPoller = config.TaskSweeper{
			FallbackPoller:    config.FallbackPoller{BatchSize: 100, AgeThreshold: 10, MaxAge: 1, VisibilityTimeout: 300},
			ProcessableStates: []tasker.TaskState{tasker.TaskPending, tasker.TaskStepsInProcess},
		}
		tt.change(&worker.System.FallbackPoller)
		r := newRunner(t.Context(), sys, &worker, nil, spaces)
		if err := r.sweepOnce(t.Context(), worker.System.FallbackPoller); err != nil {
			t.Fatal(err)
		}
		var sent, minutes int
		if err := sys.Pool.QueryRow(t.Context(), `select count(*), coalesce(round(extract(epoch from greatest(max(vt) - clock_timestamp(), '0')) / 60), 0)::int from `+queue).
			Scan(&sent, &minutes); err != nil {
			t.Fatal(err)
		}
		if lease := fmt.Sprintf("%dm", minutes); sent != tt.sent || lease != tt.lease {
			t.Errorf("%s: sends %d messages with a lease of %s, want %d and %s", tt.name, sent, lease, tt.sent, tt.lease)
		}
	}
}
