package intake

import (
	"errors"
	"fmt"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// A ContextError says of one value in the context of a task that the
// input_schema of its template does not allow it, or that no limit can be named
// after it. It wraps [ErrInvalid].
type ContextError struct {
	Task    int    // the place of its request in the call, from 0
	Pointer string // to the value in the context (RFC 6901); empty for all of it
	Message string // what is wrong

	breaks string // the rule
	many   bool   // the call has other requests
}

// Error says what is wrong, and where.
func (e *ContextError) Error() string {
	task, at := "", ""
	if e.many {
		task = fmt.Sprintf("task %d: ", e.Task+1)
	}
	if e.Pointer != "" {
		at = " at " + e.Pointer
	}
	return fmt.Sprintf("%v: %sthe context%s %s: %s", ErrInvalid, task, at, e.breaks, e.Message)
}

// Unwrap returns [ErrInvalid].
func (e *ContextError) Unwrap() error { return ErrInvalid }

// maxProblems bounds what a call is told at once of its contexts.
const maxProblems = 100

// checkInputs holds the contexts to the input_schema of their templates and
// reports every difference, up to maxProblems.
func checkInputs(requests []Request, entries []*catalog.Entry) error {
	var problems []error
	for i := range requests {
		violations, err := entries[i].CheckInput(requests[i].context())
		if err != nil {
			return fmt.Errorf("%w: %w; register a new version", ErrInvalid, err)
		}
		for _, v := range violations {
			if len(problems) == maxProblems {
				return errors.Join(append(problems, fmt.Errorf("%w: there are more problems, which are not shown", ErrInvalid))...)
			}
			problems = append(problems, &ContextError{Task: i, Pointer: v.Pointer, Message: v.Message, breaks: "does not match the input_schema", many: len(requests) > 1})
		}
	}
	return errors.Join(problems...)
}

// limitKeys returns the keys of the limits of each task, nil for templates that
// have none.
func limitKeys(requests []Request, entries []*catalog.Entry) ([][]string, error) {
	keys := make([][]string, len(requests))
	var problems []error
	for i := range requests {
		if !entries[i].Limited() {
			continue
		}
		var err error
		keys[i], err = entries[i].LimitKeys(requests[i].context())
		if err == nil {
			continue
		}
		problem := &ContextError{Task: i, Message: err.Error(), breaks: "does not say which limit holds", many: len(requests) > 1}
		if at, ok := errors.AsType[*templates.KeyError](err); ok {
			problem.Pointer, problem.Message = at.Pointer, at.Message
		}
		problems = append(problems, problem)
		if len(problems) == maxProblems {
			break
		}
	}
	return keys, errors.Join(problems...)
}
