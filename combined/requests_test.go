package combined_test

import (
	"context"
	"errors"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/taskertest"
)

const oneTemplate = `{name: one, namespace: test, identity_strategy: always_unique, steps: [{name: only, handler: {callable: ok}}]}`

// TestRequestQueue: a message in the queue of requests becomes a task, whatever
// the queue is called; one that cannot is set aside with the reason.
func TestRequestQueue(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.orchestration_queues.task_requests")
	for _, queue := range []string{"orchestration_task_requests_queue", "wishes"} {
		t.Run(queue, func(t *testing.T) {
			t.Parallel()
			e := enginetest.Start(t, enginetest.Options{
				Deployment: enginetest.Combined, Templates: taskertest.YAML(oneTemplate), Handlers: enginetest.Handlers{"ok": ok},
				Settings: enginetest.Settings{
					"common.queues.orchestration_queues.task_requests":                 `"` + queue + `"`,
					"orchestration.event_systems.orchestration.processing.max_retries": "1",
					"common.queues.default_visibility_timeout_seconds":                 "1",
				},
			})
			for _, message := range []string{
				`{"name": "one", "namespace": "test", "priority": 7, "tags": ["a"]}`,
				`{"request_id": "r1", "task_request": {"name": "one", "namespace": "test"}}`,
				`{"name": "one", "namespace": "test", "colour": "red"}`,
				`{"name": "nobody", "namespace": "test"}`,
				`{"name": "one", "namespace": "test", "priority": 1000}`,
				`5`,
			} {
				e.Exec(`select pgmq.send($1, $2::jsonb)`, queue, message)
			}
			e.Exec(`select pg_notify($1, '')`, e.Names.RequestsChannel())
			e.Await(`select count(*) = 2 from tasker.tasks where state = 'complete'`)
			e.Await(`select count(*) = 4 from pgmq.a_` + queue)
			if n := enginetest.Query[int](e, `select count(*) from tasker.tasks where priority = 7 and tags = '{a}'`); n != 1 {
				t.Errorf("%d tasks are as asked for", n)
			}
			for _, reason := range []string{`unknown field "colour"`, "unknown template", "priority is 1000", "no JSON object"} {
				if n := enginetest.Query[int](e, `select count(*) from pgmq.a_`+queue+` where message->>'refused' like '%' || $1 || '%'`, reason); n != 1 {
					t.Errorf("%d messages were refused since %s", n, reason)
				}
			}
		})
	}
}

// TestInitializing: a task that was accepted and has no steps gets them once it
// has rested for reenqueue_delays.initializing.
func TestInitializing(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.backoff.reenqueue_delays.initializing")
	for _, tt := range []struct {
		delay string
		state tasker.TaskState
	}{{"30", tasker.TaskComplete}, {"300", tasker.TaskInitializing}} {
		t.Run(tt.delay, func(t *testing.T) {
			t.Parallel()
			e := enginetest.Start(t, enginetest.Options{
				Deployment: enginetest.None, Templates: taskertest.YAML(oneTemplate),
				Settings: enginetest.Settings{"orchestration.backoff.reenqueue_delays.initializing": tt.delay},
			})
			e.Register()
			// As a crash between acceptance and expansion leaves it, a minute ago.
			e.Exec(`insert into tasker.tasks (task_id, template_id, state, context, created_at)
				select '01a20dd1-fd1b-7470-88b2-22f582fc0000', template_id, 'initializing', '{}', now() - interval '1 minute' from tasker.templates`)
			e.Check()
			e.StartCombined(enginetest.Handlers{"ok": ok})
			if other := e.Run("one", nil); other.State != tasker.TaskComplete {
				t.Fatalf("another task is %s", other.State)
			}
			if tt.state == tasker.TaskComplete {
				e.Await(`select count(*) = 0 from tasker.tasks where state <> 'complete'`)
			}
			if state := enginetest.Query[string](e, `select state from tasker.tasks order by task_id limit 1`); state != string(tt.state) {
				t.Errorf("with a delay of %s s the task is %s", tt.delay, state)
			}
		})
	}
}

// TestFinalizationQueue: a task named in the queue is settled anew, whatever the
// queue is called; a step that was set right by hand lets it go on at once.
func TestFinalizationQueue(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.queues.orchestration_queues.task_finalizations")
	for _, queue := range []string{"orchestration_task_finalizations_queue", "again"} {
		t.Run(queue, func(t *testing.T) {
			t.Parallel()
			e := enginetest.Start(t, enginetest.Options{
				Deployment: enginetest.Combined, Handlers: enginetest.Handlers{"ok": ok, "fail": failForGood},
				Templates: taskertest.YAML(`
name: two
namespace: test
steps:
  - {name: a, handler: {callable: fail}}
  - {name: b, handler: {callable: ok}, dependencies: [a]}`),
				Settings: enginetest.Settings{"common.queues.orchestration_queues.task_finalizations": `"` + queue + `"`},
			})
			id := e.Run("two", nil).ID
			e.Exec(`update tasker.steps set state = 'complete', result = '1', error = null where task_id = $1 and name = 'a'`, id)
			e.Exec(`select pgmq.send($1, jsonb_build_object('task_uuid', $2::text))`, queue, id)
			e.Exec(`select pg_notify($1, '')`, e.Names.RequestsChannel())
			e.Await(`select state = 'complete' from tasker.tasks where task_id = $1`, id)
		})
	}
}

func failForGood(context.Context, *tasker.Step) (any, error) {
	return nil, tasker.Permanent(errors.New("never"))
}
