// Package schedule starts tasks by the clock. It is safe with any number of
// orchestrators: who locks a schedule that is due creates its task and moves it
// on to its next time in one transaction, the others pass it over, and what a
// crash interrupts never happened and is done by whoever looks next.
//
// The time is that of the database. Clocks of hosts differ, and one that is ahead
// would fire early and then find the next time where another has not arrived
// yet; with one clock "due" means the same to all.
//
// Start reading at [Firer.Run].
package schedule

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
)

// A Firer fires the schedules that are due.
type Firer struct {
	DB       postgres.Pool
	Door     intake.Door
	Names    messaging.Names
	Notifier *eventsystem.Notifier
	Operator *operate.Operator
	// Cancelled is told of tasks of a namespace that others took the place of.
	Cancelled func(namespace string, tasks []uuid.UUID)
	Log       *slog.Logger
	Look      time.Duration // how often to look although nobody announces anything
}

const (
	// batch is how many schedules one transaction fires: with all that they may
	// catch up, what one call of intake accepts.
	batch = intake.MaxTasks / schedules.MaxCatchUp

	// busy is the pause when what is due is locked: another orchestrator is
	// firing it, or has just died and the server has not noticed yet.
	busy = 100 * time.Millisecond

	// pause is how long to wait after an error.
	pause = time.Second
)

// Run fires schedules until ctx ends. It sleeps until the next one is due, or
// until a change of the schedules wakes it.
func (f *Firer) Run(ctx context.Context, wake *eventsystem.Signal) {
	for ctx.Err() == nil {
		n, err := f.Fire(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			f.Log.WarnContext(ctx, "schedules not fired; trying again", "error", err)
			wake.Wait(ctx, pause)
		case n < batch:
			wake.Wait(ctx, f.rest(ctx))
		}
	}
}

// rest is how long nothing is due.
func (f *Firer) rest(ctx context.Context) time.Duration {
	due, any, err := postgres.NextSchedule(ctx, f.DB)
	switch {
	case err != nil:
		return min(pause, f.Look)
	case !any:
		return f.Look
	}
	return min(max(due, busy), f.Look)
}

// Fire fires up to a batch of schedules that are due and returns how many.
func (f *Firer) Fire(ctx context.Context) (int, error) {
	var plans []plan
	var channels []string
	var cancelled map[string][]uuid.UUID
	err := postgres.InTx(ctx, f.DB, func(tx postgres.Pool) error {
		due, err := postgres.LockDueSchedules(ctx, tx, batch)
		if err != nil || len(due) == 0 {
			return err
		}
		plans = make([]plan, len(due))
		var starts []start
		for i := range due {
			plans[i] = planFor(&due[i])
			for _, at := range plans[i].start {
				starts = append(starts, start{plan: &plans[i], at: at})
			}
		}
		if channels, err = f.create(ctx, tx, starts); err != nil {
			return err
		}
		if cancelled, err = f.cancel(ctx, tx, plans); err != nil {
			return err
		}
		fired := make([]postgres.Fired, len(plans))
		for i := range plans {
			fired[i] = plans[i].Fired
		}
		return postgres.MoveSchedules(ctx, tx, fired)
	})
	if err != nil {
		return 0, err
	}
	for _, channel := range channels {
		f.Notifier.Wake(channel)
	}
	for namespace, tasks := range cancelled {
		f.Operator.Wake(namespace)
		f.Cancelled(namespace, tasks)
	}
	for i := range plans {
		if p := &plans[i]; p.LastError != "" {
			f.Log.WarnContext(ctx, "schedule made no task", "schedule", p.schedule.Name, "reason", p.LastError)
		}
	}
	return len(plans), nil
}

// cancel cancels the tasks that others have taken the place of, and returns
// them by namespace. Where no other could be created the last one goes on.
func (f *Firer) cancel(ctx context.Context, tx postgres.Pool, plans []plan) (map[string][]uuid.UUID, error) {
	var tasks []uuid.UUID
	for i := range plans {
		if p := &plans[i]; p.cancel != nil && p.LastTask != nil {
			tasks = append(tasks, *p.cancel)
		}
	}
	if len(tasks) == 0 {
		return nil, nil
	}
	return f.Operator.CancelWithin(ctx, tx, tasks, operate.By{Actor: "scheduler", Reason: "its schedule has created another task"})
}

// A start is a task to create.
type start struct {
	plan *plan
	at   time.Time
}

// create creates the tasks of all starts, records them and returns what to notify
// of them. When one is refused the halves are tried apart, so that it fails alone.
func (f *Firer) create(ctx context.Context, tx postgres.Pool, starts []start) (channels []string, err error) {
	if len(starts) == 0 {
		return nil, nil
	}
	requests := make([]intake.Request, len(starts))
	for i, s := range starts {
		requests[i] = schedules.Request(s.plan.schedule, s.at)
	}
	var accepted intake.Accepted
	err = postgres.InTx(ctx, tx, func(savepoint postgres.Pool) (err error) {
		accepted, err = intake.Accept(ctx, savepoint, f.Door, requests)
		return err
	})
	switch {
	case err == nil:
		for i, s := range starts {
			s.plan.created(s.at, accepted.IDs[i])
		}
		return accepted.Channels(f.Names), nil
	case ctx.Err() != nil || postgres.IsTransient(err):
		return nil, err
	case len(starts) == 1:
		starts[0].plan.record(starts[0].at, failed, err.Error())
		return nil, nil
	}
	half := len(starts) / 2
	first, err := f.create(ctx, tx, starts[:half])
	if err != nil {
		return nil, err
	}
	second, err := f.create(ctx, tx, starts[half:])
	return append(first, second...), err
}

func (p *plan) created(at time.Time, task uuid.UUID) {
	p.Runs = append(p.Runs, postgres.ScheduleRun{Schedule: p.Schedule, ScheduledFor: at, Outcome: created, TaskID: &task})
	p.LastTask = &task
	p.LastError = ""
}
