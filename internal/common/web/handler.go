package web

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
)

// Handler returns what serves the API. Each request gets an id, a deadline and
// an entry in the log at level debug; a panic becomes a problem.
func (a *API) Handler() (http.Handler, error) {
	document, err := a.OpenAPI()
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	var current *config.Config
	if a.settings.Config != nil {
		current = a.settings.Config.Current()
	}
	first, err := a.newRules(current, nil)
	if err != nil {
		return nil, err
	}
	a.rules.Store(first)
	if err := a.describe(document); err != nil {
		return nil, err
	}
	return http.HandlerFunc(a.serve), nil
}

func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	id := r.Header.Get(requestIDHeader)
	if !usableID(id) {
		id = rand.Text()
	}
	w.Header().Set(requestIDHeader, id)
	ctx := telemetry.FromHeader(context.WithValue(context.WithValue(r.Context(), requestIDKey{}, id), lifeKey{}, r.Context()), r.Header)
	ctx, cancel := context.WithTimeout(telemetry.About(ctx, telemetry.Field{Name: "request_id", Value: id}), a.settings.Web.RequestTimeout.Duration())
	defer cancel()
	sent := &response{ResponseWriter: w}
	defer func() {
		if sent.Header().Get("Content-Type") != "text/event-stream" { // that is long by intent
			a.measure(ctx, r, sent.status, time.Since(began))
		}
		a.settings.Log.LogAttrs(ctx, slog.LevelDebug, "request",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", sent.status),
			slog.Int64("bytes", sent.bytes), slog.Duration("took", time.Since(began)))
	}()
	defer a.recover(ctx, sent)
	a.enter(sent, r.WithContext(ctx))
}

// measure counts a request by its route, since its path may hold ids.
func (a *API) measure(ctx context.Context, r *http.Request, status int, took time.Duration) {
	if a.requests == nil {
		return
	}
	_, pattern := a.mux.Handler(r)
	method, route, _ := strings.Cut(pattern, " ")
	if route == "" {
		method, route = "", "none"
	}
	server, _, _ := strings.Cut(a.settings.Section, ".")
	a.requests.Record(ctx, took.Seconds(), server, method, route, strconv.Itoa(status))
}

// recover answers for a handler that panicked. Where a part of the response is
// on its way already, the connection is cut, so that nobody takes it for whole.
func (a *API) recover(ctx context.Context, sent *response) {
	reason := recover()
	if reason == nil {
		return
	}
	if ctx.Err() == nil { // else huma could not write to a client that has gone
		a.settings.Log.ErrorContext(ctx, "request panicked", "panic", reason, "stack", string(debug.Stack()))
	}
	if sent.status != 0 {
		panic(http.ErrAbortHandler)
	}
	newProblem(Internal, "", requestID(ctx)).write(sent)
}

// route passes a request on; one that no route is for is answered with a
// problem, where the standard library would answer with text.
func (a *API) route(w http.ResponseWriter, r *http.Request) {
	if err := checkURL(r.URL); err != nil {
		newProblem(BadRequest, err.Error(), requestID(r.Context())).write(w)
		return
	}
	if _, pattern := a.mux.Handler(r); pattern != "" {
		if r, admitted := a.known(w, r, pattern); admitted {
			a.mux.ServeHTTP(w, r)
		}
		return
	}
	refused := &refusal{header: w.Header()} // takes over the Allow header
	a.mux.ServeHTTP(refused, r)
	code, detail := NotFound, "there is no route for "+r.URL.Path
	if refused.status == http.StatusMethodNotAllowed {
		code, detail = MethodNotAllowed, r.URL.Path+" does not know the method "+r.Method
	}
	newProblem(code, detail, requestID(r.Context())).write(w)
}

// A refusal takes what the standard library answers when there is no route.
type refusal struct {
	header http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) WriteHeader(status int)      { r.status = status }
func (r *refusal) Write(p []byte) (int, error) { return len(p), nil }

// A response remembers what was sent.
type response struct {
	http.ResponseWriter
	status int // 0: nothing yet
	bytes  int64
}

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets [http.ResponseController] reach the connection.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// requestIDHeader carries the id of a request, both ways.
const requestIDHeader = "X-Request-ID"

type requestIDKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// usableID reports whether an id that a client chose may go into the log.
func usableID(id string) bool {
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return id != "" && len(id) <= 128
}
