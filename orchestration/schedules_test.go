package orchestration_test

import (
	"fmt"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
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
