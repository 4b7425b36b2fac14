package orchestration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// TestDecide: a step is "place:gate,gate"; the outcome names the places of steps
// that pass, and of those that wait elsewhere from then on.
func TestDecide(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		asked string
		rooms map[string]int
		steps string
		pass  string
		park  string
		again string
	}{
		{"up to the room, in order", "a", map[string]int{"a": 2}, "3:a 1:a 2:a", "1 2", "", ""},
		{"nothing waits", "a", map[string]int{"a": 2}, "", "", "", ""},
		{"room at both", "a b", map[string]int{"a": 1, "b": 1}, "1:a,b 2:b,a", "1", "", ""},
		{"the other gate is full", "a", map[string]int{"a": 1, "b": 0}, "1:a,b 2:a", "2", "1@b", ""},
		{"whoever follows is looked at", "a", map[string]int{"a": 1, "b": 0}, "1:a,b", "", "1@b", "a"},
		{"becomes full on the way", "a c", map[string]int{"a": 2, "b": 1, "c": 1}, "1:a,b 2:c,b 3:a,b", "1", "2@b 3@b", "a c"},
		{"no limit, and no place to pass", "a", map[string]int{"a": 5, "signal:s": 0}, "1:a,signal:s 2:a", "2", "1@signal:s", "a"},
	}
	for _, tt := range tests {
		rooms := map[string]postgres.Room{}
		for gate, n := range tt.rooms {
			rooms[gate] = postgres.Room{Steps: n}
		}
		var steps []postgres.GatedStep
		for spec := range strings.FieldsSeq(tt.steps) {
			place, gates, _ := strings.Cut(spec, ":")
			s := postgres.GatedStep{Task: uuid.New(), Gates: strings.Split(gates, ",")}
			if _, err := fmt.Sscan(place, &s.Place); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, s)
		}
		v, again := decide(strings.Fields(tt.asked), rooms, steps)
		var pass, park []string
		for _, s := range v.pass {
			pass = append(pass, fmt.Sprint(s.Place))
		}
		for _, s := range v.park {
			park = append(park, fmt.Sprintf("%v@%s", s.Place, s.At))
		}
		got := fmt.Sprint(pass, park, again)
		if want := fmt.Sprint(strings.Fields(tt.pass), strings.Fields(tt.park), strings.Fields(tt.again)); got != want {
			t.Errorf("%s: passed, parked, again: %s, want %s", tt.name, got, want)
		}
	}
}

// TestDecideLooksOn: when as many steps were looked at as one transaction takes,
// there may be more behind them.
func TestDecideLooksOn(t *testing.T) {
	t.Parallel()
	steps := make([]postgres.GatedStep, mostLetThrough)
	for i := range steps {
		steps[i] = postgres.GatedStep{Gates: []string{"a"}}
	}
	v, again := decide([]string{"a"}, map[string]postgres.Room{"a": {Steps: mostLetThrough}}, steps)
	if len(v.pass) != mostLetThrough || len(again) != 1 {
		t.Errorf("%d passed; to be looked at again: %q", len(v.pass), again)
	}
}
