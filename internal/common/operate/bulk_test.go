package operate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// operator works off operations in the test, as orchestrators do.
func (b *bench) operator() *operate.Operator {
	return &operate.Operator{Pool: b.e.Pool, Names: b.e.Names, Notifier: eventsystem.NewNotifier(b.e.Pool, b.e.Log)}
}

// workOff works off whatever there is, and returns in how many batches.
func (b *bench) workOff(most int) int {
	b.t.Helper()
	for n := 0; ; n++ {
		worked, err := b.operator().WorkOff(b.t.Context(), most)
		if err != nil {
			b.t.Fatal(err)
		}
		if !worked {
			return n
		}
	}
}

func (b *bench) states() string {
	b.t.Helper()
	return enginetest.Query[string](b.e, `
		select string_agg(state || ' ' || n, ', ' order by state)
		from (select state::text, count(*) as n from tasker.tasks group by state) s`)
}

// TestBulk does one thing to all kinds of tasks: those whose state allows it are
// counted, and then dealt with, once.
func TestBulk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		bulk    client.Bulk
		matched int
		want    string
	}{
		{client.Bulk{Kind: client.BulkCancel, Namespace: "test"}, 4, "cancelled 4, complete 1, error 1"},
		{client.Bulk{Kind: client.BulkRetry, Namespace: "test"}, 2, "complete 1, steps_in_process 4, waiting_for_retry 1"},
		{client.Bulk{Kind: client.BulkRetry, States: []tasker.TaskState{tasker.TaskError}}, 1, "blocked_by_failures 1, complete 1, steps_in_process 3, waiting_for_retry 1"},
		{client.Bulk{Kind: client.BulkResolve, Template: "pair"}, 3, "complete 1, resolved_manually 3, steps_in_process 2"},
		{client.Bulk{Kind: client.BulkCancel, Tags: []string{"a", "b"}}, 1, "blocked_by_failures 1, cancelled 1, complete 1, error 1, steps_in_process 1, waiting_for_retry 1"},
		{client.Bulk{Kind: client.BulkCancel, CreatedBefore: time.Now().Add(-time.Hour)}, 0, "blocked_by_failures 1, complete 1, error 1, steps_in_process 2, waiting_for_retry 1"},
		{client.Bulk{Kind: client.BulkCancel, CreatedAfter: time.Now().Add(-time.Hour), Version: "9.9.9"}, 0, "blocked_by_failures 1, complete 1, error 1, steps_in_process 2, waiting_for_retry 1"},
	} {
		t.Run(fmt.Sprintf("%+v", tt.bulk), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			for _, s := range []tasker.TaskState{
				tasker.TaskStepsInProcess, tasker.TaskWaitingForRetry, tasker.TaskBlockedByFailures, tasker.TaskComplete, tasker.TaskError,
			} {
				b.task(s)
			}
			_, err := b.e.Client.CreateTask(t.Context(), client.Request{Namespace: "test", Template: "pair", Tags: []string{"b", "c", "a"}})
			b.must(err)
			n, err := b.e.Client.CountBulk(t.Context(), tt.bulk)
			if err != nil || n != tt.matched {
				t.Errorf("the preview counts %d, want %d (%v)", n, tt.matched, err)
			}
			op, err := b.e.Client.StartBulk(t.Context(), tt.bulk, by)
			b.must(err)
			later := b.e.Create("pair", nil) // after the operation began
			if batches := b.workOff(2); batches != (tt.matched+1)/2+1 {
				t.Errorf("%d batches", batches)
			}
			b.expect(later, tasker.TaskStepsInProcess)
			b.e.Exec(`delete from tasker.steps where task_id = $1`, later)
			b.e.Exec(`delete from tasker.tasks where task_id = $1`, later)
			op, err = b.e.Client.Operation(t.Context(), op.ID)
			if err != nil || op.Matched != tt.matched || op.Done != tt.matched || op.Failed != 0 || op.FinishedAt == nil || op.By != by {
				t.Errorf("%+v (%v)", op, err)
			}
			if got := b.states(); got != tt.want {
				t.Errorf("tasks are %s; want %s", got, tt.want)
			}
			recorded := enginetest.Query[int](b.e, `select count(*) from tasker.task_events where detail->>'operation' = $1 and actor = 'ann'`, op.ID)
			if recorded != tt.matched {
				t.Errorf("%d events recorded", recorded)
			}
		})
	}
}

// TestBulkRefused: what concerns everything, nothing, or cannot be done.
func TestBulkRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for want, bulk := range map[string]client.Bulk{
		"the filter is empty":     {Kind: client.BulkCancel},
		"use cancel, retry or":    {Kind: "pause", Namespace: "test"},
		"no task in state":        {Kind: client.BulkRetry, States: []tasker.TaskState{tasker.TaskComplete}},
		"nothing to do to many t": {Namespace: "test"},
	} {
		_, counting := b.e.Client.CountBulk(t.Context(), bulk)
		_, starting := b.e.Client.StartBulk(t.Context(), bulk, by)
		for _, err := range []error{counting, starting} {
			if !errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %s", err, want)
			}
		}
	}
	if _, err := b.e.Client.Operation(t.Context(), "019a0000-0000-7000-8000-000000000000"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// TestBulkGoesPast: a task that cannot be dealt with fails alone, with the reason.
func TestBulkGoesPast(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ids []string
	for range 12 {
		ids = append(ids, b.e.Create("pair", nil))
	}
	b.e.Exec(`create function tasker_test.refuse() returns trigger language plpgsql as $$ begin raise 'not this one'; end $$`)
	b.e.Exec(`create trigger refuse before update on tasker.tasks for each row when (old.task_id = '` + ids[5] + `') execute function tasker_test.refuse()`)
	op, err := b.e.Client.StartBulk(t.Context(), client.Bulk{Kind: client.BulkCancel, Namespace: "test"}, by)
	b.must(err)
	b.workOff(50)
	b.e.Exec(`drop trigger refuse on tasker.tasks`)
	op, err = b.e.Client.Operation(t.Context(), op.ID)
	if err != nil || op.Done != 11 || op.Failed != 1 || !strings.Contains(op.LastError, ids[5]) || !strings.Contains(op.LastError, "not this one") {
		t.Errorf("%+v (%v)", op, err)
	}
	if got := b.states(); got != "cancelled 11, steps_in_process 1" {
		t.Errorf("tasks are %s", got)
	}
}

// TestBulkByMany has several work off the same operations at once: each task is
// dealt with once, and counted once.
func TestBulkByMany(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const tasks = 100
	requests := make([]client.Request, tasks)
	for i := range requests {
		requests[i] = client.Request{Namespace: "test", Template: "pair"}
	}
	_, err := b.e.Client.CreateTasks(t.Context(), requests)
	b.must(err)
	op, err := b.e.Client.StartBulk(t.Context(), client.Bulk{Kind: client.BulkCancel, Namespace: "test"}, by)
	b.must(err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range tasks {
				if _, err := b.operator().WorkOff(t.Context(), 3); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	op, err = b.e.Client.Operation(t.Context(), op.ID)
	if err != nil || op.Done != tasks || op.FinishedAt == nil {
		t.Errorf("%+v (%v)", op, err)
	}
	if n := enginetest.Query[int](b.e, `select count(*) from tasker.task_events`); n != tasks {
		t.Errorf("%d events of %d tasks", n, tasks)
	}
}

// TestOrchestratorsWorkOffOperations cancels many tasks whose handlers run.
func TestOrchestratorsWorkOffOperations(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		w := newWaiting()
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(slowPair), Handlers: enginetest.Handlers{"wait": w.handle, "ok": ok},
		})
		const tasks = 5
		for range tasks {
			e.Create("pair", nil)
		}
		for range tasks {
			enginetest.Receive(t, w.began)
		}
		op, err := e.Client.StartBulk(t.Context(), client.Bulk{Kind: client.BulkCancel, Template: "pair"}, by)
		if err != nil {
			t.Fatal(err)
		}
		for range tasks {
			if err := enginetest.Receive(t, w.ended); !errors.Is(err, context.Canceled) {
				t.Errorf("a handler ended with %v", err)
			}
		}
		e.Await(`select finished_at is not null and done = $2 from tasker.operations where operation_id = $1`, op.ID, tasks)
	})
}
