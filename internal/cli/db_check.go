package cli

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/migrations"
)

// A violationLine is a violation, as --json prints it.
type violationLine struct {
	Invariant string     `json:"invariant"`
	Task      uuid.UUID  `json:"task_uuid"`
	Step      *uuid.UUID `json:"step_uuid,omitempty"`
	Message   string     `json:"message"`
}

func (d *dbCommand) check(ctx context.Context) error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	pool, err := connect(ctx, cfg, "tasker-cli")
	if err != nil {
		return err
	}
	defer pool.Close()
	found, err := checkInvariants(ctx, pool, cfg)
	if err != nil {
		return err
	}
	lines := make([]violationLine, len(found))
	for i, v := range found {
		lines[i] = violationLine{Invariant: v.Invariant, Task: v.Task, Message: v.String()}
		if v.Step != uuid.Nil {
			lines[i].Step = &v.Step
		}
	}
	switch {
	case d.json:
		err = printJSON(d.env, map[string]any{"clean": len(found) == 0, "violations": lines})
	case len(found) == 0:
		_, err = fmt.Fprintln(d.env.Stdout, "clean: every invariant holds")
	default:
		for _, l := range lines {
			fmt.Fprintln(d.env.Stdout, l.Message)
		}
	}
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("the database breaks %s", counted(len(found), "invariant"))
	}
	return err
}

// checkInvariants returns what in the database breaks an invariant. The schema
// must be current.
func checkInvariants(ctx context.Context, pool *pgxpool.Pool, cfg config.Common) ([]postgres.Violation, error) {
	all, err := migrations.Status(ctx, cfg.Database.URL)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if !m.Applied {
			err := fmt.Errorf("the database at %s lacks migration %s", postgres.Where(cfg.Database.URL), m.Name)
			return nil, withHint(err, "tasker-cli db migrate brings it up to date")
		}
	}
	namespaces, err := postgres.Namespaces(ctx, pool)
	if err != nil {
		return nil, err
	}
	names := messaging.NewNames(cfg.Queues)
	queues := postgres.Queues{Steps: map[string]string{}, Results: names.Results()}
	for _, ns := range namespaces {
		if queues.Steps[ns], err = names.Steps(ns); err != nil {
			return nil, err
		}
	}
	return postgres.Check(ctx, pool, queues)
}
