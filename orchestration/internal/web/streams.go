package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// streamRoutes is the part of the table of the API that tells as things happen.
func (s *service) streamRoutes(api *web.API) {
	web.HandleStream(api, web.Route{
		ID: "follow-task", Permission: permission.TasksRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}/events/stream", Group: "tasks",
		Summary: "Follow a task by server-sent events",
		Detail: "An event task has the task and its steps, without context and results: at once, and whenever one of them has changed. " +
			"Once the task is over the event end follows. Who comes back with Last-Event-ID hears of what is different; when nothing can be any more, the answer is 204.",
		Codes: []web.Code{web.NotFound},
	}, s.followTask)
	web.HandleStream(api, web.Route{
		ID: "follow-system", Permission: permission.SystemEventsRead, Method: http.MethodGet, Path: "/v1/events/stream", Group: "system",
		Summary: "Follow all tasks by server-sent events",
		Detail: "An event task.created or task.changed says which task and what its state is now. Who comes back with Last-Event-ID gets what he missed; " +
			"where that is not known any more the event reset comes first. Changes are noted only while somebody follows, and for two minutes after.",
		Codes: []web.Code{},
	}, s.followSystem)
}

type followTaskInput struct {
	ID   uuid.UUID `path:"task_uuid" format:"uuid"`
	Last string    `header:"Last-Event-ID" maxLength:"100"`
}

// Progress is how a task and its steps stand.
type Progress struct {
	Task  TaskSummary `json:"task"`
	Steps []Step      `json:"steps"`
}

// isOver reports whether a fingerprint is that of a task in a final state.
func isOver(fingerprint string) bool {
	state, _, _ := strings.Cut(fingerprint, "-")
	return fingerprint == "" || tasker.TaskState(state).Terminal()
}

func (s *service) followTask(ctx context.Context, in *followTaskInput) (web.Next, error) {
	prints, err := postgres.Fingerprints(ctx, s.DB, []uuid.UUID{in.ID})
	if err != nil {
		return nil, err
	}
	now, exists := prints[in.ID]
	if !exists {
		return nil, fmt.Errorf("find task %s: %w", in.ID, postgres.ErrNotFound)
	}
	last := in.Last
	if now == last && isOver(now) {
		return nil, nil //nolint:nilnil // nothing will follow
	}
	return func(ctx context.Context) ([]web.Event, error) {
		changed, forget := s.follow.Changed(in.ID, last)
		defer forget()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case now := <-changed:
			return s.progress(ctx, in.ID, &last, now)
		}
	}, nil
}

// progress makes the events that say how a task stands.
func (s *service) progress(ctx context.Context, id uuid.UUID, last *string, now string) ([]web.Event, error) {
	*last = now
	if now == "" { // archived or deleted
		return []web.Event{{Name: "end", Data: struct{}{}}}, io.EOF
	}
	found, err := postgres.FindTask(ctx, s.DB, id)
	if err != nil {
		return nil, err
	}
	steps, err := postgres.ListSteps(ctx, s.DB, id)
	if err != nil {
		return nil, err
	}
	shown := Progress{Task: summaryOf(&found), Steps: stepsOf(id, steps)}
	for i := range shown.Steps {
		shown.Steps[i].Results = nil
	}
	events := []web.Event{{ID: now, Name: "task", Data: shown}}
	if isOver(now) {
		return append(events, web.Event{ID: now, Name: "end", Data: struct{}{}}), io.EOF
	}
	return events, nil
}

type followSystemInput struct {
	Last      string `header:"Last-Event-ID" maxLength:"100"`
	Namespace string `query:"namespace" maxLength:"255"`
	Name      string `query:"name" maxLength:"255" doc:"Of the template"`
}

// A Change is what became of a task.
type Change struct {
	TaskID        uuid.UUID        `json:"task_uuid"`
	Namespace     string           `json:"namespace"`
	Name          string           `json:"name"`
	Version       string           `json:"version"`
	Status        tasker.TaskState `json:"status"`
	CorrelationID *uuid.UUID       `json:"correlation_id,omitempty"`
	At            time.Time        `json:"at"`
}

// How often the log of changes is looked at when nothing wakes: seldom while all
// is quiet, soon after something happened, since a transaction that began before
// may still end.
const (
	seldom = time.Second
	soon   = 50 * time.Millisecond
	renew  = 30 * time.Second // of the wish that changes be noted
)

func (s *service) followSystem(ctx context.Context, in *followSystemInput) (web.Next, error) {
	at, fresh, err := postgres.WatchChanges(ctx, s.DB, in.Last)
	if err != nil {
		return nil, err
	}
	f := follower{s: s, filter: postgres.ChangeFilter{Namespace: in.Namespace, Name: in.Name}, at: at, renewed: time.Now()}
	greeting := []web.Event{{ID: at, Name: "ready", Data: struct{}{}}}
	if in.Last != "" && fresh {
		greeting[0].Name = "reset"
	}
	return func(ctx context.Context) ([]web.Event, error) {
		if events := greeting; events != nil {
			greeting = nil
			return events, nil
		}
		return f.next(ctx)
	}, nil
}

// A follower reads the log of changes for one stream.
type follower struct {
	s       *service
	filter  postgres.ChangeFilter
	at      string    // the last change it has seen
	renewed time.Time // when it last wished that changes be noted
}

// next waits for changes.
func (f *follower) next(ctx context.Context) ([]web.Event, error) {
	for pause := soon; ; {
		woken := f.s.changes.next()
		if time.Since(f.renewed) > renew {
			if _, _, err := postgres.WatchChanges(ctx, f.s.DB, f.at); err != nil {
				return nil, err
			}
			f.renewed = time.Now()
		}
		found, err := postgres.ListChanges(ctx, f.s.DB, f.at, f.filter)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			f.at = found[len(found)-1].ID
			return changesOf(found), nil
		}
		if pause, err = rest(ctx, woken, pause); err != nil {
			return nil, err
		}
	}
}

// rest waits until woken or for the pause, and returns the pause to follow.
func rest(ctx context.Context, woken <-chan struct{}, pause time.Duration) (time.Duration, error) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-woken:
		return soon, nil
	case <-timer.C:
		return min(2*pause, seldom), nil
	}
}

func changesOf(found []postgres.Change) []web.Event {
	events := make([]web.Event, len(found))
	for i, c := range found {
		events[i] = web.Event{ID: c.ID, Name: c.Kind, Data: Change{
			TaskID: c.Task, Namespace: c.Namespace, Name: c.Name, Version: c.Version, Status: c.State, CorrelationID: c.Correlation, At: c.At,
		}}
	}
	return events
}

// A broadcast wakes all that wait.
type broadcast struct {
	mu   sync.Mutex
	wake chan struct{}
}

// next returns a channel that is closed when something happens from now on.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake == nil {
		b.wake = make(chan struct{})
	}
	return b.wake
}

// run wakes all at each signal until ctx ends.
func (b *broadcast) run(ctx context.Context, happened *eventsystem.Signal) {
	for ctx.Err() == nil {
		happened.Wait(ctx, -1)
		b.mu.Lock()
		if b.wake != nil {
			close(b.wake)
			b.wake = nil
		}
		b.mu.Unlock()
	}
}
