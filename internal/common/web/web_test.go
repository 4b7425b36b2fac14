package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errMissing = errors.New("not here")
	errBusy    = errors.New("password=hunter2")
)

// settings are those of a test API, which logs to out.
func settings(out io.Writer) web.Settings {
	return web.Settings{
		Title: "test", Section: "worker.system.web", Grace: 5 * time.Second,
		Web: config.Web{Enabled: true, BindAddress: "127.0.0.1:0", RequestTimeout: 5000},
		Classify: func(err error) web.Code {
			switch {
			case errors.Is(err, errMissing):
				return web.NotFound
			case errors.Is(err, errBusy):
				return web.Unavailable
			}
			return ""
		},
		Log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

type echoInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"9"`
	Body  struct {
		Name    string     `json:"name" minLength:"2"`
		Tags    []string   `json:"tags,omitempty"`
		Context web.Object `json:"context,omitzero"`
	}
}

type echoOutput struct {
	Body struct {
		Name    string     `json:"name"`
		Context web.Object `json:"context"`
	}
}

type empty struct{}

// newAPI returns an API with a route for each way to end. The returned errors
// are those the route /fail/{how} gives.
func newAPI(s web.Settings) *web.API {
	api := web.New(s)
	web.Handle(api, web.Route{ID: "echo", Permission: permission.TasksCreate, Method: http.MethodPost, Path: "/echo", MaxBody: 1000, Codes: []web.Code{web.BadRequest}},
		func(_ context.Context, in *echoInput) (*echoOutput, error) {
			out := &echoOutput{}
			out.Body.Name, out.Body.Context = in.Body.Name, in.Body.Context
			return out, nil
		})
	fail := map[string]func(context.Context) error{
		"missing": func(context.Context) error { return fmt.Errorf("find it: %w", errMissing) },
		"several": func(context.Context) error { return errors.Join(errMissing, fmt.Errorf("nor %w", errMissing)) },
		"busy":    func(context.Context) error { return errBusy },
		"fault":   func(context.Context) error { return errors.New("ERROR: relation \"secret\" does not exist") },
		"panic":   func(context.Context) error { panic("secret") },
		"slow":    func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	}
	web.Handle(api, web.Route{ID: "fail", Permission: permission.Public, Method: http.MethodGet, Path: "/fail/{how}"},
		func(ctx context.Context, in *struct {
			How string `path:"how"`
		},
		) (*empty, error) {
			return nil, fail[in.How](ctx)
		})
	return api
}

// ask sends a request, by "METHOD path", to a handler and returns the answer.
func ask(t *testing.T, h http.Handler, route, body, requestID string) *httptest.ResponseRecorder {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("X-Request-ID", requestID)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func handler(t *testing.T, s web.Settings) http.Handler {
	t.Helper()
	h, err := newAPI(s).Handler()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestProblems(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := handler(t, settings(&log))
	hurried := settings(&log)
	hurried.Web.RequestTimeout = 100
	for _, test := range []struct {
		name, route, body string
		status            int
		code              web.Code
		details           []string // parts of the detail and of each error
	}{
		{"malformed JSON", "POST /echo", `{"name": `, 400, web.JSONError, []string{"body", "unexpected end"}},
		{"no body", "POST /echo", ``, 400, web.JSONError, []string{"body is required"}},
		{"not an object", "POST /echo", `[]`, 400, web.BadRequest, []string{"expected object"}},
		{
			"several problems", "POST /echo?limit=10&color=red", `{"name": "x", "colour": 1, "context": 7}`, 400, web.BadRequest,
			[]string{"query.color"},
		},
		{
			"several problems of the body", "POST /echo?limit=10", `{"name": "x", "colour": 1, "context": 7}`, 400, web.BadRequest,
			[]string{"query.limit", "body.name", "body.colour", "body.context", "expected object"},
		},
		{"body too large", "POST /echo", `{"name": "` + strings.Repeat("x", 1000) + `"}`, 413, web.PayloadTooLarge, []string{"limit=1000"}},
		{"no route", "GET /nowhere", ``, 404, web.NotFound, []string{"/nowhere"}},
		{"no method", "DELETE /echo", ``, 405, web.MethodNotAllowed, []string{"DELETE"}},
		{"known error", "GET /fail/missing", ``, 404, web.NotFound, []string{"find it: not here"}},
		{"known errors", "GET /fail/several", ``, 404, web.NotFound, []string{"2 problems", "not here", "nor not here"}},
		{"unavailable", "GET /fail/busy", ``, 503, web.Unavailable, []string{"try again"}},
		{"fault", "GET /fail/fault", ``, 500, web.Internal, []string{"request id"}},
		{"panic", "GET /fail/panic", ``, 500, web.Internal, []string{"request id"}},
		{"too slow", "GET /fail/slow", ``, 503, web.DeadlineExceeded, []string{"try again"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := h
			if test.code == web.DeadlineExceeded {
				asked = handler(t, hurried)
			}
			w := ask(t, asked, test.route, test.body, "")
			var p web.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			if w.Code != test.status || p.Status != test.status || p.Code != test.code || p.Title != http.StatusText(test.status) {
				t.Errorf("got status %d and %+v; want %d, %s", w.Code, p, test.status, test.code)
			}
			if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("content type is %q", got)
			}
			if p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-ID") {
				t.Errorf("request id is %q in the body and %q in the header", p.RequestID, w.Header().Get("X-Request-ID"))
			}
			if got := w.Header().Get("Retry-After"); (got != "") != (test.status == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After is %q", got)
			}
			for _, want := range test.details {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s does not say %q", w.Body, want)
				}
			}
			for _, secret := range []string{"secret", "hunter2", "relation"} {
				if strings.Contains(w.Body.String(), secret) {
					t.Errorf("%s says %q", w.Body, secret)
				}
			}
			if p.Code == web.Internal && !strings.Contains(log.String(), "request_id="+p.RequestID) {
				t.Error("the log does not know the request id")
			}
		})
	}
}

func TestMethodNotAllowedNamesTheMethods(t *testing.T) {
	t.Parallel()
	w := ask(t, handler(t, settings(io.Discard)), "DELETE /echo", "", "")
	if got := w.Header().Get("Allow"); got != http.MethodPost {
		t.Errorf("Allow is %q", got)
	}
}

func TestObjectIsKeptAsWritten(t *testing.T) {
	t.Parallel()
	const written = `{"big":12345678901234567890,"b":1,"a":0.10}`
	w := ask(t, handler(t, settings(io.Discard)), "POST /echo", `{"name": "xy", "context": `+written+`}`, "")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), written) {
		t.Errorf("got %d, %s", w.Code, w.Body)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	h := handler(t, settings(io.Discard))
	for _, test := range []struct {
		given string
		kept  bool
	}{
		{"", false},
		{"abc-DEF_1.2:3", true},
		{strings.Repeat("a", 128), true},
		{strings.Repeat("a", 129), false},
		{"a b", false},
		{"a\"b", false},
		{"é", false},
	} {
		got := ask(t, h, "GET /nowhere", "", test.given).Header().Get("X-Request-ID")
		if got == "" || (got == test.given) != test.kept {
			t.Errorf("%q became %q", test.given, got)
		}
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	ask(t, handler(t, settings(&log)), "POST /echo?limit=3", `{"name": "xy"}`, "r1")
	for _, want := range []string{"level=DEBUG", "request_id=r1", "method=POST", "path=/echo ", "status=200", "bytes=", "took="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s does not say %q", log.String(), want)
		}
	}
}

// TestOpenAPI checks that the document tells what routes really answer.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	w := ask(t, handler(t, settings(io.Discard)), "GET /openapi.json", "", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Security   []map[string][]string
			Permission permission.Permission `json:"x-permission"`
			Responses  map[string]struct {
				Content map[string]struct{ Schema map[string]any }
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
			Schemes map[string]struct{ Type, Scheme, Name string } `json:"securitySchemes"`
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("version is %q", doc.OpenAPI)
	}
	echo, public := doc.Paths["/echo"]["post"], doc.Paths["/fail/{how}"]["get"]
	if len(echo.Security) != 2 || echo.Permission != permission.TasksCreate || public.Security != nil || public.Responses["401"].Content != nil {
		t.Errorf("got %+v and %+v", echo, public)
	}
	if s := doc.Components.Schemes; len(s) != 2 || s["token"].Scheme != "bearer" || s["api_key"].Name != "X-API-Key" {
		t.Errorf("the security schemes are %+v", s)
	}
	responses := echo.Responses
	statuses := make([]string, 0, len(responses))
	for status := range responses {
		statuses = append(statuses, status)
	}
	slices.Sort(statuses)
	if want := []string{"200", "400", "401", "403", "408", "413", "415", "500", "503"}; !slices.Equal(statuses, want) {
		t.Errorf("got responses %v; want %v", statuses, want)
	}
	if got := responses["400"].Content["application/problem+json"].Schema["$ref"]; got != "#/components/schemas/Problem" {
		t.Errorf("400 is described by %v", got)
	}
	if doc.Components.Schemas["Problem"].Properties["code"] == nil {
		t.Errorf("Problem is %+v", doc.Components.Schemas["Problem"])
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	status := health.Healthy
	api := web.New(settings(io.Discard))
	web.HandleHealth(api, web.Info{Role: "worker", Environment: "test", Process: "p", Started: time.Now()}, []health.Check{
		{Name: "database", Look: func(context.Context) (health.Status, string) { return status, "as set" }},
	})
	h, err := api.Handler()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		found health.Status
		path  string
		code  int
		says  string
	}{
		{health.Healthy, "/health", 200, `{"status":"healthy","role":"worker"}`},
		{health.Unhealthy, "/health", 200, `{"status":"healthy","role":"worker"}`},
		{health.Unhealthy, "/health/live", 200, `{"status":"healthy","role":"worker"}`},
		{health.Healthy, "/health/ready", 200, `"database":{"status":"healthy","message":"as set"`},
		{health.Degraded, "/health/ready", 200, `"status":"degraded"`},
		{health.Unhealthy, "/health/ready", 503, `"errors":[{"message":"as set","location":"database"}]`},
		{health.Unhealthy, "/health/ready", 503, `"code":"NOT_READY"`},
		{health.Unhealthy, "/health/detailed", 200, `"database":{"status":"unhealthy"`},
		{health.Healthy, "/health/detailed", 200, `"environment":"test"`},
	} {
		status = test.found
		if w := ask(t, h, "GET "+test.path, "", ""); w.Code != test.code || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s, %s: got %d, %s; want %d, %s", test.path, test.found, w.Code, w.Body, test.code, test.says)
		}
	}
}
