package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A DLQEntry is an entry of the dead letter queue as the server tells it.
type DLQEntry struct {
	ID          string    `json:"dlq_entry_uuid"`
	Task        string    `json:"task_uuid"`
	Namespace   string    `json:"namespace"`
	Name        string    `json:"task_name"`
	TaskStatus  string    `json:"task_status"` // "" once it is archived
	Reason      string    `json:"dlq_reason"`
	Resolution  string    `json:"resolution_status"`
	EnteredAt   time.Time `json:"dlq_timestamp"`
	Notes       string    `json:"resolution_notes"`
	Overdue     bool      `json:"overdue"`
	OriginState string    `json:"original_state"`

	Sent
}

// A DLQList is a part of the dead letter queue.
type DLQList struct {
	Entries []DLQEntry `json:"entries"`

	Sent
}

// A DLQFilter narrows a list of entries; empty fields do not.
type DLQFilter struct {
	Resolution, Reason string
	Limit, Offset      int
}

// ListDLQ reads entries, newest first.
func (c *Client) ListDLQ(ctx context.Context, f DLQFilter) (*DLQList, error) {
	return ask[DLQList](ctx, c, call{path: "/v1/dlq", query: queryOf(
		"resolution_status", f.Resolution, "dlq_reason", f.Reason, "limit", strconv.Itoa(f.Limit), "offset", strconv.Itoa(f.Offset),
	)})
}

// Investigations reads the pending entries, the most urgent first.
func (c *Client) Investigations(ctx context.Context, limit int) (*DLQList, error) {
	return ask[DLQList](ctx, c, call{path: "/v1/dlq/investigation-queue", query: url.Values{"limit": {strconv.Itoa(limit)}}})
}

// FindDLQEntry reads an entry with its snapshot.
func (c *Client) FindDLQEntry(ctx context.Context, id string) (*DLQEntry, error) {
	return ask[DLQEntry](ctx, c, call{path: "/v1/dlq/entry/" + url.PathEscape(id)})
}

// A DLQNote is what an operator says about an entry.
type DLQNote struct {
	By, Notes string
}

// SetAside makes an entry for a task.
func (c *Client) SetAside(ctx context.Context, task string, note DLQNote) (*DLQEntry, error) {
	body := map[string]string{"task_uuid": task, "notes": note.Notes, "requested_by": note.By}
	return ask[DLQEntry](ctx, c, call{method: http.MethodPost, path: "/v1/dlq", body: body})
}

// ResolveDLQ gives an entry a resolution.
func (c *Client) ResolveDLQ(ctx context.Context, id, resolution string, note DLQNote) (*DLQEntry, error) {
	body := map[string]string{"resolution_status": resolution, "resolution_notes": note.Notes, "resolved_by": note.By}
	return ask[DLQEntry](ctx, c, call{method: http.MethodPatch, path: "/v1/dlq/entry/" + url.PathEscape(id), body: body})
}

// RequeueDLQ puts the task of an entry back to work.
func (c *Client) RequeueDLQ(ctx context.Context, id string, note DLQNote) (*DLQEntry, error) {
	body := map[string]string{"reason": note.Notes, "actor": note.By}
	return ask[DLQEntry](ctx, c, call{method: http.MethodPost, path: "/v1/dlq/entry/" + url.PathEscape(id) + "/requeue", body: body})
}

// DLQStats are the figures of the dead letter queue.
type DLQStats struct {
	Reasons []struct {
		Reason            string `json:"dlq_reason"`
		Total             int    `json:"total_entries"`
		Pending           int    `json:"pending"`
		Overdue           int    `json:"overdue"`
		ManuallyResolved  int    `json:"manually_resolved"`
		PermanentlyFailed int    `json:"permanently_failed"`
		Cancelled         int    `json:"cancelled"`
		Requeued          int    `json:"requeued"`
	} `json:"reasons"`

	Sent
}

// SummarizeDLQ reads the figures of the dead letter queue.
func (c *Client) SummarizeDLQ(ctx context.Context) (*DLQStats, error) {
	return ask[DLQStats](ctx, c, call{path: "/v1/dlq/stats"})
}

// ListArchived reads a page of archived tasks, newest first.
func (c *Client) ListArchived(ctx context.Context, f Filter) (*TaskPage, error) {
	return c.listTasks(ctx, "/v1/archive/tasks", f)
}

// FindArchived reads an archived task with its steps.
func (c *Client) FindArchived(ctx context.Context, id string) (*Task, error) {
	return ask[Task](ctx, c, call{path: "/v1/archive/tasks/" + url.PathEscape(id)})
}

// RunArchiver has the archiver run soon, and returns what is known of the jobs.
func (c *Client) RunArchiver(ctx context.Context) (json.RawMessage, error) {
	var jobs struct{}
	return c.call(ctx, call{method: http.MethodPost, path: "/v1/archive/runs"}, &jobs)
}
