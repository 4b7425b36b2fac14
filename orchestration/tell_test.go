package orchestration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
	"github.com/tasker-systems/tasker-go/internal/common/state"
)

// TestEveryChangeIsTold: subscribers of the process learn what becomes of tasks
// whoever moves them, once each, and nothing of what stays as it is.
func TestEveryChangeIsTold(t *testing.T) {
	t.Parallel()
	fails := func(b *bench, task uuid.UUID) {
		b.exec(`update tasker.steps set state = 'error', finished_at = now(), error = '{"kind": "handler_error"}' where task_id = $1`, task)
		b.exec(`update tasker.tasks set state = 'error', finished_at = now() where task_id = $1`, task)
	}
	tests := []struct {
		name string
		move func(b *bench, task uuid.UUID) error
		want string
	}{
		{"operator", func(b *bench, task uuid.UUID) error {
			o := newOperations(b.sys, &b.cfg).operator
			if err := o.Task(b.Context(), task, state.TaskPause, operate.By{}); err != nil {
				return err
			}
			return o.Task(b.Context(), task, state.TaskCancel, operate.By{})
		}, "task.cancelled cancelled"},
		{"operator, a step", func(b *bench, task uuid.UUID) error {
			return newOperations(b.sys, &b.cfg).operator.ResolveStep(b.Context(), operate.Step{Task: task, Name: "only"}, operate.By{})
		}, "task.completed complete"},
		{"bulk", func(b *bench, _ uuid.UUID) error {
			o := newOperations(b.sys, &b.cfg).operator
			bulk := operate.Bulk{Kind: state.TaskCancel, Filter: postgres.Selection{Namespace: "test", States: []tasker.TaskState{tasker.TaskStepsInProcess}}}
			if _, err := o.Start(b.Context(), bulk, operate.By{}); err != nil {
				return err
			}
			_, err := o.WorkOff(b.Context(), 10)
			return err
		}, "task.cancelled cancelled"},
		{"staleness", func(b *bench, task uuid.UUID) error {
			b.exec(`update tasker.tasks set created_at = created_at - interval '3 hours' where task_id = $1`, task)
			b.exec(`update tasker.steps set enqueued_at = enqueued_at - interval '3 hours' where task_id = $1`, task)
			detect, _ := b.keeper().job(stalenessJob)
			_, err := detect.run(b.Context())
			return err
		}, "task.dead_lettered steps_in_process staleness_timeout, task.failed error"},
		{"dead letters", func(b *bench, task uuid.UUID) error {
			fails(b, task)
			h := b.keeper()
			entered, err := h.letters.Examine(b.Context())
			h.entered(b.Context(), entered)
			return err
		}, "task.dead_lettered error max_retries_exceeded"},
		{"reconciler", func(b *bench, task uuid.UUID) error {
			b.exec(`update tasker.steps set state = 'complete', finished_at = now() where task_id = $1`, task)
			b.pass()
			return nil
		}, "task.completed complete"},
		{"cycle", func(b *bench, task uuid.UUID) error {
			b.exec(`update tasker.steps set state = 'pending', depends_on = '{1}', dependents = '{1}', waiting_on = 1 where task_id = $1`, task)
			b.pass()
			return nil
		}, "task.dead_lettered waiting_for_dependencies dependency_cycle_detected, task.failed error"},
		{"finalization", func(b *bench, task uuid.UUID) error {
			b.exec(`update tasker.steps set state = 'complete', finished_at = now() where task_id = $1`, task)
			d := newDoorkeeper(b.sys, &b.cfg, nil)
			return d.settle(b.Context(), d.names.Finalizations(), []postgres.Letter{{}}, []uuid.UUID{task})
		}, "task.completed complete"},
		{"schedule", func(b *bench, task uuid.UUID) error {
			_, err := schedules.Create(b.Context(), b.sys.Pool, schedules.Spec{
				Name: "one", Template: postgres.TemplateName{Namespace: "test", Name: "single"}, Cron: "@hourly", Overlap: schedules.OverlapCancelOther,
			})
			b.exec(`update tasker.schedules set next_run_at = now(), last_task_id = $1`, task)
			if err == nil {
				_, err = newFirer(b.sys, &b.cfg).Fire(b.Context())
			}
			return err
		}, "task.cancelled cancelled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.cfg.Backoff.ReenqueueDelays = config.ReenqueueDelays{}
			if err := postgres.CreateLoggedQueues(t.Context(), b.sys.Pool, []string{b.sys.Names.Finalizations()}); err != nil {
				t.Fatal(err)
			}
			var told []string // by one goroutine, which has ended when it is read
			program := tasker.NewEvents()
			program.Subscribe("task.*", func(_ context.Context, e tasker.Event) {
				told = append(told, fmt.Sprintf("%s %s of %s", e.Name, e.Payload, e.Metadata.Task))
			})
			b.sys.UseEvents(program, 100, 100)
			task := b.create()
			if err := tt.move(b, task); err != nil {
				t.Fatal(err)
			}
			ended, end := context.WithCancel(t.Context())
			end()
			b.sys.Bus.Run(ended) // passes on what it has taken
			slices.Sort(told)
			got := strings.NewReplacer(`{"state":"`, "", `","reason":"`, " ", `"}`, "", " of "+task.String(), "").Replace(strings.Join(told, ", "))
			if got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}
