package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/state"
)

// A Bulk is what to do to which tasks.
type Bulk struct {
	Kind   state.TaskEvent // cancel, retry or resolve
	Filter postgres.Selection
}

// bulkKinds are the actions that there are in bulk.
var bulkKinds = []state.TaskEvent{state.TaskCancel, state.TaskRetry, state.TaskResolve}

// check completes the selection: of the states in the filter, or of all, those
// count in which the action is possible.
func (b *Bulk) check(now time.Time) error {
	f := &b.Filter
	if !slices.Contains(bulkKinds, b.Kind) {
		return fmt.Errorf("%w: %q is nothing to do to many tasks; use cancel, retry or resolve", ErrInvalid, b.Kind)
	}
	if f.Namespace == "" && f.Name == "" && len(f.States) == 0 && len(f.Tags) == 0 && f.CreatedAfter == nil && f.CreatedBefore == nil {
		return fmt.Errorf("%w: the filter is empty; name at least a namespace, a template, a state, a tag or a time", ErrInvalid)
	}
	possible := state.Tasks.From(b.Kind)
	if len(f.States) > 0 {
		possible = slices.DeleteFunc(possible, func(s tasker.TaskState) bool { return !slices.Contains(f.States, s) })
	}
	if len(possible) == 0 {
		return fmt.Errorf("%w: no task in state %v allows to %s it", ErrInvalid, f.States, b.Kind)
	}
	f.States = possible
	if f.CreatedBefore == nil || f.CreatedBefore.After(now) {
		f.CreatedBefore = &now
	}
	return nil
}

// Count returns how many tasks the action would concern now.
func (o *Operator) Count(ctx context.Context, b Bulk) (n int64, err error) {
	if err := b.check(time.Now()); err != nil {
		return 0, err
	}
	err = postgres.WithPlanner(ctx, o.Pool, func(db postgres.DB) error {
		n, err = postgres.CountSelected(ctx, db, b.Filter)
		return err
	})
	return n, err
}

// Start stores the operation; an orchestrator works it off. Tasks created from
// now on are not concerned.
func (o *Operator) Start(ctx context.Context, b Bulk, by By) (postgres.Operation, error) {
	if err := b.check(time.Now()); err != nil {
		return postgres.Operation{}, err
	}
	matched, err := o.Count(ctx, b)
	if err != nil {
		return postgres.Operation{}, err
	}
	op := postgres.Operation{
		ID: uuid.Must(uuid.NewV7()), Kind: string(b.Kind), Filter: b.Filter, Matched: matched, Actor: &by.Actor, Reason: &by.Reason,
	}
	if err := postgres.InsertOperation(ctx, o.Pool, op); err != nil {
		return postgres.Operation{}, err
	}
	o.Notifier.Wake(o.Names.OperationsChannel())
	return postgres.FindOperation(ctx, o.Pool, op.ID)
}

// WorkOff deals with the next tasks, up to most, of the oldest operation that is
// not finished, in one transaction with its progress. It reports whether it has
// done anything; not when there is nothing to do or another process does it. A
// crash loses nothing: the next to come goes on after the last batch.
func (o *Operator) WorkOff(ctx context.Context, most int) (bool, error) {
	op, err := postgres.NextOperation(ctx, o.Pool)
	if errors.Is(err, postgres.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for {
		tasks, err := o.selected(ctx, &op, most)
		if err != nil {
			return false, err
		}
		var namespaces []string
		var worked bool
		err = o.around(ctx, tasks, func() (err error) {
			namespaces, worked, err = o.workOff(ctx, op, tasks)
			return err
		})
		if err == nil {
			for _, namespace := range namespaces {
				o.Wake(namespace)
			}
			return worked, nil
		}
		if ctx.Err() != nil || postgres.IsUnavailable(err) || len(tasks) == 0 {
			return false, err
		}
		if len(tasks) == 1 {
			return true, o.giveUp(ctx, op, tasks[0], err)
		}
		most = max(1, len(tasks)/10) // one of them is to blame
	}
}

// selected finds the next tasks with a planner that is free to choose, apart from
// the statements of the engine.
func (o *Operator) selected(ctx context.Context, op *postgres.Operation, most int) (tasks []uuid.UUID, err error) {
	err = postgres.WithPlanner(ctx, o.Pool, func(db postgres.DB) error {
		tasks, err = postgres.ListSelected(ctx, db, op.Filter, op.After, most)
		return err
	})
	return tasks, err
}

// workOff deals with tasks, or ends the operation when there are none. It returns
// the namespaces concerned, and false when the operation is no longer where it
// was.
func (o *Operator) workOff(ctx context.Context, op postgres.Operation, tasks []uuid.UUID) (namespaces []string, worked bool, err error) {
	event := state.TaskEvent(op.Kind)
	err = postgres.InTx(ctx, o.Pool, func(db postgres.Pool) error {
		locked, err := postgres.LockOperation(ctx, db, &op)
		if err != nil || !locked {
			return err
		}
		worked = true
		if len(tasks) == 0 {
			return postgres.SaveOperation(ctx, db, &op, true)
		}
		a := action{tasks: tasks, by: by(&op), detail: map[string]any{"operation": op.ID}}
		groups, err := o.actOnAllowed(ctx, db, event, a)
		if err != nil {
			return err
		}
		for namespace, group := range groups {
			namespaces = append(namespaces, namespace)
			op.Done += int64(len(group))
		}
		op.After = &tasks[len(tasks)-1]
		return postgres.SaveOperation(ctx, db, &op, false)
	})
	return namespaces, worked, err
}

// actOnAllowed acts on those of the tasks that still allow it, of any namespace,
// and returns them by namespace.
func (o *Operator) actOnAllowed(ctx context.Context, db postgres.DB, event state.TaskEvent, a action) (map[string][]uuid.UUID, error) {
	standings, err := postgres.LockStandings(ctx, db, a.tasks)
	if err != nil {
		return nil, err
	}
	groups := map[string][]uuid.UUID{}
	for _, s := range standings {
		if allowed(s, event) == nil { // it may have moved since it was selected
			groups[s.Namespace] = append(groups[s.Namespace], s.Task)
		}
	}
	for namespace, group := range groups {
		a.namespace, a.tasks = namespace, group
		if err := o.act(ctx, db, event, a); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// CancelWithin cancels those of the tasks that are not over, in a transaction of
// the caller, and returns them by namespace. Once that is committed,
// [Operator.Wake] tells those who have to do with the namespaces.
func (o *Operator) CancelWithin(ctx context.Context, db postgres.DB, tasks []uuid.UUID, by By) (map[string][]uuid.UUID, error) {
	return o.actOnAllowed(ctx, db, state.TaskCancel, action{tasks: tasks, by: by, detail: map[string]any{}})
}

func by(op *postgres.Operation) By {
	var by By
	if op.Actor != nil {
		by.Actor = *op.Actor
	}
	if op.Reason != nil {
		by.Reason = *op.Reason
	}
	return by
}

// giveUp goes past a task that cannot be dealt with.
func (o *Operator) giveUp(ctx context.Context, op postgres.Operation, task uuid.UUID, reason error) error {
	return postgres.InTx(ctx, o.Pool, func(db postgres.Pool) error {
		locked, err := postgres.LockOperation(ctx, db, &op)
		if err != nil || !locked {
			return err
		}
		text := fmt.Sprintf("task %s: %v", task, reason)
		op.Failed++
		op.After, op.LastError = &task, &text
		return postgres.SaveOperation(ctx, db, &op, false)
	})
}
