package tasker

import (
	"encoding/json"
	"fmt"
)

// A Decision is what the handler of a decision step returns: the steps that come
// to exist because of it. They commit together with the decision; a name that
// the template does not have downstream of it fails the step.
//
// What else the step has to say goes into Result, which must encode as a JSON
// object or be nil; dependents read it as the result of the step.
type Decision struct {
	Steps  []string
	Result any
}

// Branches is the decision for the named steps. Without names none of the
// branches is taken.
func Branches(steps ...string) Decision { return Decision{Steps: steps} }

// MarshalJSON writes the result with the outcome in its member
// decision_point_outcome.
func (d Decision) MarshalJSON() ([]byte, error) {
	outcome := map[string]any{"type": "no_branches"}
	if len(d.Steps) > 0 {
		outcome = map[string]any{"type": "create_steps", "step_names": d.Steps}
	}
	return withOutcome(d.Result, "decision_point_outcome", outcome)
}

// withOutcome encodes a result and puts the outcome in.
func withOutcome(result any, member string, outcome any) ([]byte, error) {
	raw, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("the result beside a %s must be an object: %w", member, err)
	}
	if object == nil {
		object = map[string]any{}
	}
	object[member] = outcome
	return json.Marshal(object)
}
