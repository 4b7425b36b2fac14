package postgres

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// eventsOf are an event for each step, numbered, and one that only asks.
func eventsOf(steps []ClaimedStep) []Event {
	events := make([]Event, 0, len(steps)+1)
	for i, s := range steps {
		events = append(events, Event{StepRef: s.StepRef, Key: i, Message: json.RawMessage(fmt.Sprintf(`{"n": %d, "metadata": {}}`, i))})
	}
	return append(events, Event{StepRef: steps[0].StepRef, Key: len(steps)})
}

// queuedEvents returns what the queue of events holds.
func (w *world) queuedEvents(t *testing.T) []string {
	t.Helper()
	var queued []string
	err := w.QueryRow(t.Context(), `select coalesce(array_agg(message::text order by msg_id), '{}') from pgmq.q_`+testEvents).Scan(&queued)
	if err != nil {
		t.Fatal(err)
	}
	return queued
}

// TestEventsFollowWhatCounted applies a batch of three outcomes, one of them
// late, twice at once: the events of the other two are queued, once.
func TestEventsFollowWhatCounted(t *testing.T) {
	t.Parallel()
	w := newDiamonds(t, 3)
	if err := CreateEventQueues(t.Context(), w, []string{testEvents}); err != nil {
		t.Fatal(err)
	}
	correlation := uuid.New()
	if _, err := w.Exec(t.Context(), `update tasker.tasks set correlation_id = $1 where task_id = $2`, correlation, w.tasks["0"]); err != nil {
		t.Fatal(err)
	}
	steps, err := ClaimSteps(t.Context(), w, Claim{Queue: testQueue, Process: w.process, Limit: 10, Lease: time.Hour})
	if err != nil || len(steps) != 3 {
		t.Fatal(steps, err)
	}
	slices.SortFunc(steps, func(a, b ClaimedStep) int { return int(a.ID - b.ID) })
	steps[1].Claim-- // late
	batch := Batch{
		Queue:      testQueue,
		Completed:  []Completed{{StepRef: steps[0].StepRef, Result: json.RawMessage(`"r"`)}, {StepRef: steps[1].StepRef, Result: json.RawMessage(`"late"`)}},
		Failed:     []Failed{{StepRef: steps[2].StepRef, Error: json.RawMessage(`"e"`), Final: true}},
		Settle:     []uuid.UUID{steps[0].Task, steps[1].Task, steps[2].Task},
		Events:     eventsOf(steps),
		EventQueue: testEvents,
	}
	counted := make(chan []CountedEvent, 2)
	var g errgroup.Group
	for range 2 {
		g.Go(func() error {
			applied, err := Apply(t.Context(), w, batch)
			counted <- applied.Events
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	var keys []int
	for _, c := range slices.Concat(<-counted, <-counted) {
		keys = append(keys, c.Key)
		if (c.Correlation != nil) != (c.Key != 2) || c.Correlation != nil && *c.Correlation != correlation {
			t.Errorf("event %d has the correlation id %v", c.Key, c.Correlation)
		}
	}
	if !slices.Equal(keys, []int{0, 2, 3}) {
		t.Errorf("counted are %v", keys)
	}
	want := []string{
		`{"n": 0, "payload": "r", "metadata": {"correlation_id": "` + correlation.String() + `"}}`,
		`{"n": 2, "payload": "e", "metadata": {}}`,
	}
	if got := w.queuedEvents(t); !slices.Equal(got, want) {
		t.Errorf("queued %q, want %q", got, want)
	}
}
