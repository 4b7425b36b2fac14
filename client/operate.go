package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/state"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
)

// ErrState says that the state of a task or a step does not allow what was
// asked; the text of the error says which state that is and what would be
// possible.
var ErrState = state.ErrRefused

// By says who acts and why; both are kept with the task, in [Client.Events], and
// may be empty.
type By struct{ Actor, Reason string }

// Cancel cancels a task that is not over: its steps that have not ended are
// cancelled, running handlers are told to stop through their context, and what
// they return counts no more. The error wraps [ErrNotFound] or [ErrState].
func (c *Client) Cancel(ctx context.Context, task string, by By) error {
	return c.act(ctx, task, state.TaskCancel, by)
}

// Pause keeps the steps of a task from starting until [Client.Resume]; those that
// run finish. Errors are those of [Client.Cancel].
func (c *Client) Pause(ctx context.Context, task string, by By) error {
	return c.act(ctx, task, state.TaskPause, by)
}

// Resume lets a paused task go on. Retries that were due meanwhile happen at
// once, the others in their time.
func (c *Client) Resume(ctx context.Context, task string, by By) error {
	return c.act(ctx, task, state.TaskResume, by)
}

// RetryTask runs the failed and cancelled steps of a task again that is in error
// or blocked by failures, with all their attempts. What finished is kept.
func (c *Client) RetryTask(ctx context.Context, task string, by By) error {
	return c.act(ctx, task, state.TaskRetry, by)
}

// ResolveTask declares a task done none of whose steps runs; those that have not
// ended are cancelled.
func (c *Client) ResolveTask(ctx context.Context, task string, by By) error {
	return c.act(ctx, task, state.TaskResolve, by)
}

func (c *Client) act(ctx context.Context, task string, event state.TaskEvent, by By) error {
	id, err := parse(task)
	if err != nil {
		return err
	}
	return c.operator().Task(ctx, id, event, operate.By(by))
}

func parse(task string) (uuid.UUID, error) {
	id, err := taskid.Parse(task)
	if err != nil {
		return uuid.Nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return id, nil
}

func (c *Client) operator() *operate.Operator {
	return &operate.Operator{Pool: c.pool, Catalog: c.catalog, Names: c.names, Notifier: c.notifier}
}

// RetryStep runs a failed, cancelled or waiting step again, named by its name or
// its id, at once and with all its attempts. A task in error is open again.
// Errors are those of [Client.Cancel].
func (c *Client) RetryStep(ctx context.Context, task, step string, by By) error {
	id, err := parse(task)
	if err != nil {
		return err
	}
	return c.operator().RetryStep(ctx, operate.ParseStep(id, step), operate.By(by))
}

// ResolveStep declares a step done that is not complete: the steps that depend on
// it go on, without a result of it.
func (c *Client) ResolveStep(ctx context.Context, task, step string, by By) error {
	id, err := parse(task)
	if err != nil {
		return err
	}
	return c.operator().ResolveStep(ctx, operate.ParseStep(id, step), operate.By(by))
}

// CompleteStep completes a step that is not complete with a result, encoded as
// JSON of at most 4 MiB, that the steps that depend on it see as if its handler
// had returned it. The result of a decision or of a batch brings steps about as
// one of its handler does; a step of that kind must have begun to wait for a worker.
func (c *Client) CompleteStep(ctx context.Context, task, step string, result any, by By) error {
	id, err := parse(task)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("%w: encode the result of step %s: %w", ErrInvalid, step, err)
	}
	return invalid(c.operator().CompleteStep(ctx, operate.ParseStep(id, step), operate.Completion{Result: raw}, operate.By(by)))
}

// An Event is something that an operator did to a task.
type Event struct {
	Kind   string // such as task.cancelled or step.retry_requested
	Step   string // the name of the step concerned; empty: the task itself
	By     By
	Detail json.RawMessage // such as the state before; may be nil
	At     time.Time
}

// Events returns what operators did to a task, oldest first.
func (c *Client) Events(ctx context.Context, task string) ([]Event, error) {
	id, err := parse(task)
	if err != nil {
		return nil, err
	}
	entries, err := postgres.ListAudit(ctx, c.pool, id)
	if err != nil {
		return nil, err
	}
	events := make([]Event, len(entries))
	for i, e := range entries {
		events[i] = Event{Kind: e.Kind, Step: word(e.Step), By: By{Actor: word(e.Actor), Reason: word(e.Reason)}, Detail: e.Detail, At: e.At}
	}
	return events, nil
}

func word(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// An Attempt is one run of a step.
type Attempt struct {
	Number     int    // from 1; anew after a retry by hand
	WorkerID   string // the worker that made it
	StartedAt  *time.Time
	FinishedAt *time.Time      // nil while it runs
	Outcome    string          // complete, running, reported, or the kind of the error
	Error      json.RawMessage // nil unless it failed
}

// Attempts returns the attempts at a step, named by its name or its id, oldest
// first. An attempt whose worker was lost is among them and shares its number
// with the next.
func (c *Client) Attempts(ctx context.Context, task, step string) ([]Attempt, error) {
	id, err := parse(task)
	if err != nil {
		return nil, err
	}
	found, err := operate.ParseStep(id, step).Find(ctx, c.pool)
	if err != nil {
		return nil, err
	}
	stored, err := postgres.ListAttempts(ctx, c.pool, id, found.Ordinal)
	if err != nil {
		return nil, err
	}
	attempts := make([]Attempt, len(stored))
	for i, a := range stored {
		attempts[i] = Attempt{
			Number: int(a.Attempt), WorkerID: word(a.WorkerID), StartedAt: a.StartedAt, FinishedAt: a.FinishedAt,
			Outcome: a.Outcome, Error: a.Error,
		}
	}
	return attempts, nil
}
