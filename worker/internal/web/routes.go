package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/describe"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// Figures are counts of a worker since it started.
type Figures struct {
	SlotsInUse int   `json:"slots_in_use"`
	Slots      int   `json:"slots" doc:"How many steps may run at once"`
	Attempts   int64 `json:"attempts" doc:"That ended"`
	Failed     int64 `json:"failed_attempts"`
}

// A Channel is how full a channel of the process is.
type Channel struct {
	Name     string `json:"name"`
	Used     int    `json:"used"`
	Capacity int    `json:"capacity"`
}

type statusOutput struct {
	Body struct {
		Process    string   `json:"process_uuid" format:"uuid"`
		WorkerID   string   `json:"worker_id"`
		WorkerType string   `json:"worker_type"`
		Namespaces []string `json:"namespaces" nullable:"false" doc:"Whose steps it runs"`
		Figures
	}
}

type handlersOutput struct {
	Body struct {
		Handlers []string `json:"handlers" nullable:"false"`
	}
}

type figuresOutput struct {
	Body struct {
		Figures

		Channels []Channel `json:"channels" nullable:"false"`
	}
}

// RouterFigures are [events.Stats].
type RouterFigures struct {
	Durable   int64 `json:"durable" doc:"Of steps run here, for the queue"`
	Fast      int64 `json:"fast" doc:"For subscribers of the process"`
	Broadcast int64 `json:"broadcast" doc:"For both"`
	Skipped   int64 `json:"skipped" doc:"Publishers did not want them"`
	Invalid   int64 `json:"invalid" doc:"Payloads broke their schemas"`
	Errors    int64 `json:"errors" doc:"Could not be made or stored"`
}

// BusFigures are [publisher.Stats].
type BusFigures struct {
	Subscribers int   `json:"subscribers"`
	Published   int64 `json:"published" doc:"Taken, of those that somebody subscribes to"`
	Duplicates  int64 `json:"duplicates" doc:"Had been passed on already"`
	Dropped     int64 `json:"dropped" doc:"A full channel cost a subscriber, or all of them"`
	Delivered   int64 `json:"delivered" doc:"Calls of subscribers that returned"`
	Panics      int64 `json:"panics" doc:"Calls that panicked"`
}

type eventsOutput struct {
	Body struct {
		Router RouterFigures `json:"router" doc:"Events that followed from attempts"`
		Bus    BusFigures    `json:"in_process" doc:"Events told to subscribers in the process"`
	}
}

type templatesOutput struct {
	Body struct {
		Templates []describe.TemplateName `json:"templates" nullable:"false"`
	}
}

type templateInput struct {
	Namespace string `path:"namespace" maxLength:"255"`
	Name      string `path:"name" maxLength:"255"`
	Version   string `path:"version" maxLength:"16"`
}

func (in *templateInput) name() postgres.TemplateName {
	return postgres.TemplateName{Namespace: in.Namespace, Name: in.Name, Version: in.Version}
}

type templateOutput struct {
	Body describe.Template
}

type validateInput struct {
	Namespace string `path:"namespace" maxLength:"255"`
	Name      string `path:"name" maxLength:"255"`
	Version   string `path:"version" maxLength:"16"`
	Body      *struct {
		Context web.Object `json:"context,omitzero" doc:"To be checked against the input_schema"`
	}
}

type validateOutput struct {
	Body struct {
		Valid    bool         `json:"valid"`
		Problems []web.Detail `json:"problems" nullable:"false" doc:"What keeps this worker from running such a task"`
	}
}

// routes is the table of the API.
func (d Deps) routes(api *web.API) {
	const workers, templates = "worker", "templates"
	unknown := []web.Code{web.BadRequest, web.UnknownTemplate}
	web.Handle(api, web.Route{
		ID: "get-status", Permission: permission.WorkersRead, Method: http.MethodGet, Path: "/status", Group: workers,
		Summary: "Say which worker this is, and how busy",
	}, d.status)
	web.Handle(api, web.Route{
		ID: "list-handlers", Permission: permission.SystemHandlersRead, Method: http.MethodGet, Path: "/handlers", Group: workers,
		Summary: "List the handlers that the worker has",
	}, d.handlers)
	web.Handle(api, web.Route{
		ID: "get-worker-figures", Permission: permission.WorkersRead, Method: http.MethodGet, Path: "/metrics/worker", Group: workers,
		Summary: "Count what the worker did, and say how full its channels are",
	}, d.figures)
	web.Handle(api, web.Route{
		ID: "get-event-figures", Permission: permission.WorkersRead, Method: http.MethodGet, Path: "/metrics/events", Group: workers,
		Summary: "Count events since the start",
	}, d.eventFigures)
	web.Handle(api, web.Route{
		ID: "list-templates", Permission: permission.WorkerTemplatesRead, Method: http.MethodGet, Path: "/v1/templates", Group: templates,
		Summary: "List the registered templates of the namespaces that the worker serves",
	}, d.listTemplates)
	web.Handle(api, web.Route{
		ID: "get-template", Permission: permission.WorkerTemplatesRead, Method: http.MethodGet, Path: "/v1/templates/{namespace}/{name}/{version}",
		Group: templates, Summary: "Read a version of a template", Codes: unknown,
	}, d.readTemplate)
	web.Handle(api, web.Route{
		ID: "validate-template", Permission: permission.TemplatesValidate, Method: http.MethodPost,
		Path: "/v1/templates/{namespace}/{name}/{version}/validate", Group: templates,
		Summary: "Say whether the worker could run a task of the template", Detail: "It serves the namespace, has the handlers, and the context, if one is given, fits.",
		Codes: unknown,
	}, d.validate)
}

// codeOf names the errors that are the caller's, or nobody's.
func codeOf(err error) web.Code {
	switch {
	case errors.Is(err, catalog.ErrUnknownTemplate):
		return web.UnknownTemplate
	case postgres.IsUnavailable(err):
		return web.Unavailable
	}
	return ""
}

func (d Deps) status(context.Context, *struct{}) (*statusOutput, error) {
	out := &statusOutput{}
	out.Body.Process, out.Body.WorkerID, out.Body.WorkerType = d.Process.String(), d.WorkerID, d.WorkerType
	out.Body.Namespaces, out.Body.Figures = d.Namespaces(), d.count()
	return out, nil
}

func (d Deps) handlers(context.Context, *struct{}) (*handlersOutput, error) {
	out := &handlersOutput{}
	out.Body.Handlers = append([]string{}, d.HandlerNames...)
	return out, nil
}

func (d Deps) figures(context.Context, *struct{}) (*figuresOutput, error) {
	out := &figuresOutput{}
	out.Body.Figures, out.Body.Channels = d.count(), []Channel{}
	for _, l := range d.Levels() {
		out.Body.Channels = append(out.Body.Channels, Channel{Name: l.Name, Used: l.Used, Capacity: l.Capacity})
	}
	return out, nil
}

func (d Deps) eventFigures(context.Context, *struct{}) (*eventsOutput, error) {
	out := &eventsOutput{}
	out.Body.Router, out.Body.Bus = RouterFigures(d.Events.Stats()), BusFigures(d.Bus.Stats())
	return out, nil
}

func (d Deps) listTemplates(ctx context.Context, _ *struct{}) (*templatesOutput, error) {
	stored, err := postgres.ListTemplates(ctx, d.DB)
	if err != nil {
		return nil, err
	}
	out, served := &templatesOutput{}, d.Namespaces()
	out.Body.Templates = []describe.TemplateName{}
	for i := range stored {
		if slices.Contains(served, stored[i].Namespace) {
			out.Body.Templates = append(out.Body.Templates, describe.NameOf(&stored[i]))
		}
	}
	return out, nil
}

func (d Deps) readTemplate(ctx context.Context, in *templateInput) (*templateOutput, error) {
	_, found, err := describe.Read(ctx, d.DB, d.Catalog, in.name())
	if err != nil {
		return nil, err
	}
	return &templateOutput{Body: found}, nil
}

// validate looks for all that would keep this worker from running a task.
func (d Deps) validate(ctx context.Context, in *validateInput) (*validateOutput, error) {
	entry, _, err := describe.Read(ctx, d.DB, d.Catalog, postgres.TemplateName{Namespace: in.Namespace, Name: in.Name, Version: in.Version})
	if err != nil {
		return nil, err
	}
	out := &validateOutput{}
	out.Body.Problems = []web.Detail{}
	if !slices.Contains(d.Namespaces(), in.Namespace) {
		out.Body.Problems = append(out.Body.Problems, web.Detail{Message: fmt.Sprintf("the worker does not serve the namespace %s", in.Namespace)})
	}
	for i := range entry.Template.Steps {
		if callable := entry.Template.Steps[i].Handler.Callable; callable != "" && !slices.Contains(d.HandlerNames, callable) {
			out.Body.Problems = append(out.Body.Problems, web.Detail{
				Message: fmt.Sprintf("the worker has no handler %s", callable), Location: "step " + entry.Template.Steps[i].Name,
			})
		}
	}
	if in.Body != nil && in.Body.Context.RawMessage != nil {
		violations, err := entry.CheckInput(in.Body.Context.RawMessage)
		if err != nil {
			return nil, err
		}
		for _, v := range violations {
			out.Body.Problems = append(out.Body.Problems, web.Detail{Message: v.Message, Location: "body.context", Pointer: v.Pointer})
		}
	}
	out.Body.Valid = len(out.Body.Problems) == 0
	return out, nil
}
