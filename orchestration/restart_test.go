package orchestration_test

import (
	"context"
	"testing"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/migrations"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// A seen is the result of a step: an id made by this very attempt, and the id
// that its dependency had returned.
type seen struct {
	ID  string `json:"id"`
	Saw string `json:"saw"`
}

func trace(_ context.Context, s *tasker.Step) (any, error) {
	out := seen{ID: uuid.NewString()}
	for name := range s.Results {
		var parent seen
		if err := s.Result(name, &parent); err != nil {
			return nil, err
		}
		out.Saw = parent.ID
	}
	return out, nil
}

// TestServerCrash kills PostgreSQL in the middle of work. The queues are
// unlogged and come back empty; every task finishes all the same, and no success
// is replaced by another once a step has built on it.
func TestServerCrash(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t)
	if _, err := migrations.Apply(t.Context(), server.URL(privatepg.Database)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []enginetest.Deployment{enginetest.Combined, enginetest.Split} {
		t.Run(string(d), func(t *testing.T) { crash(t, server, d) })
	}
}

func crash(t *testing.T, server *privatepg.Server, d enginetest.Deployment) {
	const tasks = 300
	e := enginetest.Start(t, enginetest.Options{
		Deployment: d, URL: server.URL(privatepg.Database),
		Templates: taskertest.YAML(`
name: chain
namespace: test
steps:
  - {name: a, handler: {callable: trace}}
  - {name: b, handler: {callable: trace}, dependencies: [a]}
  - {name: c, handler: {callable: trace}, dependencies: [b]}
  - {name: d, handler: {callable: trace}, dependencies: [c]}`),
		Handlers: enginetest.Handlers{"trace": trace},
		Settings: enginetest.Settings{
			"orchestration.event_systems.task_readiness.timing.fallback_polling_interval_seconds": "1",
			"orchestration.event_systems.task_readiness.timing.visibility_timeout_seconds":        "2",
			"worker.event_system.timing.visibility_timeout_seconds":                               "2",
			"orchestration.event_systems.orchestration.timing.visibility_timeout_seconds":         "2",
			"orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds":  "1",
			"worker.system.listener.retry_interval_seconds":                                       "1",
			"common.database.pool.acquire_timeout_seconds":                                        "2",
		},
	})
	requests := make([]client.Request, tasks)
	for i := range requests {
		requests[i] = client.Request{Namespace: enginetest.Namespace, Template: "chain"}
	}
	ids, err := e.Client.CreateTasks(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []int{tasks, 2 * tasks, 3 * tasks} { // of 4 · tasks steps
		e.Await(`select count(*) >= $1 from tasker.steps where state = 'complete' and task_id = any ($2)`, part, ids)
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	e.Await(`select count(*) = 0 from tasker.tasks where state <> 'complete'`)
	replaced := enginetest.Query[int](e, `
		select count(*)
		from tasker.steps s
		join tasker.steps p on p.task_id = s.task_id and p.ordinal = any (s.depends_on)
		where s.result->>'saw' <> p.result->>'id'`)
	if replaced != 0 {
		t.Errorf("%d results were replaced after a step had built on them", replaced)
	}
	if n := enginetest.Query[int](e, `select count(*) from tasker.steps where attempt <> 1`); n != 0 {
		t.Errorf("the crash has used up attempts of %d steps", n)
	}
}
