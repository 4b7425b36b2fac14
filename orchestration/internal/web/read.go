package web

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// Waiting is how long a caller would wait.
type Waiting struct {
	Wait   patience `query:"wait" example:"30s" doc:"How long to wait for a final state"`
	Prefer string   `header:"Prefer" maxLength:"1000" example:"wait=30" doc:"The same in seconds; the query counts more"`
}

type readInput struct {
	Waiting

	ID uuid.UUID `path:"task_uuid" format:"uuid"`
}

type readOutput struct {
	Applied string `header:"Preference-Applied" doc:"The wait of the header Prefer, if the server followed it"`
	Body    Task
}

// readTask answers with a task and its steps, at once or when it has ended.
func (s *service) readTask(ctx context.Context, in *readInput) (*readOutput, error) {
	found, err := postgres.FindTask(ctx, s.DB, in.ID)
	if errors.Is(err, postgres.ErrNotFound) {
		return s.readFromArchive(ctx, in.ID)
	}
	if err != nil {
		return nil, err
	}
	wait, applied := in.patience()
	if wait > 0 && !found.State.Terminal() {
		s.wait(ctx, in.ID, wait)
		if found, err = postgres.FindTask(ctx, s.DB, in.ID); err != nil {
			return nil, err
		}
	}
	steps, err := postgres.ListSteps(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	return &readOutput{Applied: applied, Body: taskOf(&found, steps)}, nil
}

// readFromArchive answers with a task that has left the live tables: who asks for
// it need not know where it lies.
func (s *service) readFromArchive(ctx context.Context, id uuid.UUID) (*readOutput, error) {
	archived, err := postgres.FindArchived(ctx, s.DB, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return nil, fmt.Errorf("find task %s: %w", id, postgres.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	steps, err := postgres.ListArchivedSteps(ctx, s.DB, id)
	if err != nil {
		return nil, err
	}
	out := &readOutput{Body: taskOf(&archived.Task, steps)}
	out.Body.ArchivedAt = &archived.ArchivedAt
	return out, nil
}

// wait returns when the task has ended, the server stops, or time is up. It
// leaves some of the request's own time for the answer.
func (s *service) wait(ctx context.Context, id uuid.UUID, atMost time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		atMost = min(atMost, time.Until(deadline)*9/10)
	}
	ended, forget := s.watch.Await(id)
	defer forget()
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	case <-s.stopping:
	}
}

// patience is how long the caller would wait, and the preference that says so,
// if one does.
func (in *Waiting) patience() (wait time.Duration, preference string) {
	if in.Wait.Duration != 0 {
		return in.Wait.Duration, ""
	}
	for preference := range strings.SplitSeq(in.Prefer, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
		if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 && strings.EqualFold(name, "wait") {
			return time.Duration(min(seconds, maxWait)) * time.Second, "wait=" + value
		}
	}
	return 0, "" // what a server does not understand of Prefer it ignores (RFC 7240)
}

// maxWait keeps a wait in seconds within what a Duration holds. The deadline of
// the request bounds it further.
const maxWait = 3600

// A patience is a span of time in a query: 30s, 1m30s, or plain seconds.
type patience struct{ time.Duration }

// UnmarshalText reads a span of time.
func (p *patience) UnmarshalText(text []byte) error {
	raw := string(text)
	if _, err := strconv.Atoi(raw); err == nil {
		raw += "s"
	}
	d, err := time.ParseDuration(raw)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no span of time; write 30s or 1m", text)
	}
	p.Duration = d
	return nil
}

type stepsInput struct {
	ID uuid.UUID `path:"task_uuid" format:"uuid"`
}

type stepsOutput struct {
	Body []Step `nullable:"false"`
}

// listSteps answers with the steps of a task.
func (s *service) listSteps(ctx context.Context, in *stepsInput) (*stepsOutput, error) {
	steps, err := postgres.ListSteps(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	if len(steps) == 0 { // every task has some
		if steps, err = postgres.ListArchivedSteps(ctx, s.DB, in.ID); err != nil {
			return nil, err
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("find task %s: %w", in.ID, postgres.ErrNotFound)
	}
	return &stepsOutput{Body: stepsOf(in.ID, steps)}, nil
}
