package apiclient

import (
	"encoding/json"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
)

// A TaskRequest asks for a task.
type TaskRequest struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Version   string          `json:"version,omitempty"`  // "" is the highest
	Context   json.RawMessage `json:"context,omitempty"`  // an object; nothing stands for {}
	Priority  int             `json:"priority,omitempty"` // -100 to 100
	RunAt     time.Time       `json:"run_at,omitzero"`    // zero: at once

	// IdempotencyKey, unless empty, has the server answer with the task that was
	// created with it before.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

// A Task is a task as the server tells it.
type Task struct {
	ID             string           `json:"task_uuid"`
	Namespace      string           `json:"namespace"`
	Name           string           `json:"name"`
	Version        string           `json:"version"`
	State          tasker.TaskState `json:"status"`
	CreatedAt      time.Time        `json:"created_at"`
	CompletedAt    *time.Time       `json:"completed_at"` // nil while it is open
	TotalSteps     int              `json:"total_steps"`
	CompletedSteps int              `json:"completed_steps"`
	Steps          []Step           `json:"steps"` // none in a list, nor of a task just created

	Sent
}

// A Step is a step as the server tells it.
type Step struct {
	Sent

	ID          string           `json:"step_uuid"`
	Name        string           `json:"name"`
	State       tasker.StepState `json:"current_state"`
	DependsOn   []string         `json:"depends_on"`
	Attempts    int              `json:"attempts"` // begun
	MaxAttempts int              `json:"max_attempts"`
	StartedAt   *time.Time       `json:"started_at"`   // of the last attempt
	CompletedAt *time.Time       `json:"completed_at"` // of the last attempt
	Results     json.RawMessage  `json:"results"`      // none unless complete
	Error       *StepError       `json:"error"`        // of the last attempt that failed
}

// A StepError says why an attempt failed.
type StepError struct {
	Kind      string `json:"kind"` // such as handler_error or handler_timeout
	Message   string `json:"message"`
	Permanent bool   `json:"permanent"`
}

// A Filter narrows a list of tasks; empty fields do not.
type Filter struct {
	Namespace, Name, Version string
	States                   []string // any of them
	Search
	After string // only tasks older than the one with this id
	Limit int    // 1 to 100
}

// A Search narrows a list of tasks that are not archived further; empty fields do
// not.
type Search struct {
	Tags                    []string // all of them
	Correlation             string
	Initiator, SourceSystem string
	Context                 string     // an SQL/JSON path that finds something
	CreatedAfter            *time.Time // or at that time
	CreatedBefore           *time.Time
	CompletedAfter          *time.Time // or at that time
	CompletedBefore         *time.Time
}

// A TaskPage is a part of the list of all tasks.
type TaskPage struct {
	Tasks []Task `json:"tasks"`
	Next  string `json:"next"` // for [Filter.After]; "" on the last page

	Sent
}

// A TemplateList names all templates.
type TemplateList struct {
	Templates []Template `json:"templates"`

	Sent
}

// A Template is a registered template by name.
type Template struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Version   string `json:"version"`
}
