package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// A Note says who acts and why; both may be empty.
type Note struct {
	Reason string `json:"reason,omitempty"`
	Actor  string `json:"actor,omitempty"`
}

// Act does something to a task: cancel, pause, resume, retry or resolve.
func (c *Client) Act(ctx context.Context, task, action string, note Note) (*Task, error) {
	what := call{method: http.MethodPost, path: "/v1/tasks/" + url.PathEscape(task) + "/" + action, body: note}
	if action == "cancel" {
		what = call{method: http.MethodDelete, path: "/v1/tasks/" + url.PathEscape(task), query: queryOf("reason", note.Reason, "actor", note.Actor)}
	}
	return ask[Task](ctx, c, what)
}

// A StepChange is what to do to a step by hand.
type StepChange struct {
	Action string // reset_for_retry, resolve_manually or complete_manually
	Note   Note
	Result json.RawMessage // for complete_manually
}

// ListSteps reads the steps of a task, also as they were sent.
func (c *Client) ListSteps(ctx context.Context, task string) ([]Step, json.RawMessage, error) {
	var steps []Step
	raw, err := c.call(ctx, call{path: "/v1/tasks/" + url.PathEscape(task) + "/workflow_steps"}, &steps)
	return steps, raw, err
}

// FindStep reads a step, named by its name or its id.
func (c *Client) FindStep(ctx context.Context, task, step string) (*Step, error) {
	return ask[Step](ctx, c, call{path: stepPath(task, step)})
}

// ChangeStep does something to a step and returns it.
func (c *Client) ChangeStep(ctx context.Context, task, step string, change StepChange) (*Step, error) {
	body := map[string]any{"action_type": change.Action}
	if change.Note.Reason != "" {
		body["reason"] = change.Note.Reason
	}
	who := map[string]string{"reset_for_retry": "reset_by", "resolve_manually": "resolved_by", "complete_manually": "completed_by"}[change.Action]
	if change.Note.Actor != "" {
		body[who] = change.Note.Actor
	}
	if change.Result != nil {
		body["completion_data"] = map[string]any{"result": change.Result}
	}
	return ask[Step](ctx, c, call{method: http.MethodPatch, path: stepPath(task, step), body: body})
}

func stepPath(task, step string) string {
	return "/v1/tasks/" + url.PathEscape(task) + "/workflow_steps/" + url.PathEscape(step)
}

// An Attempt is one run of a step.
type Attempt struct {
	Attempt    int        `json:"attempt"`
	WorkerID   string     `json:"worker_id"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
	Outcome    string     `json:"outcome"`
	Error      *StepError `json:"error"`
}

// ListAttempts returns the attempts at a step, also as they were sent.
func (c *Client) ListAttempts(ctx context.Context, task, step string) ([]Attempt, json.RawMessage, error) {
	var attempts []Attempt
	raw, err := c.call(ctx, call{path: stepPath(task, step) + "/attempts"}, &attempts)
	return attempts, raw, err
}

// An Audit is something that became of a step: an attempt that ended, or what an
// operator did.
type Audit struct {
	At       time.Time  `json:"recorded_at"`
	Kind     string     `json:"kind"` // attempt, or what an operator did
	Attempt  int        `json:"attempt"`
	WorkerID string     `json:"worker_id"`
	Success  *bool      `json:"success"` // of an attempt
	Millis   *int64     `json:"execution_time_ms"`
	Error    *StepError `json:"error"`
	Actor    string     `json:"actor"`
	Reason   string     `json:"reason"`
}

// ListAudit returns what became of a step, oldest first, also as it was sent.
func (c *Client) ListAudit(ctx context.Context, task, step string) ([]Audit, json.RawMessage, error) {
	var all []Audit
	raw, err := c.call(ctx, call{path: stepPath(task, step) + "/audit"}, &all)
	return all, raw, err
}

// An Event is something that an operator did to a task.
type Event struct {
	Kind   string    `json:"kind"`
	Step   string    `json:"step_name"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// ListEvents returns what operators did to a task, also as it was sent.
func (c *Client) ListEvents(ctx context.Context, task string) ([]Event, json.RawMessage, error) {
	var events []Event
	raw, err := c.call(ctx, call{path: "/v1/tasks/" + url.PathEscape(task) + "/events"}, &events)
	return events, raw, err
}

// A Bulk is what to do to many tasks.
type Bulk struct {
	Note

	Kind   string     `json:"kind"` // cancel, retry or resolve
	Filter BulkFilter `json:"filter"`
	DryRun bool       `json:"dry_run,omitempty"` // only count
}

// A BulkFilter says which tasks; empty fields do not narrow.
type BulkFilter struct {
	Namespace     string     `json:"namespace,omitempty"`
	Name          string     `json:"name,omitempty"`
	Version       string     `json:"version,omitempty"`
	States        []string   `json:"states,omitempty"`
	Tags          []string   `json:"tags,omitempty"`
	CreatedAfter  *time.Time `json:"created_after,omitempty"`
	CreatedBefore *time.Time `json:"created_before,omitempty"`
}

// An Operation is a bulk under way or over.
type Operation struct {
	ID        string `json:"operation_uuid"` // "" when it was only counted
	Kind      string `json:"kind"`
	State     string `json:"state"` // dry_run, pending, running or complete
	Actor     string `json:"actor"`
	Reason    string `json:"reason"`
	Matched   int    `json:"matched"`
	Done      int    `json:"done"`
	Failed    int    `json:"failed"`
	LastError string `json:"last_error"`

	Sent
}

// StartOperation starts or counts a bulk.
func (c *Client) StartOperation(ctx context.Context, b Bulk) (*Operation, error) {
	return ask[Operation](ctx, c, call{method: http.MethodPost, path: "/v1/operations", body: b})
}

// FindOperation reads how far an operation has come.
func (c *Client) FindOperation(ctx context.Context, id string) (*Operation, error) {
	return ask[Operation](ctx, c, call{path: "/v1/operations/" + url.PathEscape(id)})
}
