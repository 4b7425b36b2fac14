package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// A Step is what a handler gets to know of the step it runs. It is read-only
// and belongs to one attempt.
type Step struct {
	// Task is the id of the task (a UUID).
	Task string
	// ID is the id of the step (a UUID), the same in every attempt.
	ID string
	// Name is the name of the step in its template.
	Name string
	// Namespace, Template and Version name the template the task runs.
	Namespace, Template, Version string
	// Attempt counts from 1. A crash of the worker does not count.
	Attempt int
	// MaxAttempts is how many attempts the step has, the first included.
	MaxAttempts int
	// Context is the task's input, as JSON.
	Context json.RawMessage
	// Config is handler.initialization of the template, as a JSON object; nil
	// when it has none.
	Config json.RawMessage
	// Results are the results of the steps this one depends on, by step name, as
	// JSON. Only direct dependencies are there; a step resolved by hand has none.
	Results map[string]json.RawMessage
	// Batch is the share of a batch worker; nil in any other step.
	Batch *Batch
	// Checkpoint is what an earlier attempt, or this one, saved last; nil:
	// nothing. See [Step.SaveCheckpoint].
	Checkpoint json.RawMessage
	// Checkpointer keeps checkpoints; whoever runs the handler sets it.
	Checkpointer func(ctx context.Context, checkpoint json.RawMessage) error `json:"-"`
}

// ErrClaimLost says that a step belongs to another attempt by now, or to none:
// what this one does no longer counts.
var ErrClaimLost = errors.New("the step's claim is lost")

// MaxCheckpoint is the largest checkpoint, in bytes of JSON.
const MaxCheckpoint = 256 << 10

// SaveCheckpoint keeps v, encoded as JSON of at most [MaxCheckpoint] bytes, for
// the next attempt to go on from: it survives a failure, a crash of the worker
// and a reset by an operator. An attempt that has lost its claim cannot save any
// more: the error is [ErrClaimLost], and the handler should stop.
func (s *Step) SaveCheckpoint(ctx context.Context, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the checkpoint of step %q: %w", s.Name, err)
	}
	if len(raw) > MaxCheckpoint {
		return fmt.Errorf("the checkpoint of step %q has %d bytes; at most %d are allowed", s.Name, len(raw), MaxCheckpoint)
	}
	if s.Checkpointer != nil {
		if err := s.Checkpointer(ctx, raw); err != nil {
			return fmt.Errorf("save the checkpoint of step %q: %w", s.Name, err)
		}
	}
	s.Checkpoint = raw
	return nil
}

// LoadCheckpoint decodes the last checkpoint into v and reports whether there
// is one.
func (s *Step) LoadCheckpoint(v any) (bool, error) {
	if s.Checkpoint == nil {
		return false, nil
	}
	if err := json.Unmarshal(s.Checkpoint, v); err != nil {
		return false, fmt.Errorf("decode the checkpoint of step %q: %w", s.Name, err)
	}
	return true, nil
}

// ErrNoResult says that a step asked for the result of a step it does not
// directly depend on, or of one that an operator resolved without a result.
var ErrNoResult = errors.New("no result")

// Result decodes the result of the named dependency into v. It wraps
// [ErrNoResult] when there is none.
func (s *Step) Result(name string, v any) error {
	raw, ok := s.Results[name]
	if !ok {
		return fmt.Errorf("result of step %q for step %q: %w (is it among its dependencies?)", name, s.Name, ErrNoResult)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("decode the result of step %q: %w", name, err)
	}
	return nil
}

// LastAttempt reports whether an error now fails the step for good.
func (s *Step) LastAttempt() bool { return s.Attempt >= s.MaxAttempts }
