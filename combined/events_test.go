package combined_test

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

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// A notebook holds the events that subscribers were told of.
type notebook struct {
	mu     sync.Mutex
	events []tasker.Event
}

func (n *notebook) note(_ context.Context, e tasker.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
}

// of returns, sorted, what told says of the events of a task, but for its dead
// letter: that comes from housekeeping, when its turn is.
func (n *notebook) of(task string, tell func(tasker.Event) string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var told []string
	for _, e := range n.events {
		if e.Metadata.Task == task && e.Name != "task.dead_lettered" {
			told = append(told, tell(e))
		}
	}
	slices.Sort(told)
	return told
}

func name(e tasker.Event) string { return e.Name }

// queued returns the durable events of a task, read as other programs read them.
func queued(e *enginetest.Engine, task string) []tasker.Event {
	raw := enginetest.Query[[]byte](e, `
		select coalesce(jsonb_agg(message order by msg_id), '[]')
		from pgmq.q_test_domain_events
		where message->'metadata'->>'task_uuid' = $1`, task)
	var events []tasker.Event
	if err := json.Unmarshal(raw, &events); err != nil {
		panic(err)
	}
	return events
}

// publishing is a template of one step with the given events, which fails as its
// context says.
func publishing(name string, events ...string) string {
	return single(name, "handler: {callable: act}, retry: {max_attempts: 3, backoff: none}, publishes_events: ["+strings.Join(events, ", ")+"]")
}

// act fails so many times with the error that the context asks for, then
// succeeds.
func asked(_ context.Context, s *tasker.Step) (any, error) {
	var in struct {
		Failures  int
		Permanent bool
		Result    any
	}
	if err := json.Unmarshal(s.Context, &in); err != nil {
		return nil, err
	}
	switch {
	case in.Failures >= s.Attempt && in.Permanent:
		return nil, tasker.Permanent(errors.New("never"))
	case in.Failures >= s.Attempt:
		return nil, errors.New("not now")
	}
	return in.Result, nil
}

// TestEventConditions holds each condition to each way in which a step can go:
// an event per outcome that counted, in the queue as on the bus.
func TestEventConditions(t *testing.T) {
	t.Parallel()
	var declared []string
	for _, condition := range []string{"success", "failure", "retryable_failure", "permanent_failure", "always"} {
		declared = append(declared,
			fmt.Sprintf("{name: on.%s, condition: %s, delivery_mode: broadcast}", condition, condition))
	}
	tests := []struct {
		name, input string
		want        []string
	}{
		{"succeeds", `{"result": 1}`, []string{"always 1", "success 1"}},
		{"fails twice", `{"failures": 2, "result": 1}`, []string{
			"always 1", "always 2", "always 3", "failure 1", "failure 2", "retryable_failure 1", "retryable_failure 2", "success 3",
		}},
		{"fails for good", `{"failures": 1, "permanent": true}`, []string{"always 1", "failure 1", "permanent_failure 1"}},
		{"uses up its attempts", `{"failures": 3}`, []string{
			"always 1", "always 2", "always 3", "failure 1", "failure 2", "failure 3",
			"permanent_failure 3", "retryable_failure 1", "retryable_failure 2",
		}},
	}
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var told notebook
		events := tasker.NewEvents()
		events.Subscribe("on.*", told.note)
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Events: events, Handlers: enginetest.Handlers{"act": asked},
			Templates: taskertest.YAML(publishing("conditions", declared...)),
		})
		ids := make([]string, len(tests))
		for i, tt := range tests {
			ids[i] = e.Create("conditions", json.RawMessage(tt.input))
		}
		for _, id := range ids {
			e.Wait(id)
		}
		e.Stop()
		short := func(ev tasker.Event) string {
			return fmt.Sprint(strings.TrimPrefix(ev.Name, "on."), " ", ev.Metadata.Attempt)
		}
		for i, tt := range tests {
			if got := told.of(ids[i], short); !slices.Equal(got, tt.want) {
				t.Errorf("%s: subscribers were told %q, want %q", tt.name, got, tt.want)
			}
			byID := map[string]string{}
			for _, ev := range queued(e, ids[i]) {
				byID[ev.ID] = short(ev)
			}
			if got := slices.Sorted(maps.Values(byID)); !slices.Equal(got, tt.want) {
				t.Errorf("%s: queued %q, want %q", tt.name, got, tt.want)
			}
			for _, id := range told.of(ids[i], func(ev tasker.Event) string { return ev.ID }) {
				if byID[id] == "" {
					t.Errorf("%s: the queue does not know the id %s that subscribers know", tt.name, id)
				}
			}
		}
	})
}

// TestEventShape looks at all of an event, both ways, of a result and of a
// failure.
func TestEventShape(t *testing.T) {
	t.Parallel()
	const correlation = "019a0000-0000-7000-8000-000000000001"
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var told notebook
		events := tasker.NewEvents()
		events.Subscribe("thing.done", told.note)
		began := make(chan struct{})
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Events: events,
			Templates: taskertest.YAML(publishing("shape", "{name: thing.done, condition: always, delivery_mode: broadcast}")),
			Handlers: enginetest.Handlers{"act": func(_ context.Context, s *tasker.Step) (any, error) {
				if s.Attempt == 1 {
					<-began
					return nil, errors.New("not now")
				}
				return map[string]int{"n": 1}, nil
			}},
		})
		id := e.Create("shape", nil)
		e.Exec(`update tasker.tasks set correlation_id = $1`, correlation)
		close(began)
		task := e.Wait(id)
		e.Stop()
		fired := enginetest.Query[[]string](e, `select array_agg(process_id::text) from tasker.workers where role <> 'orchestration'`)
		durable := queued(e, id)
		if len(durable) != 2 || len(told.events) != 2 {
			t.Fatalf("%d events are queued and %d were told, want 2 of each", len(durable), len(told.events))
		}
		for i, want := range []struct{ payload, outcome string }{
			{`{"kind": "handler_error", "message": "not now", "permanent": false}`, "retryable_failure"},
			{`{"n": 1}`, "success"},
		} {
			for _, got := range []tasker.Event{durable[i], told.events[i]} {
				var compact, wanted any
				if errors.Join(json.Unmarshal(got.Payload, &compact), json.Unmarshal([]byte(want.payload), &wanted)) != nil ||
					fmt.Sprint(compact) != fmt.Sprint(wanted) {
					t.Errorf("payload %s, want %s", got.Payload, want.payload)
				}
				m := got.Metadata
				at := m.FiredAt
				if at.Before(task.CreatedAt) || m.StepID == "" || !slices.Contains(fired, m.FiredBy) {
					t.Errorf("fired at %s by %q for step %q", at, m.FiredBy, m.StepID)
				}
				m.FiredAt, m.StepID, m.FiredBy = task.CreatedAt, "", ""
				if want := (tasker.EventMetadata{
					Task: id, Step: "only", Namespace: "test", Template: "shape", TemplateVersion: "1.0.0",
					Attempt: i + 1, Outcome: want.outcome, CorrelationID: correlation, FiredAt: task.CreatedAt,
				}); m != want || got.Version != "1.0" {
					t.Errorf("version %s, %+v; want %+v", got.Version, m, want)
				}
			}
		}
	})
}

// TestDeliveryModes: each mode reaches whom it names and nobody else.
func TestDeliveryModes(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var told notebook
		events := tasker.NewEvents()
		events.Subscribe("*", told.note)
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Events: events, Handlers: enginetest.Handlers{"act": asked},
			Templates: taskertest.YAML(publishing("modes",
				"{name: a.durable}", "{name: a.fast, delivery_mode: fast}", "{name: a.both, delivery_mode: broadcast}")),
		})
		id := e.Create("modes", nil)
		e.Wait(id)
		e.Stop()
		if got, want := told.of(id, name), []string{"a.both", "a.fast", "step.completed", "task.completed"}; !slices.Equal(got, want) {
			t.Errorf("told of %q, want %q", got, want)
		}
		var durable []string
		for _, ev := range queued(e, id) {
			durable = append(durable, ev.Name)
		}
		if want := []string{"a.durable", "a.both"}; !slices.Equal(durable, want) {
			t.Errorf("queued %q, want %q", durable, want)
		}
	})
}

// TestPayloadsAndSchemas has publishers of the program make payloads, and schemas
// refuse some. Whatever becomes of an event, its step succeeds.
func TestPayloadsAndSchemas(t *testing.T) {
	t.Parallel()
	const number = "{type: object, required: [n], properties: {n: {type: integer}}}"
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		events := tasker.NewEvents()
		events.AddPublisher("summary", func(_ context.Context, s *tasker.Step, ev tasker.Event) (any, error) {
			return map[string]any{"of": s.Name, "was": ev.Payload}, nil
		})
		events.AddPublisher("seven", func(context.Context, *tasker.Step, tasker.Event) (any, error) {
			return map[string]int{"n": 7}, nil
		})
		events.AddPublisher("skips", func(context.Context, *tasker.Step, tasker.Event) (any, error) {
			return nil, fmt.Errorf("nothing new: %w", tasker.ErrSkipEvent)
		})
		events.AddPublisher("fails", func(context.Context, *tasker.Step, tasker.Event) (any, error) { return nil, errors.New("oh") })
		events.AddPublisher("panics", func(context.Context, *tasker.Step, tasker.Event) (any, error) { panic("oh") })
		events.AddPublisher("unstorable", func(context.Context, *tasker.Step, tasker.Event) (any, error) { return "a\x00b", nil })
		events.AddPublisher("lone", func(context.Context, *tasker.Step, tasker.Event) (any, error) {
			return json.RawMessage(`"\ud800"`), nil
		})
		events.AddPublisher("endless", func(context.Context, *tasker.Step, tasker.Event) (any, error) { return make(chan int), nil })
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Events: events, Handlers: enginetest.Handlers{"act": asked},
			Templates: taskertest.YAML(publishing("payloads",
				"{name: plain}", "{name: summary, publisher: summary}", "{name: skips, publisher: skips}", "{name: fails, publisher: fails}",
				"{name: panics, publisher: panics}", "{name: unstorable, publisher: unstorable}", "{name: endless, publisher: endless}",
				"{name: nobody, publisher: nobody}", "{name: invalid, schema: "+number+"}",
				"{name: valid, publisher: seven, schema: "+number+"}"),
				"{name: declared, namespace: test, domain_events: [{name: a, schema: "+number+"}, {name: b, schema: {type: string}}],"+
					" steps: [{name: only, handler: {callable: act}, publishes_events: [{name: a}, {name: b}, {name: a, schema: {type: string}}]}]}",
				publishing("surrogate", "{name: plain}", "{name: lone, publisher: lone}")),
		})
		for template, want := range map[string][]string{
			"payloads":  {`plain "x"`, `summary {"of": "only", "was": "x"}`, `valid {"n": 7}`},
			"declared":  {`b "x"`, `a "x"`},
			"surrogate": {`plain "x"`}, // what only PostgreSQL finds
		} {
			task := e.Run(template, map[string]string{"result": "x"})
			if task.State != tasker.TaskComplete {
				t.Errorf("%s: the task is %s: %s", template, task.State, task.Step("only").Error)
			}
			var got []string
			for _, ev := range queued(e, task.ID) {
				got = append(got, ev.Name+" "+string(ev.Payload))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: queued %q, want %q", template, got, want)
			}
		}
	})
}

// TestRefusedResultFiresAsAFailure: what PostgreSQL cannot store was no success.
func TestRefusedResultFiresAsAFailure(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var told notebook
		events := tasker.NewEvents()
		events.Subscribe("*", told.note)
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Events: events,
			Templates: taskertest.YAML(publishing("refused", "{name: good}", "{name: bad, condition: permanent_failure}")),
			Handlers:  enginetest.Handlers{"act": func(context.Context, *tasker.Step) (any, error) { return "\x00", nil }},
		})
		id := e.Create("refused", nil)
		e.Wait(id)
		e.Stop()
		if got := queued(e, id); len(got) != 1 || got[0].Name != "bad" || !strings.Contains(string(got[0].Payload), "result_refused") {
			t.Errorf("queued %+v", got)
		}
		if got, want := told.of(id, name), []string{"step.failed", "task.failed"}; !slices.Equal(got, want) {
			t.Errorf("told of %q, want %q", got, want)
		}
	})
}

// TestLateResultsFireNothing takes the lease of a running step away, so that it
// runs a second time; the first to return is too late.
func TestLateResultsFireNothing(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var told notebook
		events := tasker.NewEvents()
		events.Subscribe("*", told.note)
		runs := make(chan chan string, 2)
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Events: events,
			Templates: taskertest.YAML(publishing("late", "{name: done, delivery_mode: broadcast}")),
			Handlers: enginetest.Handlers{"act": func(context.Context, *tasker.Step) (any, error) {
				answer := make(chan string)
				runs <- answer
				return <-answer, nil
			}},
			Settings: enginetest.Settings{"worker.event_system.metadata.fallback_poller.polling_interval_ms": "10"},
		})
		id := e.Create("late", nil)
		first := enginetest.Receive(t, runs)
		e.Exec(`update pgmq.q_worker_test_queue set vt = clock_timestamp()`)
		second := enginetest.Receive(t, runs)
		first <- "late"
		second <- "in time"
		task := e.Wait(id)
		e.Stop()
		if got := string(task.Step("only").Result); got != `"in time"` {
			t.Errorf("the result is %s", got)
		}
		if got := queued(e, id); len(got) != 1 || string(got[0].Payload) != `"in time"` {
			t.Errorf("queued %+v", got)
		}
		if got, want := told.of(id, name), []string{"done", "step.completed", "task.completed"}; !slices.Equal(got, want) {
			t.Errorf("told of %q, want %q", got, want)
		}
	})
}

// TestDroppedEventQueue: an engine whose queue somebody drops makes it anew.
func TestDroppedEventQueue(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Handlers: enginetest.Handlers{"act": asked}, Templates: taskertest.YAML(publishing("dropped", "{name: done}")),
		})
		e.Exec(`select pgmq.drop_queue('test_domain_events')`)
		task := e.Run("dropped", nil)
		if got := queued(e, task.ID); task.State != tasker.TaskComplete || len(got) != 1 {
			t.Errorf("the task is %s, queued %+v", task.State, got)
		}
	})
}

// TestLostReportsFireOnce loses the pointer to a reported result, and doubles it.
func TestLostReportsFireOnce(t *testing.T) {
	t.Parallel()
	for change, sql := range map[string]string{
		"lost": `delete from pgmq.q_orchestration_step_results_queue`,
		"doubled": `insert into pgmq.q_orchestration_step_results_queue (vt, message)
			select vt, message from pgmq.q_orchestration_step_results_queue`,
	} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			e := enginetest.Start(t, enginetest.Options{
				Deployment: enginetest.None, Templates: taskertest.YAML(publishing("reports", "{name: done}", "{name: done.too}")),
				Settings: enginetest.Settings{"orchestration.backoff.reenqueue_delays.evaluating_results": "0"},
			})
			e.StartWorker(enginetest.Handlers{"act": asked})
			id := e.Create("reports", nil)
			e.Await(`select state = 'enqueued_for_orchestration' from tasker.steps`)
			if n := e.Exec(sql); n != 1 {
				t.Fatalf("%d reports in the queue", n)
			}
			if got := queued(e, id); len(got) != 0 {
				t.Errorf("queued before the result was applied: %+v", got)
			}
			e.StartOrchestrator()
			e.Wait(id)
			e.Await(`select count(*) = 0 from pgmq.q_orchestration_step_results_queue`)
			if got := queued(e, id); len(got) != 2 {
				t.Errorf("queued %+v", got)
			}
		})
	}
}

// TestBadDecisionsFireAsFailures: a result that cannot be carried out was no
// success, which only the transaction that applies it finds. A worker of another
// process has told its subscribers by then.
func TestBadDecisionsFireAsFailures(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		var told notebook
		events := tasker.NewEvents()
		events.Subscribe("is.*", told.note)
		e := enginetest.Start(t, enginetest.Options{
			Deployment: d, Events: events,
			Templates: taskertest.YAML(`
name: choice
namespace: test
steps:
  - name: choose
    type: decision
    handler: {callable: choose}
    publishes_events:
      - {name: is.good, delivery_mode: broadcast}
      - {name: is.bad, condition: permanent_failure, delivery_mode: broadcast}
  - {name: branch, handler: {callable: choose}, dependencies: [choose]}`),
			Handlers: enginetest.Handlers{"choose": func(_ context.Context, s *tasker.Step) (any, error) {
				var in struct{ To string }
				return tasker.Branches(in.To), json.Unmarshal(s.Context, &in)
			}},
		})
		_ = e.Run("choice", map[string]string{"to": "nowhere"})
		e.Stop()
		names := enginetest.Query[[]string](e, `select array_agg(message->>'event_name' || ': ' || (message->'payload'->>'kind'))
			from pgmq.q_test_domain_events`)
		if want := []string{"is.bad: invalid_outcome"}; !slices.Equal(names, want) {
			t.Errorf("queued %q, want %q", names, want)
		}
		want := map[enginetest.Deployment]string{enginetest.Combined: "is.bad", enginetest.Split: "is.good"}[d]
		if len(told.events) != 1 || told.events[0].Name != want {
			t.Errorf("told of %+v, want %s", told.events, want)
		}
	})
}
