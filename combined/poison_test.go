package combined_test

import (
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

const oneTry = `{name: one, namespace: test, steps: [{name: only, handler: {callable: ok}, retry: {max_attempts: 1}}]}`

// TestMalformedMessages: what names no step stops nobody who reads the queue, and
// is set aside where operators find it.
func TestMalformedMessages(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: enginetest.None, Templates: taskertest.YAML(oneTemplate), Handlers: enginetest.Handlers{"ok": ok},
		})
		e.Register()
		bad := []string{`{}`, `5`, `null`, `{"task": "x", "step": 1, "claim": 0}`, `{"task": "01a20dd1-fd1b-7470-88b2-22f582fc0000", "step": 99999999999}`}
		for _, queue := range []string{e.Queue("test"), e.Names.Results()} {
			for _, message := range bad {
				e.Exec(`select pgmq.send($1, $2::jsonb)`, queue, message)
			}
		}
		e.Play(d, enginetest.Handlers{"ok": ok})
		if task := e.Run("one", nil); task.State != tasker.TaskComplete {
			t.Errorf("the task is %s", task.State)
		}
		for _, queue := range []string{e.Queue("test"), e.Names.Results()} {
			e.Await(`select count(*) = $1 and bool_and(message->>'refused' like '%names no step%' or message->>'refused' like '%does not name a step%')
				from pgmq.a_`+queue, len(bad))
		}
	})
}

// TestRefusedReports: a result that PostgreSQL refuses when it is applied fails
// its step, alone, and the task is set aside.
func TestRefusedReports(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: enginetest.None, Templates: taskertest.YAML(oneTry), Handlers: enginetest.Handlers{"ok": ok},
		})
		e.Register()
		ids := []string{e.Create("one", nil), e.Create("one", nil), e.Create("one", nil)}
		e.Exec(`
			create function refuse() returns trigger language plpgsql as $$ begin
				raise exception 'not this one' using errcode = '22000';
			end $$`)
		e.Exec(`create trigger refuse before update on tasker.steps for each row
			when (new.state = 'complete' and new.task_id = '` + ids[1] + `') execute function refuse()`)
		e.Play(d, enginetest.Handlers{"ok": ok})
		for i, id := range ids {
			task := e.Wait(id)
			if i != 1 && task.State != tasker.TaskComplete {
				t.Errorf("task %d is %s", i, task.State)
			}
			if step := task.Step("only"); i == 1 && (task.State != tasker.TaskError || !strings.Contains(string(step.Error), "not this one") ||
				!strings.Contains(string(step.Error), "result_refused")) {
				t.Errorf("the refused one is %s, its step says %s", task.State, step.Error)
			}
		}
		e.Await(`select count(*) = 1 from tasker.dlq_entries where task_id = $1 and metadata::text like '%not this one%'`, ids[1])
	})
}

const breakTemplate = `update tasker.templates set definition = '{"steps": 5}' where name = 'one'`

// TestUnreadableReports: a report whose template cannot be read comes again so
// often, then its task ends in error and is set aside; others go on.
func TestUnreadableReports(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.None,
		Templates:  taskertest.YAML(oneTry, strings.Replace(oneTry, "name: one", "name: other", 1)),
		Settings: enginetest.Settings{
			"orchestration.event_systems.orchestration.processing.max_retries":            "1",
			"orchestration.event_systems.orchestration.timing.visibility_timeout_seconds": "1",
		},
	})
	worker := e.StartWorker(enginetest.Handlers{"ok": ok})
	id, other := e.Create("one", nil), e.Create("other", nil)
	e.Await(`select count(*) = 2 from tasker.steps where state = 'enqueued_for_orchestration'`)
	worker.Stop()
	e.Exec(breakTemplate)
	e.StartOrchestrator()
	if task := e.Wait(other); task.State != tasker.TaskComplete {
		t.Errorf("the other task is %s", task.State)
	}
	task := e.Wait(id)
	if step := task.Step("only"); task.State != tasker.TaskError || !strings.Contains(string(step.Error), "read 2 times") {
		t.Errorf("the task is %s, its step says %s", task.State, step.Error)
	}
	e.Await(`select count(*) = 1 from tasker.dlq_entries where task_id = $1`, id)
	e.Await(`select count(*) = 0 from pgmq.q_` + e.Names.Results())
}

// TestUnreadableSteps: a step whose template no worker can read is claimed so
// often, then its task ends in error and is set aside.
func TestUnreadableSteps(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: enginetest.None, Templates: taskertest.YAML(oneTry),
			Settings: enginetest.Settings{
				"worker.event_system.processing.max_retries":            "0",
				"worker.event_system.timing.visibility_timeout_seconds": "1",
			},
		})
		e.Register()
		id := e.Create("one", nil)
		e.Exec(breakTemplate)
		e.Play(d, enginetest.Handlers{"ok": ok})
		task := e.Wait(id)
		if step := task.Step("only"); task.State != tasker.TaskError || !strings.Contains(string(step.Error), "no worker could run the step") {
			t.Errorf("the task is %s, its step says %s", task.State, step.Error)
		}
		e.Await(`select count(*) = 1 from tasker.dlq_entries where task_id = $1 and reason = 'worker_unavailable'`, id)
	})
}

// TestRefusedFinalizations: a task that cannot be settled holds up no other, and
// after so many tries its message is set aside.
func TestRefusedFinalizations(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.Combined, Handlers: enginetest.Handlers{"ok": ok, "fail": failForGood},
		Templates: taskertest.YAML(`
name: two
namespace: test
steps:
  - {name: a, handler: {callable: fail}}
  - {name: b, handler: {callable: ok}, dependencies: [a]}`),
		Settings: enginetest.Settings{
			"orchestration.event_systems.orchestration.processing.max_retries":                   "1",
			"common.queues.default_visibility_timeout_seconds":                                   "1",
			"orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds": "1",
		},
	})
	bad, good := e.Run("two", nil).ID, e.Run("two", nil).ID
	e.Exec(`update tasker.steps set state = 'complete', result = '1', error = null where name = 'a'`)
	e.Exec(`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$`)
	e.Exec(`create trigger refuse before update on tasker.steps for each row when (new.task_id = '` + bad + `') execute function refuse()`)
	queue := e.Names.Finalizations()
	e.Exec(`select pgmq.send($1, jsonb_build_object('task_uuid', id)) from unnest($2::text[]) id`, queue, []string{bad, good})
	e.Exec(`select pg_notify($1, '')`, e.Names.RequestsChannel())
	e.Await(`select state = 'complete' from tasker.tasks where task_id = $1`, good)
	e.Await(`select count(*) = 1 from pgmq.a_`+queue+` where read_ct = 2 and message->>'refused' like '%not this one%'
		and message->'message'->>'task_uuid' = $1`, bad)
	e.Exec(`drop trigger refuse on tasker.steps`)
	e.Exec(`select pgmq.send($1, jsonb_build_object('task_uuid', $2::text))`, queue, bad)
	e.Exec(`select pg_notify($1, '')`, e.Names.RequestsChannel())
	e.Await(`select state = 'complete' from tasker.tasks where task_id = $1`, bad)
}
