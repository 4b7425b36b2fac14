package combined_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// TestPriorities fills the queue before any worker runs: what matters more runs
// first, and among equals what came first.
func TestPriorities(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.None,
		Templates:  taskertest.YAML(`{name: one, namespace: test, identity_strategy: always_unique, steps: [{name: only, handler: {callable: note}}]}`),
		Settings: enginetest.Settings{
			"worker.system.step_processing.max_concurrent_steps": "1",
		},
	})
	ran := make(chan int, 100)
	handlers := enginetest.Handlers{"note": func(_ context.Context, s *tasker.Step) (any, error) {
		n, err := taskNumber(s)
		ran <- n
		return n, err
	}}
	e.Register()
	var requests []client.Request
	for i, priority := range []int{0, 5, -100, 100, 5, 0} {
		requests = append(requests, client.Request{
			Namespace: enginetest.Namespace, Template: "one", Priority: priority, Context: map[string]int{"n": i},
		})
	}
	ids, err := e.Client.CreateTasks(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	e.StartOrchestrator()
	e.StartWorker(handlers)
	var got []int
	for range ids {
		got = append(got, enginetest.Receive(t, ran))
	}
	if want := []int{3, 1, 4, 0, 5, 2}; !slices.Equal(got, want) {
		t.Errorf("ran in the order %v, want %v", got, want)
	}
}

// TestPriorityAges: what waits is overtaken only by so many.
func TestPriorityAges(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.None,
		Templates:  taskertest.YAML(`{name: one, namespace: test, identity_strategy: always_unique, steps: [{name: only, handler: {callable: note}}]}`),
		Settings:   enginetest.Settings{"worker.system.step_processing.max_concurrent_steps": "1"},
	})
	e.Register()
	request := func(n, priority int) client.Request {
		return client.Request{Namespace: enginetest.Namespace, Template: "one", Priority: priority, Context: map[string]int{"n": n}}
	}
	if _, err := e.Client.CreateTasks(t.Context(), []client.Request{request(0, 0)}); err != nil {
		t.Fatal(err)
	}
	// As if 100,000 messages had passed by.
	e.Exec(`select setval('pgmq.q_` + e.Queue(enginetest.Namespace) + `_msg_id_seq', 100001)`)
	if _, err := e.Client.CreateTasks(t.Context(), []client.Request{request(1, 1), request(2, 2)}); err != nil {
		t.Fatal(err)
	}
	ran := make(chan int, 3)
	e.StartOrchestrator()
	e.StartWorker(enginetest.Handlers{"note": func(_ context.Context, s *tasker.Step) (any, error) {
		n, err := taskNumber(s)
		ran <- n
		return n, err
	}})
	var got []int
	for range 3 {
		got = append(got, enginetest.Receive(t, ran))
	}
	if want := []int{2, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("ran in the order %v, want %v: the first has waited for a level of priority", got, want)
	}
}

// taskNumber is n of the task's context.
func taskNumber(s *tasker.Step) (int, error) {
	var in struct{ N int }
	err := json.Unmarshal(s.Context, &in)
	return in.N, err
}

// TestDelayedStart: a task is pending until its time has come, whoever asks.
func TestDelayedStart(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d,
			Templates:  taskertest.YAML(`{name: one, namespace: test, identity_strategy: always_unique, steps: [{name: only, handler: {callable: ok}}]}`),
			Handlers:   enginetest.Handlers{"ok": ok},
		})
		start := time.Now().Add(time.Second)
		ids, err := e.Client.CreateTasks(t.Context(), []client.Request{
			{Namespace: enginetest.Namespace, Template: "one", RunAt: start},
			{Namespace: enginetest.Namespace, Template: "one", RunAt: time.Now().Add(time.Hour)},
		})
		if err != nil {
			t.Fatal(err)
		}
		e.Await(`select count(*) = 2 from tasker.tasks where state = 'pending'`)
		e.Check()
		task := e.Wait(ids[0])
		if task.State != tasker.TaskComplete {
			t.Errorf("the task is %s", task.State)
		}
		early := enginetest.Query[bool](e, `select started_at < $1 from tasker.steps where task_id = $2`, start.Add(-time.Millisecond), ids[0])
		if early {
			t.Error("it started before its time")
		}
	})
}
