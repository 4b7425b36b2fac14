// Package intake accepts tasks: it checks requests, finds their templates and
// inserts the tasks with all their steps, the first of them enqueued. The API
// and package client stand on it.
package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// MaxContext is the largest context of a task, in bytes of JSON.
const MaxContext = 1 << 20

// MaxTasks is how many tasks one call may create.
const MaxTasks = 10_000

// MaxKey is the longest idempotency key, in bytes.
const MaxKey = 500

// MaxPriority is the highest priority of a task; the lowest is as far below zero.
const MaxPriority = 100

// ErrInvalid marks what is wrong with a request itself.
var ErrInvalid = errors.New("invalid task request")

// A Request asks for a task. Only Template and Context matter to the engine;
// the rest is kept for people.
type Request struct {
	Template      postgres.TemplateName
	Context       json.RawMessage // a JSON object; empty stands for {}
	CorrelationID *uuid.UUID
	Initiator     string
	SourceSystem  string
	Reason        string
	Tags          []string
	Priority      int       // -100 to 100, higher first
	RunAt         time.Time // no step starts before; zero: at once
	// IdempotencyKey, unless empty, says in place of the context which tasks of
	// the template are the same; at most MaxKey bytes.
	IdempotencyKey string
	ParentID       *uuid.UUID // the correlation id of what caused it
	// Trace is the span context of who asks, where that is not in the context of
	// the call: see [telemetry.Carry].
	Trace string
}

// Accepted are the tasks that a call created, in the order of the requests, and
// the namespaces whose workers should be woken.
type Accepted struct {
	IDs        []uuid.UUID
	Namespaces []string
	Limited    bool // steps may wait at limits: orchestrators should be notified
	// Duplicates are the places, from 0, of requests for a task that existed
	// already, or that an earlier request of the call created. It stands in IDs.
	Duplicates []int
}

// Channels are what to notify of the tasks.
func (a *Accepted) Channels(names messaging.Names) []string {
	channels := make([]string, len(a.Namespaces), len(a.Namespaces)+1)
	for i, namespace := range a.Namespaces {
		channels[i] = names.StepsChannel(namespace)
	}
	if a.Limited {
		channels = append(channels, postgres.GatesChannel)
	}
	return channels
}

// Defer does as [Accept] and leaves the steps to [Expand]: the tasks are
// initializing until then.
func Defer(ctx context.Context, db postgres.DB, d Door, requests []Request) (Accepted, error) {
	return d.accept(ctx, db, requests, postgres.Accept)
}

// A Door is what tasks come in by.
type Door struct {
	Catalog *catalog.Catalog
	Tracer  *telemetry.Tracer // nil: tasks are not traced
	Metrics Metrics
}

// Accept creates tasks: all of them or, when one is invalid, none. Every
// problem of every request is reported, wrapping [ErrInvalid] or
// [catalog.ErrUnknownTemplate]. When db is a transaction the tasks become
// visible, and run, once it commits.
//
// A task that is the same as one that exists, by the identity strategy of its
// template or by an idempotency key, is not created: see identity.go.
func Accept(ctx context.Context, db postgres.DB, d Door, requests []Request) (Accepted, error) {
	return d.accept(ctx, db, requests, postgres.Whole)
}

func (d Door) accept(ctx context.Context, db postgres.DB, requests []Request, stage postgres.Stage) (Accepted, error) {
	if err := check(requests); err != nil {
		return Accepted{}, err
	}
	entries, err := resolve(ctx, d.Catalog, requests)
	if err != nil {
		return Accepted{}, err
	}
	if err := checkInputs(requests, entries); err != nil {
		return Accepted{}, err
	}
	keys, err := limitKeys(requests, entries)
	if err != nil {
		return Accepted{}, err
	}
	identities, err := identitiesOf(requests, entries)
	if err != nil {
		return Accepted{}, err
	}
	accepted := Accepted{IDs: make([]uuid.UUID, len(requests))}
	for i := range accepted.IDs {
		accepted.IDs[i] = taskid.New()
	}
	began := time.Now()
	creating := d.trace(ctx, &accepted, requests, entries)
	batch := accepted.group(entries, requests, extras{keys, identities, creating.stored}, stage)
	existing, err := postgres.CreateTasks(ctx, db, batch)
	creating.end(existing, err)
	d.Metrics.count(ctx, began, stored{accepted.IDs, entries, existing, err})
	if err != nil {
		if postgres.IsDataError(err) {
			return Accepted{}, fmt.Errorf("%w: PostgreSQL cannot store it: %s", ErrInvalid, postgres.Reason(err))
		}
		return Accepted{}, err
	}
	for i, id := range accepted.IDs {
		if instead, ok := existing[id]; ok {
			accepted.IDs[i] = instead
			accepted.Duplicates = append(accepted.Duplicates, i)
		}
	}
	return accepted, nil
}

// extras are what requests have besides their own words, by request.
type extras struct {
	keys       [][]string // of limits
	identities [][]byte   // nil: tasks that have theirs already
	traces     []string   // nil: tasks that have theirs already
}

// group puts tasks together that get the same steps, and notes the namespaces
// concerned.
func (a *Accepted) group(entries []*catalog.Entry, requests []Request, more extras, stage postgres.Stage) (batch []postgres.NewTasks) {
	groups := map[uuid.UUID]int{} // template → place in batch
	for i := range requests {
		e := entries[i]
		at, seen := groups[e.ID]
		if !seen {
			at = len(batch)
			groups[e.ID] = at
			batch = append(batch, postgres.NewTasks{Template: e.ID, Queue: e.Queue, Steps: e.Initial, Stage: stage})
			a.Namespaces = append(a.Namespaces, e.Template.Namespace)
		}
		task := newTask(a.IDs[i], &requests[i])
		if more.identities != nil {
			task.Identity = more.identities[i]
		}
		if more.traces != nil {
			task.Trace = more.traces[i]
		}
		if e.Limited() {
			task.Keys = more.keys[i]
			batch[at].Limits = append(batch[at].Limits, e.Limits(more.keys[i])...)
			a.Limited = true
		}
		batch[at].Tasks = append(batch[at].Tasks, task)
	}
	return batch
}

// Expand gives tasks their steps that [Defer] has left without, up to limit of
// those that have rested for so long. Concurrent callers get different tasks.
func Expand(ctx context.Context, tx postgres.DB, c *catalog.Catalog, rest time.Duration, limit int) (Accepted, error) {
	waiting, err := postgres.TakeInitializing(ctx, tx, rest, limit)
	if err != nil || len(waiting) == 0 {
		return Accepted{}, err
	}
	expanded := Accepted{IDs: make([]uuid.UUID, len(waiting))}
	definitions, requests := make([]uuid.UUID, len(waiting)), make([]Request, len(waiting))
	for i, t := range waiting {
		expanded.IDs[i], definitions[i] = t.ID, t.Template
		requests[i] = Request{Context: t.Context, Priority: int(t.Priority)}
		if t.RunAt != nil {
			requests[i].RunAt = *t.RunAt
		}
	}
	entries, err := c.Entries(ctx, definitions)
	if err != nil {
		return Accepted{}, err
	}
	keys, err := limitKeys(requests, entries)
	if err != nil {
		return Accepted{}, err
	}
	_, err = postgres.CreateTasks(ctx, tx, expanded.group(entries, requests, extras{keys: keys}, postgres.Expand))
	return expanded, err
}

func newTask(id uuid.UUID, r *Request) postgres.NewTask {
	return postgres.NewTask{
		ID: id, Context: r.context(), CorrelationID: r.CorrelationID, Initiator: r.Initiator,
		SourceSystem: r.SourceSystem, Reason: r.Reason, Tags: r.Tags,
		Priority: int16(r.Priority), RunAt: r.RunAt, ParentID: r.ParentID, //nolint:gosec // checked to be within bounds
	}
}

// context is the input of the task that r asks for.
func (r *Request) context() json.RawMessage {
	if len(r.Context) == 0 {
		return json.RawMessage(`{}`)
	}
	return r.Context
}

// check looks at the requests alone.
func check(requests []Request) error {
	if len(requests) == 0 || len(requests) > MaxTasks {
		return fmt.Errorf("%w: %d tasks; one call creates 1 to %d", ErrInvalid, len(requests), MaxTasks)
	}
	var problems []error
	for i := range requests {
		for _, p := range problemsOf(&requests[i]) {
			if len(requests) > 1 {
				p = fmt.Sprintf("task %d: %s", i+1, p)
			}
			problems = append(problems, fmt.Errorf("%w: %s", ErrInvalid, p))
		}
	}
	return errors.Join(problems...)
}

func problemsOf(r *Request) []string {
	var problems []string
	if r.Template.Namespace == "" || r.Template.Name == "" {
		problems = append(problems, "the template needs a namespace and a name")
	}
	if len(r.IdempotencyKey) > MaxKey {
		problems = append(problems, fmt.Sprintf("the idempotency key has %d bytes; at most %d are allowed", len(r.IdempotencyKey), MaxKey))
	}
	if r.Priority < -MaxPriority || r.Priority > MaxPriority {
		problems = append(problems, fmt.Sprintf("the priority is %d; it must be -%d to %d", r.Priority, MaxPriority, MaxPriority))
	}
	raw := bytes.TrimSpace(r.Context)
	switch {
	case len(raw) > MaxContext:
		problems = append(problems, fmt.Sprintf("the context has %d bytes; at most %d are allowed", len(raw), MaxContext))
	case len(raw) == 0:
	case !json.Valid(raw):
		problems = append(problems, "the context is not valid JSON")
	case raw[0] != '{':
		problems = append(problems, "the context must be a JSON object")
	}
	return problems
}

// resolve finds the definition of each request, looking every name up once.
func resolve(ctx context.Context, c *catalog.Catalog, requests []Request) ([]*catalog.Entry, error) {
	places := map[postgres.TemplateName]int{}
	var names []postgres.TemplateName
	for i := range requests {
		if _, seen := places[requests[i].Template]; !seen {
			places[requests[i].Template] = len(names)
			names = append(names, requests[i].Template)
		}
	}
	found, err := c.Resolve(ctx, names)
	if err != nil {
		return nil, err
	}
	entries := make([]*catalog.Entry, len(requests))
	for i := range requests {
		entries[i] = found[places[requests[i].Template]]
	}
	return entries, nil
}
