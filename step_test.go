package tasker

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestStepResult(t *testing.T) {
	t.Parallel()
	step := &Step{Name: "ship", Results: map[string]json.RawMessage{
		"pay":   json.RawMessage(`{"n": 7}`),
		"empty": json.RawMessage(`null`),
	}}
	var in input
	if err := step.Result("pay", &in); err != nil || in.N != 7 {
		t.Errorf("got %+v, %v", in, err)
	}
	if err := step.Result("empty", &in); err != nil || in.N != 7 {
		t.Errorf("null changed the value or failed: %+v, %v", in, err)
	}
	err := step.Result("validate", &in)
	if want := `result of step "validate" for step "ship": no result (is it among its dependencies?)`; !errors.Is(err, ErrNoResult) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	var list []int
	err = step.Result("pay", &list)
	if want := `decode the result of step "pay": json: cannot unmarshal object into Go value of type []int`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := new(Step).Result("pay", &in); !errors.Is(err, ErrNoResult) {
		t.Errorf("a step without dependencies: got %v", err)
	}
}

func TestStepLastAttempt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		attempt, most int
		want          bool
	}{{1, 3, false}, {2, 3, false}, {3, 3, true}, {4, 3, true}, {1, 1, true}} {
		if got := (&Step{Attempt: tt.attempt, MaxAttempts: tt.most}).LastAttempt(); got != tt.want {
			t.Errorf("attempt %d of %d: %t", tt.attempt, tt.most, got)
		}
	}
}
