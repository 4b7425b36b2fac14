// Package request reads what comes through the orchestrator's queues from
// outside: requests for tasks, and tasks to look at again. It only reads.
package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A task is a request as JSON has it: the body of POST /v1/tasks.
type task struct {
	Name          string          `json:"name"`
	Namespace     string          `json:"namespace"`
	Version       string          `json:"version"`
	Context       json.RawMessage `json:"context"`
	CorrelationID *uuid.UUID      `json:"correlation_id"`
	ParentID      *uuid.UUID      `json:"parent_correlation_id"`
	Initiator     string          `json:"initiator"`
	SourceSystem  string          `json:"source_system"`
	Reason        string          `json:"reason"`
	Tags          []string        `json:"tags"`
	Priority      int             `json:"priority"`
	RunAt         time.Time       `json:"run_at"`
	Key           string          `json:"idempotency_key"`
}

// An envelope is a request with word about itself around it.
type envelope struct {
	RequestID string          `json:"request_id"`
	Task      json.RawMessage `json:"task_request"`
	Metadata  json.RawMessage `json:"metadata"`
}

// traced is the span context of who sent a message, among its metadata.
type traced struct {
	Parent string `json:"traceparent"`
	State  string `json:"tracestate"`
}

// Task reads a request for a task: the body of POST /v1/tasks, as it is or under
// the key task_request of an envelope, whose metadata may have traceparent and
// tracestate. A key that means nothing is an error: it
// was meant to mean something.
func Task(message json.RawMessage) (intake.Request, error) {
	var trace string
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(message, &keys); err != nil {
		return intake.Request{}, errors.New("the message is no JSON object")
	}
	if _, wrapped := keys["task_request"]; wrapped {
		var e envelope
		if err := strict(message, &e); err != nil {
			return intake.Request{}, err
		}
		message, trace = e.Task, traceOf(e.Metadata)
	}
	var t task
	if err := strict(message, &t); err != nil {
		return intake.Request{}, err
	}
	return intake.Request{
		Template: postgres.TemplateName{Namespace: t.Namespace, Name: t.Name, Version: t.Version},
		Context:  t.Context, CorrelationID: t.CorrelationID, ParentID: t.ParentID,
		Initiator: t.Initiator, SourceSystem: t.SourceSystem, Reason: t.Reason, Tags: t.Tags,
		Priority: t.Priority, RunAt: t.RunAt, IdempotencyKey: t.Key, Trace: trace,
	}, nil
}

// traceOf reads what metadata, which may be anything, say of traces.
func traceOf(metadata json.RawMessage) string {
	var t traced
	if json.Unmarshal(metadata, &t) != nil || t.Parent == "" {
		return ""
	}
	if t.State != "" {
		return t.Parent + " " + t.State
	}
	return t.Parent
}

// Finalization reads which task to look at again: {"task_uuid": …}.
func Finalization(message json.RawMessage) (uuid.UUID, error) {
	var f struct {
		Task uuid.UUID `json:"task_uuid"`
	}
	if err := strict(message, &f); err != nil {
		return uuid.Nil, err
	}
	if f.Task == uuid.Nil {
		return uuid.Nil, errors.New(`the message names no task; it looks like {"task_uuid": "…"}`)
	}
	return f.Task, nil
}

func strict(raw json.RawMessage, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("decode the message: %w", err)
	}
	return nil
}
