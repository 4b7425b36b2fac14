package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tasker-systems/tasker-go/internal/common/taskid"
)

// newDiamonds creates n diamonds, whose first steps are enqueued.
func newDiamonds(t *testing.T, n int) *world {
	t.Helper()
	w := emptyWorld(t)
	group := NewTasks{Template: w.template, Queue: testQueue, Steps: diamond()}
	for i := range n {
		id := taskid.New()
		w.tasks[fmt.Sprint(i)] = id
		group.Tasks = append(group.Tasks, NewTask{ID: id, Context: json.RawMessage(`{}`)})
	}
	if _, err := CreateTasks(t.Context(), w, []NewTasks{group}); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestConcurrentClaimsAreDisjoint has several workers claim at once until
// nothing is left.
func TestConcurrentClaimsAreDisjoint(t *testing.T) {
	t.Parallel()
	const steps, workers = 200, 4
	w := newDiamonds(t, steps)
	claimed := make(chan uuid.UUID, 2*steps)
	var g errgroup.Group
	for range workers {
		g.Go(func() error {
			// Skipping what others have locked, a claim may come back empty early.
			for len(claimed) < steps {
				got, err := ClaimSteps(t.Context(), w, Claim{Queue: testQueue, Process: uuid.New(), Limit: 7, Lease: time.Hour})
				if err != nil {
					return err
				}
				for _, s := range got {
					claimed <- s.Task
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	close(claimed)
	times := map[uuid.UUID]int{}
	for id := range claimed {
		if times[id]++; times[id] > 1 {
			t.Errorf("the step of task %s was claimed %d times", id, times[id])
		}
	}
	if len(times) != steps {
		t.Errorf("%d steps claimed, want %d", len(times), steps)
	}
}

// TestClaimsAreOldestFirst also removes the messages that mean nothing any more.
func TestClaimsAreOldestFirst(t *testing.T) {
	t.Parallel()
	w := newDiamonds(t, 10)
	stale := `insert into pgmq.q_` + testQueue + ` (msg_id, vt, message) overriding system value
		values (` + messageID(testQueue, "0") + `, now(), jsonb_build_object('task', $1::text, 'step', $2::int, 'claim', $3::int))`
	for _, message := range [][]any{
		{uuid.NewString(), 1, 0},       // of no step
		{w.tasks["3"].String(), 2, 0},  // of a step that is pending
		{w.tasks["3"].String(), 1, -1}, // of a claim long gone
	} {
		if _, err := w.Exec(t.Context(), stale, message...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		steps, err := ClaimSteps(t.Context(), w, Claim{Queue: testQueue, Process: w.process, Limit: 1, Lease: time.Hour})
		if err != nil || len(steps) != 1 || steps[0].Task != w.tasks[fmt.Sprint(i)] {
			t.Fatalf("claim %d returned %v: %v", i, steps, err)
		}
	}
	if steps := w.claim(t); len(steps) != 0 {
		t.Errorf("claimed %v from stale messages", steps)
	}
	var left int
	if err := w.QueryRow(t.Context(), `select count(*) from pgmq.q_`+testQueue).Scan(&left); err != nil || left != 10 {
		t.Errorf("%d messages are left, want those of the 10 claims (%v)", left, err)
	}
}

// TestLateResultsChangeNothing reports under a claim that was lost.
func TestLateResultsChangeNothing(t *testing.T) {
	t.Parallel()
	w := newDiamonds(t, 1)
	late := w.claim(t)[0]
	if _, err := w.Exec(t.Context(), `update pgmq.q_`+testQueue+` set vt = now()`); err != nil {
		t.Fatal(err)
	}
	current := w.claim(t)[0]
	if current.Claim != 2 || current.Attempt != 1 || current.Lost != 1 {
		t.Fatalf("the second claim is %+v", current)
	}
	report := Report{Message: late.Message, Template: late.Template, Result: json.RawMessage(`"late"`)}
	if stored, err := ReportSteps(t.Context(), w, testQueue, testResults, []Report{report}); len(stored) != 0 || err != nil {
		t.Errorf("late reports %v stored, %v", stored, err)
	}
	applied, err := Apply(t.Context(), w, Batch{
		Queue:     testQueue,
		Completed: []Completed{{StepRef: late.StepRef, Result: json.RawMessage(`"late"`)}},
		Failed:    []Failed{{StepRef: late.StepRef, Error: json.RawMessage(`{}`), Final: true}},
		Consumed:  []Consumed{{Queue: testQueue, Messages: []Message{late.Message}}},
		Settle:    []uuid.UUID{late.Task},
	})
	if applied.Completed+applied.Failed+applied.Enqueued+len(applied.Settled) != 0 || err != nil {
		t.Errorf("late results brought about %+v, %v", applied, err)
	}
	if err := ReleaseSteps(t.Context(), w, testQueue, []Message{late.Message}); err != nil {
		t.Fatal(err)
	}
	if renewed, err := ExtendLeases(t.Context(), w, testQueue, []Message{late.Message}, time.Hour); len(renewed) != 0 || err != nil {
		t.Errorf("renewed %v, %v", renewed, err)
	}
	if held, err := HeldClaims(t.Context(), w, []StepRef{late.StepRef, current.StepRef}); len(held) != 1 || held[0] != current.StepRef || err != nil {
		t.Errorf("claims held: %v, %v", held, err)
	}
	w.complete(t, []ClaimedStep{current})
	found, err := Check(t.Context(), w.Pool, testQueues())
	if len(found) != 0 || err != nil {
		t.Errorf("got %v, %v", found, err)
	}
}

// TestAppliersSettleOnce applies the last steps of a task one by one, from many
// connections at once: exactly one finds the task complete.
func TestAppliersSettleOnce(t *testing.T) {
	t.Parallel()
	const tasks = 40
	w := newDiamonds(t, tasks)
	w.complete(t, w.claim(t))
	branches := w.claim(t)
	var g errgroup.Group
	for _, s := range branches { // left and right of each task
		g.Go(func() error { return w.applyOne(t.Context(), s) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	ends := w.claim(t)
	if len(branches) != 2*tasks || len(ends) != tasks {
		t.Fatalf("%d branches, then %d ends", len(branches), len(ends))
	}
	w.complete(t, ends)
	found, err := Check(t.Context(), w.Pool, testQueues())
	if len(found) != 0 || err != nil {
		t.Errorf("got %v, %v", found, err)
	}
}

func (w *world) applyOne(ctx context.Context, s ClaimedStep) error {
	_, err := Apply(ctx, w, Batch{
		Queue:     testQueue,
		Completed: []Completed{{StepRef: s.StepRef, Result: json.RawMessage(`1`)}},
		Settle:    []uuid.UUID{s.Task},
		Consumed:  []Consumed{{Queue: testQueue, Messages: []Message{s.Message}}},
	})
	return err
}

// TestClaimsByAge claims what has been due for some time and not for too long,
// and finds out when the next message is due.
func TestClaimsByAge(t *testing.T) {
	t.Parallel()
	w := newDiamonds(t, 4)
	for i, age := range []string{"1 minute", "1 hour", "1 day", "-1 hour"} {
		if _, err := w.Exec(t.Context(), `update pgmq.q_`+testQueue+` set vt = now() - $1::interval where message->>'task' = $2`,
			age, w.tasks[fmt.Sprint(i)].String()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ since, over, upTo time.Duration }{
		{0, 59 * time.Minute, time.Hour}, {2 * time.Minute, -1, 0},
	} {
		next, err := FindNextClaim(t.Context(), w, testQueue, "test", tt.since)
		if err != nil || !next.Any || next.Wait <= tt.over || next.Wait > tt.upTo {
			t.Errorf("due since %s: the next is %+v (%v)", tt.since, next, err)
		}
	}
	for _, tt := range []struct {
		minAge, maxAge time.Duration
		want           string
	}{
		{2 * time.Minute, 2 * time.Hour, "1"}, {2 * time.Minute, 0, "2"}, {0, 0, "0"},
	} {
		steps, err := ClaimSteps(t.Context(), w, Claim{
			Queue: testQueue, Process: w.process, Limit: 9, Lease: time.Hour, MinAge: tt.minAge, MaxAge: tt.maxAge,
		})
		if err != nil || len(steps) != 1 || steps[0].Task != w.tasks[tt.want] {
			t.Errorf("%s to %s: claimed %v (%v)", tt.minAge, tt.maxAge, steps, err)
		}
	}
}
