package combined_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/combined"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/orchestration"
	"github.com/tasker-systems/tasker-go/taskertest"
	"github.com/tasker-systems/tasker-go/worker"
)

// mode sets the deployment mode of every event system.
func mode(m config.DeploymentMode) enginetest.Settings {
	quoted := `"` + string(m) + `"`
	return enginetest.Settings{
		"orchestration.event_systems.orchestration.deployment_mode":  quoted,
		"orchestration.event_systems.task_readiness.deployment_mode": quoted,
		"worker.system.event_driven.deployment_mode":                 quoted,
		"worker.event_system.deployment_mode":                        quoted,
	}
}

// TestModes runs a chain, one of whose steps is tried twice, in each mode.
func TestModes(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.event_systems.orchestration.deployment_mode", "worker.event_system.deployment_mode")
	const chain = `
name: chain
namespace: test
steps:
  - {name: a, handler: {callable: ok}}
  - {name: b, handler: {callable: flaky}, dependencies: [a], retry: {max_attempts: 2, backoff_base_ms: 20}}
  - {name: c, handler: {callable: ok}, dependencies: [b]}`
	tests := []struct {
		mode    config.DeploymentMode
		listens bool
	}{
		{config.Hybrid, true},
		{config.EventDrivenOnly, true},
		{config.PollingOnly, false},
	}
	for _, tt := range tests {
		t.Run(string(tt.mode), func(t *testing.T) {
			t.Parallel()
			enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
				settings := mode(tt.mode)
				maps.Copy(settings, enginetest.Settings{
					"worker.event_system.metadata.fallback_poller.polling_interval_ms":                   "20",
					"orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds": "1",
				})
				e := enginetest.Start(t, enginetest.Options{
					Deployment: d, Templates: taskertest.YAML(chain), Settings: settings,
					Handlers: enginetest.Handlers{"ok": ok, "flaky": func(_ context.Context, s *tasker.Step) (any, error) {
						if !s.LastAttempt() {
							return nil, errors.New("not yet")
						}
						return "at last", nil
					}},
				})
				if tt.listens {
					e.Await(`select count(*) = 2 from pg_stat_activity where datname = current_database() and query like 'listen %'`)
				}
				if task := e.Run("chain", nil); task.State != tasker.TaskComplete {
					t.Errorf("task is %s", task.State)
				}
				listening := enginetest.Query[int](e, `
					select count(*) from pg_stat_activity where datname = current_database() and query like 'listen %'`)
				if (listening > 0) != tt.listens {
					t.Errorf("%d connections listen", listening)
				}
			})
		})
	}
}

// TestTemplateChanges: a running task keeps the definition it began with, while
// new tasks get the new one, also under the same version.
func TestTemplateChanges(t *testing.T) {
	t.Parallel()
	const (
		before = `
name: process
namespace: test
steps:
  - {name: first, handler: {callable: wait}}
  - {name: old, handler: {callable: ok, initialization: {text: old}}, dependencies: [first]}`
		after = `
name: process
namespace: test
steps:
  - {name: first, handler: {callable: ok}}
  - {name: new, handler: {callable: ok, initialization: {text: new}}, dependencies: [first]}
  - {name: newer, handler: {callable: ok}, dependencies: [first]}`
	)
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		started, release := make(chan struct{}), make(chan struct{})
		handlers := enginetest.Handlers{
			"ok": func(_ context.Context, s *tasker.Step) (any, error) { return string(s.Config), nil },
			"wait": func(context.Context, *tasker.Step) (any, error) {
				close(started)
				<-release
				return nil, nil
			},
		}
		e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: taskertest.YAML(before), Handlers: handlers})
		running := e.Create("process", nil)
		enginetest.Receive(t, started)
		e.Templates = taskertest.YAML(after)
		e.StartWorker(handlers)
		if task := e.Run("process", nil); len(task.Steps) != 3 || string(task.Step("new").Result) != `"{\"text\":\"new\"}"` {
			t.Errorf("a new task has %+v", task.Steps)
		}
		close(release)
		task := e.Wait(running)
		if len(task.Steps) != 2 || task.State != tasker.TaskComplete || string(task.Step("old").Result) != `"{\"text\":\"old\"}"` {
			t.Errorf("the running task ended %s with %+v", task.State, task.Steps)
		}
	})
}

// TestRunRefuses lists what keeps a combined process from starting; whatever was
// started has ended.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None})
	empty := testdb.NewEmpty(t)
	valid := single("a", "handler: {callable: ok}")
	tests := []struct {
		name   string
		change func(cfg *config.Config)
		yaml   string
		want   string
	}{
		{"no orchestration", func(cfg *config.Config) { cfg.Orchestration = nil }, valid, orchestration.ErrNoSection.Error()},
		{"no worker", func(cfg *config.Config) { cfg.Worker = nil }, valid, worker.ErrNoSection.Error()},
		{"bad template", func(*config.Config) {}, "name: a", "load templates: template1.yaml:"},
		{
			"long queue name", func(cfg *config.Config) { cfg.Common.Queues.WorkerNamespace = strings.Repeat("w", 40) }, valid,
			"shorten the namespace or common.queues.naming_pattern",
		},
		{
			"no schema", func(cfg *config.Config) { cfg.Common.Database.URL = empty }, valid,
			"lacks migration 0001_tasker.sql; run `tasker-cli db migrate`",
		},
		{
			"no server", func(cfg *config.Config) { cfg.Common.Database.URL = "postgresql://tasker:hunter2@127.0.0.1:1/tasker" }, valid,
			"connect to PostgreSQL at 127.0.0.1:1/tasker: ",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := enginetest.Load(t, e.Config.Common.Database.URL, nil)
			tt.change(cfg)
			err := combined.Run(t.Context(), cfg, e.Log, combined.Options{Handlers: tasker.NewHandlers(), Templates: taskertest.YAML(tt.yaml)})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
