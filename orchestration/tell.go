package orchestration

import (
	"context"
	"log/slog"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/events"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
)

// A teller tells the subscribers of this process of tasks that came to rest here
// other than by a result: operators, housekeeping and repairs move them too.
// Where nobody subscribes it costs nothing.
type teller struct {
	db     postgres.Pool
	router *events.Router
	log    *slog.Logger
}

func newTeller(sys *system.Context) *teller { return &teller{sys.Pool, sys.Events, sys.Log} }

// around does what may move tasks and tells of those whose state is another
// afterwards. What others did to them in between is told too.
func (t *teller) around(ctx context.Context, tasks []uuid.UUID, do func() error) error {
	if !t.router.WantsTasks() || len(tasks) == 0 {
		return do()
	}
	before, looked := postgres.TaskStates(ctx, t.db, tasks)
	if err := do(); err != nil {
		return err
	}
	if looked == nil {
		looked = t.changed(context.WithoutCancel(ctx), tasks, before)
	}
	if looked != nil { // what is done is done
		t.log.WarnContext(ctx, "subscribers are not told what became of tasks", "tasks", len(tasks), "error", looked)
	}
	return nil
}

func (t *teller) changed(ctx context.Context, tasks []uuid.UUID, before map[uuid.UUID]tasker.TaskState) error {
	after, err := postgres.TaskStates(ctx, t.db, tasks)
	if err != nil {
		return err
	}
	byNamespace, err := postgres.TasksByNamespace(ctx, t.db, tasks)
	if err != nil {
		return err
	}
	for namespace, group := range byNamespace {
		var moved []postgres.SettledTask
		for _, task := range group {
			if state := after[task]; state != before[task] {
				moved = append(moved, postgres.SettledTask{Task: task, State: state})
			}
		}
		t.router.Settled(namespace, moved)
	}
	return nil
}

// deadLettered tells of tasks that were set aside.
func (t *teller) deadLettered(all []postgres.Entered) {
	for i := range all {
		t.router.DeadLettered(&all[i])
	}
}

// cancelled tells of tasks that were cancelled.
func (t *teller) cancelled(namespace string, tasks []uuid.UUID) {
	for _, task := range tasks {
		t.router.Settled(namespace, []postgres.SettledTask{{Task: task, State: tasker.TaskCancelled}})
	}
}
