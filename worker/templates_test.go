package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// saying returns a template whose only step returns its configuration, which is
// the word.
func saying(word string) string {
	return fmt.Sprintf(`{name: say, namespace: test, identity_strategy: always_unique,
		steps: [{name: only, handler: {callable: config, initialization: {word: %s}}}]}`, word)
}

var configHandler = enginetest.Handlers{"config": func(_ context.Context, step *tasker.Step) (any, error) { return step.Config, nil }}

// says runs a task and returns the word that its template had for it.
func says(e *enginetest.Engine) string {
	var result struct{ Word string }
	_ = json.Unmarshal(e.Run("say", nil).Step("only").Result, &result) // a step that failed says nothing
	return result.Word
}

// write writes a template into a folder.
func write(t *testing.T, dir, file, document string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFilesAreReloadedBySettings changes the files of three workers, of which
// one looks at them every second. Each of its looks gives the others time for
// one of their own.
func TestFilesAreReloadedBySettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.task_templates.auto_reload", "common.task_templates.reload_interval_seconds")
	dir := t.TempDir()
	write(t, dir, "say.yaml", saying("first"))
	start := func(autoReload, interval string) *enginetest.Engine {
		return enginetest.Start(t, enginetest.Options{
			Deployment: enginetest.Combined, Templates: os.DirFS(dir), Handlers: configHandler,
			Settings: enginetest.Settings{
				"common.task_templates.auto_reload": autoReload, "common.task_templates.reload_interval_seconds": interval,
			},
		})
	}
	off, seldom, reloading := start("false", "1"), start("true", "3600"), start("true", "1")
	for i, word := range []string{"second", "third"} {
		write(t, dir, "say.yaml", saying(word))
		reloading.Await(`select count(*) = $1 from tasker.templates`, i+2)
	}
	for e, want := range map[*enginetest.Engine]string{off: "first", seldom: "first", reloading: "third"} {
		if got := says(e); got != want {
			t.Errorf("a worker with %+v says %q, want %q", e.Config.Common.TaskTemplates, got, want)
		}
	}
}

// TestDefinitionsAreKeptBySettings changes a definition in the database, as
// somebody may who mends it. Who does not cache sees it at once, who caches for a
// second soon, who caches for an hour not.
func TestDefinitionsAreKeptBySettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.task_templates.cache_enabled", "common.task_templates.reload_interval_seconds")
	start := func(cache, interval string) *enginetest.Engine {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: enginetest.Combined, Templates: taskertest.YAML(saying("before")), Handlers: configHandler,
			Settings: enginetest.Settings{
				"common.task_templates.cache_enabled": cache, "common.task_templates.reload_interval_seconds": interval,
			},
		})
		if got := says(e); got != "before" {
			t.Fatalf("says %q", got)
		}
		e.Exec(`update tasker.templates set definition = replace(definition::text, 'before', 'after')::jsonb`)
		return e
	}
	hour, never, second := start("true", "3600"), start("false", "3600"), start("true", "1")
	if got := says(never); got != "after" {
		t.Errorf("without a cache it says %q", got)
	}
	for says(second) != "after" { // ends with the test's deadline at the latest
		if t.Context().Err() != nil {
			t.Fatal("never read anew")
		}
	}
	if got := says(hour); got != "before" {
		t.Errorf("with a cache for an hour it says %q", got)
	}
}

// messages passes on what is logged.
type messages struct {
	slog.Handler
	said chan string
}

func (m messages) Handle(ctx context.Context, record slog.Record) error {
	text := record.Message
	record.Attrs(func(a slog.Attr) bool { text += " " + a.Value.String(); return true })
	select {
	case m.said <- text:
	default:
	}
	return m.Handler.Handle(ctx, record)
}

// await waits for a message that contains text.
func (m messages) await(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(enginetest.Receive(t, m.said), text) {
	}
}

// TestReload adds files while a worker runs that no poll wakes: a namespace that
// is new to it is served, a file with problems is reported and changes nothing,
// and so does a template that changed and kept its version.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "say.yaml", saying("first"))
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.None, Templates: os.DirFS(dir),
		Settings: enginetest.Settings{
			"common.task_templates.reload_interval_seconds": "1",
			"worker.event_system.deployment_mode":           `"EventDrivenOnly"`,
			"worker.system.event_driven.deployment_mode":    `"EventDrivenOnly"`,
		},
	})
	e.Config.Common.Environment = "production" // where a change needs a new version
	log := messages{e.Log.Handler(), make(chan string, 10_000)}
	e.Log = slog.New(log)
	e.StartOrchestrator()
	e.StartWorker(configHandler)

	write(t, dir, "broken.yaml", "name: broken\n")
	write(t, dir, "far.yaml", strings.Replace(saying("far"), "namespace: test", "namespace: far", 1))
	log.await(t, "broken.yaml:1:1: namespace_name: is required")
	e.Await(`select namespaces = '{far,test}' from tasker.workers where role = 'worker'`)
	id, err := e.Client.CreateTask(t.Context(), client.Request{Namespace: "far", Template: "say"})
	if err != nil {
		t.Fatal(err)
	}
	if task := e.Wait(id); task.State != tasker.TaskComplete || string(task.Step("only").Result) != `{"word": "far"}` {
		t.Errorf("the task of the new namespace is %s", task.State)
	}

	write(t, dir, "say.yaml", saying("changed"))
	log.await(t, "template test/say has changed and still has version 1.0.0")
	if got := says(e); got != "first" {
		t.Errorf("says %q", got)
	}
	write(t, dir, "say.yaml", strings.Replace(saying("changed"), "name: say", "name: say, version: 1.1.0", 1))
	log.await(t, "template reloaded test/say/1.1.0")
	if got := says(e); got != "changed" {
		t.Errorf("says %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "broken.yaml")); err != nil {
		t.Fatal(err)
	}
	log.await(t, "all templates are in order again")
}

// TestTasksKeepTheirDefinition replaces a template while a task of it runs.
func TestTasksKeepTheirDefinition(t *testing.T) {
	t.Parallel()
	pair := func(version, word string) string {
		return fmt.Sprintf(`{name: say, namespace: test, version: %s, identity_strategy: always_unique, steps: [
			{name: wait, handler: {callable: wait}},
			{name: only, handler: {callable: config, initialization: {word: %s}}, dependencies: [wait]}]}`, version, word)
	}
	begun, proceed := make(chan struct{}), make(chan struct{})
	handlers := enginetest.Handlers{
		"config": configHandler["config"],
		"wait":   func(context.Context, *tasker.Step) (any, error) { begun <- struct{}{}; <-proceed; return nil, nil },
	}
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: taskertest.YAML(pair("1.0.0", "old")), Handlers: handlers})
		words := map[string]string{}
		running := e.Create("say", nil)
		enginetest.Receive(t, begun)
		words[running] = "old"

		e.Templates = taskertest.YAML(pair("1.0.0", "new"), pair("2.0.0", "next"))
		e.StartWorker(handlers)
		for version, word := range map[string]string{"1.0.0": "new", "2.0.0": "next", "": "next"} {
			id, err := e.Client.CreateTask(t.Context(), client.Request{Namespace: "test", Template: "say", Version: version})
			if err != nil {
				t.Fatal(err)
			}
			enginetest.Receive(t, begun)
			words[id] = word
		}
		for range words {
			proceed <- struct{}{}
		}
		for id, word := range words {
			if got := string(e.Wait(id).Step("only").Result); got != fmt.Sprintf(`{"word": %q}`, word) {
				t.Errorf("a task got %s, want %s", got, word)
			}
		}
	})
}

// A desk is a handler with an entry point besides the usual one.
type desk struct{ tasker.HandlerFunc }

func (desk) Methods() map[string]tasker.HandlerFunc {
	return map[string]tasker.HandlerFunc{"close": func(context.Context, *tasker.Step) (any, error) { return "closed", nil }}
}

// TestMethodsAndResolvers has a worker find handlers by all keys of a template;
// what is not there fails for good and says what is.
func TestMethodsAndResolvers(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(`
name: desk
namespace: test
steps:
  - {name: usual, handler: {callable: desk, method: call}}
  - {name: method, handler: {callable: desk, method: close}}
  - {name: resolver, handler: {callable: made up, method: twice, resolver: maker}}
  - {name: no_method, handler: {callable: desk, method: burn}}
  - {name: no_resolver, handler: {callable: desk, resolver: none}}
  - {name: panics, handler: {callable: boom, resolver: maker}}
`)})
	handlers := tasker.NewHandlers()
	handlers.Add("desk", desk{func(context.Context, *tasker.Step) (any, error) { return "usual", nil }})
	handlers.AddResolver("maker", func(callable, method string) (tasker.Handler, bool) {
		if callable == "boom" {
			panic("boom")
		}
		return tasker.HandlerFunc(func(context.Context, *tasker.Step) (any, error) { return callable + " " + method, nil }), true
	})
	e.StartOrchestrator()
	e.StartWorkerWith(handlers)
	task := e.Run("desk", nil)
	for step, want := range map[string]string{
		"usual": `"usual"`, "method": `"closed"`, "resolver": `"made up twice"`,
		"no_method": `handler \"desk\" has no method \"burn\"; it has [\"close\"]`, "no_resolver": `no resolver \"none\" in this worker; it has [\"explicit\" \"maker\"]`,
		"panics": `resolver \"maker\" panicked over handler \"boom\": boom`,
	} {
		s := task.Step(step)
		if got := string(s.Result) + string(s.Error); !strings.Contains(got, want) || s.Attempt != 1 {
			t.Errorf("%s: got %s in attempt %d, want %s", step, got, s.Attempt, want)
		}
	}
}
