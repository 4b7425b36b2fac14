package postgres

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/common/taskid"
)

// atOnce is a limit of so many steps at once.
func atOnce(name string, n int32) Limit { return Limit{Name: name, MaxConcurrent: &n} }

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := w.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// declared are the limits that are declared, as "name at once/rate".
func (w *world) declared(t *testing.T) []string {
	t.Helper()
	rows, _ := w.Query(t.Context(), `select concat(name, ' ', max_concurrent, '/', rate) from tasker.limits where origin = 'declared' order by name`)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDeclareLimits(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	for _, limits := range [][]Limit{
		{atOnce("key:b", 2), {Name: "key:a", Rate: 1.5, Per: time.Second, Burst: 3}},
		{atOnce("key:b", 2), atOnce("key:c", 0)},
		{atOnce("key:c", 7)},
		nil,
	} {
		if err := DeclareLimits(t.Context(), w, limits); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := w.declared(t), []string{"key:a /1.5", "key:b 2/", "key:c 7/"}; !slices.Equal(got, want) {
		t.Errorf("declared %q, want %q", got, want)
	}
}

// TestDeclaringWaitsForNobody has a transaction of a user that declares limits
// and stays open: others declare the same ones and let steps through meanwhile.
func TestDeclaringWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	limits := []Limit{atOnce("key:a", 2)}
	if err := DeclareLimits(t.Context(), w, limits); err != nil {
		t.Fatal(err)
	}
	user, err := w.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer user.Rollback(t.Context())
	for _, db := range []DB{user, w} {
		if err := DeclareLimits(t.Context(), db, limits); err != nil { // would run into the statement timeout
			t.Fatal(err)
		}
	}
}

// TestDropUnusedLimits drops what nothing refers to, and neither what a
// transaction is about to refer to nor what is young.
func TestDropUnusedLimits(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	names := []string{"key:done", "key:free", "key:held", "key:later", "key:soon"}
	var limits []Limit
	for _, name := range names {
		limits = append(limits, atOnce(name, 1))
	}
	if err := DeclareLimits(t.Context(), w, limits); err != nil {
		t.Fatal(err)
	}
	for _, gate := range []string{"key:done", "key:later"} {
		steps := diamond()
		steps[3].Gates = []string{LimitGate(gate)} // waits on others, long before it comes to its gate
		group := NewTasks{Template: w.template, Queue: testQueue, Steps: steps, Tasks: []NewTask{{ID: taskid.New(), Context: json.RawMessage(`{}`)}}}
		if _, err := CreateTasks(t.Context(), w, []NewTasks{group}); err != nil {
			t.Fatal(err)
		}
		w.tasks[gate] = group.Tasks[0].ID
	}
	w.exec(t, `update tasker.tasks set state = 'cancelled', finished_at = now() where task_id = $1`, w.tasks["key:done"])
	w.exec(t, `insert into tasker.limit_slots (name, task_id, ordinal) values ('key:held', $1, 1)`, uuid.New())

	user, err := w.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer user.Rollback(t.Context())
	if err := DeclareLimits(t.Context(), user, limits[4:]); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rest time.Duration
		want []string
	}{
		{time.Hour, []string{"key:done 1/", "key:free 1/", "key:held 1/", "key:later 1/", "key:soon 1/"}},
		{0, []string{"key:held 1/", "key:later 1/", "key:soon 1/"}},
	} {
		err := WithPlanner(t.Context(), w, func(db DB) error {
			_, err := DropUnusedLimits(t.Context(), db, tt.rest, 100)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.declared(t); !slices.Equal(got, tt.want) {
			t.Errorf("after a rest of %s: %q, want %q", tt.rest, got, tt.want)
		}
	}
}
