package operate

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/state"
)

// Requeue puts the task of a pending entry of the dead letter queue back to work,
// as retrying it does, and resolves the entry. The error wraps
// [postgres.ErrNotFound] when there is no such entry or its task is archived,
// [postgres.ErrResolved] when the entry is resolved, or is a [*state.Error] when
// the task is neither in error nor blocked by failures.
func (o *Operator) Requeue(ctx context.Context, entry uuid.UUID, by By) error {
	found, err := postgres.FindDLQEntry(ctx, o.Pool, entry, 0)
	if err != nil {
		return err
	}
	return o.locked(ctx, found.Task, func(ctx context.Context, db postgres.DB, s postgres.Standing) error {
		// The entry may have been resolved before the task was locked.
		if found, err = postgres.FindDLQEntry(ctx, db, entry, 0); err != nil {
			return err
		}
		if found.Resolution != postgres.DLQPending {
			return fmt.Errorf("requeue entry %s of the dead letter queue: %w", entry, postgres.ErrResolved)
		}
		if err := allowed(s, state.TaskRetry); err != nil {
			return err
		}
		if err := postgres.Resolve(ctx, db, entry, postgres.Resolution{Status: postgres.DLQRequeued, By: by.Actor, Notes: by.Reason}); err != nil {
			return err
		}
		return o.act(ctx, db, state.TaskRetry, action{
			namespace: s.Namespace, tasks: []uuid.UUID{found.Task}, by: by,
			detail: map[string]any{"from": s.State, "dlq_entry": entry},
		})
	})
}
