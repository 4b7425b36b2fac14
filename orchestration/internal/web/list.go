package web

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

type listInput struct {
	Namespace     string             `query:"namespace" maxLength:"255"`
	Name          string             `query:"name" maxLength:"255" doc:"Of the template"`
	Version       string             `query:"version" maxLength:"16" doc:"Of the template"`
	States        []tasker.TaskState `query:"state" enum:"pending,initializing,enqueuing_steps,steps_in_process,evaluating_results,waiting_for_dependencies,waiting_for_retry,blocked_by_failures,complete,error,cancelled,resolved_manually" maxItems:"12" doc:"Any of them, with commas between"`
	Tags          []string           `query:"tags" maxItems:"20" doc:"All of them, with commas between"`
	CorrelationID uuid.UUID          `query:"correlation_id" format:"uuid"`
	ParentID      uuid.UUID          `query:"parent_correlation_id" format:"uuid"`
	Initiator     string             `query:"initiator" maxLength:"255"`
	SourceSystem  string             `query:"source_system" maxLength:"255"`
	Context       string             `query:"context" maxLength:"1000" example:"$.order.total > 100" doc:"An SQL/JSON path into the context, which finds something that is neither false nor null"`

	CreatedAfter    time.Time `query:"created_after" doc:"Or at that time"`
	CreatedBefore   time.Time `query:"created_before"`
	CompletedAfter  time.Time `query:"completed_after" doc:"Or at that time"`
	CompletedBefore time.Time `query:"completed_before"`

	Limit int       `query:"limit" minimum:"1" maximum:"100" default:"25"`
	After uuid.UUID `query:"after" format:"uuid" doc:"Only tasks older than this one: the next of the page before"`
}

type listOutput struct {
	Body struct {
		Tasks []TaskSummary `json:"tasks" nullable:"false"`
		Next  *uuid.UUID    `json:"next,omitempty" format:"uuid" doc:"There may be more tasks after this one"`
	}
}

// What a path finds tells what is in a context, bit by bit.
var errContexts = errors.New("searching contexts needs " + string(permission.TasksContextRead) + " or " + string(permission.TasksRead))

func maySeeContexts(ctx context.Context) bool {
	c := auth.CallerOf(ctx)
	return c == nil || permission.Granted(c.Granted, permission.TasksContextRead) || permission.Granted(c.Granted, permission.TasksRead)
}

// listTasks answers with a page of tasks.
func (s *service) listTasks(ctx context.Context, in *listInput) (*listOutput, error) {
	if in.Context != "" {
		if !maySeeContexts(ctx) {
			return nil, errContexts
		}
		err := postgres.CheckPath(ctx, s.DB, in.Context)
		if _, none := errors.AsType[*postgres.PathError](err); none {
			return nil, &web.Located{Err: err, Location: "query.context"}
		}
		if err != nil {
			return nil, err
		}
	}
	page, err := postgres.SearchTasks(ctx, s.DB, postgres.TaskSearch{
		Namespace: in.Namespace, Name: in.Name, Version: in.Version, States: in.States, Tags: in.Tags,
		CorrelationID: in.CorrelationID, ParentID: in.ParentID, Initiator: in.Initiator, SourceSystem: in.SourceSystem,
		CreatedAfter: in.CreatedAfter, CreatedBefore: in.CreatedBefore, FinishedAfter: in.CompletedAfter, FinishedBefore: in.CompletedBefore,
		Context: in.Context, Before: in.After, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	out := &listOutput{}
	if page.Next != uuid.Nil {
		out.Body.Next = &page.Next
	}
	out.Body.Tasks = make([]TaskSummary, len(page.Tasks))
	for i := range page.Tasks {
		out.Body.Tasks[i] = summaryOf(&page.Tasks[i])
	}
	return out, nil
}
