package web

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
)

type signalInput struct {
	Task uuid.UUID `path:"task_uuid" format:"uuid"`
	Name string    `path:"signal" minLength:"1" maxLength:"128" doc:"Of the signal"`
	Body struct {
		Payload json.RawMessage `json:"payload,omitempty" doc:"The result of the step that waits for the signal; without it null"`
		Sender  string          `json:"sender,omitempty" doc:"Who sends it"`
	}
}

type signalOutput struct {
	Body struct {
		Received bool `json:"received" doc:"False: a signal of the name was there already, and counts"`
	}
}

// sendSignal keeps a signal and has an orchestrator look.
func (s *service) sendSignal(ctx context.Context, in *signalInput) (*signalOutput, error) {
	payload := in.Body.Payload
	if payload == nil {
		payload = json.RawMessage(`null`)
	}
	received, err := postgres.SendSignal(ctx, s.DB, postgres.Signal{Task: in.Task, Name: in.Name, Payload: payload, Sender: in.Body.Sender})
	if err != nil {
		return nil, err
	}
	s.Notifier.Wake(s.Names.SignalsChannel())
	out := &signalOutput{}
	out.Body.Received = received
	return out, nil
}

// A WaitingStep is a step that waits for a signal.
type WaitingStep struct {
	ID     uuid.UUID  `json:"step_uuid" format:"uuid"`
	Step   string     `json:"step"`
	Signal string     `json:"signal" doc:"What it waits for"`
	Since  time.Time  `json:"since"`
	DueAt  *time.Time `json:"due_at,omitempty" doc:"When it fails; without it, it waits for as long as it takes"`
}

type waitingOutput struct {
	Body struct {
		Waiting []WaitingStep `json:"waiting" nullable:"false"`
	}
}

// listWaiting says what signals a task waits for.
func (s *service) listWaiting(ctx context.Context, in *struct {
	Task uuid.UUID `path:"task_uuid" format:"uuid"`
},
) (*waitingOutput, error) {
	if _, err := postgres.FindTask(ctx, s.DB, in.Task); err != nil {
		return nil, err
	}
	waiting, err := postgres.ListWaiting(ctx, s.DB, in.Task)
	if err != nil {
		return nil, err
	}
	out := &waitingOutput{}
	out.Body.Waiting = make([]WaitingStep, len(waiting))
	for i, w := range waiting {
		out.Body.Waiting[i] = WaitingStep{ID: taskid.Step(in.Task, w.Ordinal), Step: w.Step, Signal: w.Signal, Since: w.Since, DueAt: w.DueAt}
	}
	return out, nil
}
