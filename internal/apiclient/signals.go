package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// SendSignal sends a signal to a task. It reports false when one of the name was
// there already.
func (c *Client) SendSignal(ctx context.Context, task, name string, payload json.RawMessage, sender string) (bool, error) {
	var out struct {
		Received bool `json:"received"`
	}
	body := map[string]any{"payload": payload}
	if sender != "" {
		body["sender"] = sender
	}
	_, err := c.call(ctx, call{
		method: http.MethodPost, path: "/v1/tasks/" + url.PathEscape(task) + "/signals/" + url.PathEscape(name), body: body,
	}, &out)
	return out.Received, err
}

// A Waiting is a step that waits for a signal.
type Waiting struct {
	Step   string     `json:"step"`
	Signal string     `json:"signal"`
	Since  time.Time  `json:"since"`
	DueAt  *time.Time `json:"due_at"` // nil: it waits for as long as it takes
}

// ListWaiting returns what a task waits for, and the answer as it was sent.
func (c *Client) ListWaiting(ctx context.Context, task string) ([]Waiting, json.RawMessage, error) {
	var out struct {
		Waiting []Waiting `json:"waiting"`
	}
	raw, err := c.call(ctx, call{path: "/v1/tasks/" + url.PathEscape(task) + "/signals"}, &out)
	return out.Waiting, raw, err
}
