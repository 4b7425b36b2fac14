// Package client creates tasks and follows them, straight on PostgreSQL: alone,
// in bulk, or inside a transaction of the caller's own, so that a task exists
// exactly if the caller's business write does.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/await"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// Errors that callers may want to tell apart, with errors.Is.
var (
	ErrInvalid         = intake.ErrInvalid          // the request itself is wrong
	ErrUnknownTemplate = catalog.ErrUnknownTemplate // no such template is registered
	ErrNotFound        = postgres.ErrNotFound       // no such task
	ErrDuplicate       = errors.New("the same task exists already")
)

// A DuplicateError says which requests asked for a task that existed already, or
// that an earlier request of the call created. errors.Is finds [ErrDuplicate] in
// it. All other tasks of the call were created.
type DuplicateError struct {
	Requests []int    // their places in the call, from 0
	IDs      []string // of the tasks that exist, in that order
}

// Error names the tasks that exist, the first ten of many.
func (e *DuplicateError) Error() string {
	const most = 10
	var b strings.Builder
	for i, id := range e.IDs {
		if i == most {
			fmt.Fprintf(&b, " and %d others", len(e.IDs)-most)
			break
		}
		fmt.Fprintf(&b, " %s (request %d)", id, e.Requests[i]+1)
	}
	return ErrDuplicate.Error() + ":" + b.String()
}

// Unwrap returns [ErrDuplicate].
func (e *DuplicateError) Unwrap() error { return ErrDuplicate }

// A ContextError says of one value in the context of a task that the
// input_schema of its template does not allow it. Find the first with
// errors.AsType; the text of the whole error names them all.
type ContextError = intake.ContextError

// A Client creates tasks and reads them. It is safe for concurrent use.
type Client struct {
	pool    *pgxpool.Pool
	own     bool // Close closes the pool
	names   messaging.Names
	catalog *catalog.Catalog
	tracer  *telemetry.Tracer // passes on what callers bring along

	watcher  *await.Watcher
	notifier *eventsystem.Notifier
	ctx      context.Context //nolint:containedctx // ends with the client: the life of its loops, not of a call
	cancel   context.CancelFunc
	loops    sync.WaitGroup
}

// firstLook is how soon a task is looked at that a call waits for: many take
// milliseconds.
const firstLook = time.Millisecond

// Open connects to the database of the configuration. Close the client when it
// is no longer needed.
func Open(ctx context.Context, cfg config.Common) (*Client, error) {
	pool, err := postgres.Open(ctx, cfg.Database, cfg.System.ProcessName+"-client")
	if err != nil {
		return nil, err
	}
	c := New(pool, cfg)
	c.own = true
	return c, nil
}

// New returns a client on the caller's pool, which stays the caller's to close.
func New(pool *pgxpool.Pool, cfg config.Common) *Client {
	names := messaging.NewNames(cfg.Queues)
	c := &Client{
		pool: pool, names: names, catalog: catalog.New(pool, names, cfg.Environment, cfg.TaskTemplates),
		tracer:   telemetry.Passing(cfg.Telemetry),
		watcher:  await.New(pool, slog.Default(), firstLook),
		notifier: eventsystem.NewNotifier(pool, slog.Default()),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.loops.Go(func() { c.watcher.Run(c.ctx) })
	c.loops.Go(func() { c.notifier.Run(c.ctx) })
	return c
}

func (c *Client) door() intake.Door { return intake.Door{Catalog: c.catalog, Tracer: c.tracer} }

// Close ends what the client holds; call it once. Workers that should be woken
// are woken first. Calls of [Client.Wait] that still wait fail.
func (c *Client) Close() {
	c.cancel()
	c.loops.Wait()
	if c.own {
		c.pool.Close()
	}
}

// A Request asks for a task.
type Request struct {
	// Namespace, Template and Version name the template; without a version the
	// highest registered one is meant.
	Namespace, Template, Version string
	// Context is the input, encoded as JSON; it must encode to an object of at
	// most 1 MiB. Nil stands for an empty one.
	Context any
	// Priority is -100 to 100. Steps of a higher one run first; what waits is
	// overtaken only so often, so nothing starves.
	Priority int
	// RunAt is when the first steps may start; zero means at once.
	RunAt time.Time
	// IdempotencyKey, unless empty, says in place of the context which tasks of
	// the template are the same, whatever its identity_strategy; at most 500 bytes.
	IdempotencyKey string
	// The rest is kept with the task for people.
	Initiator, SourceSystem, Reason string
	Tags                            []string
}

// CreateTask creates a task and returns its id. When ctx has a span of OpenTelemetry
// and common.telemetry has traces on, the task belongs to that trace. Where the same task exists
// already, by the identity_strategy of its template or by the idempotency key,
// none is created: it returns the id of that one and a [*DuplicateError].
func (c *Client) CreateTask(ctx context.Context, r Request) (string, error) {
	return first(c.CreateTasks(ctx, []Request{r}))
}

// CreateTasks creates all of the tasks or none, in one round trip, and returns
// their ids in order. One call creates up to 10,000. The error names every
// problem of every request and wraps [ErrInvalid] or [ErrUnknownTemplate]; when
// it is a [*DuplicateError], the ids of tasks that existed already are in their
// places.
func (c *Client) CreateTasks(ctx context.Context, requests []Request) ([]string, error) {
	accepted, err := c.accept(ctx, c.pool, requests)
	if err != nil {
		return nil, err
	}
	for _, channel := range accepted.Channels(c.names) {
		c.notifier.Wake(channel)
	}
	return answer(accepted)
}

// CreateTaskTx is [Client.CreateTask] inside the caller's transaction. The task
// exists, and runs, once the transaction commits. A duplicate leaves the
// transaction as it was.
func (c *Client) CreateTaskTx(ctx context.Context, tx pgx.Tx, r Request) (string, error) {
	return first(c.CreateTasksTx(ctx, tx, []Request{r}))
}

// CreateTasksTx is [Client.CreateTaskTx] for many tasks.
func (c *Client) CreateTasksTx(ctx context.Context, tx pgx.Tx, requests []Request) ([]string, error) {
	accepted, err := c.accept(ctx, tx, requests)
	if err != nil {
		return nil, err
	}
	if err := postgres.Notify(ctx, tx, accepted.Channels(c.names)); err != nil {
		return nil, err
	}
	return answer(accepted)
}

// first returns the only id, if there is one.
func first(ids []string, err error) (string, error) {
	if len(ids) == 0 {
		return "", err
	}
	return ids[0], err
}

// answer is what the caller gets to know of accepted tasks.
func answer(accepted intake.Accepted) ([]string, error) {
	ids := texts(accepted.IDs)
	if len(accepted.Duplicates) == 0 {
		return ids, nil
	}
	duplicate := &DuplicateError{Requests: accepted.Duplicates}
	for _, i := range accepted.Duplicates {
		duplicate.IDs = append(duplicate.IDs, ids[i])
	}
	return ids, duplicate
}

func (c *Client) accept(ctx context.Context, db postgres.DB, requests []Request) (intake.Accepted, error) {
	wanted := make([]intake.Request, len(requests))
	var problems []error
	for i, r := range requests {
		wanted[i] = intake.Request{
			Template:  postgres.TemplateName{Namespace: r.Namespace, Name: r.Template, Version: r.Version},
			Initiator: r.Initiator, SourceSystem: r.SourceSystem, Reason: r.Reason, Tags: r.Tags,
			Priority: r.Priority, RunAt: r.RunAt, IdempotencyKey: r.IdempotencyKey,
		}
		if r.Context == nil {
			continue
		}
		raw, err := json.Marshal(r.Context)
		if err != nil {
			problems = append(problems, fmt.Errorf("%w: encode the context of task %d: %w", ErrInvalid, i+1, err))
		}
		wanted[i].Context = raw
	}
	if len(problems) > 0 {
		return intake.Accepted{}, errors.Join(problems...)
	}
	return intake.Accept(ctx, db, c.door(), wanted)
}

func texts(ids []uuid.UUID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// A Task is a task as it stands.
type Task struct {
	ID                           string
	Namespace, Template, Version string
	State                        tasker.TaskState
	Context                      json.RawMessage
	CreatedAt                    time.Time
	FinishedAt                   *time.Time // nil while it is open
	Steps                        []Step
}

// A Step is a step of a task as it stands.
type Step struct {
	ID, Name    string
	State       tasker.StepState
	DependsOn   []string // names
	Attempt     int      // attempts begun
	MaxAttempts int
	WorkerID    string // the worker that claimed it last
	StartedAt   *time.Time
	FinishedAt  *time.Time
	Result      json.RawMessage // nil unless complete
	Error       json.RawMessage // of the last failed attempt: kind, message, permanent
}

// Step returns the step with the given name, or nil.
func (t *Task) Step(name string) *Step {
	for i := range t.Steps {
		if t.Steps[i].Name == name {
			return &t.Steps[i]
		}
	}
	return nil
}

// Task reads a task with its steps. It wraps [ErrNotFound] when there is none.
func (c *Client) Task(ctx context.Context, id string) (*Task, error) {
	task, err := taskid.Parse(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	found, err := postgres.FindTask(ctx, c.pool, task)
	if err != nil {
		return nil, err
	}
	steps, err := postgres.ListSteps(ctx, c.pool, task)
	if err != nil {
		return nil, err
	}
	t := &Task{
		ID: id, Namespace: found.Namespace, Template: found.Name, Version: found.Version, State: found.State,
		Context: found.Context, CreatedAt: found.CreatedAt, FinishedAt: found.FinishedAt,
	}
	for i := range steps {
		s := &steps[i]
		step := Step{
			ID: taskid.Step(task, s.Ordinal).String(), Name: s.Name, State: s.State, DependsOn: s.DependsOn,
			Attempt: int(s.Attempt), MaxAttempts: int(s.MaxAttempts), StartedAt: s.StartedAt, FinishedAt: s.FinishedAt,
			Result: s.Result, Error: s.Error,
		}
		if s.WorkerID != nil {
			step.WorkerID = *s.WorkerID
		}
		t.Steps = append(t.Steps, step)
	}
	return t, nil
}

// Wait waits until the task is in a final state, or blocked by failures and so
// waiting for an operator, and returns it. However many calls wait, they share
// one query.
func (c *Client) Wait(ctx context.Context, id string) (*Task, error) {
	task, err := taskid.Parse(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	over, forget := c.watcher.Await(task)
	defer forget()
	select {
	case <-over:
		return c.Task(ctx, id)
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for task %s: %w", id, ctx.Err())
	case <-c.ctx.Done():
		return nil, fmt.Errorf("wait for task %s: %w", id, errClosed)
	}
}

var errClosed = errors.New("the client is closed")
