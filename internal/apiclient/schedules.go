package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Schedule is a schedule as the server tells it.
type Schedule struct {
	Name          string          `json:"name"`
	Namespace     string          `json:"namespace"`
	Template      string          `json:"template"`
	Version       string          `json:"version"` // "" is the highest
	Context       json.RawMessage `json:"context"`
	TimeField     string          `json:"time_field"`
	Priority      int             `json:"priority"`
	Tags          []string        `json:"tags"`
	Cron          string          `json:"cron"`
	TimeZone      string          `json:"time_zone"`
	Overlap       string          `json:"overlap"`
	CatchUp       string          `json:"catch_up"`
	CatchUpMax    int             `json:"catch_up_max"`
	CatchUpWindow int             `json:"catch_up_window_seconds"`
	Paused        bool            `json:"paused"`
	NextRunAt     *time.Time      `json:"next_run_at"`
	Upcoming      []time.Time     `json:"upcoming"`
	LastRunAt     *time.Time      `json:"last_run_at"`
	LastTaskID    string          `json:"last_task_uuid"`
	BufferedFor   *time.Time      `json:"buffered_for"`
	LastError     string          `json:"last_error"`

	Sent
}

// A SchedulePage is a part of the list of all schedules.
type SchedulePage struct {
	Schedules []Schedule `json:"schedules"`
	Next      string     `json:"next"` // the name to go on after; "" on the last page

	Sent
}

// A ScheduleRun is what became of a scheduled time.
type ScheduleRun struct {
	ScheduledFor time.Time `json:"scheduled_for"`
	Manual       bool      `json:"manual"`
	Outcome      string    `json:"outcome"`
	TaskID       string    `json:"task_uuid"`
	Reason       string    `json:"reason"`
}

// ScheduleRuns are runs, newest first.
type ScheduleRuns struct {
	Runs []ScheduleRun `json:"runs"`

	Sent
}

// Fields are those of a schedule to set, by the names of the API.
type Fields map[string]any

const schedulesPath = "/v1/schedules"

func schedulePath(name string) string { return schedulesPath + "/" + url.PathEscape(name) }

// CreateSchedule creates a schedule.
func (c *Client) CreateSchedule(ctx context.Context, f Fields) (*Schedule, error) {
	return ask[Schedule](ctx, c, call{method: http.MethodPost, path: schedulesPath, body: f})
}

// UpdateSchedule changes fields of a schedule.
func (c *Client) UpdateSchedule(ctx context.Context, name string, f Fields) (*Schedule, error) {
	return ask[Schedule](ctx, c, call{method: http.MethodPatch, path: schedulePath(name), body: f})
}

// FindSchedule reads a schedule.
func (c *Client) FindSchedule(ctx context.Context, name string) (*Schedule, error) {
	return ask[Schedule](ctx, c, call{path: schedulePath(name)})
}

// PauseSchedule pauses a schedule.
func (c *Client) PauseSchedule(ctx context.Context, name string) (*Schedule, error) {
	return ask[Schedule](ctx, c, call{method: http.MethodPost, path: schedulePath(name) + "/pause"})
}

// ResumeSchedule resumes a schedule.
func (c *Client) ResumeSchedule(ctx context.Context, name string) (*Schedule, error) {
	return ask[Schedule](ctx, c, call{method: http.MethodPost, path: schedulePath(name) + "/resume"})
}

// ListSchedules reads a page of schedules, those after a name.
func (c *Client) ListSchedules(ctx context.Context, after string, limit int) (*SchedulePage, error) {
	return ask[SchedulePage](ctx, c, call{path: schedulesPath, query: queryOf("after", after, "limit", strconv.Itoa(limit))})
}

// DeleteSchedule deletes a schedule.
func (c *Client) DeleteSchedule(ctx context.Context, name string) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: schedulePath(name)}, nil)
	return err
}

// TriggerSchedule creates a task of a schedule now and returns its id.
func (c *Client) TriggerSchedule(ctx context.Context, name string) (string, error) {
	var created struct {
		ID string `json:"task_uuid"`
	}
	_, err := c.call(ctx, call{method: http.MethodPost, path: schedulePath(name) + "/trigger"}, &created)
	return created.ID, err
}

// ListScheduleRuns reads the newest runs of a schedule.
func (c *Client) ListScheduleRuns(ctx context.Context, name string, limit int) (*ScheduleRuns, error) {
	return ask[ScheduleRuns](ctx, c, call{path: schedulePath(name) + "/runs", query: url.Values{"limit": {strconv.Itoa(limit)}}})
}
