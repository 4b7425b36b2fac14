package orchestration

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// TestComplete gives a handed-over step, which depends on left and right, the
// results of its batch.
func TestComplete(t *testing.T) {
	t.Parallel()
	task, template := uuid.New(), uuid.New()
	reported := func(name string, ordinal, claim int32, result string) outcome.Outcome {
		o := outcome.Outcome{Step: postgres.ClaimedStep{
			Message: postgres.Message{StepRef: postgres.StepRef{Task: task, Ordinal: ordinal, Claim: claim}},
			Name:    name, Template: template, Context: json.RawMessage(`{}`),
		}}
		if result == "" {
			o.Failure = &outcome.Failure{}
		} else {
			o.Result = json.RawMessage(result)
		}
		return o
	}
	other := reported("left", 2, 1, "9")
	other.Step.Task = uuid.New()
	tests := []struct {
		name  string
		sent  map[string]string // by the database
		group []outcome.Outcome
		want  map[string]string
	}{
		{
			"both in the batch", nil,
			[]outcome.Outcome{reported("left", 2, 1, "1"), reported("right", 3, 1, "2")},
			map[string]string{"left": "1", "right": "2"},
		},
		{
			"one in the batch",
			map[string]string{"left": "1"},
			[]outcome.Outcome{reported("right", 3, 1, "2")},
			map[string]string{"left": "1", "right": "2"},
		},
		{
			"another task's, another step's",
			map[string]string{"left": "1"},
			[]outcome.Outcome{other, reported("right", 3, 1, "2"), reported("elsewhere", 5, 1, "3")},
			map[string]string{"left": "1", "right": "2"},
		},
		{
			"late result of a step that is over",
			map[string]string{"left": "1"},
			[]outcome.Outcome{reported("right", 3, 1, "2"), reported("left", 2, 1, "9")},
			map[string]string{"left": "1", "right": "2"},
		},
		{
			"late result after the one that counts", nil,
			[]outcome.Outcome{reported("left", 2, 2, "1"), reported("left", 2, 1, "9"), reported("right", 3, 1, "2")},
			map[string]string{"left": "1", "right": "2"},
		},
		{
			"late failure",
			map[string]string{"left": "1"},
			[]outcome.Outcome{reported("left", 2, 1, ""), reported("right", 3, 1, "2")},
			map[string]string{"left": "1", "right": "2"},
		},
	}
	for _, tt := range tests {
		steps := []postgres.ClaimedStep{{
			Message:   postgres.Message{StepRef: postgres.StepRef{Task: task, Ordinal: 4, Claim: 1}},
			DependsOn: []int32{2, 3},
		}}
		for name, result := range tt.sent {
			if steps[0].Results == nil {
				steps[0].Results = map[string]json.RawMessage{}
			}
			steps[0].Results[name] = json.RawMessage(result)
		}
		complete(steps, tt.group)
		got := map[string]string{}
		for name, result := range steps[0].Results {
			got[name] = string(result)
		}
		if !maps.Equal(got, tt.want) || steps[0].Template != template || string(steps[0].Context) != "{}" {
			t.Errorf("%s: got %v, template %s, context %s", tt.name, got, steps[0].Template, steps[0].Context)
		}
	}
}

// reloaded is a configuration that changes when it is loaded anew.
type reloaded struct{ now *config.Config }

func (r *reloaded) Current() *config.Config { return r.now }

// TestBackoffFollowsReloads: the processor and the reconciler have the waits of
// the last load, not those they were made with.
func TestBackoffFollowsReloads(t *testing.T) {
	t.Parallel()
	var first, second config.Orchestration
	first.Backoff.MaxBackoff, second.Backoff.MaxBackoff = 10, 20
	sys := stranded(t)
	provider := &reloaded{&config.Config{Orchestration: &first}}
	sys.Follow(provider)
	p, r := newProcessor(sys, &first, handoff.New(0, 0)), newReconciler(sys, &first, eventsystem.NewSignal())
	for _, section := range []*config.Orchestration{&first, &second} {
		provider.now = &config.Config{Orchestration: section}
		if got, want := p.backoff().MaxBackoff, section.Backoff.MaxBackoff; got != want || r.backoff().MaxBackoff != want {
			t.Errorf("the processor waits up to %d, the reconciler up to %d; want %d", got, r.backoff().MaxBackoff, want)
		}
	}
}
