package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// Settings say what API to build and how to serve it.
type Settings struct {
	Title   string // of the API in its OpenAPI document
	Section string // the configuration table that Web is, as in orchestration.system.web
	Web     config.Web
	// Grace is how long a shutdown lets requests finish.
	Grace time.Duration
	// Access picks from a configuration who may call; nil lets anybody. Config
	// gives the configuration in effect; nil: it never changes, and Access gets nil.
	Access func(*config.Config) Access
	Config config.Provider
	// Classify names the errors that handlers return. Those to which it gives
	// an empty code, or all when it is nil, are faults of the server.
	Classify func(error) Code
	// Guard refuses what the server cannot do now.
	Guard Guard
	// Metrics measure the requests, and are served; nil when they are off.
	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// An API is a set of routes from which the server and its OpenAPI document both
// come. Add routes with [Handle], then Serve.
type API struct {
	settings Settings
	mux      *http.ServeMux
	huma     huma.API
	requests *telemetry.Histogram
	rejected *telemetry.Counter
	streams  atomic.Int64
	ending   context.Context //nolint:containedctx // ends when the server begins to stop: the life of the server, not of a call
	end      context.CancelFunc
	inHand   atomic.Int64 // requests, but those to routes for everybody
	routes   []Route
	needs    map[string]permission.Permission // by pattern of the mux

	rules  atomic.Pointer[accessRules] // in force
	reload sync.Mutex                  // held to replace them

	asked, failures, denials *telemetry.Counter
}

// New returns an API that serves nothing but its own description.
func New(s Settings) *API {
	cfg := huma.DefaultConfig(s.Title, "v1")
	// The library would describe itself too: with links in each body, pages
	// that load scripts from elsewhere, and a document made without a lock.
	cfg.CreateHooks, cfg.SchemasPath, cfg.DocsPath, cfg.OpenAPIPath = nil, "", "", ""
	cfg.RejectUnknownQueryParameters = true
	cfg.Formats = map[string]huma.Format{"application/json": jsonFormat(), "json": jsonFormat()}
	cfg.Transformers = []huma.Transformer{asProblem}
	cfg.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[huma.ErrorModel](), reflect.TypeFor[Problem]())
	describeAccess(&cfg, "X-API-Key")
	s.Log = telemetry.Logger(s.Log)
	mux := http.NewServeMux()
	a := &API{settings: s, mux: mux, huma: humago.New(mux, cfg), needs: map[string]permission.Permission{}}
	a.ending, a.end = context.WithCancel(context.Background())
	a.requests = s.Metrics.Histogram("tasker.api.request.duration", "s", "Time to answer requests, by route and status.",
		telemetry.Durations(), "server", "method", "route", "status")
	a.rejected = s.Metrics.Counter("tasker.api.requests_rejected", "Requests refused to protect the server, by why.", "reason")
	a.asked = s.Metrics.Counter("tasker.auth.requests", "Requests that asked who calls, by what they showed and whether they were admitted.",
		"server", "credential", "outcome")
	a.failures = s.Metrics.Counter("tasker.auth.failures", "Requests refused for what they showed, by the reason.", "server", "credential", "reason")
	a.denials = s.Metrics.Counter("tasker.permission.denials", "Requests refused since their caller lacks a permission.", "server", "permission")
	a.huma.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) { next(problemContext{ctx}) })
	return a
}

// A Route is one operation of an API.
type Route struct {
	ID      string // unique; generated clients name a function after it
	Method  string
	Path    string // with {names} in braces
	Summary string
	Detail  string // beyond the summary, may be empty
	Group   string // of routes in documents
	// Permission is what a caller must hold, or [permission.Public]. Nobody may
	// call a route that has none.
	Permission permission.Permission
	Status     int   // of success; 0 means 200
	Also       []int // further statuses of success, with the same body
	// Intake marks what brings new tasks: it is refused while the process is
	// overloaded.
	Intake bool
	// Aside marks a route that needs no database: no breaker stands before it.
	Aside bool
	// MaxBody is the largest request body in bytes; 0 means 1 MiB.
	MaxBody int64
	// Codes are the codes of errors it answers with, besides those that every
	// route may.
	Codes []Code
}

// Handle adds a route. Fields of I with a path, query or header tag, and Body,
// are read from the request and checked by their tags; Body and fields of O with
// a header tag are the response. The context of a request ends when its deadline
// passes or its client goes.
func Handle[I, O any](a *API, r Route, do func(context.Context, *I) (*O, error)) {
	op := huma.Operation{
		OperationID: r.ID, Method: r.Method, Path: r.Path, Summary: r.Summary, Description: r.Detail,
		DefaultStatus: r.Status, MaxBodyBytes: r.MaxBody, BodyReadTimeout: a.settings.Web.RequestTimeout.Duration(),
		Responses: map[string]*huma.Response{},
		Errors:    statuses(r.codes()),

		Middlewares: huma.Middlewares{a.guarded(&r)},
	}
	secure(&op, r.Permission)
	if r.Group != "" {
		op.Tags = []string{r.Group}
	}
	a.add(r)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := behind(a, ctx, &r, func() (*O, error) { return do(ctx, in) })
		if err != nil {
			return nil, a.problem(ctx, err)
		}
		return out, nil
	})
	delete(op.Responses, strconv.Itoa(http.StatusUnprocessableEntity)) // it is 400 here
	for _, status := range r.Also {
		like := *op.Responses[strconv.Itoa(r.Status)]
		like.Description = http.StatusText(status)
		op.Responses[strconv.Itoa(status)] = &like
	}
}

// codes are the codes of all errors it answers with.
func (r *Route) codes() []Code {
	all := append([]Code{BadRequest, Internal, Unavailable}, r.Codes...)
	if r.Permission != permission.Public {
		all = append(all, Unauthorized, Forbidden)
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch: // a body may be late, large or no JSON
		all = append(all, Timeout, PayloadTooLarge, UnsupportedMediaType)
	}
	return all
}

func (a *API) add(r Route) {
	a.routes = append(a.routes, r)
	a.needs[r.Method+" "+r.Path] = r.Permission
}

// Routes returns the routes added so far.
func (a *API) Routes() []Route { return slices.Clone(a.routes) }

// open adds a route for everybody that is no part of the OpenAPI document.
func (a *API) open(path string, answer http.HandlerFunc) {
	a.add(Route{Method: http.MethodGet, Path: path, Permission: permission.Public})
	a.mux.HandleFunc(http.MethodGet+" "+path, answer)
}

func statuses(all []Code) []int {
	set := map[int]bool{}
	for _, c := range all {
		set[codes[c].status] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// problem turns what a handler returned into what the client may see, and logs
// what it may not.
func (a *API) problem(ctx context.Context, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if p := a.refusal(ctx, err); p != nil {
		return p
	}
	var code Code
	duplicate, isDuplicate := errors.AsType[*Duplicate](err)
	switch {
	case isDuplicate:
		code = DuplicateTask
	case a.settings.Classify != nil:
		code = a.settings.Classify(err)
	}
	level := slog.LevelWarn
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		code = DeadlineExceeded
	case ctx.Err() != nil: // the client went, or the server stops
		code, level = Unavailable, slog.LevelDebug
	case code == "":
		code, level = Internal, slog.LevelError
	}
	p := newProblem(code, "", requestID(ctx))
	if p.Detail != "" {
		a.settings.Log.Log(ctx, level, "request failed", "code", string(code), "error", err)
		return p
	}
	p.Detail, p.Errors = list(err)
	if code == DuplicateTask {
		p.ExistingTask, p.location = duplicate.Task, duplicate.Location
	}
	return p
}

// OpenAPI returns the description of the routes as an OpenAPI 3.1 document in
// JSON.
func (a *API) OpenAPI() ([]byte, error) { return json.MarshalIndent(a.huma.OpenAPI(), "", "  ") }

// An Object is a JSON object, kept as it was written.
type Object struct{ json.RawMessage }

// Schema tells huma what an Object is.
func (Object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}
