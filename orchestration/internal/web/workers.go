package web

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/registry"
	"github.com/tasker-systems/tasker-go/internal/common/web"
	"github.com/tasker-systems/tasker-go/migrations"
)

// workerRoutes is the part of the table of the API about the processes that run.
func (s *service) workerRoutes(api *web.API, environment config.Environment) {
	const group = "system"
	web.Handle(api, web.Route{
		ID: "list-workers", Permission: permission.WorkersRead, Method: http.MethodGet, Path: "/v1/workers", Group: group,
		Summary: "List the processes, orchestrators too, those first that started last",
		Detail: "Those that have stopped in good order are left out unless state says stopped. One that was not seen for three heartbeats is gone. " +
			"Handlers and templates are left out. Pass next as after to read on.",
		Codes: []web.Code{web.BadRequest},
	}, s.listWorkers)
	web.Handle(api, web.Route{
		ID: "get-worker", Permission: permission.WorkersRead, Method: http.MethodGet, Path: "/v1/workers/{process_uuid}", Group: group,
		Summary: "Read what a process runs", Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.readWorker)
	web.Handle(api, web.Route{
		ID: "get-system", Permission: permission.WorkersRead, Method: http.MethodGet, Path: "/v1/system", Group: group,
		Summary: "Say which versions run, on what database, and how many processes there are",
	}, func(ctx context.Context, _ *struct{}) (*systemOutput, error) { return s.describe(ctx, environment) })
}

// A Worker is a process as the registry shows it.
type Worker struct {
	ID          uuid.UUID  `json:"process_uuid" format:"uuid" doc:"New for every start"`
	Role        string     `json:"role" enum:"orchestration,worker,combined"`
	State       string     `json:"state" enum:"running,draining,stopped,gone" doc:"draining: it takes on nothing more; gone: not seen for three heartbeats"`
	WorkerID    string     `json:"worker_id,omitempty"`
	WorkerType  string     `json:"worker_type,omitempty"`
	ProcessName string     `json:"process_name"`
	Host        string     `json:"host"`
	PID         int        `json:"pid"`
	Version     string     `json:"version" doc:"Of the program"`
	Schema      int64      `json:"schema_version" doc:"The newest migration that the program knows"`
	Namespaces  []string   `json:"namespaces" nullable:"false"`
	Handlers    []string   `json:"handlers,omitempty" nullable:"false"`
	Templates   []string   `json:"templates,omitempty" nullable:"false" doc:"That it registered, as namespace/name/version"`
	Capacity    int        `json:"capacity" doc:"Steps that may run at once"`
	Running     int        `json:"running" doc:"Steps in hand at the last heartbeat"`
	StartedAt   time.Time  `json:"started_at"`
	LastSeenAt  time.Time  `json:"last_seen_at"`
	StoppedAt   *time.Time `json:"stopped_at,omitempty"`
}

func workerOf(w *postgres.RegisteredWorker) Worker {
	return Worker{
		ID: w.Process, Role: w.Role, State: w.State, WorkerID: w.WorkerID, WorkerType: w.WorkerType, ProcessName: w.ProcessName,
		Host: w.Host, PID: w.PID, Version: w.Version, Schema: w.Schema, Namespaces: w.Namespaces,
		Capacity: w.Capacity, Running: w.Running, StartedAt: w.StartedAt, LastSeenAt: w.LastSeenAt, StoppedAt: w.StoppedAt,
	}
}

type listWorkersInput struct {
	Role      string    `query:"role" enum:"orchestration,worker,combined"`
	State     string    `query:"state" enum:"running,draining,stopped,gone"`
	Namespace string    `query:"namespace" doc:"Only processes that run its steps"`
	Limit     int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	After     uuid.UUID `query:"after" format:"uuid" doc:"Only processes older than this one: the next of the page before"`
}

type listWorkersOutput struct {
	Body struct {
		Workers []Worker   `json:"workers" nullable:"false"`
		Next    *uuid.UUID `json:"next,omitempty" format:"uuid" doc:"There are more processes after this one"`
	}
}

// listWorkers answers with a page of processes.
func (s *service) listWorkers(ctx context.Context, in *listWorkersInput) (*listWorkersOutput, error) {
	found, err := postgres.ListWorkers(ctx, s.DB, postgres.WorkerFilter{
		Role: in.Role, Namespace: in.Namespace, State: in.State, Before: in.After, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	out := &listWorkersOutput{}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		out.Body.Next = &found[in.Limit-1].Process
	}
	out.Body.Workers = make([]Worker, len(found))
	for i := range found {
		out.Body.Workers[i] = workerOf(&found[i])
	}
	return out, nil
}

type workerInput struct {
	ID uuid.UUID `path:"process_uuid" format:"uuid"`
}

type workerOutput struct {
	Body Worker
}

// readWorker answers with a process.
func (s *service) readWorker(ctx context.Context, in *workerInput) (*workerOutput, error) {
	found, err := postgres.FindWorker(ctx, s.DB, in.ID)
	if err != nil {
		return nil, err
	}
	out := &workerOutput{Body: workerOf(&found)}
	out.Body.Handlers, out.Body.Templates = found.Handlers, found.Templates
	return out, nil
}

// A ProcessGroup counts processes that have much in common.
type ProcessGroup struct {
	Role      string `json:"role" enum:"orchestration,worker,combined"`
	State     string `json:"state" enum:"running,draining,gone"`
	Version   string `json:"version"`
	Processes int    `json:"processes"`
	Capacity  int    `json:"capacity" doc:"Steps that may run at once on all of them"`
	Running   int    `json:"running" doc:"Steps in hand on all of them"`
}

// A System is an installation as the process that answers sees it.
type System struct {
	Version     string         `json:"version" doc:"Of the program that answers"`
	GoVersion   string         `json:"go_version"`
	Environment string         `json:"environment"`
	Database    SystemDatabase `json:"database"`
	Processes   []ProcessGroup `json:"processes" nullable:"false" doc:"Those that have not stopped in good order"`
	Templates   int            `json:"templates" doc:"Registered, every version"`
	DeadLetters int            `json:"pending_dead_letters"`
}

// A SystemDatabase is the database of an installation.
type SystemDatabase struct {
	ServerVersion string `json:"server_version" doc:"Of PostgreSQL"`
	SchemaVersion int64  `json:"schema_version" doc:"The newest migration that it has"`
	KnownVersion  int64  `json:"known_schema_version" doc:"The newest migration that the program which answers knows"`
}

type systemOutput struct {
	Body System
}

// describe answers with what the installation consists of.
func (s *service) describe(ctx context.Context, environment config.Environment) (*systemOutput, error) {
	found, err := postgres.DescribeSystem(ctx, s.DB)
	if err != nil {
		return nil, err
	}
	out := &systemOutput{Body: System{
		Version: registry.Version(), GoVersion: runtime.Version(), Environment: string(environment),
		Database:  SystemDatabase{ServerVersion: found.Server, SchemaVersion: found.Schema, KnownVersion: migrations.Newest()},
		Processes: make([]ProcessGroup, len(found.Groups)), Templates: found.Templates, DeadLetters: found.Pending,
	}}
	for i, g := range found.Groups {
		out.Body.Processes[i] = ProcessGroup(g)
	}
	return out, nil
}
