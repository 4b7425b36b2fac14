package web

import (
	"net/http"

	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/state"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// operatorRoutes is the part of the table of the API that changes what is under
// way.
func (s *service) operatorRoutes(api *web.API) {
	const tasks, steps, operations = "tasks", "steps", "operations"
	codes := []web.Code{web.BadRequest, web.NotFound, web.Conflict}
	web.Handle(api, web.Route{
		ID: "cancel-task", Permission: permission.TasksCancel, Method: http.MethodDelete, Path: "/v1/tasks/{task_uuid}", Group: tasks, Codes: codes,
		Summary: "Cancel a task that is not over",
		Detail:  "Its steps that have not ended are cancelled; running handlers are told to stop, and what they return counts no more.",
	}, s.cancelTask)
	for _, a := range []struct {
		event           state.TaskEvent
		summary, detail string
	}{
		{state.TaskPause, "Keep the steps of a task from starting", "Steps that run finish."},
		{state.TaskResume, "Let a paused task go on", "Retries that were due meanwhile happen at once."},
		{state.TaskRetry, "Run the failed and cancelled steps of a task again", "The task is in error or blocked by failures. What finished is kept; attempts are counted anew."},
		{state.TaskResolve, "Declare a task done none of whose steps runs", "Steps that have not ended are cancelled."},
	} {
		web.Handle(api, web.Route{
			ID: string(a.event) + "-task", Permission: permission.TasksOperate, Method: http.MethodPost, Path: "/v1/tasks/{task_uuid}/" + string(a.event), Group: tasks, Codes: codes,
			Summary: a.summary, Detail: a.detail,
		}, s.acting(a.event))
	}
	web.Handle(api, web.Route{
		ID: "list-task-events", Permission: permission.TasksRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}/events", Group: tasks,
		Summary: "List what operators did to a task, oldest first", Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.listEvents)
	web.Handle(api, web.Route{
		ID: "get-step", Permission: permission.StepsRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}/workflow_steps/{step}", Group: steps,
		Summary: "Read a step", Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.readStep)
	web.Handle(api, web.Route{
		ID: "list-attempts", Permission: permission.StepsRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}/workflow_steps/{step}/attempts", Group: steps,
		Summary: "List the attempts at a step, oldest first", Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.listAttempts)
	web.Handle(api, web.Route{
		ID: "change-step", Permission: permission.StepsResolve, Method: http.MethodPatch, Path: "/v1/tasks/{task_uuid}/workflow_steps/{step}", Group: steps,
		Summary: "Retry, resolve or complete a step by hand",
		Detail: "reset_for_retry runs a failed, cancelled or waiting step again, at once and with all its attempts. resolve_manually declares it done " +
			"without a result. complete_manually gives it one. The task moves on at once; one in error is open again.",
		MaxBody: operate.MaxResult + 64<<10, Codes: append(codes, web.PayloadTooLarge),
	}, s.changeStep)
	web.Handle(api, web.Route{
		ID: "start-operation", Permission: permission.OperationsStart, Method: http.MethodPost, Path: "/v1/operations", Group: operations, Status: http.StatusAccepted, Also: []int{http.StatusOK},
		Summary: "Cancel, retry or resolve many tasks",
		Detail:  "An orchestrator works it off in batches; read it to see how far it has come. With dry_run the tasks are only counted, and the status is 200.",
		Codes:   []web.Code{web.BadRequest},
	}, s.startOperation)
	web.Handle(api, web.Route{
		ID: "list-operations", Permission: permission.OperationsRead, Method: http.MethodGet, Path: "/v1/operations", Group: operations,
		Summary: "List operations, newest first", Codes: []web.Code{web.BadRequest},
	}, s.listOperations)
	web.Handle(api, web.Route{
		ID: "get-operation", Permission: permission.OperationsRead, Method: http.MethodGet, Path: "/v1/operations/{operation_uuid}", Group: operations,
		Summary: "Read how far an operation has come", Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.readOperation)
}
