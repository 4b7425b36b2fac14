package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/state"
)

// The kinds of [Bulk].
const (
	BulkCancel  = "cancel"  // as [Client.Cancel]
	BulkRetry   = "retry"   // as [Client.RetryTask]
	BulkResolve = "resolve" // as [Client.ResolveTask]
)

// A Bulk is what to do to many tasks: those that all of its fields describe and
// whose state allows it. At least one field besides Kind must be set.
type Bulk struct {
	Kind                         string
	Namespace, Template, Version string
	States                       []tasker.TaskState // any of them; nil: any that allows it
	Tags                         []string           // all of them
	CreatedAfter, CreatedBefore  time.Time          // zero: any time up to now
}

func (b *Bulk) bulk() operate.Bulk {
	selection := postgres.Selection{Namespace: b.Namespace, Name: b.Template, Version: b.Version, States: b.States, Tags: b.Tags}
	if !b.CreatedAfter.IsZero() {
		selection.CreatedAfter = &b.CreatedAfter
	}
	if !b.CreatedBefore.IsZero() {
		selection.CreatedBefore = &b.CreatedBefore
	}
	return operate.Bulk{Kind: state.TaskEvent(b.Kind), Filter: selection}
}

// An Operation is a [Bulk] under way or over.
type Operation struct {
	ID      string
	Kind    string
	By      By
	Matched int // tasks that it concerned when it began
	Done    int // tasks dealt with so far
	Failed  int // tasks that could not be
	// LastError says why the last of those could not.
	LastError  string
	CreatedAt  time.Time
	FinishedAt *time.Time // nil while it is under way
}

// CountBulk returns how many tasks a bulk would concern now.
func (c *Client) CountBulk(ctx context.Context, b Bulk) (int, error) {
	n, err := c.operator().Count(ctx, b.bulk())
	return int(n), invalid(err)
}

// StartBulk begins to do something to many tasks and returns at once; an
// orchestrator works it off in batches. Tasks created later are not concerned.
func (c *Client) StartBulk(ctx context.Context, b Bulk, by By) (*Operation, error) {
	op, err := c.operator().Start(ctx, b.bulk(), operate.By(by))
	if err != nil {
		return nil, invalid(err)
	}
	return operationOf(&op), nil
}

// Operation reads how far a bulk has come. It wraps [ErrNotFound] when there is
// no such operation.
func (c *Client) Operation(ctx context.Context, id string) (*Operation, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return nil, fmt.Errorf("%w: operation id %q is not a UUID", ErrInvalid, id)
	}
	op, err := postgres.FindOperation(ctx, c.pool, parsed)
	if err != nil {
		return nil, err
	}
	return operationOf(&op), nil
}

func operationOf(op *postgres.Operation) *Operation {
	return &Operation{
		ID: op.ID.String(), Kind: op.Kind, By: By{Actor: word(op.Actor), Reason: word(op.Reason)},
		Matched: int(op.Matched), Done: int(op.Done), Failed: int(op.Failed), LastError: word(op.LastError),
		CreatedAt: op.CreatedAt, FinishedAt: op.FinishedAt,
	}
}

// invalid gives what is wrong with a request the name that this package has for it.
func invalid(err error) error {
	if errors.Is(err, operate.ErrInvalid) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}
