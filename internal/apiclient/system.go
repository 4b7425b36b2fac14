package apiclient

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// A Worker is a process as the server tells it; orchestrators are there too.
type Worker struct {
	Sent

	ID          string     `json:"process_uuid"`
	Role        string     `json:"role"`
	State       string     `json:"state"`
	WorkerID    string     `json:"worker_id"`
	WorkerType  string     `json:"worker_type"`
	ProcessName string     `json:"process_name"`
	Host        string     `json:"host"`
	PID         int        `json:"pid"`
	Version     string     `json:"version"`
	Schema      int64      `json:"schema_version"`
	Namespaces  []string   `json:"namespaces"`
	Handlers    []string   `json:"handlers"`  // none in a list
	Templates   []string   `json:"templates"` // none in a list
	Capacity    int        `json:"capacity"`
	Running     int        `json:"running"`
	StartedAt   time.Time  `json:"started_at"`
	LastSeenAt  time.Time  `json:"last_seen_at"`
	StoppedAt   *time.Time `json:"stopped_at"`
}

// A WorkerPage is a part of the list of processes.
type WorkerPage struct {
	Sent

	Workers []Worker `json:"workers"`
	Next    string   `json:"next"` // for [WorkerFilter.After]; "" on the last page
}

// A WorkerFilter narrows a list of processes; empty fields do not.
type WorkerFilter struct {
	Role, State, Namespace string
	After                  string // only processes older than this one
	Limit                  int    // 1 to 1000
}

// ListWorkers reads a page of processes, those first that started last. Those
// that have stopped in good order are left out unless State says "stopped".
func (c *Client) ListWorkers(ctx context.Context, f WorkerFilter) (*WorkerPage, error) {
	return ask[WorkerPage](ctx, c, call{path: "/v1/workers", query: queryOf(
		"role", f.Role, "state", f.State, "namespace", f.Namespace, "after", f.After, "limit", strconv.Itoa(f.Limit),
	)})
}

// FindWorker reads what a process runs.
func (c *Client) FindWorker(ctx context.Context, id string) (*Worker, error) {
	return ask[Worker](ctx, c, call{path: "/v1/workers/" + url.PathEscape(id)})
}

// A System is an installation as the server tells it.
type System struct {
	Sent

	Version     string `json:"version"`
	GoVersion   string `json:"go_version"`
	Environment string `json:"environment"`
	Database    struct {
		Server string `json:"server_version"`
		Schema int64  `json:"schema_version"`
		Known  int64  `json:"known_schema_version"`
	} `json:"database"`
	Processes []struct {
		Role      string `json:"role"`
		State     string `json:"state"`
		Version   string `json:"version"`
		Processes int    `json:"processes"`
		Capacity  int    `json:"capacity"`
		Running   int    `json:"running"`
	} `json:"processes"`
	Templates   int `json:"templates"`
	DeadLetters int `json:"pending_dead_letters"`
}

// DescribeSystem reads what the installation consists of.
func (c *Client) DescribeSystem(ctx context.Context) (*System, error) {
	return ask[System](ctx, c, call{path: "/v1/system"})
}

// A Health says how the parts of a process are.
type Health struct {
	Sent

	Status string `json:"status"` // healthy, degraded or unhealthy
	Checks map[string]struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	} `json:"checks"`
	Info struct {
		Role        string    `json:"role"`
		Environment string    `json:"environment"`
		Process     string    `json:"process_name"`
		Started     time.Time `json:"started_at"`
	} `json:"info"`
}

// Health reads how the parts of the server are. A worker answers too.
func (c *Client) Health(ctx context.Context) (*Health, error) {
	return ask[Health](ctx, c, call{path: "/health/detailed"})
}

// A Spread says how long something took, in seconds; nil when nothing has ended.
type Spread struct {
	Mean *float64 `json:"mean_seconds"`
	P50  *float64 `json:"p50_seconds"`
	P95  *float64 `json:"p95_seconds"`
}

// A Performance says how tasks and steps fared of late.
type Performance struct {
	Sent

	Hours        int     `json:"hours"`
	Sampled      bool    `json:"sampled"` // there are more tasks
	Tasks        int     `json:"tasks"`
	Open         int     `json:"active_tasks"`
	Complete     int     `json:"completed_tasks"`
	Failed       int     `json:"failed_tasks"`
	Blocked      int     `json:"blocked_tasks"`
	TasksPerHour float64 `json:"task_throughput_per_hour"`
	TaskTime     Spread  `json:"task_duration"`
	Steps        int     `json:"steps"`
	StepsRetried int     `json:"retried_steps"`
	StepsPerHour float64 `json:"step_throughput_per_hour"`
	StepTime     Spread  `json:"step_duration"`
	StepWait     Spread  `json:"step_wait"`
}

// ReadPerformance reads how tasks and steps fared in the last hours, 1 to 720.
func (c *Client) ReadPerformance(ctx context.Context, hours int) (*Performance, error) {
	return ask[Performance](ctx, c, call{path: "/v1/analytics/performance", query: queryOf("hours", strconv.Itoa(hours))})
}

// A SlowSpot is a template, or a step of one, that takes long.
type SlowSpot struct {
	Namespace  string  `json:"namespace"`
	Name       string  `json:"task_name"`
	Version    string  `json:"version"`
	Step       string  `json:"step_name"` // "" for the template as a whole
	Executions int     `json:"execution_count"`
	ErrorRate  float64 `json:"error_rate"`
	Mean       float64 `json:"mean_seconds"`
	P95        float64 `json:"p95_seconds"`
}

// Bottlenecks are what takes long, and what to do about it.
type Bottlenecks struct {
	Sent

	Steps           []SlowSpot `json:"slow_steps"`
	Tasks           []SlowSpot `json:"slow_tasks"`
	Recommendations []string   `json:"recommendations"`
}

// FindBottlenecks reads what took long in the last hours, 1 to 720.
func (c *Client) FindBottlenecks(ctx context.Context, hours, limit int) (*Bottlenecks, error) {
	return ask[Bottlenecks](ctx, c, call{
		path: "/v1/analytics/bottlenecks", query: queryOf("hours", strconv.Itoa(hours), "limit", strconv.Itoa(limit), "min_executions", "1"),
	})
}
