package combined_test

import (
	"context"
	"fmt"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// TestSchemaGrowsMeanwhile: the migrations of the next version add columns to
// every table while tasks are under way. The processes of this version go on, and
// more of them start.
func TestSchemaGrowsMeanwhile(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		reached, goOn := make(chan struct{}, 1), make(chan struct{})
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(approvalTemplate),
			Handlers: enginetest.Handlers{"ok": ok, "gather": gather, "route": func(ctx context.Context, s *tasker.Step) (any, error) {
				reached <- struct{}{}
				<-goOn
				return route(ctx, s)
			}},
		})
		under := e.Create("approval", map[string]float64{"amount": 5000})
		enginetest.Receive(t, reached)
		for _, table := range enginetest.Query[[]string](e, `
			select array_agg(format('%I.%I', schemaname, tablename)) from pg_tables where schemaname = 'tasker' or schemaname = 'pgmq' and tablename like 'q\_%'`) {
			e.Exec(fmt.Sprintf(`alter table %s add column added_later text default 'x'`, table))
		}
		close(goOn)
		if task := e.Wait(under); task.State != tasker.TaskComplete {
			t.Errorf("the task that was under way is %s", task.State)
		}
		if d == enginetest.Split {
			e.StartOrchestrator()
		}
		go func() {
			for range reached { // those that come later pass
			}
		}()
		t.Cleanup(func() { close(reached) })
		wantSteps(t, e.Run("approval", map[string]float64{"amount": 10}), "auto:complete finalize:complete route:complete validate:complete")
	})
}
