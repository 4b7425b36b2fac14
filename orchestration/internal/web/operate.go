package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/state"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

func (s *service) operator() *operate.Operator {
	return &operate.Operator{Pool: s.DB, Catalog: s.Catalog, Names: s.Names, Notifier: s.Notifier, Around: s.Around}
}

// A Note says why an operator acts, and who it is.
type Note struct {
	Reason string `json:"reason,omitempty" maxLength:"2000" doc:"Why; kept with the task"`
	Actor  string `json:"actor,omitempty" maxLength:"200" doc:"Who; kept with the task. Where the server knows who calls, it is the caller"`
}

func (n *Note) by(ctx context.Context) operate.By {
	if n == nil {
		n = &Note{}
	}
	return operate.By{Actor: auth.Actor(ctx, n.Actor), Reason: n.Reason}
}

type cancelInput struct {
	ID     uuid.UUID `path:"task_uuid" format:"uuid"`
	Reason string    `query:"reason" maxLength:"2000" doc:"Why; kept with the task"`
	Actor  string    `query:"actor" maxLength:"200" doc:"Who; kept with the task. Where the server knows who calls, it is the caller"`
}

// cancelTask cancels a task and answers with it.
func (s *service) cancelTask(ctx context.Context, in *cancelInput) (*readOutput, error) {
	return s.act(ctx, in.ID, state.TaskCancel, &Note{Reason: in.Reason, Actor: in.Actor})
}

type actInput struct {
	ID   uuid.UUID `path:"task_uuid" format:"uuid"`
	Body *Note
}

// acting returns what answers a request for an action on a task.
func (s *service) acting(event state.TaskEvent) func(context.Context, *actInput) (*readOutput, error) {
	return func(ctx context.Context, in *actInput) (*readOutput, error) { return s.act(ctx, in.ID, event, in.Body) }
}

func (s *service) act(ctx context.Context, id uuid.UUID, event state.TaskEvent, note *Note) (*readOutput, error) {
	if err := s.operator().Task(ctx, id, event, note.by(ctx)); err != nil {
		return nil, err
	}
	return s.readTask(ctx, &readInput{ID: id})
}

type stepInput struct {
	ID   uuid.UUID `path:"task_uuid" format:"uuid"`
	Step string    `path:"step" doc:"The id of the step, or its name"`
}

type stepOutput struct {
	Body Step
}

// readStep answers with one step.
func (s *service) readStep(ctx context.Context, in *stepInput) (*stepOutput, error) {
	found, err := operate.ParseStep(in.ID, in.Step).Find(ctx, s.DB)
	if err != nil {
		return nil, err
	}
	steps, err := postgres.ListSteps(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	for i := range steps {
		if steps[i].Ordinal == found.Ordinal {
			return &stepOutput{Body: stepsOf(in.ID, steps[i:i+1])[0]}, nil
		}
	}
	return nil, fmt.Errorf("find step %s of task %s: %w", in.Step, in.ID, postgres.ErrNotFound)
}

type changeStepInput struct {
	ID   uuid.UUID `path:"task_uuid" format:"uuid"`
	Step string    `path:"step" doc:"The id of the step, or its name"`
	Body struct {
		Action      string          `json:"action_type" enum:"reset_for_retry,resolve_manually,complete_manually"`
		Reason      string          `json:"reason,omitempty" maxLength:"2000" doc:"Why; kept with the task"`
		ResetBy     string          `json:"reset_by,omitempty" maxLength:"200" doc:"Who, for reset_for_retry; the caller, where the server knows it"`
		ResolvedBy  string          `json:"resolved_by,omitempty" maxLength:"200" doc:"Who, for resolve_manually; the caller, where the server knows it"`
		CompletedBy string          `json:"completed_by,omitempty" maxLength:"200" doc:"Who, for complete_manually; the caller, where the server knows it"`
		Completion  *completionData `json:"completion_data,omitempty" doc:"For complete_manually"`
	}
}

type completionData struct {
	Result   json.RawMessage `json:"result" doc:"What the steps that depend on this one see as its result; any JSON"`
	Metadata web.Object      `json:"metadata,omitzero" doc:"Kept in the audit of the task"`
}

// changeStep does something to a step by hand and answers with it.
func (s *service) changeStep(ctx context.Context, in *changeStepInput) (*stepOutput, error) {
	step, b := operate.ParseStep(in.ID, in.Step), &in.Body
	if (b.Action == "complete_manually") != (b.Completion != nil) {
		return nil, fmt.Errorf("%w: completion_data goes with complete_manually, and only with it", operate.ErrInvalid)
	}
	var err error
	switch b.Action {
	case "reset_for_retry":
		err = s.operator().RetryStep(ctx, step, operate.By{Actor: auth.Actor(ctx, b.ResetBy), Reason: b.Reason})
	case "resolve_manually":
		err = s.operator().ResolveStep(ctx, step, operate.By{Actor: auth.Actor(ctx, b.ResolvedBy), Reason: b.Reason})
	default:
		err = s.operator().CompleteStep(ctx, step, operate.Completion{Result: b.Completion.Result, Metadata: b.Completion.Metadata.RawMessage},
			operate.By{Actor: auth.Actor(ctx, b.CompletedBy), Reason: b.Reason})
	}
	if err != nil {
		return nil, err
	}
	return s.readStep(ctx, &stepInput{ID: in.ID, Step: in.Step})
}

// An Attempt is one run of a step.
type Attempt struct {
	Attempt    int32           `json:"attempt" doc:"From 1, and from 1 again after a reset; an attempt whose worker was lost shares its number with the next"`
	Claim      int32           `json:"claim" doc:"Grows with each run"`
	WorkerID   *string         `json:"worker_id,omitempty"`
	ProcessID  *uuid.UUID      `json:"process_uuid,omitempty" format:"uuid"`
	StartedAt  *time.Time      `json:"started_at,omitempty"`
	FinishedAt *time.Time      `json:"finished_at,omitempty"`
	Outcome    string          `json:"outcome" doc:"complete, running, reported, or the kind of the error"`
	Error      json.RawMessage `json:"error,omitempty"`
}

type attemptsOutput struct {
	Body []Attempt `nullable:"false"`
}

// listAttempts answers with the attempts at a step.
func (s *service) listAttempts(ctx context.Context, in *stepInput) (*attemptsOutput, error) {
	found, err := operate.ParseStep(in.ID, in.Step).Find(ctx, s.DB)
	if err != nil {
		return nil, err
	}
	stored, err := postgres.ListAttempts(ctx, s.DB, in.ID, found.Ordinal)
	if err != nil {
		return nil, err
	}
	out := &attemptsOutput{Body: make([]Attempt, len(stored))}
	for i, a := range stored {
		out.Body[i] = Attempt{
			Attempt: a.Attempt, Claim: a.Claim, WorkerID: a.WorkerID, ProcessID: a.ProcessID,
			StartedAt: a.StartedAt, FinishedAt: a.FinishedAt, Outcome: a.Outcome, Error: a.Error,
		}
	}
	return out, nil
}

// An Event is something that happened to a task by an operator's hand.
type Event struct {
	Kind   string          `json:"kind" example:"task.cancelled"`
	StepID *uuid.UUID      `json:"step_uuid,omitempty" format:"uuid" doc:"The step concerned; without it the task itself"`
	Step   *string         `json:"step_name,omitempty"`
	Actor  *string         `json:"actor,omitempty"`
	Reason *string         `json:"reason,omitempty"`
	Detail json.RawMessage `json:"detail,omitempty"`
	At     time.Time       `json:"at"`
}

type eventsOutput struct {
	Body []Event `nullable:"false"`
}

// listEvents answers with the audit of a task.
func (s *service) listEvents(ctx context.Context, in *stepsInput) (*eventsOutput, error) {
	if _, err := postgres.FindTask(ctx, s.DB, in.ID); err != nil {
		return nil, err
	}
	entries, err := postgres.ListAudit(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	out := &eventsOutput{Body: make([]Event, len(entries))}
	for i, e := range entries {
		out.Body[i] = Event{Kind: e.Kind, Step: e.Step, Actor: e.Actor, Reason: e.Reason, Detail: e.Detail, At: e.At}
		if e.Ordinal != nil {
			id := taskid.Step(in.ID, *e.Ordinal)
			out.Body[i].StepID = &id
		}
	}
	return out, nil
}
