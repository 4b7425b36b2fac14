package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// taskPath is where a task is read.
func taskPath(id uuid.UUID) string { return "/v1/tasks/" + id.String() }

type contextOutput struct {
	Body struct {
		ID      uuid.UUID  `json:"task_uuid" format:"uuid"`
		Context web.Object `json:"context"`
	}
}

// readContext answers with the context of a task.
func (s *service) readContext(ctx context.Context, in *stepsInput) (*contextOutput, error) {
	found, err := postgres.FindTask(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	out := &contextOutput{}
	out.Body.ID, out.Body.Context = found.ID, web.Object{RawMessage: found.Context}
	return out, nil
}

// A StepSummary is what a summary says of a step.
type StepSummary struct {
	Step

	Seconds *float64 `json:"duration_seconds,omitempty" doc:"Of the last attempt"`
}

// A Summary is a task at a glance.
type Summary struct {
	Task  TaskSummary       `json:"task"`
	Steps []StepSummary     `json:"steps" nullable:"false" doc:"Without their results"`
	DLQ   *DLQEntry         `json:"dlq,omitempty" doc:"The pending entry of the task in the dead letter queue, else the last; without its snapshot"`
	Links map[string]string `json:"links" doc:"Where to read on, by what it is"`
}

type summaryOutput struct {
	Body Summary
}

// readSummary answers with a task at a glance.
func (s *service) readSummary(ctx context.Context, in *stepsInput) (*summaryOutput, error) {
	found, err := postgres.FindTask(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	steps, err := postgres.ListSteps(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	out := &summaryOutput{Body: Summary{Task: summaryOf(&found), Steps: make([]StepSummary, len(steps))}}
	for i, step := range stepsOf(in.ID, steps) {
		step.Results = nil
		out.Body.Steps[i] = StepSummary{Step: step}
		if step.StartedAt != nil && step.CompletedAt != nil {
			took := max(0, step.CompletedAt.Sub(*step.StartedAt).Seconds())
			out.Body.Steps[i].Seconds = &took
		}
	}
	entry, err := postgres.FindTaskDLQEntry(ctx, s.DB, in.ID, s.overdue())
	switch {
	case err == nil:
		entry.Snapshot = nil
		shown := entryOf(&entry)
		out.Body.DLQ = &shown
	case !errors.Is(err, postgres.ErrNotFound):
		return nil, err
	}
	task := taskPath(in.ID)
	out.Body.Links = map[string]string{
		"task": task, "steps": task + "/workflow_steps", "context": task + "/context", "events": task + "/events", "signals": task + "/signals",
		"template": fmt.Sprintf("/v1/templates/%s/%s/%s", found.Namespace, found.Name, found.Version),
	}
	if out.Body.DLQ != nil {
		out.Body.Links["dlq"] = "/v1/dlq/task/" + in.ID.String()
	}
	return out, nil
}

// A StepAudit is something that became of a step: an attempt that ended, or what
// an operator did.
type StepAudit struct {
	StepID     uuid.UUID       `json:"step_uuid" format:"uuid"`
	TaskID     uuid.UUID       `json:"task_uuid" format:"uuid"`
	Step       string          `json:"step_name"`
	RecordedAt time.Time       `json:"recorded_at"`
	Kind       string          `json:"kind" example:"attempt" doc:"attempt, or what an operator did"`
	Attempt    *int32          `json:"attempt,omitempty" doc:"From 1, and from 1 again after a reset"`
	WorkerID   *string         `json:"worker_id,omitempty"`
	ProcessID  *uuid.UUID      `json:"process_uuid,omitempty" format:"uuid"`
	Success    *bool           `json:"success,omitempty" doc:"Of an attempt"`
	Millis     *int64          `json:"execution_time_ms,omitempty" doc:"Of an attempt"`
	Error      json.RawMessage `json:"error,omitempty"`
	Actor      *string         `json:"actor,omitempty"`
	Reason     *string         `json:"reason,omitempty"`
	Detail     json.RawMessage `json:"detail,omitempty"`
}

type stepAuditOutput struct {
	Body []StepAudit `nullable:"false"`
}

// readStepAudit answers with what became of a step.
func (s *service) readStepAudit(ctx context.Context, in *stepInput) (*stepAuditOutput, error) {
	step, err := s.readStep(ctx, in)
	if err != nil {
		return nil, err
	}
	_, ordinal := taskid.Split(step.Body.ID)
	attempts, err := postgres.ListAttempts(ctx, s.DB, in.ID, ordinal)
	if err != nil {
		return nil, err
	}
	entries, err := postgres.ListAudit(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	out := &stepAuditOutput{Body: []StepAudit{}}
	for i := range attempts {
		if a := &attempts[i]; a.FinishedAt != nil {
			out.Body = append(out.Body, attemptAudit(&step.Body, a))
		}
	}
	for _, e := range entries {
		if e.Ordinal != nil && *e.Ordinal == ordinal {
			out.Body = append(out.Body, StepAudit{
				StepID: step.Body.ID, TaskID: in.ID, Step: step.Body.Name, RecordedAt: e.At, Kind: e.Kind,
				Actor: e.Actor, Reason: e.Reason, Detail: e.Detail,
			})
		}
	}
	slices.SortStableFunc(out.Body, func(a, b StepAudit) int { return a.RecordedAt.Compare(b.RecordedAt) })
	return out, nil
}

func attemptAudit(step *Step, a *postgres.Attempt) StepAudit {
	success := a.Outcome == "complete"
	audit := StepAudit{
		StepID: step.ID, TaskID: step.TaskID, Step: step.Name, RecordedAt: *a.FinishedAt, Kind: "attempt",
		Attempt: &a.Attempt, WorkerID: a.WorkerID, ProcessID: a.ProcessID, Success: &success, Error: a.Error,
	}
	if a.StartedAt != nil {
		took := max(0, a.FinishedAt.Sub(*a.StartedAt).Milliseconds())
		audit.Millis = &took
	}
	return audit
}
