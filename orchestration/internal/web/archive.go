package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// errNoArchiver refuses a run where none is configured.
var errNoArchiver = errors.New("nothing is archived here: see orchestration.archive.enabled")

// An ArchivedTask is a task that has left the live tables.
type ArchivedTask struct {
	Task

	ArchivedAt time.Time `json:"archived_at"`
}

// An ArchivedSummary is what a list says of an archived task.
type ArchivedSummary struct {
	TaskSummary

	ArchivedAt time.Time `json:"archived_at"`
}

type archivedOutput struct {
	Body ArchivedTask
}

// readArchived answers with an archived task and its steps.
func (s *service) readArchived(ctx context.Context, in *stepsInput) (*archivedOutput, error) {
	found, err := postgres.FindArchived(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	steps, err := postgres.ListArchivedSteps(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	return &archivedOutput{Body: ArchivedTask{Task: taskOf(&found.Task, steps), ArchivedAt: found.ArchivedAt}}, nil
}

// listArchivedSteps answers with the steps of an archived task.
func (s *service) listArchivedSteps(ctx context.Context, in *stepsInput) (*stepsOutput, error) {
	steps, err := postgres.ListArchivedSteps(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("find archived task %s: %w", in.ID, postgres.ErrNotFound)
	}
	return &stepsOutput{Body: stepsOf(in.ID, steps)}, nil
}

type listArchivedInput struct {
	Namespace string           `query:"namespace"`
	Name      string           `query:"name" doc:"Of the template"`
	State     tasker.TaskState `query:"state" enum:"complete,error,cancelled,resolved_manually"`
	Limit     int              `query:"limit" minimum:"1" maximum:"100" default:"25"`
	After     uuid.UUID        `query:"after" format:"uuid" doc:"Only tasks older than this one: the next of the page before"`
}

type listArchivedOutput struct {
	Body struct {
		Tasks []ArchivedSummary `json:"tasks" nullable:"false"`
		Next  *uuid.UUID        `json:"next,omitempty" format:"uuid" doc:"There are more tasks after this one"`
	}
}

// listArchived answers with a page of archived tasks.
func (s *service) listArchived(ctx context.Context, in *listArchivedInput) (*listArchivedOutput, error) {
	found, err := postgres.ListArchived(ctx, s.DB, postgres.TaskFilter{
		Namespace: in.Namespace, Name: in.Name, State: in.State, Before: in.After, Limit: in.Limit + 1, // to learn whether there are more
	})
	if err != nil {
		return nil, err
	}
	out := &listArchivedOutput{}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		out.Body.Next = &found[in.Limit-1].ID
	}
	out.Body.Tasks = make([]ArchivedSummary, len(found))
	for i := range found {
		out.Body.Tasks[i] = ArchivedSummary{TaskSummary: summaryOf(&found[i].Task), ArchivedAt: found[i].ArchivedAt}
	}
	return out, nil
}

// A Job is what is known of the runs of a housekeeping job.
type Job struct {
	Name      string          `json:"job" example:"archive"`
	Running   bool            `json:"running"`
	StartedAt *time.Time      `json:"started_at,omitempty" doc:"Of the last run that began"`
	LastRunAt *time.Time      `json:"last_run_at,omitempty" doc:"When the last run began that ended; absent while a run is due"`
	Runs      int64           `json:"runs" doc:"That ended"`
	Report    json.RawMessage `json:"report,omitempty" doc:"What the last of them did"`
}

type jobsOutput struct {
	Body struct {
		Jobs []Job `json:"jobs" nullable:"false"`
	}
}

// listJobs answers with the housekeeping jobs.
func (s *service) listJobs(ctx context.Context, _ *struct{}) (*jobsOutput, error) {
	found, err := postgres.ListJobs(ctx, s.DB)
	if err != nil {
		return nil, err
	}
	out := &jobsOutput{}
	out.Body.Jobs = make([]Job, len(found))
	for i, j := range found {
		out.Body.Jobs[i] = Job(j)
	}
	return out, nil
}

// archiveNow has the archiver run soon and answers with the jobs.
func (s *service) archiveNow(ctx context.Context, _ *struct{}) (*jobsOutput, error) {
	there, err := s.ArchiveNow(ctx)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNoArchiver
	}
	return s.listJobs(ctx, nil)
}
