package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answering returns a client of a server that answers every request alike, and
// keeps the last one.
func answering(t *testing.T, status int, body string) (*Client, *http.Request) {
	t.Helper()
	var last http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		last = *r
		last.Body = io.NopCloser(strings.NewReader(string(sent)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	c, err := New(server.URL+"/base/", Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c, &last
}

// TestCalls looks at what is sent and what is made of the answer.
func TestCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer string
		call         func(context.Context, *Client) (any, error)
		sent, want   string // the request as "METHOD URL BODY", and the result as JSON
	}{
		{
			"create", `{"task_uuid": "1", "new_field": 2}`,
			func(ctx context.Context, c *Client) (any, error) {
				task, err := c.CreateTask(ctx, TaskRequest{Namespace: "n", Name: "t", Context: json.RawMessage(`{"a":1}`)})
				return task.JSON, err
			},
			`POST /base/v1/tasks {"namespace":"n","name":"t","context":{"a":1}}`, `{"task_uuid":"1","new_field":2}`,
		},
		{
			"find and wait", `{"task_uuid": "1", "steps": [{"name": "a", "error": {"message": "away"}}]}`,
			func(ctx context.Context, c *Client) (any, error) {
				task, err := c.FindTask(ctx, "../1", 1500*time.Millisecond)
				return task.Steps[0].Error.Message, err
			},
			"GET /base/v1/tasks/..%2F1?wait=1.5s ", `"away"`,
		},
		{
			"list", `{"tasks": [{"task_uuid": "1"}], "next": "1"}`,
			func(ctx context.Context, c *Client) (any, error) {
				page, err := c.ListTasks(ctx, Filter{States: []string{"error"}, Limit: 1})
				return page.Next + page.Tasks[0].ID, err
			},
			"GET /base/v1/tasks?limit=1&state=error ", `"11"`,
		},
		{
			"templates", `{"templates": [{"namespace": "n", "name": "t", "version": "1.0.0"}]}`,
			func(ctx context.Context, c *Client) (any, error) {
				list, err := c.ListTemplates(ctx)
				return list.Templates, err
			},
			"GET /base/v1/templates ", `[{"namespace":"n","name":"t","version":"1.0.0"}]`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, request := answering(t, http.StatusOK, c.answer)
			got, err := c.call(t.Context(), client)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(request.Body)
			if sent := request.Method + " " + request.RequestURI + " " + string(body); sent != c.sent {
				t.Errorf("sent %s, want %s", sent, c.sent)
			}
			if raw, err := json.Marshal(got); err != nil || string(raw) != c.want {
				t.Errorf("got %s, want %s (%v)", raw, c.want, err)
			}
		})
	}
}

// TestRefusals: the words of the server come through; what is no Tasker is
// called that.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		status     int
		code, want string
	}{
		{"problem", `{"status": 404, "code": "UNKNOWN_TEMPLATE", "detail": "unknown template a/b"}`, 404, CodeUnknownTemplate, "unknown template a/b"},
		{
			"several problems", `{"status": 400, "code": "BAD_REQUEST", "detail": "two problems", "errors": [{"message": "a"}, {"message": "b", "location": "body.x"}]}`,
			400, "BAD_REQUEST", "two problems\n  a\n  body.x: b",
		},
		{"fault", `{"status": 500, "code": "INTERNAL_ERROR", "detail": "the server failed", "request_id": "r1"}`, 500, CodeInternal, "the server failed (request id r1)"},
		{"another server", `<html>`, 502, "", `"502 Bad Gateway", which is not how Tasker does`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, _ := answering(t, c.status, c.body)
			_, err := client.ListTemplates(t.Context())
			refused, ok := errors.AsType[*Error](err)
			if !ok || refused.Status != c.status || refused.Code != c.code || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// TestNoAnswer: a server that is away, one that is no Tasker, a caller that
// went, and URLs that are none. None of the errors shows a password.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	away, err := New("http://user:s3cret@127.0.0.1:1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = away.ListTemplates(t.Context())
	if _, ok := errors.AsType[*UnreachableError](err); !ok || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("away: %v", err)
	}
	other, _ := answering(t, http.StatusOK, "hello")
	if _, err := other.ListTemplates(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer as Tasker does") {
		t.Errorf("another server: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := away.ListTemplates(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("gone: %v", err)
	}
	for _, server := range []string{"", "localhost:8080", "ftp://host", "http://", "http://user:s3cret@[", ":"} {
		if _, err := New(server, Options{}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", server, err)
		}
	}
}
