package orchestration_test

import (
	"context"
	"fmt"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// TestSchedulesFireOnce: two orchestrators and 200 schedules that become due at
// the same moment. Each fires once, and its task runs.
func TestSchedulesFireOnce(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.Split, Templates: taskertest.YAML(pair), Handlers: handlers,
		Settings: enginetest.Settings{"orchestration.event_systems.orchestration.deployment_mode": `"EventDrivenOnly"`}, // nothing but a notification can wake them in time
	})
	e.StartOrchestrator()
	const n = 200
	for i := range n {
		_, err := schedules.Create(t.Context(), e.Pool, schedules.Spec{
			Name: fmt.Sprint(i), Template: postgres.TemplateName{Namespace: enginetest.Namespace, Name: "pair"}, Cron: "@yearly",
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	e.Exec(`update tasker.schedules set next_run_at = clock_timestamp() + interval '500 ms'`)
	if err := postgres.Notify(t.Context(), e.Pool, []string{e.Names.SchedulesChannel()}); err != nil {
		t.Fatal(err)
	}
	e.Await(`select count(*) = $1 from tasker.tasks where state = $2`, n, tasker.TaskComplete)
	got := enginetest.Query[string](e, `select concat_ws(' ', count(*), count(distinct r.schedule_id), count(distinct r.task_id),
			count(*) filter (where r.outcome = 'created' and t.created_at >= r.scheduled_for), (select count(*) from tasker.tasks))
		from tasker.schedule_runs r join tasker.tasks t using (task_id)`)
	if want := "200 200 200 200 200"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestBufferedStartsAtTheEnd: of two orchestrators, which nothing but a
// notification can wake in time, one starts what waits as soon as the running task
// has ended, be it cancelled or complete.
func TestBufferedStartsAtTheEnd(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.Split,
		Templates:  taskertest.YAML(`{name: slow, namespace: test, steps: [{name: only, handler: {callable: wait}}]}`),
		Handlers: enginetest.Handlers{"wait": func(ctx context.Context, _ *tasker.Step) (any, error) {
			select {
			case <-release:
				return 1, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}},
		Settings: enginetest.Settings{"orchestration.event_systems.orchestration.deployment_mode": `"EventDrivenOnly"`},
	})
	e.StartOrchestrator()
	_, err := schedules.Create(t.Context(), e.Pool, schedules.Spec{
		Name: "slow", Template: postgres.TemplateName{Namespace: enginetest.Namespace, Name: "slow"}, Cron: "@hourly", Overlap: schedules.OverlapBufferOne,
	})
	if err != nil {
		t.Fatal(err)
	}
	due := func(hours int) {
		t.Helper()
		e.Exec(`update tasker.schedules set next_run_at = date_trunc('hour', clock_timestamp())`)
		e.Exec(`update tasker.schedule_runs set scheduled_for = scheduled_for - make_interval(hours => $1)`, hours)
		e.Exec(`update tasker.tasks set identity = null`)
		if err := postgres.Notify(t.Context(), e.Pool, []string{e.Names.SchedulesChannel()}); err != nil {
			t.Fatal(err)
		}
	}
	due(1)
	e.Await(`select count(*) = 1 from tasker.steps where state = 'in_progress'`)
	due(2)
	e.Await(`select buffered_for is not null from tasker.schedules`)
	first := enginetest.Query[string](e, `select last_task_id::text from tasker.schedules`)
	if err := e.Client.Cancel(t.Context(), first, client.By{}); err != nil {
		t.Fatal(err)
	}
	e.Await(`select count(*) = 1 from tasker.tasks where finished_at is null and task_id <> $1`, first)
	due(3)
	e.Await(`select buffered_for is not null from tasker.schedules`)
	e.Exec(`update tasker.schedule_runs set scheduled_for = scheduled_for - interval '1 day'`)
	close(release)
	e.Await(`select count(*) = 2 from tasker.tasks where state = 'complete'`)
	if n := enginetest.Query[int](e, `select count(*)::int from tasker.schedule_runs where outcome = 'created'`); n != 3 {
		t.Errorf("%d runs were created, want 3", n)
	}
}
