package enginetest

import (
	"slices"
	"testing"

	"github.com/google/uuid"
)

// TestForbiddenMovesAreNoticed makes moves that no table has, and one that a test
// may make by hand.
func TestForbiddenMovesAreNoticed(t *testing.T) {
	t.Parallel()
	e := Start(t, Options{Deployment: None, Record: true})
	id := uuid.New()
	for _, sql := range []string{
		`insert into tasker.tasks (task_id, template_id, state, context) values ($1, $1, 'steps_in_process', '{}')`,
		`insert into tasker.steps (task_id, ordinal, name, state, waiting_on, max_attempts, claim) values ($1, 1, 'a', 'enqueued', 0, 1, 3)`,
		`update tasker.tasks set state = 'complete' where task_id = $1`,
		`update tasker.tasks set state = 'steps_in_process' where task_id = $1`,
		`update tasker.steps set state = 'complete' where task_id = $1`,
		`update tasker.steps set claim = 2 where task_id = $1`,
	} {
		if _, err := e.Pool.Exec(t.Context(), sql, id); err != nil {
			t.Fatal(err)
		}
	}
	e.Exec(`update tasker.steps set state = 'pending' where task_id = $1`, id)
	want := []string{"step: complete → complete", "task: complete → steps_in_process"}
	if got := e.moves(false); !slices.Equal(got, want) {
		t.Errorf("noticed %q; want %q", got, want)
	}
	want = []string{"step: [new] → enqueued", "step: enqueued → complete", "task: [new] → steps_in_process", "task: steps_in_process → complete"}
	if got := e.Moves(); !slices.Equal(got, want) {
		t.Errorf("recorded %q; want %q", got, want)
	}
	e.Exec(`delete from tasker.steps where task_id = $1`, id) // the engine's own checks come next
	e.Exec(`delete from tasker.tasks where task_id = $1`, id)
	e.Exec(`truncate tasker_test.moves`)
}
