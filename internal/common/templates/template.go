// Package templates reads task templates: YAML in, checked graph out.
//
// [Parse] turns one document into a [Template] and reports every problem it
// finds with its position; [LoadDir] and [LoadFS] do so for a folder.
// json.Marshal of a Template is its canonical definition, the form the database
// keeps; [Decode] reads it back. [Template.ForEnvironment] applies overrides and
// [Template.Graph] answers what the engine asks about the order of steps.
//
// The keys of a template, their ranges and defaults stand in the tags of the
// struct fields (see fields.go) and nowhere else. The package runs no step and
// knows no database.
package templates

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/tasker-systems/tasker-go/config"
)

// A Template describes the steps of a task. Parse and Decode return checked
// templates; treat them as read-only, they are shared between goroutines.
//
// Absent keys are zero values, so that the configuration's defaults can apply;
// only keys whose default belongs to the template itself are filled in.
type Template struct {
	// Name, together with Namespace and Version, identifies the template.
	Name string `json:"name" required:"true" format:"template_name"`

	// Namespace routes the steps to the workers that serve it.
	Namespace string `json:"namespace_name" alias:"namespace" required:"true" format:"namespace"`

	// Version is a semantic version of at most 16 characters.
	Version string `json:"version" default:"1.0.0" format:"version"`

	Description string `json:"description,omitempty"`

	// Metadata is for people: author, tags, notes; any shape.
	Metadata Object `json:"metadata,omitempty"`

	// SystemDependencies names the systems the task talks to, for people.
	SystemDependencies SystemDependencies `json:"system_dependencies,omitzero"`

	// TaskHandler is kept for older templates that carry one. Work is done by
	// the handlers of steps; this one is never run.
	TaskHandler Handler `json:"task_handler,omitzero"`

	// DomainEvents are the events the task declares.
	DomainEvents []DomainEvent `json:"domain_events,omitempty"`

	// InputSchema is the JSON Schema of a task's context; empty allows all.
	InputSchema Object `json:"input_schema,omitempty"`

	// Lifecycle bounds how long a task may rest in a state.
	Lifecycle Lifecycle `json:"lifecycle,omitzero"`

	// IdentityStrategy says which tasks count as the same.
	IdentityStrategy IdentityStrategy `json:"identity_strategy" default:"strict" oneof:"strict|caller_provided|always_unique"`

	// Limits bound every step that runs a handler; see Step.Limits.
	Limits []Limit `json:"limits,omitempty"`

	// Steps holds 1 to MaxSteps steps; an index into it is a step's ordinal.
	Steps []Step `json:"steps" required:"true"`

	// Environments holds overrides by environment; see ForEnvironment.
	Environments map[string]Environment `json:"environments,omitempty"`
}

// SystemDependencies names the systems a task talks to.
type SystemDependencies struct {
	Primary   string   `json:"primary,omitempty"`
	Secondary []string `json:"secondary,omitempty"`
}

// A DomainEvent declares an event that tasks of the template may publish.
type DomainEvent struct {
	Name        string `json:"name" required:"true" format:"event_name"`
	Description string `json:"description,omitempty"`
	Schema      Object `json:"schema,omitempty"`
}

// Lifecycle bounds how long a task may rest. Zero and nil leave the matter to
// the configuration (orchestration.staleness_detection).
type Lifecycle struct {
	MaxDuration               config.Minutes  `json:"max_duration_minutes,omitempty" range:"1..43200"`
	MaxWaitingForDependencies config.Minutes  `json:"max_waiting_for_dependencies_minutes,omitempty" range:"1..10080"`
	MaxWaitingForRetry        config.Minutes  `json:"max_waiting_for_retry_minutes,omitempty" range:"1..10080"`
	MaxStepsInProcess         config.Minutes  `json:"max_steps_in_process_minutes,omitempty" range:"1..10080"`
	StalenessAction           StalenessAction `json:"staleness_action,omitempty" oneof:"dlq|error|none"`
	AutoFailOnTimeout         *bool           `json:"auto_fail_on_timeout,omitempty"`
	AutoDLQOnTimeout          *bool           `json:"auto_dlq_on_timeout,omitempty"`
}

// A StalenessAction says what becomes of a task that stopped moving.
type StalenessAction string

// The staleness actions.
const (
	StalenessDLQ   StalenessAction = "dlq"
	StalenessError StalenessAction = "error"
	StalenessNone  StalenessAction = "none"
)

// An IdentityStrategy says which tasks count as the same.
type IdentityStrategy string

// The identity strategies.
const (
	IdentityStrict         IdentityStrategy = "strict"          // same template and same context
	IdentityCallerProvided IdentityStrategy = "caller_provided" // same idempotency key, which is required
	IdentityAlwaysUnique   IdentityStrategy = "always_unique"   // no two are the same
)

// Digest returns the SHA-256 of the canonical definition in hex. Templates
// have the same digest exactly if json.Marshal gives the same bytes.
func (t *Template) Digest() string {
	data, err := json.Marshal(t)
	if err != nil {
		// Only a value that no parser made, such as a channel in an Object.
		panic(fmt.Sprintf("templates: encode %s: %v", t.Name, err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Decode reads a canonical definition as json.Marshal wrote it, also after a
// round trip through jsonb. A key that this program does not know is an error,
// since a newer program meant something by it. The graph is checked again and
// problems are returned as [Problems].
func Decode(data []byte) (*Template, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var t Template
	if err := dec.Decode(&t); err != nil {
		return nil, fmt.Errorf("decode template definition: %w", err)
	}
	r := report{file: t.Name}
	check(&t, &r)
	if len(r.problems) > 0 {
		return nil, fmt.Errorf("decode template definition: %w", r.problems)
	}
	return &t, nil
}
