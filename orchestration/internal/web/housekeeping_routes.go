package web

import (
	"net/http"

	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// housekeepingRoutes is the part of the table of the API about dead letters
// and staleness.
func (s *service) housekeepingRoutes(api *web.API) {
	const dlq = "dlq"
	read := []web.Code{web.BadRequest, web.NotFound}
	change := []web.Code{web.BadRequest, web.NotFound, web.Conflict}
	web.Handle(api, web.Route{
		ID: "list-dlq", Permission: permission.DLQRead, Method: http.MethodGet, Path: "/v1/dlq", Group: dlq, Codes: []web.Code{web.BadRequest},
		Summary: "List the entries of the dead letter queue, newest first", Detail: "Snapshots are left out.",
	}, s.listEntries)
	web.Handle(api, web.Route{
		ID: "create-dlq-entry", Permission: permission.DLQUpdate, Method: http.MethodPost, Path: "/v1/dlq", Group: dlq, Status: http.StatusCreated, Codes: change,
		Summary: "Set a task aside by hand", Detail: "The task itself stays as it is. It has one pending entry at a time.",
	}, s.setAside)
	web.Handle(api, web.Route{
		ID: "get-dlq-entry", Permission: permission.DLQRead, Method: http.MethodGet, Path: "/v1/dlq/entry/{entry_uuid}", Group: dlq, Codes: read,
		Summary: "Read an entry with its snapshot",
	}, s.readEntry)
	web.Handle(api, web.Route{
		ID: "resolve-dlq-entry", Permission: permission.DLQUpdate, Method: http.MethodPatch, Path: "/v1/dlq/entry/{entry_uuid}", Group: dlq, Codes: change,
		Summary: "Resolve a pending entry, or add to what it says",
	}, s.resolveEntry)
	web.Handle(api, web.Route{
		ID: "requeue-dlq-entry", Permission: permission.DLQUpdate, Method: http.MethodPost, Path: "/v1/dlq/entry/{entry_uuid}/requeue", Group: dlq, Codes: change,
		Summary: "Put the task of a pending entry back to work, and resolve the entry",
		Detail:  "The task is in error or blocked by failures. What is complete stays; the other steps begin anew with all of their attempts.",
	}, s.requeue)
	web.Handle(api, web.Route{
		ID: "get-task-dlq-entry", Permission: permission.DLQRead, Method: http.MethodGet, Path: "/v1/dlq/task/{task_uuid}", Group: dlq, Codes: read,
		Summary: "Read the pending entry of a task, else its last, with its snapshot",
	}, s.readTaskEntry)
	web.Handle(api, web.Route{
		ID: "get-dlq-stats", Permission: permission.DLQStats, Method: http.MethodGet, Path: "/v1/dlq/stats", Group: dlq, Summary: "Count entries by reason and resolution",
	}, s.summarize)
	web.Handle(api, web.Route{
		ID: "list-investigations", Permission: permission.DLQRead, Method: http.MethodGet, Path: "/v1/dlq/investigation-queue", Group: dlq, Codes: []web.Code{web.BadRequest},
		Summary: "List the pending entries, the most urgent first",
	}, s.investigate)
	web.Handle(api, web.Route{
		ID: "list-dlq-messages", Permission: permission.DLQRead, Method: http.MethodGet, Path: "/v1/dlq/messages", Group: dlq, Codes: []web.Code{web.BadRequest},
		Summary: "List messages that were set aside, the last first",
		Detail:  "They were in a queue, and nobody could carry out what they say. They lie in the archive of their queue, pgmq.a_ and its name.",
	}, s.listMessages)
	web.Handle(api, web.Route{
		ID: "list-staleness", Permission: permission.DLQRead, Method: http.MethodGet, Path: "/v1/dlq/staleness", Group: dlq, Codes: []web.Code{web.BadRequest},
		Summary: "List open tasks, those first that are nearest to being stale", Detail: "Of the 40,000 oldest.",
	}, s.listStaleness)
}

// archiveRoutes is the part about the archive and the jobs of housekeeping.
func (s *service) archiveRoutes(api *web.API) {
	const archive = "archive"
	read := []web.Code{web.BadRequest, web.NotFound}
	web.Handle(api, web.Route{
		ID: "list-archived-tasks", Permission: permission.ArchiveRead, Method: http.MethodGet, Path: "/v1/archive/tasks", Group: archive, Codes: []web.Code{web.BadRequest},
		Summary: "List archived tasks, newest first", Detail: "Contexts and steps are left out. Pass next as after to read on.",
	}, s.listArchived)
	web.Handle(api, web.Route{
		ID: "get-archived-task", Permission: permission.ArchiveRead, Method: http.MethodGet, Path: "/v1/archive/tasks/{task_uuid}", Group: archive, Codes: read,
		Summary: "Read an archived task with its steps",
	}, s.readArchived)
	web.Handle(api, web.Route{
		ID: "list-archived-steps", Permission: permission.ArchiveRead, Method: http.MethodGet, Path: "/v1/archive/tasks/{task_uuid}/workflow_steps", Group: archive, Codes: read,
		Summary: "List the steps of an archived task, in the order of its template",
	}, s.listArchivedSteps)
	web.Handle(api, web.Route{
		ID: "run-archiver", Permission: permission.ArchiveRun, Method: http.MethodPost, Path: "/v1/archive/runs", Group: archive, Status: http.StatusAccepted, Codes: []web.Code{web.Conflict},
		Summary: "Have the archiver run soon, whatever its interval",
	}, s.archiveNow)
	web.Handle(api, web.Route{
		ID: "list-housekeeping", Permission: permission.ArchiveRead, Method: http.MethodGet, Path: "/v1/housekeeping", Group: archive,
		Summary: "List the housekeeping jobs with when they ran and what they did",
	}, s.listJobs)
}
