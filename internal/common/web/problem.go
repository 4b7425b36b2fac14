package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// A Code says by name what went wrong; programs branch on it, not on texts.
type Code string

// The codes.
const (
	BadRequest           Code = "BAD_REQUEST"            // the request does not say what it must
	JSONError            Code = "JSON_ERROR"             // the body is missing or no JSON
	Unauthorized         Code = "UNAUTHORIZED"           // the caller shows no credentials, and must
	AuthenticationFailed Code = "AUTHENTICATION_FAILED"  // the credentials are not good
	Forbidden            Code = "FORBIDDEN"              // the caller may not
	NotFound             Code = "NOT_FOUND"              // no such thing, or no such route
	UnknownTemplate      Code = "UNKNOWN_TEMPLATE"       // no template of that name is registered
	Conflict             Code = "CONFLICT"               // what is asked for does not fit the state of things
	DuplicateTask        Code = "DUPLICATE_TASK"         // the same task exists already
	MethodNotAllowed     Code = "METHOD_NOT_ALLOWED"     // the route does not know the method
	Timeout              Code = "TIMEOUT"                // the body did not arrive in time
	PayloadTooLarge      Code = "PAYLOAD_TOO_LARGE"      // the body, or a part of it, is above its limit
	UnsupportedMediaType Code = "UNSUPPORTED_MEDIA_TYPE" // the body is not JSON by its Content-Type
	Internal             Code = "INTERNAL_ERROR"         // a fault of the server, which its log explains
	Unavailable          Code = "SERVICE_UNAVAILABLE"    // something the server needs is away, or it is stopping
	DeadlineExceeded     Code = "DEADLINE_EXCEEDED"      // the request took longer than request_timeout_ms
	CircuitBreakerOpen   Code = "CIRCUIT_BREAKER_OPEN"   // something the server needs kept failing and is left alone for a while
	Backpressure         Code = "BACKPRESSURE"           // the server has too much to do to take on more
	NotReady             Code = "NOT_READY"              // a health check finds that the process cannot work now
)

// codes says how each code is answered. Where there is a text the client sees
// it in place of the error, which may tell of what is not its business.
var codes = map[Code]struct {
	status int
	text   string
}{
	BadRequest:           {http.StatusBadRequest, ""},
	JSONError:            {http.StatusBadRequest, ""},
	Unauthorized:         {http.StatusUnauthorized, ""},
	AuthenticationFailed: {http.StatusUnauthorized, ""},
	Forbidden:            {http.StatusForbidden, ""},
	NotFound:             {http.StatusNotFound, ""},
	UnknownTemplate:      {http.StatusNotFound, ""},
	Conflict:             {http.StatusConflict, ""},
	DuplicateTask:        {http.StatusConflict, ""},
	MethodNotAllowed:     {http.StatusMethodNotAllowed, ""},
	Timeout:              {http.StatusRequestTimeout, ""},
	PayloadTooLarge:      {http.StatusRequestEntityTooLarge, ""},
	UnsupportedMediaType: {http.StatusUnsupportedMediaType, "the body must be JSON; send it with Content-Type: application/json"},
	Internal:             {http.StatusInternalServerError, "the server failed; its log has the reason under the request id"},
	Unavailable:          {http.StatusServiceUnavailable, "something the server needs does not answer; try again"},
	DeadlineExceeded:     {http.StatusServiceUnavailable, "the request took longer than the server allows; try again"},
	CircuitBreakerOpen:   {http.StatusServiceUnavailable, "something the server needs has kept failing; try again after a while"},
	Backpressure:         {http.StatusServiceUnavailable, ""},
	NotReady:             {http.StatusServiceUnavailable, ""},
}

// fromLibrary names the errors that huma answers by itself, before a handler is
// called.
var fromLibrary = map[int]Code{
	http.StatusBadRequest:            JSONError,
	http.StatusUnprocessableEntity:   BadRequest,
	http.StatusRequestTimeout:        Timeout,
	http.StatusRequestEntityTooLarge: PayloadTooLarge,
	http.StatusUnsupportedMediaType:  UnsupportedMediaType,
}

// retryAfter is what a client is told to wait before it tries again, where
// nothing better is known.
const retryAfter = time.Second

// A Problem is the body of every error (RFC 9457).
type Problem struct {
	Title     string   `json:"title" doc:"The status in words"`
	Status    int      `json:"status" doc:"The HTTP status"`
	Code      Code     `json:"code" doc:"What went wrong, by name"`
	Detail    string   `json:"detail" doc:"What went wrong, for people"`
	RequestID string   `json:"request_id" doc:"What the server's log calls the request"`
	Errors    []Detail `json:"errors,omitempty" doc:"Each problem, where there can be several"`

	ExistingTask string        `json:"existing_task_uuid,omitempty" format:"uuid" doc:"With DUPLICATE_TASK: the task that exists"`
	location     string        // of it
	after        time.Duration // that the client should wait; 0: nothing better is known than retryAfter
}

// A Duplicate is the error that a task exists already.
type Duplicate struct {
	Task     string // its id
	Location string // where to read it
}

// Error says which task exists.
func (d *Duplicate) Error() string { return "the same task exists already: " + d.Task }

// A Detail is one of several problems.
type Detail struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty" doc:"Where, as in body.tags[3] or query.limit"`
	Pointer  string `json:"pointer,omitempty" doc:"Where within the object at the location, as a JSON pointer (RFC 6901)"`
}

// A Located error is about a part of the request. Handlers return it, or join
// several.
type Located struct {
	Err      error
	Location string // as in a [Detail]
	Pointer  string
}

// Error is the text of the error inside.
func (l *Located) Error() string { return l.Err.Error() }

// Unwrap returns the error inside.
func (l *Located) Unwrap() error { return l.Err }

func newProblem(code Code, detail, requestID string) *Problem {
	kind := codes[code]
	if kind.text != "" {
		detail = kind.text
	}
	return &Problem{Title: http.StatusText(kind.status), Status: kind.status, Code: code, Detail: detail, RequestID: requestID}
}

// Error makes a problem what a huma handler may return.
func (p *Problem) Error() string { return p.Detail }

// GetStatus tells huma the status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType tells huma the media type.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders tells huma the headers.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.Status == http.StatusServiceUnavailable {
		wait := cmp.Or(p.after, retryAfter)
		h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	if p.location != "" {
		h.Set("Location", p.location)
	}
	return h
}

// write answers with the problem where huma has no part in it.
func (p *Problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always encode
		panic(fmt.Sprintf("web: encode a problem: %v", err))
	}
	h := w.Header()
	maps.Copy(h, p.GetHeaders())
	h.Set("Content-Type", p.ContentType(""))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the client may have gone
}

// list breaks an error that joins several into its parts, and says where the
// parts are about.
func list(err error) (detail string, parts []Detail) {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, part := range all {
		d := Detail{Message: part.Error()}
		if l, ok := errors.AsType[*Located](part); ok {
			d.Location, d.Pointer = l.Location, l.Pointer
		}
		parts = append(parts, d)
	}
	switch {
	case len(parts) > 1:
		return fmt.Sprintf("the request has %d problems", len(parts)), parts
	case parts[0].Location != "":
		return err.Error(), parts
	default:
		return err.Error(), nil
	}
}

// asProblem gives the errors of the library the shape of all others. The values
// they quote are dropped: they are as long as the client likes.
func asProblem(ctx huma.Context, _ string, body any) (any, error) {
	m, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	code, known := fromLibrary[m.Status]
	if !known {
		code = Internal
	}
	p := newProblem(code, m.Detail, requestID(ctx.Context()))
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, Detail{Message: e.Message, Location: e.Location})
	}
	return p, nil
}

type humaContext = huma.Context

// A problemContext sends the status of the problem that asProblem makes: huma
// refuses with 422 what we refuse with 400.
type problemContext struct{ humaContext }

func (c problemContext) SetStatus(status int) {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	c.humaContext.SetStatus(status)
}
