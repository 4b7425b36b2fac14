package web

import (
	"net/http"

	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// How large the body of a request may be. A context may fill the body of one
// task but for the other fields; a batch is bounded as a whole.
const (
	maxTaskBody  = intake.MaxContext + 64<<10
	maxBatchBody = 32 << 20
)

// routes is the table of the API.
func (s *service) routes(api *web.API) {
	const tasks, limits = "tasks", "limits"
	web.Handle(api, web.Route{
		ID: "create-task", Permission: permission.TasksCreate, Method: http.MethodPost, Path: "/v1/tasks", Group: tasks, Status: http.StatusCreated, Also: []int{http.StatusOK}, Intake: true,
		Summary: "Create a task",
		Detail: "Its first steps are enqueued at once. The Location header says where to follow it. Where the same task exists already, by the " +
			"identity_strategy of its template, the answer is 409 with existing_task_uuid; with an idempotency key it is 200 and the task that exists. " +
			"With wait, or Prefer: wait=seconds, the answer comes with the steps once the task has ended, as when it is read.",
		MaxBody: maxTaskBody, Codes: []web.Code{web.BadRequest, web.UnknownTemplate, web.DuplicateTask, web.PayloadTooLarge},
	}, s.createTask)
	web.Handle(api, web.Route{
		ID: "create-tasks", Permission: permission.TasksCreate, Method: http.MethodPost, Path: "/v1/tasks/batch", Group: tasks, Status: http.StatusCreated, Intake: true,
		Summary: "Create many tasks: all of them or, when one is refused, none",
		Detail:  "A task that exists already is not created again: its id stands in its place, and duplicates names the place.",
		MaxBody: maxBatchBody, Codes: []web.Code{web.BadRequest, web.UnknownTemplate, web.PayloadTooLarge},
	}, s.createTasks)
	web.Handle(api, web.Route{
		ID: "list-tasks", Permission: permission.TasksList, Method: http.MethodGet, Path: "/v1/tasks", Group: tasks,
		Summary: "List and search tasks, newest first",
		Detail: "Contexts and steps are left out. Pass next as after to read on, until there is none: a search looks at so many tasks at a time, " +
			"so a page may hold fewer than limit, even none, and not be the last.",
		Codes: []web.Code{web.BadRequest},
	}, s.listTasks)
	web.Handle(api, web.Route{
		ID: "get-task", Permission: permission.TasksRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}", Group: tasks,
		Summary: "Read a task with its steps",
		Detail: "With wait, or the header Prefer: wait=seconds (RFC 7240), the answer comes once the task is in a final state or blocked by failures, " +
			"or when that time has passed, whatever the state is then. The server waits no longer than nine tenths of request_timeout_ms.",
		Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.readTask)
	web.Handle(api, web.Route{
		ID: "list-steps", Permission: permission.StepsRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}/workflow_steps", Group: tasks,
		Summary: "List the steps of a task, in the order of its template", Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.listSteps)
	web.Handle(api, web.Route{
		ID: "send-signal", Permission: permission.SignalsSend, Method: http.MethodPost, Path: "/v1/tasks/{task_uuid}/signals/{signal}", Group: tasks, Status: http.StatusAccepted,
		Summary: "Send a signal to a task", Detail: "The step that waits for it, or will, completes with the payload as its result. " +
			"Of several signals of a name the first counts, until a step has taken it.",
		Codes: []web.Code{web.BadRequest, web.NotFound, web.Conflict},
	}, s.sendSignal)
	web.Handle(api, web.Route{
		ID: "list-waiting", Permission: permission.SignalsRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}/signals", Group: tasks,
		Summary: "List the signals that a task waits for", Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.listWaiting)
	web.Handle(api, web.Route{
		ID: "list-limits", Permission: permission.LimitsRead, Method: http.MethodGet, Path: "/v1/limits", Group: limits,
		Summary: "List the limits in force, by name", Detail: "Pass next as after to read on.", Codes: []web.Code{web.BadRequest},
	}, s.listLimits)
	web.Handle(api, web.Route{
		ID: "set-limit", Permission: permission.LimitsManage, Method: http.MethodPut, Path: "/v1/limits/{name}", Group: limits,
		Summary: "Set a limit, in place of what templates say",
		Detail:  "It holds for every step that starts from then on, in all processes.",
		Codes:   []web.Code{web.BadRequest},
	}, s.setLimit)
	web.Handle(api, web.Route{
		ID: "remove-limit", Permission: permission.LimitsManage, Method: http.MethodDelete, Path: "/v1/limits/{name}", Group: limits, Status: http.StatusNoContent,
		Summary: "Take a limit away that was set here", Detail: "What templates say holds again.",
		Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.removeLimit)
	s.operatorRoutes(api)
	s.readingRoutes(api)
}

// readingRoutes is the part of the table of the API that only tells.
func (s *service) readingRoutes(api *web.API) {
	const tasks, steps, templates, analytics = "tasks", "steps", "templates", "analytics"
	found := []web.Code{web.BadRequest, web.NotFound}
	web.Handle(api, web.Route{
		ID: "get-task-context", Permission: permission.TasksContextRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}/context", Group: tasks,
		Summary: "Read the context of a task", Codes: found,
	}, s.readContext)
	web.Handle(api, web.Route{
		ID: "get-task-summary", Permission: permission.TasksRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}/summary", Group: tasks,
		Summary: "Read a task at a glance", Detail: "With its steps and its dead letter, without context and results.", Codes: found,
	}, s.readSummary)
	web.Handle(api, web.Route{
		ID: "get-step-audit", Permission: permission.StepsRead, Method: http.MethodGet, Path: "/v1/tasks/{task_uuid}/workflow_steps/{step}/audit", Group: steps,
		Summary: "List what became of a step, oldest first", Detail: "Attempts that ended, by whom, and what operators did.", Codes: found,
	}, s.readStepAudit)
	web.Handle(api, web.Route{
		ID: "list-templates", Permission: permission.TemplatesRead, Method: http.MethodGet, Path: "/v1/templates", Group: templates,
		Summary: "List the registered templates, every version",
	}, s.listTemplates)
	web.Handle(api, web.Route{
		ID: "list-template-versions", Permission: permission.TemplatesRead, Method: http.MethodGet, Path: "/v1/templates/{namespace}/{name}", Group: templates,
		Summary: "List the versions of a template, the highest first", Codes: []web.Code{web.BadRequest, web.UnknownTemplate},
	}, s.listVersions)
	web.Handle(api, web.Route{
		ID: "get-template", Permission: permission.TemplatesRead, Method: http.MethodGet, Path: "/v1/templates/{namespace}/{name}/{version}", Group: templates,
		Summary: "Read a version of a template", Codes: []web.Code{web.BadRequest, web.UnknownTemplate},
	}, s.readTemplate)
	web.Handle(api, web.Route{
		ID: "list-handlers", Permission: permission.SystemHandlersRead, Method: http.MethodGet, Path: "/v1/handlers", Group: templates,
		Summary: "List the handlers that templates name, with the steps they run", Codes: []web.Code{web.BadRequest},
	}, s.listHandlers)
	web.Handle(api, web.Route{
		ID: "get-performance", Permission: permission.SystemAnalyticsRead, Method: http.MethodGet, Path: "/v1/analytics/performance", Group: analytics,
		Summary: "Read how tasks and steps fared of late", Detail: "The figures are those of the newest 20,000 tasks at most.", Codes: []web.Code{web.BadRequest},
	}, s.readPerformance)
	web.Handle(api, web.Route{
		ID: "get-bottlenecks", Permission: permission.SystemAnalyticsRead, Method: http.MethodGet, Path: "/v1/analytics/bottlenecks", Group: analytics,
		Summary: "Read what takes long, and what to do about it", Detail: "Looks at the newest 20,000 tasks at most.", Codes: []web.Code{web.BadRequest},
	}, s.readBottlenecks)
}
