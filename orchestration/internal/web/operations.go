package web

import (
	"context"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/state"
)

// A Filter says which tasks an operation concerns: those that all of its fields
// describe, created before the operation, in a state that allows it.
type Filter struct {
	Namespace     string             `json:"namespace,omitempty"`
	Name          string             `json:"name,omitempty" doc:"Of the template"`
	Version       string             `json:"version,omitempty" doc:"Of the template"`
	States        []tasker.TaskState `json:"states,omitempty" nullable:"false" doc:"Any of them; without it every state that allows it"`
	Tags          []string           `json:"tags,omitempty" nullable:"false" doc:"All of them"`
	CreatedAfter  *time.Time         `json:"created_after,omitempty"`
	CreatedBefore *time.Time         `json:"created_before,omitempty"`
}

type operationInput struct {
	Body struct {
		Note

		Kind   string `json:"kind" enum:"cancel,retry,resolve"`
		Filter Filter `json:"filter" doc:"At least one field must be given"`
		DryRun bool   `json:"dry_run,omitempty" doc:"Only count the tasks that the operation would concern now"`
	}
}

// An Operation is what an operator does to many tasks, and how far it has come.
// One that was only counted has no id.
type Operation struct {
	ID         *uuid.UUID `json:"operation_uuid,omitempty" format:"uuid"`
	Kind       string     `json:"kind"`
	State      string     `json:"state" enum:"dry_run,pending,running,complete"`
	Filter     Filter     `json:"filter"`
	Actor      *string    `json:"actor,omitempty"`
	Reason     *string    `json:"reason,omitempty"`
	Matched    int64      `json:"matched" doc:"Tasks that it concerned when it began"`
	Done       int64      `json:"done" doc:"Tasks dealt with so far"`
	Failed     int64      `json:"failed" doc:"Tasks that could not be dealt with"`
	LastError  *string    `json:"last_error,omitempty" doc:"Why the last of those could not"`
	CreatedAt  *time.Time `json:"created_at,omitempty"`
	StartedAt  *time.Time `json:"started_at,omitempty"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
}

type operationOutput struct {
	Status int
	Body   Operation
}

// startOperation counts, or starts what an orchestrator works off.
func (s *service) startOperation(ctx context.Context, in *operationInput) (*operationOutput, error) {
	bulk := operate.Bulk{Kind: state.TaskEvent(in.Body.Kind), Filter: postgres.Selection(in.Body.Filter)}
	if in.Body.DryRun {
		n, err := s.operator().Count(ctx, bulk)
		if err != nil {
			return nil, err
		}
		return &operationOutput{Status: 200, Body: Operation{Kind: in.Body.Kind, State: "dry_run", Filter: in.Body.Filter, Matched: n}}, nil
	}
	op, err := s.operator().Start(ctx, bulk, in.Body.by(ctx))
	if err != nil {
		return nil, err
	}
	return &operationOutput{Status: 202, Body: operationOf(&op)}, nil
}

type findOperationInput struct {
	ID uuid.UUID `path:"operation_uuid" format:"uuid"`
}

// readOperation answers with one operation.
func (s *service) readOperation(ctx context.Context, in *findOperationInput) (*operationOutput, error) {
	op, err := postgres.FindOperation(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	return &operationOutput{Status: 200, Body: operationOf(&op)}, nil
}

type listOperationsInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"100" default:"25"`
}

type operationsOutput struct {
	Body struct {
		Operations []Operation `json:"operations" nullable:"false"`
	}
}

// listOperations answers with the newest operations.
func (s *service) listOperations(ctx context.Context, in *listOperationsInput) (*operationsOutput, error) {
	stored, err := postgres.ListOperations(ctx, s.DB, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &operationsOutput{}
	out.Body.Operations = make([]Operation, len(stored))
	for i := range stored {
		out.Body.Operations[i] = operationOf(&stored[i])
	}
	return out, nil
}

func operationOf(op *postgres.Operation) Operation {
	stage := "running"
	switch {
	case op.FinishedAt != nil:
		stage = "complete"
	case op.StartedAt == nil:
		stage = "pending"
	}
	return Operation{
		ID: &op.ID, Kind: op.Kind, State: stage, Filter: Filter(op.Filter), Actor: op.Actor, Reason: op.Reason,
		Matched: op.Matched, Done: op.Done, Failed: op.Failed, LastError: op.LastError,
		CreatedAt: &op.CreatedAt, StartedAt: op.StartedAt, FinishedAt: op.FinishedAt,
	}
}
