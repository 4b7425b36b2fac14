package catalog

import (
	"encoding/json"
	"slices"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// limits are the limits of a template.
type limits struct {
	all    []templates.Limit // each key once
	ofStep [][]int           // by the place of a step, places in all
}

func limitsOf(t *templates.Template) limits {
	var l limits
	places := map[string]int{}
	add := func(list []templates.Limit) (at []int) {
		for _, limit := range list {
			place, seen := places[limit.Key]
			if !seen {
				place = len(l.all)
				places[limit.Key] = place
				l.all = append(l.all, limit)
			}
			at = append(at, place)
		}
		return at
	}
	every := add(t.Limits)
	for i := range t.Steps {
		var at []int
		if t.Steps[i].Handler.Callable != "" { // else nothing runs
			at = slices.Concat(every, add(t.Steps[i].Limits))
		}
		l.ofStep = append(l.ofStep, at)
	}
	return l
}

// Limited reports whether a step of the template has a limit.
func (e *Entry) Limited() bool { return len(e.limits.all) > 0 }

// LimitKeys returns the keys of the template's limits for a task with the given
// context, for [Entry.Gates] and what else asks for keys. The error is a
// [templates.KeyError] when the context lacks what a key is made of.
func (e *Entry) LimitKeys(context json.RawMessage) ([]string, error) {
	keys := make([]string, len(e.limits.all))
	var parsed any
	for i := range e.limits.all {
		l := &e.limits.all[i]
		if l.Constant() {
			keys[i] = l.Key
			continue
		}
		var err error
		if parsed == nil {
			if parsed, err = templates.ParseContext(context); err != nil {
				return nil, err
			}
		}
		if keys[i], err = l.KeyFor(parsed); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// Gates returns what the step at a place of the template passes before it is
// enqueued, in a task with the given keys.
func (e *Entry) Gates(place int, keys []string) []string {
	gates := slices.Clone(e.Steps[place].Gates)
	for _, at := range e.limits.ofStep[place] {
		gate := postgres.LimitGate(postgres.KeyLimit(keys[at]))
		if !slices.Contains(gates, gate) { // two keys may come to the same
			gates = append(gates, gate)
		}
	}
	return gates
}

// Limits returns what the template allows to the given keys.
func (e *Entry) Limits(keys []string) []postgres.Limit {
	out := make([]postgres.Limit, len(keys))
	for i := range e.limits.all {
		l := &e.limits.all[i]
		out[i] = postgres.Limit{
			Name: postgres.KeyLimit(keys[i]),
			Rate: float64(l.Rate), Per: l.Period().Duration(), Burst: float64(l.Bucket()),
		}
		if l.Concurrency > 0 {
			n := int32(l.Concurrency) //nolint:gosec // bounded by its range
			out[i].MaxConcurrent = &n
		}
	}
	return out
}
