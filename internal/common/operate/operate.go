// Package operate carries out what operators ask for: cancel, pause, resume,
// retry and resolve tasks, retry, resolve and complete steps. The API, package
// client and the bulk operations of orchestrators stand on it.
//
// What is possible in which state say the tables of package state. Each action
// locks its tasks, decides, changes, settles and records in one transaction; so
// a task moves on at once or nothing has happened.
package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/expansion"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/state"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
)

// ErrInvalid marks what is wrong with a request itself.
var ErrInvalid = errors.New("invalid request")

// By says who acts, and why. Both are kept with the task.
type By struct{ Actor, Reason string }

// An Operator acts on tasks. It is safe for concurrent use.
type Operator struct {
	Pool     postgres.Pool
	Catalog  *catalog.Catalog
	Names    messaging.Names
	Notifier *eventsystem.Notifier
	// Around, unless nil, is called with tasks and does what moves them, to see
	// what becomes of them.
	Around func(ctx context.Context, tasks []uuid.UUID, do func() error) error
}

func (o *Operator) around(ctx context.Context, tasks []uuid.UUID, do func() error) error {
	if o.Around == nil {
		return do()
	}
	return o.Around(ctx, tasks, do)
}

// kinds are what the audit of a task calls the actions.
var kinds = map[state.TaskEvent]string{
	state.TaskCancel:  "task.cancelled",
	state.TaskPause:   "task.paused",
	state.TaskResume:  "task.resumed",
	state.TaskRetry:   "task.retry_requested",
	state.TaskResolve: "task.resolved_manually",
}

// Task does to one task what the event says: cancel, pause, resume, retry or
// resolve. The error wraps [postgres.ErrNotFound], or is a [*state.Error] when
// the state of the task does not allow it.
func (o *Operator) Task(ctx context.Context, id uuid.UUID, event state.TaskEvent, by By) error {
	return o.locked(ctx, id, func(ctx context.Context, db postgres.DB, s postgres.Standing) error {
		if err := allowed(s, event); err != nil {
			return err
		}
		detail := map[string]any{"from": s.State}
		return o.act(ctx, db, event, action{namespace: s.Namespace, tasks: []uuid.UUID{id}, by: by, detail: detail})
	})
}

// allowed asks the table, and keeps pause and resume apart.
func allowed(s postgres.Standing, event state.TaskEvent) error {
	paused := s.PausedAt != nil
	_, ok := state.Tasks.Next(s.State, event)
	if ok && (event != state.TaskPause || !paused) && (event != state.TaskResume || paused) {
		return nil
	}
	e := &state.Error{What: "task " + s.Task.String(), State: string(s.State), Asked: string(event)}
	if paused {
		e.State += " and paused"
	}
	for _, other := range state.Tasks.Events(s.State, state.Operator) {
		if other == state.TaskPause && paused || other == state.TaskResume && !paused {
			continue
		}
		e.Possible = append(e.Possible, string(other))
	}
	return e
}

// An action is what is to be done to locked tasks of one namespace, whose states
// allow it.
type action struct {
	namespace string
	tasks     []uuid.UUID
	by        By
	detail    map[string]any // for the audit
}

func (o *Operator) act(ctx context.Context, db postgres.DB, event state.TaskEvent, a action) error {
	var err error
	ends := false
	switch event {
	case state.TaskCancel:
		ends, err = true, postgres.EndTasks(ctx, db, a.tasks, state.Tasks.From(event), tasker.TaskCancelled)
	case state.TaskResolve:
		ends, err = true, postgres.EndTasks(ctx, db, a.tasks, state.Tasks.From(event), tasker.TaskResolvedManually)
	case state.TaskPause:
		err = postgres.PauseTasks(ctx, db, a.tasks)
	case state.TaskResume:
		err = postgres.ResumeTasks(ctx, db, a.tasks)
	case state.TaskRetry:
		if _, err = postgres.ResetSteps(ctx, db, a.tasks, nil, state.Steps.From(state.StepRetry)); err == nil {
			err = postgres.ReopenTasks(ctx, db, a.tasks, state.Tasks.From(event))
		}
	default:
		return fmt.Errorf("%w: %s is no action on a task", ErrInvalid, event)
	}
	if err != nil {
		return err
	}
	if !ends {
		if err := o.settle(ctx, db, a.namespace, a.tasks); err != nil {
			return err
		}
	}
	return record(ctx, db, a, 0, kinds[event])
}

func (o *Operator) settle(ctx context.Context, db postgres.DB, namespace string, tasks []uuid.UUID) error {
	queue, err := o.Names.Steps(namespace)
	if err != nil {
		return err
	}
	if err := postgres.MarkTroubled(ctx, db, tasks); err != nil {
		return err
	}
	return postgres.Settle(ctx, db, queue, tasks)
}

func record(ctx context.Context, db postgres.DB, a action, ordinal int32, kind string) error {
	detail, err := json.Marshal(a.detail)
	if err != nil {
		return fmt.Errorf("encode the detail of %s: %w", kind, err)
	}
	return postgres.RecordAudit(ctx, db, a.tasks, ordinal, postgres.Audit{
		Kind: kind, Actor: a.by.Actor, Reason: a.by.Reason, Detail: detail,
	})
}

// A Step names a step of a task: by its id or, when that is nil, by its name.
type Step struct {
	Task uuid.UUID
	ID   uuid.UUID
	Name string
}

// ParseStep reads a step as a user writes it: a step's id, or a name.
func ParseStep(task uuid.UUID, text string) Step {
	if id, err := uuid.Parse(text); err == nil {
		return Step{Task: task, ID: id}
	}
	return Step{Task: task, Name: text}
}

// String names the step for people.
func (s Step) String() string {
	if s.Name != "" {
		return s.Name
	}
	return s.ID.String()
}

// Find returns how the step stands, or [postgres.ErrNotFound].
func (s Step) Find(ctx context.Context, db postgres.DB) (postgres.StepStanding, error) {
	var ordinal int32
	if s.ID != uuid.Nil {
		of, n := taskid.Split(s.ID)
		if of != s.Task || n == 0 {
			return postgres.StepStanding{}, fmt.Errorf("find step %s of task %s: %w", s.ID, s.Task, postgres.ErrNotFound)
		}
		ordinal = n
	}
	return postgres.FindStep(ctx, db, s.Task, ordinal, s.Name)
}

// stepKinds are what the audit calls the actions on steps.
var stepKinds = map[state.StepEvent]string{
	state.StepRetry:    "step.retry_requested",
	state.StepResolve:  "step.resolved_manually",
	state.StepComplete: "step.completed_manually",
	state.StepSubmit:   "step.completed_manually",
}

// RetryStep makes a failed, cancelled or waiting step run again, at once, with all
// its attempts. A task in error is open again. Errors are those of
// [Operator.Task].
func (o *Operator) RetryStep(ctx context.Context, step Step, by By) error {
	return o.step(ctx, step, state.StepRetry, by, Completion{})
}

// ResolveStep declares a step done, without a result; the steps that depend on it
// go on. A handler that runs is told to stop.
func (o *Operator) ResolveStep(ctx context.Context, step Step, by By) error {
	return o.step(ctx, step, state.StepResolve, by, Completion{})
}

// MaxResult is the largest result of a step, in bytes of JSON.
const MaxResult = 4 << 20

// A Completion is what completes a step by hand.
type Completion struct {
	Result   json.RawMessage // any JSON; what the steps that depend on it see
	Metadata json.RawMessage // kept in the audit; nil: none
}

// CompleteStep completes a step with a result that the steps that depend on it
// see as if the handler had returned it. Where the result says which steps follow,
// an orchestrator applies it; one that it cannot carry out fails the step.
func (o *Operator) CompleteStep(ctx context.Context, step Step, c Completion, by By) error {
	switch {
	case !json.Valid(c.Result):
		return fmt.Errorf("%w: the result of step %s is not valid JSON", ErrInvalid, step)
	case len(c.Result) > MaxResult:
		return fmt.Errorf("%w: the result of step %s has %d bytes; at most %d are allowed", ErrInvalid, step, len(c.Result), MaxResult)
	}
	err := o.step(ctx, step, state.StepComplete, by, c)
	if postgres.IsDataError(err) {
		return fmt.Errorf("%w: PostgreSQL cannot store it: %s", ErrInvalid, postgres.Reason(err))
	}
	return err
}

func (o *Operator) step(ctx context.Context, step Step, event state.StepEvent, by By, c Completion) error {
	submitted := false
	err := o.locked(ctx, step.Task, func(ctx context.Context, db postgres.DB, s postgres.Standing) error {
		found, err := step.Find(ctx, db)
		if err != nil {
			return err
		}
		event := event
		if event == state.StepComplete && o.decides(ctx, s, found) {
			event, submitted = state.StepSubmit, true
		}
		if err := stepAllowed(s, found, event); err != nil {
			return err
		}
		tasks := []uuid.UUID{s.Task}
		if err := o.change(ctx, db, s, found, move{event, c.Result}); err != nil {
			return err
		}
		if s.State == tasker.TaskError {
			if err := postgres.ReopenTasks(ctx, db, tasks, state.Tasks.From(state.TaskRetry)); err != nil {
				return err
			}
		}
		if err := o.settle(ctx, db, s.Namespace, tasks); err != nil {
			return err
		}
		a := action{tasks: tasks, by: by, detail: map[string]any{"from": found.State}}
		if c.Metadata != nil {
			a.detail["metadata"] = c.Metadata
		}
		return record(ctx, db, a, found.Ordinal, stepKinds[event])
	})
	if err == nil && submitted {
		o.Notifier.Wake(o.Names.ResultsChannel())
	}
	return err
}

// decides reports whether the result of a step says which steps follow.
func (o *Operator) decides(ctx context.Context, s postgres.Standing, step postgres.StepStanding) bool {
	entry, err := o.Catalog.Entry(ctx, s.Template)
	if err != nil {
		return false
	}
	definition, _, ok := entry.Step(step.Definition)
	return ok && expansion.Decides(definition)
}

// A move is what happens to a step, with the result that it gets.
type move struct {
	event  state.StepEvent
	result json.RawMessage
}

// change makes the move of a step.
func (o *Operator) change(ctx context.Context, db postgres.DB, s postgres.Standing, found postgres.StepStanding, m move) error {
	var done bool
	var err error
	step, from := postgres.StepRef{Task: s.Task, Ordinal: found.Ordinal}, state.Steps.From(m.event)
	switch m.event {
	case state.StepRetry:
		var n int
		n, err = postgres.ResetSteps(ctx, db, []uuid.UUID{s.Task}, []int32{found.Ordinal}, from)
		done = n == 1
	case state.StepResolve:
		done, err = postgres.EndStep(ctx, db, step, postgres.End{From: from, To: tasker.StepResolvedManually})
	case state.StepSubmit:
		done, err = postgres.SubmitResult(ctx, db, step, postgres.Submission{
			From: from, Result: m.result, Template: s.Template, ResultsQueue: o.Names.Results(),
		})
	default:
		done, err = postgres.EndStep(ctx, db, step, postgres.End{From: from, To: tasker.StepComplete, Result: m.result})
	}
	if err == nil && !done { // only a worker can have moved it: the task is locked
		err = errMoved
	}
	return err
}

// errMoved says that a worker moved a step between two statements.
var errMoved = errors.New("the step has moved meanwhile")

// stepAllowed says whether the states of task and step allow the event.
func stepAllowed(s postgres.Standing, step postgres.StepStanding, event state.StepEvent) error {
	asked := event
	if event == state.StepSubmit {
		asked = state.StepComplete // in other words
	}
	e := &state.Error{What: fmt.Sprintf("step %s of task %s", step.Name, s.Task), Asked: string(asked), State: string(step.State)}
	if s.State.Terminal() && s.State != tasker.TaskError {
		e.State += ", and its task " + string(s.State)
		return e
	}
	if step.Built {
		e.State += ", which was tolerated, and a step that depends on it has gone on"
		return e
	}
	if _, ok := state.Steps.Next(step.State, event); ok {
		return nil
	}
	for _, other := range state.Steps.Events(step.State, state.Operator) {
		if stepKinds[other] != "" && other != state.StepSubmit && other != asked {
			e.Possible = append(e.Possible, string(other))
		}
	}
	return e
}

// tries is how often a transaction is tried that others get in the way of.
const tries = 5

// locked locks a task and does something about it in one transaction. Afterwards
// it wakes who may have got work, or lost some.
func (o *Operator) locked(ctx context.Context, id uuid.UUID, do func(context.Context, postgres.DB, postgres.Standing) error) error {
	var namespace string
	transaction := func() error {
		return postgres.InTx(ctx, o.Pool, func(db postgres.Pool) error {
			standings, err := postgres.LockStandings(ctx, db, []uuid.UUID{id})
			if err != nil {
				return err
			}
			if len(standings) == 0 {
				return fmt.Errorf("find task %s: %w", id, postgres.ErrNotFound)
			}
			namespace = standings[0].Namespace
			return do(ctx, db, standings[0])
		})
	}
	err := o.around(ctx, []uuid.UUID{id}, func() error { return again(ctx, transaction) })
	if err != nil {
		return err
	}
	o.Wake(namespace)
	return nil
}

// again does a transaction, once more when others got in the way.
func again(ctx context.Context, transaction func() error) error {
	err := transaction()
	for n := 1; n < tries && (errors.Is(err, errMoved) || postgres.IsDeadlock(err)); n++ {
		select {
		case <-time.After(time.Duration(n) * 10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		err = transaction()
	}
	return err
}

// Wake wakes who may have got work in a namespace, or lost some.
func (o *Operator) Wake(namespace string) {
	o.Notifier.Wake(o.Names.StepsChannel(namespace))
	o.Notifier.Wake(o.Names.RecallsChannel(namespace))
}
