package web

import (
	"encoding/json"
	"math"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// A TaskSummary is what a list says of a task.
type TaskSummary struct {
	ID            uuid.UUID        `json:"task_uuid" format:"uuid"`
	Name          string           `json:"name"`
	Namespace     string           `json:"namespace"`
	Version       string           `json:"version"`
	Status        tasker.TaskState `json:"status"`
	CreatedAt     time.Time        `json:"created_at"`
	CompletedAt   *time.Time       `json:"completed_at,omitempty" doc:"When the final state was reached"`
	Initiator     *string          `json:"initiator,omitempty"`
	SourceSystem  *string          `json:"source_system,omitempty"`
	Reason        *string          `json:"reason,omitempty"`
	Tags          []string         `json:"tags,omitempty"`
	CorrelationID *uuid.UUID       `json:"correlation_id,omitempty" format:"uuid"`
	ParentID      *uuid.UUID       `json:"parent_correlation_id,omitempty" format:"uuid"`
	Priority      int16            `json:"priority"`
	RunAt         *time.Time       `json:"run_at,omitempty" doc:"When its first steps may start"`
	PausedAt      *time.Time       `json:"paused_at,omitempty" doc:"Since when nothing new starts"`

	TotalSteps      int `json:"total_steps"`
	PendingSteps    int `json:"pending_steps" doc:"Waiting for other steps"`
	EnqueuedSteps   int `json:"enqueued_steps" doc:"Waiting for a worker"`
	InProgressSteps int `json:"in_progress_steps"`
	RetryingSteps   int `json:"waiting_for_retry_steps" doc:"Failed, and due for another attempt"`
	CompletedSteps  int `json:"completed_steps"`
	FailedSteps     int `json:"failed_steps"`

	Completion      float64 `json:"completion_percentage" doc:"The share of steps that are complete, to two decimals"`
	ExecutionStatus string  `json:"execution_status" enum:"blocked_by_failures,processing,all_complete,waiting_for_dependencies"`
}

// A Task is all there is to say about one.
type Task struct {
	TaskSummary

	Context web.Object `json:"context"`
	Steps   []Step     `json:"steps,omitempty"`

	ArchivedAt *time.Time `json:"archived_at,omitempty" doc:"When the task was archived; absent while it is not"`
}

// A Step is how one step stands.
type Step struct {
	ID          uuid.UUID        `json:"step_uuid" format:"uuid"`
	TaskID      uuid.UUID        `json:"task_uuid" format:"uuid"`
	Name        string           `json:"name"`
	State       tasker.StepState `json:"current_state"`
	DependsOn   []string         `json:"depends_on" nullable:"false" doc:"The names of the steps it waits for"`
	Attempts    int32            `json:"attempts" doc:"How many were begun"`
	MaxAttempts int32            `json:"max_attempts"`
	WorkerID    *string          `json:"worker_id,omitempty" doc:"The worker that had it last"`
	EnqueuedAt  *time.Time       `json:"enqueued_at,omitempty"`
	StartedAt   *time.Time       `json:"started_at,omitempty" doc:"Of the last attempt"`
	CompletedAt *time.Time       `json:"completed_at,omitempty" doc:"When the last attempt ended"`
	NextRetryAt *time.Time       `json:"next_retry_at,omitempty"`
	Results     json.RawMessage  `json:"results,omitempty" doc:"What the handler returned"`
	Error       json.RawMessage  `json:"error,omitempty" doc:"Why the last attempt that failed did"`
}

func summaryOf(t *postgres.Task) TaskSummary {
	c := &t.Counts
	return TaskSummary{
		ID: t.ID, Name: t.Name, Namespace: t.Namespace, Version: t.Version, Status: t.State,
		CreatedAt: t.CreatedAt, CompletedAt: t.FinishedAt,
		Initiator: t.Initiator, SourceSystem: t.SourceSystem, Reason: t.Reason, Tags: t.Tags, CorrelationID: t.CorrelationID,
		ParentID: t.ParentID, Priority: t.Priority, RunAt: t.RunAt, PausedAt: t.PausedAt,
		TotalSteps: c.Total, PendingSteps: c.Pending, EnqueuedSteps: c.Enqueued, InProgressSteps: c.InProgress,
		RetryingSteps: c.Waiting, CompletedSteps: c.Completed, FailedSteps: c.Failed,
		Completion: completion(c), ExecutionStatus: executionStatus(c),
	}
}

func completion(c *postgres.Counts) float64 {
	if c.Total == 0 {
		return 0
	}
	return math.Round(float64(c.Completed)/float64(c.Total)*10_000) / 100
}

// executionStatus sums the counts up (spec/runtime.md, section 4.3). There is no
// has_ready_steps: a step that is ready is enqueued in the same transaction.
func executionStatus(c *postgres.Counts) string {
	switch {
	case c.Failed > 0:
		return "blocked_by_failures"
	case c.Enqueued+c.InProgress > 0:
		return "processing"
	case c.Total > 0 && c.Completed == c.Total:
		return "all_complete"
	}
	return "waiting_for_dependencies"
}

func taskOf(t *postgres.Task, steps []postgres.Step) Task {
	return Task{TaskSummary: summaryOf(t), Context: web.Object{RawMessage: t.Context}, Steps: stepsOf(t.ID, steps)}
}

func stepsOf(id uuid.UUID, steps []postgres.Step) []Step {
	all := make([]Step, len(steps))
	for i := range steps {
		s := &steps[i]
		all[i] = Step{
			ID: taskid.Step(id, s.Ordinal), TaskID: id, Name: s.Name, State: s.State, DependsOn: s.DependsOn,
			Attempts: s.Attempt, MaxAttempts: s.MaxAttempts, WorkerID: s.WorkerID,
			EnqueuedAt: s.EnqueuedAt, StartedAt: s.StartedAt, CompletedAt: s.FinishedAt, NextRetryAt: s.NextAttemptAt,
			Results: s.Result, Error: s.Error,
		}
		if all[i].DependsOn == nil {
			all[i].DependsOn = []string{}
		}
	}
	return all
}
