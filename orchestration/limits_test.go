package orchestration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// A gate holds handlers until so many of a key run at once, then lets these go,
// and notes how many ever did. So a test ends only if the limit lets as many run
// as it should, and knows whether it let more.
type gate struct {
	mu      sync.Mutex
	size    int
	running map[string]int
	most    map[string]int
	waiting map[string]chan struct{} // closed when enough have come
	come    map[string]int
}

func newGate(size int) *gate {
	return &gate{
		size: size, running: map[string]int{}, most: map[string]int{}, waiting: map[string]chan struct{}{}, come: map[string]int{},
	}
}

// pass is called by a handler of the key.
func (g *gate) pass(ctx context.Context, key string) error {
	g.mu.Lock()
	g.running[key]++
	g.most[key] = max(g.most[key], g.running[key])
	if g.waiting[key] == nil {
		g.waiting[key] = make(chan struct{})
	}
	together := g.waiting[key]
	if g.come[key]++; g.come[key] == g.size {
		close(together)
		g.come[key], g.waiting[key] = 0, nil
	}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.running[key]--
	}()
	select {
	case <-together:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// playThree starts three workers.
func playThree(e *enginetest.Engine, d enginetest.Deployment, handlers enginetest.Handlers) {
	e.Play(d, handlers)
	for range 2 {
		if d == enginetest.Combined {
			e.StartCombined(handlers)
		} else {
			e.StartWorker(handlers)
		}
	}
}

// createMany creates tasks of a template in one call.
func createMany(t *testing.T, e *enginetest.Engine, template string, contexts ...any) []string {
	t.Helper()
	requests := make([]client.Request, len(contexts))
	for i, c := range contexts {
		requests[i] = client.Request{Namespace: enginetest.Namespace, Template: template, Context: c}
	}
	ids, err := e.Client.CreateTasks(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func completed(t *testing.T, e *enginetest.Engine, ids []string) {
	t.Helper()
	for _, id := range ids {
		if task := e.Wait(id); task.State != tasker.TaskComplete {
			t.Errorf("task %s is %s", id, task.State)
		}
	}
}

func setLimit(t *testing.T, e *enginetest.Engine, name string, atOnce int32) {
	t.Helper()
	if err := postgres.SetLimit(t.Context(), e.Pool, postgres.Limit{Name: name, MaxConcurrent: &atOnce}); err != nil {
		t.Fatal(err)
	}
}

// numbered are contexts that differ.
func numbered(n int, with map[string]any) []any {
	contexts := make([]any, n)
	for i := range contexts {
		c := map[string]any{"n": i}
		maps.Copy(c, with)
		contexts[i] = c
	}
	return contexts
}

// TestNamespaceLimit: never more steps of a namespace run at once than its limit
// says, and always as many, whoever claims them or would hand them off.
func TestNamespaceLimit(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		const limit = 4
		g := newGate(limit)
		work := func(ctx context.Context, _ *tasker.Step) (any, error) { return nil, g.pass(ctx, "") }
		handlers := enginetest.Handlers{"ok": work}
		e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(pair)})
		e.Register()
		setLimit(t, e, postgres.NamespaceLimit(enginetest.Namespace), limit)
		playThree(e, d, handlers)
		completed(t, e, createMany(t, e, "pair", numbered(20*limit, nil)...))
		if most := g.most[""]; most != limit {
			t.Errorf("%d steps ran at once, the limit is %d", most, limit)
		}
	})
}

// TestNamespaceLimitChanges: a limit of zero stops a namespace, whatever waits
// already, and a higher one has it go on at once.
func TestNamespaceLimitChanges(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: taskertest.YAML(pair), Handlers: handlers})
		name := postgres.NamespaceLimit(enginetest.Namespace)
		setLimit(t, e, name, 0)
		ids := createMany(t, e, "pair", numbered(5, nil)...)
		e.Await(`select count(*) = 5 from tasker.steps where state = 'enqueued'`)
		setLimit(t, e, name, 1)
		if err := postgres.Notify(t.Context(), e.Pool, []string{e.Names.StepsChannel(enginetest.Namespace)}); err != nil {
			t.Fatal(err)
		}
		completed(t, e, ids)
		setLimit(t, e, name, 0)
		ids = createMany(t, e, "pair", numbered(3, map[string]any{"more": true})...)
		if err := postgres.RemoveLimit(t.Context(), e.Pool, name); err != nil {
			t.Fatal(err)
		}
		if err := postgres.Notify(t.Context(), e.Pool, []string{e.Names.StepsChannel(enginetest.Namespace)}); err != nil {
			t.Fatal(err)
		}
		completed(t, e, ids)
	})
}

const customers = `
name: customers
namespace: test
limits: [{key: "customer:{{/customer}}", concurrency: 3}]
steps:
  - {name: a, handler: {callable: work}}
  - {name: b, handler: {callable: work}, dependencies: [a]}`

// TestKeyLimit: never more steps of a key run at once than its limit says, and
// always as many, while other keys do not hold it up.
func TestKeyLimit(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		const limit = 3
		g := newGate(limit)
		handlers := enginetest.Handlers{"work": func(ctx context.Context, s *tasker.Step) (any, error) {
			var input struct{ Customer int }
			if err := json.Unmarshal(s.Context, &input); err != nil {
				return nil, err
			}
			return nil, g.pass(ctx, fmt.Sprint(input.Customer))
		}}
		e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(customers)})
		playThree(e, d, handlers)
		var contexts []any
		for i := range 12 * limit {
			contexts = append(contexts, map[string]any{"customer": i % 4, "n": i})
		}
		completed(t, e, createMany(t, e, "customers", contexts...))
		for key, most := range g.most {
			if most != limit {
				t.Errorf("customer %s: %d steps ran at once, the limit is %d", key, most, limit)
			}
		}
		if len(g.most) != 4 {
			t.Errorf("steps of %d customers ran", len(g.most))
		}
	})
}

const gated = `
name: gated
namespace: test
steps:
  - {name: a, handler: {callable: work}, limits: [{key: only, concurrency: 1}]}`

// TestKeyLimitPriority: of what waits at a limit a higher priority goes first,
// and of equal ones the older.
func TestKeyLimitPriority(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var mu sync.Mutex
		var order []string
		handlers := enginetest.Handlers{"work": func(_ context.Context, s *tasker.Step) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, string(s.Context))
			return nil, nil
		}}
		e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(gated)})
		e.Register()
		setLimit(t, e, postgres.KeyLimit("only"), 0)
		var ids []string
		for i, priority := range []int{0, -5, 7, 0, 100, 7} {
			id, err := e.Client.CreateTask(t.Context(), client.Request{
				Namespace: enginetest.Namespace, Template: "gated", Context: map[string]int{"n": i}, Priority: priority,
			})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if state := enginetest.Query[string](e, `select string_agg(distinct state::text, ' ') from tasker.tasks`); state != "enqueuing_steps" {
			t.Errorf("tasks held by a limit are %s", state)
		}
		e.Play(d, handlers)
		if err := postgres.RemoveLimit(t.Context(), e.Pool, postgres.KeyLimit("only")); err != nil { // the declared one holds again
			t.Fatal(err)
		}
		completed(t, e, ids)
		if got, want := strings.Join(order, " "), `{"n": 4} {"n": 2} {"n": 5} {"n": 0} {"n": 3} {"n": 1}`; got != want {
			t.Errorf("ran in the order %s, want %s", got, want)
		}
	})
}

const twoLimits = `
name: two
namespace: test
steps:
  - {name: a, handler: {callable: work}, limits: [{key: wide, concurrency: 4}, {key: "own:{{/own}}", concurrency: 1}]}`

// TestTwoLimits: a step that waits at one limit takes no room at another, and
// those behind it pass.
func TestTwoLimits(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(twoLimits),
			Handlers: enginetest.Handlers{"work": ok},
		})
		setLimit(t, e, postgres.KeyLimit("own:paused"), 0)
		held := createMany(t, e, "two", numbered(100, map[string]any{"own": "paused"})...)
		completed(t, e, createMany(t, e, "two", numbered(20, map[string]any{"own": "free"})...))
		if n := enginetest.Query[int](e, `select count(*) from tasker.gated_steps`); n != len(held) {
			t.Errorf("%d steps wait at the limit of zero, want %d", n, len(held))
		}
		setLimit(t, e, postgres.KeyLimit("own:paused"), 50)
		completed(t, e, held)
	})
}

const sometimes = `
name: sometimes
namespace: test
steps:
  - {name: a, handler: {callable: work}, limits: [{key: only, concurrency: 1}], retry: {max_attempts: 2, backoff: none}}`

// TestLimitAndRetry: a step that has failed gives its slot back while it waits
// for its next attempt, and waits at the limit for that.
func TestLimitAndRetry(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var mu sync.Mutex
		running, most := 0, 0
		handlers := enginetest.Handlers{"work": func(_ context.Context, s *tasker.Step) (any, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				running--
			}()
			if s.Attempt == 1 && strings.Contains(string(s.Context), "slow") {
				return nil, tasker.RetryAfter(time.Hour, errors.New("later"))
			}
			if s.Attempt == 1 {
				return nil, errors.New("again")
			}
			return nil, nil
		}}
		e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: taskertest.YAML(sometimes), Handlers: handlers})
		slow := e.Create("sometimes", map[string]any{"slow": true})
		e.Await(`select state = 'waiting_for_retry' from tasker.tasks where task_id = $1`, slow)
		completed(t, e, createMany(t, e, "sometimes", numbered(10, nil)...))
		if n := enginetest.Query[int](e, `select count(*) from tasker.limit_slots`); n != 0 {
			t.Errorf("%d slots are taken and nothing runs", n)
		}
		// Instead of waiting for an hour:
		e.Exec(`update tasker.gated_steps set ready_at = now() + interval '20 milliseconds' where task_id = $1`, slow)
		e.Exec(`notify tasker_gates`)
		completed(t, e, []string{slow})
		if most != 1 {
			t.Errorf("%d steps ran at once, the limit is 1", most)
		}
	})
}

const texts = `
name: texts
namespace: test
steps:
  - {name: a, handler: {callable: work}, limits: [{key: sms, rate: 3, per_seconds: 3600, burst: 2}]}`

// TestRateLimit: a burst starts at once, and what follows when the clock says so;
// the test turns the clock of the bucket instead of waiting.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(texts)})
		playThree(e, d, enginetest.Handlers{"work": ok})
		ids := createMany(t, e, "texts", numbered(6, nil)...)
		done := 0
		for _, want := range []int{2, 3, 5, 6} {
			if done > 0 {
				// A token takes 1200 seconds. Two make a burst, more are not kept.
				back := map[int]string{3: "1201 seconds", 5: "1000 hours", 6: "1201 seconds"}[want]
				e.Exec(`update tasker.limit_buckets set refilled_at = refilled_at - $1::interval`, back)
				e.Exec(`notify tasker_gates`)
			}
			done = want
			e.Await(`select count(*) = $1 from tasker.tasks where state = 'complete'`, want)
			e.Await(`select tokens < 1 from tasker.limit_buckets where name = 'key:sms'`)
			if n := enginetest.Query[int](e, `select count(*) from tasker.gated_steps`); n != len(ids)-want {
				t.Errorf("%d wait after %d have started, want %d", n, want, len(ids)-want)
			}
		}
	})
}

// unhurried makes sure that what a test asserts comes of timers and wake-ups, not
// of polls.
var unhurried = enginetest.Settings{"orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds": "60"}

const often = `
name: often
namespace: test
steps:
  - {name: a, handler: {callable: work}, limits: [{key: sms, rate: 50, burst: 1}]}`

// TestRateLimitTimes: starts follow each other by themselves, no faster than the
// rate by the clock of the database.
func TestRateLimitTimes(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		const n, rate = 25, 50
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(often), Handlers: enginetest.Handlers{"work": ok},
			Settings: unhurried,
		})
		completed(t, e, createMany(t, e, "often", numbered(n, nil)...))
		took := enginetest.Query[float64](e, `select extract(epoch from max(enqueued_at) - min(enqueued_at))::float8 from tasker.steps`)
		if least := float64(n-1)/rate - 0.02; took < least {
			t.Errorf("%d steps were let through within %.3f s, at the rate of %d a second it takes %.3f", n, took, rate, least)
		}
	})
}

// TestLimitAfterCrash: what nobody was told of, and slots that nobody gave back,
// cost a fallback interval.
func TestLimitAfterCrash(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{
		Deployment: enginetest.Combined, Templates: taskertest.YAML(gated), Handlers: enginetest.Handlers{"work": ok},
		Settings: enginetest.Settings{"orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds": "1"},
	})
	completed(t, e, createMany(t, e, "gated", numbered(2, nil)...))
	e.Exec(`insert into tasker.limit_slots (name, task_id, ordinal) select 'key:only', task_id, 1 from tasker.tasks`)
	e.Await(`select count(*) = 0 from tasker.limit_slots`)
	setLimit(t, e, postgres.KeyLimit("only"), 0)
	ids := createMany(t, e, "gated", numbered(3, map[string]any{"more": true})...)
	e.Exec(`update tasker.limits set max_concurrent = 1 where origin = 'operator'`) // and nobody is told
	completed(t, e, ids)
}

const deciding = `
name: deciding
namespace: test
limits: [{key: "customer:{{/customer}}", concurrency: 2}]
steps:
  - {name: decide, type: decision, handler: {callable: decide}}
  - {name: left, handler: {callable: work}, dependencies: [decide]}
  - {name: right, handler: {callable: work}, dependencies: [decide]}`

// TestDecidedStepsAreLimited: steps that a decision brings about pass the limits
// of their template, by the context of their task.
func TestDecidedStepsAreLimited(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		g := newGate(2)
		handlers := enginetest.Handlers{
			"work": func(ctx context.Context, _ *tasker.Step) (any, error) { return nil, g.pass(ctx, "") },
			"decide": func(context.Context, *tasker.Step) (any, error) {
				return json.RawMessage(`{"decision_point_outcome": {"type": "create_steps", "step_names": ["left", "right"]}}`), nil
			},
		}
		e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: taskertest.YAML(deciding), Handlers: handlers})
		completed(t, e, createMany(t, e, "deciding", numbered(6, map[string]any{"customer": "c"})...))
		if most := g.most[""]; most != 2 {
			t.Errorf("%d steps ran at once, the limit is 2", most)
		}
		if n := enginetest.Query[int](e, `select count(*) from tasker.steps where gates = '{limit:key:customer:c}'`); n != 18 {
			t.Errorf("%d steps have the limit, want all 18", n)
		}
	})
}

// TestCancelledGivesSlotBack: cancelling a task gives the slot of its step to the
// next.
func TestCancelledGivesSlotBack(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		started := make(chan struct{}, 10)
		handlers := enginetest.Handlers{"work": func(ctx context.Context, s *tasker.Step) (any, error) {
			if !strings.Contains(string(s.Context), "stuck") {
				return nil, nil
			}
			started <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Templates: taskertest.YAML(gated), Handlers: handlers, Settings: unhurried,
		})
		stuck := createMany(t, e, "gated", numbered(2, map[string]any{"stuck": true})...)
		enginetest.Receive(t, started)
		ids := createMany(t, e, "gated", numbered(3, nil)...)
		for _, id := range stuck {
			if err := e.Client.Cancel(t.Context(), id, client.By{}); err != nil {
				t.Fatal(err)
			}
		}
		completed(t, e, ids)
	})
}

// TestKeyOfContext: a context that lacks what the key of a limit is made of is
// refused, and says where.
func TestKeyOfContext(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None, Templates: taskertest.YAML(customers)})
	e.Register()
	_, err := e.Client.CreateTasks(t.Context(), []client.Request{
		{Namespace: enginetest.Namespace, Template: "customers", Context: map[string]any{"customer": 1}},
		{Namespace: enginetest.Namespace, Template: "customers", Context: map[string]any{"customer": nil}},
		{Namespace: enginetest.Namespace, Template: "customers"},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{
		"invalid task request: task 2: the context at /customer does not say which limit holds: is null, must be text, a number, or true or false",
		"invalid task request: task 3: the context at /customer does not say which limit holds: is missing",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
