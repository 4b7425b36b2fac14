// Package dlq sets aside tasks that cannot go on, and says why
// (orchestration.dlq). An entry is an investigation: the task stays where it is,
// in error or blocked by failures, until an operator resolves the entry or
// requeues the task.
//
// A step that failed for good, be it out of attempts or by an error that forbade
// another, gives max_retries_exceeded; one that lost its workers again and again
// gives worker_unavailable. Stale tasks are set aside by package staleness and
// those that an operator names by the API.
//
// The package returns what it did; telling others is the caller's.
package dlq

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A Keeper keeps the dead letter queue. It is safe for concurrent use.
type Keeper struct {
	db  postgres.Pool
	cfg config.DLQ
}

// New returns a keeper.
func New(db postgres.Pool, cfg config.DLQ) *Keeper { return &Keeper{db: db, cfg: cfg} }

// allows reports whether entries are made for a reason.
func (k *Keeper) allows(reason postgres.DLQReason) bool {
	r := k.cfg.Reasons
	return k.cfg.Enabled && map[postgres.DLQReason]bool{
		postgres.MaxRetriesExceeded:      r.MaxRetriesExceeded,
		postgres.WorkerUnavailable:       r.WorkerUnavailable,
		postgres.DependencyCycleDetected: r.DependencyCycleDetected,
	}[reason]
}

// most is how many failed tasks one transaction examines.
const most = 200

// Examine looks at tasks that failed since it last looked, and sets aside those
// whose reason makes entries. No failure is missed: a task stays unexamined until
// the transaction that makes its entry commits. Concurrent calls look at
// different tasks.
func (k *Keeper) Examine(ctx context.Context) (entered []postgres.Entered, err error) {
	for {
		var examined int
		err := postgres.WithPlanner(ctx, k.db, func(db postgres.DB) error {
			failed, err := postgres.Examine(ctx, db, most)
			if err != nil {
				return err
			}
			examined = len(failed)
			now, err := postgres.Enter(ctx, db, k.letters(failed), k.cfg.IncludeFullTaskSnapshot)
			entered = append(entered, now...)
			return err
		})
		if err != nil || examined < most {
			return entered, err
		}
	}
}

// letters are the entries to make for failed tasks.
func (k *Keeper) letters(failed []postgres.Unexamined) []postgres.DeadLetter {
	var all []postgres.DeadLetter
	for _, task := range failed {
		if reason := reasonOf(task.Failed); k.allows(reason) {
			all = append(all, postgres.DeadLetter{
				Task: task.Task, Reason: reason, Metadata: encode(map[string]any{"failed_steps": task.Failed}),
			})
		}
	}
	return all
}

// reasonOf says why a task cannot go on: the step that failed last decides.
func reasonOf(failed []postgres.FailedStep) postgres.DLQReason {
	if n := len(failed); n > 0 && failed[n-1].Kind == outcome.WorkerLost {
		return postgres.WorkerUnavailable
	}
	return postgres.MaxRetriesExceeded
}

// EndCycles ends those of the tasks in error whose steps wait for each other:
// nothing will ever move them. It returns the tasks it ended and the entries it
// made for them.
func (k *Keeper) EndCycles(ctx context.Context, tasks []uuid.UUID) (ended []postgres.Cycle, entered []postgres.Entered, err error) {
	err = postgres.WithPlanner(ctx, k.db, func(db postgres.DB) error {
		if err := postgres.LockTasks(ctx, db, tasks); err != nil {
			return err
		}
		if ended, err = postgres.FindCycles(ctx, db, tasks); err != nil || len(ended) == 0 {
			return err
		}
		if k.allows(postgres.DependencyCycleDetected) {
			letters := make([]postgres.DeadLetter, len(ended))
			for i, c := range ended {
				letters[i] = postgres.DeadLetter{
					Task: c.Task, Reason: postgres.DependencyCycleDetected, Metadata: encode(map[string]any{"cycle": c.Steps}),
				}
			}
			if entered, err = postgres.Enter(ctx, db, letters, k.cfg.IncludeFullTaskSnapshot); err != nil {
				return err
			}
		}
		return end(ctx, db, ended)
	})
	return ended, entered, err
}

func end(ctx context.Context, db postgres.DB, cycles []postgres.Cycle) error {
	given := make([]postgres.GivenUp, len(cycles))
	for i, c := range cycles {
		failure := outcome.Failure{
			Kind: outcome.DependencyCycle, Permanent: true,
			Message: "these steps wait for each other: " + strings.Join(c.Steps, ", "),
		}
		given[i] = postgres.GivenUp{Task: c.Task, Error: failure.JSON(), Actor: "reconciler"}
	}
	return postgres.GiveUp(ctx, db, given)
}

// A Reminder says that entries have been pending for longer than
// max_pending_age_hours.
type Reminder struct {
	Overdue int           // entries
	Oldest  time.Duration // the age of the oldest
}

// Event is the reminder in JSON, for listeners.
func (r Reminder) Event() string {
	return string(encode(map[string]any{
		"event": "dlq_entries_overdue", "entries": r.Overdue, "oldest_seconds": int64(r.Oldest.Seconds()),
	}))
}

// Remind returns a reminder, or nil when no entry is overdue or the queue is off.
// It tells the listeners of the channel, unless that is empty.
func (k *Keeper) Remind(ctx context.Context, channel string) (*Reminder, error) {
	if !k.cfg.Enabled {
		return nil, nil
	}
	overdue, oldest, err := postgres.CountOverdue(ctx, k.db, k.cfg.MaxPendingAge.Duration())
	if err != nil || overdue == 0 {
		return nil, err
	}
	r := &Reminder{Overdue: overdue, Oldest: oldest}
	if channel == "" {
		return r, nil
	}
	return r, postgres.NotifyPayloads(ctx, k.db, channel, []string{r.Event()})
}

// encode encodes what always encodes: texts, numbers and lists of them.
func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("dlq: %v", err))
	}
	return raw
}
