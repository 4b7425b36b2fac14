package taskid

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// TestNew: ids are UUIDs of version 7, end in zeros, differ, and sort by the time
// they were made.
func TestNew(t *testing.T) {
	t.Parallel()
	ids := make([]string, 10_000)
	for i := range ids {
		id := New()
		if id.Version() != 7 || id.Variant() != uuid.RFC4122 || id[14] != 0 || id[15] != 0 {
			t.Fatalf("%s is of version %d and variant %s", id, id.Version(), id.Variant())
		}
		ids[i] = id.String()
	}
	if !slices.IsSorted(ids) {
		t.Error("ids do not sort by the time they were made")
	}
	if len(slices.Compact(ids)) != 10_000 {
		t.Error("ids repeat")
	}
}

func TestStepRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		task := New()
		ordinal := rapid.Int32Range(1, MaxOrdinal).Draw(t, "ordinal")
		step := Step(task, ordinal)
		if step == task {
			t.Fatalf("step %d has the id of its task", ordinal)
		}
		if gotTask, gotOrdinal := Split(step); gotTask != task || gotOrdinal != ordinal {
			t.Fatalf("%s splits into %s and %d, want %s and %d", step, gotTask, gotOrdinal, task, ordinal)
		}
		if other := rapid.Int32Range(1, MaxOrdinal).Draw(t, "other"); other != ordinal && Step(task, other) == step {
			t.Fatalf("steps %d and %d have one id", ordinal, other)
		}
	})
}

func TestParse(t *testing.T) {
	t.Parallel()
	id := New()
	if got, err := Parse(id.String()); got != id || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{"", "seven", id.String()[1:]} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q was taken for an id", bad)
		}
	}
}
