// Package apiclient speaks the HTTP API of an orchestrator, for tasker-cli. It
// tries nothing twice and keeps nothing. What the server says is wrong it passes
// on as an [*Error], in the server's words.
package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// patience is how long an answer may take. A server gives up sooner.
const patience = 2 * time.Minute

// A Client calls one server. It is safe for concurrent use.
type Client struct {
	server  *url.URL
	options Options
	http    *http.Client
}

// Options say who calls, and whom to trust. All may be empty.
type Options struct {
	Token        string // a JWT
	APIKey       string
	APIKeyHeader string // that carries the key; X-API-Key where it is empty
	CA           []byte // certificates, in PEM, of those who may vouch for the server; those of the system where it is nil
}

// New returns a client for the server at a URL such as http://127.0.0.1:8080.
// It connects to nothing yet.
func New(server string, o Options) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the server's URL does not look like http://127.0.0.1:8080") // it may hold a password
	}
	if o.APIKeyHeader == "" {
		o.APIKeyHeader = "X-API-Key"
	}
	transport := http.DefaultTransport
	if o.CA != nil {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("the file of certificates holds none in PEM")
		}
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}
	}
	return &Client{server: u, options: o, http: &http.Client{
		Timeout: patience, Transport: transport,
		// Tasker redirects nobody, and who does should not get the credentials.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Server is the URL of the server, without a password.
func (c *Client) Server() string { return c.server.Redacted() }

// Sent is a part of every answer.
type Sent struct {
	JSON json.RawMessage `json:"-"` // as the server sent it, with all that it said; empty for an element of a list
}

func (s *Sent) keep(raw json.RawMessage) { s.JSON = raw }

// An answer is a pointer to what the server's JSON is decoded into.
type answer[T any] interface {
	*T
	keep(raw json.RawMessage)
}

// ask sends a request and returns what the server answers.
func ask[T any, P answer[T]](ctx context.Context, c *Client, what call) (*T, error) {
	var out T
	raw, err := c.call(ctx, what, &out)
	if err != nil {
		return nil, err
	}
	P(&out).keep(raw)
	return &out, nil
}

// timeOf writes a time for a query; nil is left out.
func timeOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

// queryOf makes a query of names and values by turns; what is empty is left out.
func queryOf(pairs ...string) url.Values {
	query := url.Values{}
	name := ""
	for i, text := range pairs {
		switch {
		case i%2 == 0:
			name = text
		case text != "":
			query.Set(name, text)
		}
	}
	return query
}

// An UnreachableError says that no server answered.
type UnreachableError struct {
	Server string // its URL, without a password
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no answer from %s: %s", e.Server, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// An Error is a refusal by the server.
type Error struct {
	Status    int      `json:"status"` // of HTTP
	Code      string   `json:"code"`   // what is wrong, by name; "" when it was no Tasker that answered
	Detail    string   `json:"detail"` // the same for people
	RequestID string   `json:"request_id"`
	Errors    []Detail `json:"errors"` // each problem, where there are several
}

// A Detail is one of several problems.
type Detail struct {
	Message  string `json:"message"`
	Location string `json:"location"` // as in body.context; may be empty
	Pointer  string `json:"pointer"`  // within it, as a JSON pointer; may be empty
}

// Codes that callers branch on.
const (
	CodeUnknownTemplate = "UNKNOWN_TEMPLATE"
	CodeDuplicateTask   = "DUPLICATE_TASK"
	CodeInternal        = "INTERNAL_ERROR"
)

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Detail)
	for _, d := range e.Errors {
		if d.Message == e.Detail {
			continue // the only one
		}
		b.WriteString("\n  ")
		if d.Location != "" {
			b.WriteString(d.Location + ": ")
		}
		b.WriteString(d.Message)
	}
	if e.Code == CodeInternal {
		fmt.Fprintf(&b, " (request id %s)", e.RequestID)
	}
	return b.String()
}

// CreateTask creates a task.
func (c *Client) CreateTask(ctx context.Context, r TaskRequest) (*Task, error) {
	return ask[Task](ctx, c, call{method: http.MethodPost, path: "/v1/tasks", body: r})
}

// FindTask reads a task with its steps. With a wait the server answers once the
// task is in a final state, or when that time is over; how long it really waits
// is its own decision.
func (c *Client) FindTask(ctx context.Context, id string, wait time.Duration) (*Task, error) {
	patience := ""
	if wait > 0 {
		patience = wait.String()
	}
	return ask[Task](ctx, c, call{path: "/v1/tasks/" + url.PathEscape(id), query: queryOf("wait", patience)})
}

// ListTasks reads a page of tasks, newest first, without their steps.
func (c *Client) ListTasks(ctx context.Context, f Filter) (*TaskPage, error) {
	return c.listTasks(ctx, "/v1/tasks", f)
}

func (c *Client) listTasks(ctx context.Context, path string, f Filter) (*TaskPage, error) {
	return ask[TaskPage](ctx, c, call{path: path, query: queryOf(
		"namespace", f.Namespace, "name", f.Name, "version", f.Version, "state", strings.Join(f.States, ","), "tags", strings.Join(f.Tags, ","),
		"correlation_id", f.Correlation, "initiator", f.Initiator, "source_system", f.SourceSystem, "context", f.Context,
		"created_after", timeOf(f.CreatedAfter), "created_before", timeOf(f.CreatedBefore),
		"completed_after", timeOf(f.CompletedAfter), "completed_before", timeOf(f.CompletedBefore),
		"after", f.After, "limit", strconv.Itoa(f.Limit),
	)})
}

// ListTemplates reads the names of all registered templates.
func (c *Client) ListTemplates(ctx context.Context) (*TemplateList, error) {
	return ask[TemplateList](ctx, c, call{path: "/v1/templates"})
}

// A call is a request before it has a form.
type call struct {
	method string // "" is GET
	path   string
	query  url.Values
	body   any // to encode; nil is none
}

// call sends a request and decodes the answer, unless out is nil. It also returns
// it as it came.
func (c *Client) call(ctx context.Context, what call, out any) (json.RawMessage, error) {
	request, err := c.request(ctx, what)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return nil, refusal(response, body)
	}
	if out == nil {
		return body, nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("%s does not answer as Tasker does: %w", c.server.Redacted(), err)
	}
	return body, nil
}

func (c *Client) request(ctx context.Context, what call) (*http.Request, error) {
	u := c.server.JoinPath(what.path)
	u.RawQuery = what.query.Encode()
	var body io.Reader
	if what.body != nil {
		raw, err := json.Marshal(what.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, what.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json, application/problem+json")
	if c.options.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.options.Token)
	}
	if c.options.APIKey != "" {
		request.Header.Set(c.options.APIKeyHeader, c.options.APIKey)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// unreachable strips what net/http says to the reason: its text repeats the
// URL of the request.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return &UnreachableError{Server: c.server.Redacted(), Err: err}
}

// refusal makes an error of what a server answered.
func refusal(response *http.Response, body []byte) *Error {
	e := &Error{}
	if err := json.Unmarshal(body, e); err != nil || e.Code == "" {
		return &Error{
			Status: response.StatusCode,
			Detail: fmt.Sprintf("%s answers %q, which is not how Tasker does", response.Request.URL.Host, response.Status),
		}
	}
	return e
}
