// Package archive moves tasks that ended long ago out of the live tables
// (orchestration.archive). It moves them a few at a time and rests in between, so
// that the engine does not feel it.
package archive

import (
	"context"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// An Archiver moves old tasks into the archive.
type Archiver struct {
	db  postgres.Pool
	cfg config.Archive
}

// New returns an archiver.
func New(db postgres.Pool, cfg config.Archive) *Archiver { return &Archiver{db: db, cfg: cfg} }

const (
	// page is how many tasks one statement looks at.
	page = 5000
	// chunk is how many tasks one transaction moves.
	chunk = 100
	// share is how many times as long as a step of its work the archiver rests
	// after it.
	share = 9
)

// Run moves up to archive_batch_size tasks, oldest first, and returns how many it
// moved, also when it ends early.
func (a *Archiver) Run(ctx context.Context) (moved postgres.Archived, err error) {
	policy := a.policy()
	var after uuid.UUID
	for moved.Tasks < a.cfg.ArchiveBatchSize {
		began := time.Now()
		var found postgres.ArchivePage
		var now postgres.Archived
		err := postgres.WithPlanner(ctx, a.db, func(db postgres.DB) error {
			found, err = postgres.FindOld(ctx, db, policy, postgres.ArchiveLook{
				After: after, Page: page, Limit: min(chunk, a.cfg.ArchiveBatchSize-moved.Tasks),
			})
			if err != nil || len(found.Old) == 0 {
				return err
			}
			now, err = postgres.ArchiveTasks(ctx, db, found.Old, policy.Retention)
			return err
		})
		if err != nil {
			return moved, err
		}
		moved.Tasks += now.Tasks
		moved.Steps += now.Steps
		if after = found.Last; after == uuid.Nil {
			return moved, nil
		}
		if err := rest(ctx, share*time.Since(began)); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// policy says which tasks are archived. A task that an operator resolved by hand
// counts as complete.
func (a *Archiver) policy() postgres.ArchivePolicy {
	p := postgres.ArchivePolicy{Retention: a.cfg.Retention.Duration(), DLQResolved: a.cfg.Policies.ArchiveDLQResolved}
	if a.cfg.Policies.ArchiveCompleted {
		p.States = append(p.States, tasker.TaskComplete, tasker.TaskResolvedManually)
	}
	if a.cfg.Policies.ArchiveFailed {
		p.States = append(p.States, tasker.TaskError)
	}
	if a.cfg.Policies.ArchiveCancelled {
		p.States = append(p.States, tasker.TaskCancelled)
	}
	return p
}

func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
