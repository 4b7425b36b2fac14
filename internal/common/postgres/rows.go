package postgres

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/taskid"
)

// A StepRef names a step under one claim: what a message carries, and what
// fences a late result.
type StepRef struct {
	Task    uuid.UUID
	Ordinal int32
	Claim   int32
}

// ID is the id of the step.
func (r StepRef) ID() uuid.UUID { return taskid.Step(r.Task, r.Ordinal) }

// String names the step for logs.
func (r StepRef) String() string { return fmt.Sprintf("%s (claim %d)", r.ID(), r.Claim) }

// A Message is the message of a step: its place in a queue and what it must
// say. A crash of the server restarts the ids of unlogged queues, so an id alone
// proves nothing.
type Message struct {
	ID int64
	StepRef
}

// A ClaimedStep is a step that this process may run until its lease ends.
type ClaimedStep struct {
	Message                                // in the step queue of the namespace
	Template    uuid.UUID                  // the definition the task runs
	Name        string                     //
	Attempt     int32                      // counts from 1
	MaxAttempts int32                      //
	Lost        int32                      // leases lost so far
	Leaf        bool                       // no step depends on it: its end may be the task's
	DependsOn   []int32                    // ordinals
	Priority    int16                      // of its task
	Definition  string                     // the step of the template it is a copy of; empty: the one of its name
	Input       json.RawMessage            // of a batch worker; nil elsewhere
	Checkpoint  json.RawMessage            // what an earlier attempt saved; nil: nothing
	Context     json.RawMessage            // the task's input
	Correlation *uuid.UUID                 // of the task; nil: none
	Trace       string                     // the span context stored with the task; empty: none
	Waited      time.Duration              // how long the message was due; zero for a step that was handed over
	Results     map[string]json.RawMessage // of its dependencies, by name
}

// LogValue implements [slog.LogValuer]: what logs say of a step.
func (s *ClaimedStep) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("task_id", s.Task.String()), slog.String("step_id", s.StepRef.ID().String()), slog.String("step", s.Name),
		slog.Int("attempt", int(s.Attempt)),
	}
	if s.Correlation != nil {
		attrs = append(attrs, slog.String("correlation_id", s.Correlation.String()))
	}
	return slog.GroupValue(attrs...)
}

// Defined is the name of the step in its template.
func (s *ClaimedStep) Defined() string {
	if s.Definition != "" {
		return s.Definition
	}
	return s.Name
}

// refs splits refs into the arrays that unnest takes.
func refs[T any](items []T, ref func(*T) StepRef) (tasks []uuid.UUID, ordinals, claims []int32) {
	tasks = make([]uuid.UUID, len(items))
	ordinals, claims = make([]int32, len(items)), make([]int32, len(items))
	for i := range items {
		r := ref(&items[i])
		tasks[i], ordinals[i], claims[i] = r.Task, r.Ordinal, r.Claim
	}
	return tasks, ordinals, claims
}

// object decodes a JSON object of results; nil stays nil.
func object(raw []byte) (map[string]json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("decode the results of dependencies: %w", err)
	}
	return m, nil
}
