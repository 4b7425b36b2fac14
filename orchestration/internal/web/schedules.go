package web

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// scheduleRoutes is the part of the table about schedules.
func (s *service) scheduleRoutes(api *web.API) {
	const group, one = "schedules", "/v1/schedules/{name}"
	web.Handle(api, web.Route{
		ID: "create-schedule", Permission: permission.SchedulesManage, Method: http.MethodPost, Path: "/v1/schedules", Group: group, Status: http.StatusCreated,
		Summary: "Create a schedule, which creates tasks at the times of a cron expression",
		Detail:  "The template need not be registered yet; a time at which it is not makes a failed run.",
		MaxBody: maxTaskBody, Codes: []web.Code{web.BadRequest, web.Conflict, web.PayloadTooLarge},
	}, s.createSchedule)
	web.Handle(api, web.Route{
		ID: "list-schedules", Permission: permission.SchedulesRead, Method: http.MethodGet, Path: "/v1/schedules", Group: group,
		Summary: "List schedules by name", Detail: "Pass next as after to read on.", Codes: []web.Code{web.BadRequest},
	}, s.listSchedules)
	web.Handle(api, web.Route{
		ID: "get-schedule", Permission: permission.SchedulesRead, Method: http.MethodGet, Path: one, Group: group,
		Summary: "Read a schedule with its next times", Codes: []web.Code{web.NotFound},
	}, s.readSchedule)
	web.Handle(api, web.Route{
		ID: "update-schedule", Permission: permission.SchedulesManage, Method: http.MethodPatch, Path: one, Group: group, MaxBody: maxTaskBody,
		Summary: "Change a schedule", Detail: "New times count from now on; what passed under the old ones is not made up for.",
		Codes: []web.Code{web.BadRequest, web.NotFound, web.PayloadTooLarge},
	}, s.updateSchedule)
	web.Handle(api, web.Route{
		ID: "delete-schedule", Permission: permission.SchedulesManage, Method: http.MethodDelete, Path: one, Group: group, Status: http.StatusNoContent,
		Summary: "Delete a schedule and its history, not its tasks", Codes: []web.Code{web.NotFound},
	}, s.deleteSchedule)
	web.Handle(api, web.Route{
		ID: "list-schedule-runs", Permission: permission.SchedulesRead, Method: http.MethodGet, Path: one + "/runs", Group: group,
		Summary: "List what became of the last times of a schedule, newest first", Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.listScheduleRuns)
	web.Handle(api, web.Route{
		ID: "trigger-schedule", Permission: permission.SchedulesManage, Method: http.MethodPost, Path: one + "/trigger", Group: group, Status: http.StatusCreated,
		Summary: "Create a task of a schedule now, paused or not, whatever its overlap policy says",
		Codes:   []web.Code{web.BadRequest, web.NotFound, web.UnknownTemplate},
	}, s.triggerSchedule)
	web.Handle(api, web.Route{
		ID: "pause-schedule", Permission: permission.SchedulesManage, Method: http.MethodPost, Path: one + "/pause", Group: group,
		Summary: "Pause a schedule", Codes: []web.Code{web.NotFound},
	}, s.pauseSchedule)
	web.Handle(api, web.Route{
		ID: "resume-schedule", Permission: permission.SchedulesManage, Method: http.MethodPost, Path: one + "/resume", Group: group,
		Summary: "Resume a schedule with its first time from now on", Detail: "What it missed while it was paused is not made up for.",
		Codes: []web.Code{web.NotFound},
	}, s.resumeSchedule)
}

type scheduleInput struct {
	Name string `path:"name"`
}

type scheduleOutput struct {
	Body Schedule
}

type createScheduleInput struct {
	Body ScheduleRequest
}

type createScheduleOutput struct {
	Location string `header:"Location" doc:"Where to read the schedule"`
	Body     Schedule
}

func (s *service) createSchedule(ctx context.Context, in *createScheduleInput) (*createScheduleOutput, error) {
	created, err := schedules.Create(ctx, s.DB, in.Body.spec())
	if err != nil {
		return nil, err
	}
	s.schedulesChanged()
	return &createScheduleOutput{Location: "/v1/schedules/" + created.Name, Body: scheduleOf(&created)}, nil
}

// schedulesChanged has the orchestrators look when the next one is due.
func (s *service) schedulesChanged() { s.Notifier.Wake(s.Names.SchedulesChannel()) }

type listSchedulesInput struct {
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"25"`
	After string `query:"after" doc:"Only schedules after this name: the next of the page before"`
}

type listSchedulesOutput struct {
	Body struct {
		Schedules []Schedule `json:"schedules" nullable:"false"`
		Next      string     `json:"next,omitempty" doc:"There are more schedules after this one"`
	}
}

func (s *service) listSchedules(ctx context.Context, in *listSchedulesInput) (*listSchedulesOutput, error) {
	found, err := postgres.ListSchedules(ctx, s.DB, in.After, in.Limit+1) // one more, to learn whether there are more
	if err != nil {
		return nil, err
	}
	out := &listSchedulesOutput{}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		out.Body.Next = found[in.Limit-1].Name
	}
	out.Body.Schedules = make([]Schedule, len(found))
	for i := range found {
		out.Body.Schedules[i] = scheduleOf(&found[i])
	}
	return out, nil
}

func (s *service) readSchedule(ctx context.Context, in *scheduleInput) (*scheduleOutput, error) {
	found, err := postgres.FindSchedule(ctx, s.DB, in.Name)
	if err != nil {
		return nil, err
	}
	return &scheduleOutput{Body: scheduleOf(&found)}, nil
}

type updateScheduleInput struct {
	Name string `path:"name"`
	Body ScheduleChange
}

func (s *service) updateSchedule(ctx context.Context, in *updateScheduleInput) (*scheduleOutput, error) {
	return s.changeSchedule(ctx, in.Name, in.Body.apply)
}

func (s *service) pauseSchedule(ctx context.Context, in *scheduleInput) (*scheduleOutput, error) {
	return s.changeSchedule(ctx, in.Name, func(spec *schedules.Spec) { spec.Paused = true })
}

func (s *service) resumeSchedule(ctx context.Context, in *scheduleInput) (*scheduleOutput, error) {
	return s.changeSchedule(ctx, in.Name, func(spec *schedules.Spec) { spec.Paused = false })
}

func (s *service) changeSchedule(ctx context.Context, name string, change func(*schedules.Spec)) (*scheduleOutput, error) {
	updated, err := schedules.Update(ctx, s.DB, name, change)
	if err != nil {
		return nil, err
	}
	s.schedulesChanged()
	return &scheduleOutput{Body: scheduleOf(&updated)}, nil
}

func (s *service) deleteSchedule(ctx context.Context, in *scheduleInput) (*struct{}, error) {
	return nil, postgres.DeleteSchedule(ctx, s.DB, in.Name)
}

type scheduleRunsInput struct {
	Name  string `path:"name"`
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"25"`
}

type scheduleRunsOutput struct {
	Body struct {
		Runs []ScheduleRun `json:"runs" nullable:"false"`
	}
}

func (s *service) listScheduleRuns(ctx context.Context, in *scheduleRunsInput) (*scheduleRunsOutput, error) {
	schedule, err := postgres.FindSchedule(ctx, s.DB, in.Name)
	if err != nil {
		return nil, err
	}
	runs, err := postgres.ScheduleRuns(ctx, s.DB, schedule.ID, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &scheduleRunsOutput{}
	out.Body.Runs = make([]ScheduleRun, len(runs))
	for i := range runs {
		r := &runs[i]
		out.Body.Runs[i] = ScheduleRun{
			ScheduledFor: r.ScheduledFor, Manual: r.Manual, Outcome: r.Outcome, TaskID: r.TaskID, Reason: r.Reason, At: r.At,
		}
	}
	return out, nil
}

type triggerOutput struct {
	Location string `header:"Location" doc:"Where to read the task"`
	Body     struct {
		ID uuid.UUID `json:"task_uuid" format:"uuid"`
	}
}

func (s *service) triggerSchedule(ctx context.Context, in *scheduleInput) (*triggerOutput, error) {
	accepted, err := schedules.Trigger(ctx, s.DB, s.Door, in.Name)
	if err != nil {
		return nil, err
	}
	for _, channel := range accepted.Channels(s.Names) {
		s.Notifier.Wake(channel)
	}
	out := &triggerOutput{Location: "/v1/tasks/" + accepted.IDs[0].String()}
	out.Body.ID = accepted.IDs[0]
	return out, nil
}
