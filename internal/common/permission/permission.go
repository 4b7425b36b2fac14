// Package permission names what callers of the APIs may do.
package permission

import (
	"slices"
	"strings"
)

// A Permission is something that a caller may do, written resource:action.
// What a caller holds may also be resource:*, every action of a resource; there
// is no permission for everything.
type Permission string

// Public marks what anybody may do. It is no permission that can be held.
const Public Permission = "public"

// The permissions.
const (
	TasksCreate      Permission = "tasks:create"       // create tasks, alone and in batches
	TasksRead        Permission = "tasks:read"         // read a task, wait for it and follow it
	TasksList        Permission = "tasks:list"         // list and search tasks
	TasksCancel      Permission = "tasks:cancel"       // cancel a task
	TasksContextRead Permission = "tasks:context_read" // read the context of a task by itself
	TasksOperate     Permission = "tasks:operate"      // pause, resume, retry and resolve a task

	StepsRead    Permission = "steps:read"    // read steps, their attempts and their results
	StepsResolve Permission = "steps:resolve" // retry, resolve and complete a step by hand

	SignalsRead Permission = "signals:read" // see what signals a task waits for
	SignalsSend Permission = "signals:send" // send a signal to a task

	OperationsRead  Permission = "operations:read"  // see how far operations on many tasks have come
	OperationsStart Permission = "operations:start" // cancel, retry and resolve many tasks

	SchedulesRead   Permission = "schedules:read"   // read schedules and their runs
	SchedulesManage Permission = "schedules:manage" // create, change, pause, trigger and delete schedules, which create tasks

	LimitsRead   Permission = "limits:read"   // read the limits in force
	LimitsManage Permission = "limits:manage" // set and remove limits

	WebhooksRead   Permission = "webhooks:read"   // read webhooks and their deliveries
	WebhooksManage Permission = "webhooks:manage" // create and delete webhooks, which are told of tasks

	DLQRead   Permission = "dlq:read"   // read dead letters
	DLQUpdate Permission = "dlq:update" // set tasks aside, resolve and requeue them
	DLQStats  Permission = "dlq:stats"  // count dead letters

	ArchiveRead Permission = "archive:read" // read archived tasks, and what housekeeping did
	ArchiveRun  Permission = "archive:run"  // have the archiver run now

	TemplatesRead     Permission = "templates:read"     // read templates
	TemplatesValidate Permission = "templates:validate" // check a template

	WorkersRead Permission = "workers:read" // see which workers run, and what they run

	SystemConfigRead    Permission = "system:config_read"    // read the configuration of an orchestrator
	SystemHandlersRead  Permission = "system:handlers_read"  // read which handlers there are
	SystemAnalyticsRead Permission = "system:analytics_read" // read figures about tasks and steps
	SystemEventsRead    Permission = "system:events_read"    // follow what happens to all tasks

	WorkerConfigRead    Permission = "worker:config_read"    // read the configuration of a worker
	WorkerTemplatesRead Permission = "worker:templates_read" // read the templates of a worker
)

// all is every permission that can be held.
var all = []Permission{
	TasksCreate, TasksRead, TasksList, TasksCancel, TasksContextRead, TasksOperate,
	StepsRead, StepsResolve, SignalsRead, SignalsSend, OperationsRead, OperationsStart,
	SchedulesRead, SchedulesManage, LimitsRead, LimitsManage, WebhooksRead, WebhooksManage,
	DLQRead, DLQUpdate, DLQStats, ArchiveRead, ArchiveRun, TemplatesRead, TemplatesValidate, WorkersRead,
	SystemConfigRead, SystemHandlersRead, SystemAnalyticsRead, SystemEventsRead, WorkerConfigRead, WorkerTemplatesRead,
}

// All returns every permission that can be held, a resource at a time.
func All() []Permission { return slices.Clone(all) }

// every is the action that stands for all of a resource.
const every = "*"

// Known reports whether p can be held: it is a permission, or resource:* of a
// resource that has one.
func Known(p Permission) bool {
	resource, action, _ := strings.Cut(string(p), ":")
	if action != every {
		return slices.Contains(all, p)
	}
	return slices.ContainsFunc(all, func(known Permission) bool { return strings.HasPrefix(string(known), resource+":") })
}

// Granted reports whether who holds all of held may do what needs p. The empty
// permission is granted to nobody, and [Public] to anybody.
func Granted(held []Permission, p Permission) bool {
	if p == Public {
		return true
	}
	resource, _, ok := strings.Cut(string(p), ":")
	if !ok {
		return false
	}
	return slices.Contains(held, p) || slices.Contains(held, Permission(resource+":"+every))
}
