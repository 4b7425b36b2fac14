package orchestration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/webhook"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// A receiver takes deliveries and checks their signatures.
type receiver struct {
	t      *testing.T
	server *httptest.Server
	secret string
	answer func(attempt int) int // the status, by how often a delivery has come

	mu       sync.Mutex
	attempts map[string]int // by the header webhook-id
	bodies   map[string]string
	taken    []delivered
}

// delivered is a delivery that was accepted.
type delivered struct {
	Type string
	Data struct {
		Task        string `json:"task_uuid"`
		Namespace   string
		Name        string
		Status      string
		FailedSteps []struct{ Name, Message string } `json:"failed_steps"`
	}
}

func newReceiver(t *testing.T, answer func(attempt int) int) *receiver {
	t.Helper()
	r := &receiver{t: t, answer: answer, secret: webhook.NewSecret(), attempts: map[string]int{}, bodies: map[string]string{}}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the sender has gone
	}
	h := request.Header
	id := h.Get("webhook-id")
	seconds, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	key, badSecret := webhook.ParseSecret(r.secret)
	var d delivered
	if err := errors.Join(err, badSecret, json.Unmarshal(body, &d)); err != nil || request.Method != http.MethodPost {
		r.t.Errorf("%s %s: %v", request.Method, body, err)
	}
	if want := webhook.Sign(key, id, time.Unix(seconds, 0), body); h.Get("webhook-signature") != want {
		r.t.Errorf("signature %s, want %s", h.Get("webhook-signature"), want)
	}
	if age := time.Since(time.Unix(seconds, 0)); age < 0 || age > time.Minute {
		r.t.Errorf("the timestamp is %s old", age)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if before := r.bodies[id]; before != "" && before != string(body) {
		r.t.Errorf("delivery %s has another body now: %s, %s", id, before, body)
	}
	r.bodies[id] = string(body)
	r.attempts[id]++
	status := r.answer(r.attempts[id])
	if status/100 == 2 {
		r.taken = append(r.taken, d)
	}
	w.WriteHeader(status)
}

// accepted returns the deliveries taken so far, sorted, as told says.
func (r *receiver) accepted(tell func(delivered) string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var told []string
	for _, d := range r.taken {
		told = append(told, tell(d))
	}
	slices.Sort(told)
	return told
}

// add adds a webhook for the receiver and returns its id. Empty strings stand
// for any.
func (r *receiver) add(e *enginetest.Engine, namespace, template string, events ...string) uuid.UUID {
	r.t.Helper()
	given := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	w, err := postgres.InsertWebhook(r.t.Context(), e.Pool, postgres.Webhook{
		ID: uuid.New(), URL: r.server.URL, Events: events, Namespace: given(namespace), Template: given(template),
	}, r.secret)
	if err != nil {
		r.t.Fatal(err)
	}
	return w.ID
}

func accepts(int) int { return http.StatusNoContent }

// hooked are settings under which deliveries reach this machine, soon.
func hooked(more enginetest.Settings) enginetest.Settings {
	settings := enginetest.Settings{
		"orchestration.webhooks.allow_private_addresses":                                     "true",
		"orchestration.webhooks.initial_delay_ms":                                            "10",
		"orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds": "1",
	}
	maps.Copy(settings, more)
	return settings
}

const outcomes = `
name: %s
namespace: test
steps:
  - {name: first, handler: {callable: act}, retry: {max_attempts: 1}}
  - {name: second, handler: {callable: act}, retry: {max_attempts: 1}, dependencies: [first]}
`

// failing fails the step that the context names.
func failing(_ context.Context, s *tasker.Step) (any, error) {
	var in struct{ Fail string }
	if err := json.Unmarshal(s.Context, &in); err != nil || in.Fail == s.Name {
		return nil, errors.Join(err, errors.New("as told"))
	}
	return "ok", nil
}

func startHooked(t *testing.T, d enginetest.Deployment, settings enginetest.Settings) *enginetest.Engine {
	t.Helper()
	return enginetest.Start(t, enginetest.Options{
		Deployment: d, Handlers: enginetest.Handlers{"act": failing}, Settings: hooked(settings),
		Templates: taskertest.YAML(fmt.Sprintf(outcomes, "one"), fmt.Sprintf(outcomes, "two")),
	})
}

const allDelivered = `select count(*) = $1 and bool_and(state = 'delivered') from tasker.webhook_deliveries`

// TestWebhooks has several webhooks, each for other events and templates. The
// receiver refuses everything twice.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		refuseTwice := func(attempt int) int { return map[bool]int{true: 503, false: 200}[attempt <= 2] }
		all, some, none := newReceiver(t, refuseTwice), newReceiver(t, refuseTwice), newReceiver(t, refuseTwice)
		e := startHooked(t, d, nil)
		all.add(e, "", "", "task.completed", "task.failed", "task.blocked_by_failures")
		some.add(e, "test", "two", "task.completed", "task.failed")
		none.add(e, "other", "", "task.completed")
		none.add(e, "", "one", "task.cancelled")
		var want []string
		for _, template := range []string{"one", "two"} {
			for fail, event := range map[string]string{"": "task.completed", "first": "task.blocked_by_failures", "second": "task.failed"} {
				task := e.Run(template, map[string]string{"fail": fail})
				want = append(want, fmt.Sprint(template, " ", task.ID, " ", event, " ", task.State, " ", fail))
			}
		}
		slices.Sort(want)
		e.Await(allDelivered, 8)
		told := func(d delivered) string {
			failed := ""
			for _, s := range d.Data.FailedSteps {
				failed += s.Name
				if s.Message != "as told" {
					t.Errorf("step %s failed because %q", s.Name, s.Message)
				}
			}
			return fmt.Sprint(d.Data.Name, " ", d.Data.Task, " ", d.Type, " ", d.Data.Status, " ", failed)
		}
		if got := all.accepted(told); !slices.Equal(got, want) {
			t.Errorf("delivered %q, want %q", got, want)
		}
		if got := some.accepted(func(d delivered) string { return d.Data.Name + " " + d.Type }); !slices.Equal(got, []string{"two task.completed", "two task.failed"}) {
			t.Errorf("delivered %q", got)
		}
		if got := none.accepted(told); len(got) != 0 {
			t.Errorf("delivered %q to nobody's wish", got)
		}
		if attempts := enginetest.Query[int](e, `select min(attempts) from tasker.webhook_deliveries`); attempts != 3 {
			t.Errorf("%d attempts are noted, want 3", attempts)
		}
	})
}

// TestDeliveriesAreShared has three orchestrators deliver what one hundred tasks
// bring about: each delivery once.
func TestDeliveriesAreShared(t *testing.T) {
	t.Parallel()
	const tasks = 100
	r := newReceiver(t, accepts)
	e := startHooked(t, enginetest.Split, nil)
	e.StartOrchestrator()
	e.StartOrchestrator()
	r.add(e, "", "", "task.completed")
	for range tasks {
		e.Create("one", map[string]string{})
	}
	e.Await(allDelivered, tasks)
	seen := map[string]bool{}
	for _, task := range r.accepted(func(d delivered) string { return d.Data.Task }) {
		if seen[task] {
			t.Errorf("task %s came twice", task)
		}
		seen[task] = true
	}
	if len(seen) != tasks {
		t.Errorf("%d tasks came, want %d", len(seen), tasks)
	}
}

// deadLetter sets tasks aside.
func deadLetter(e *enginetest.Engine, tasks ...string) {
	letters := make([]postgres.DeadLetter, len(tasks))
	for i, task := range tasks {
		letters[i] = postgres.DeadLetter{Task: uuid.MustParse(task), Reason: postgres.ManualDLQ}
	}
	if _, err := postgres.Enter(context.Background(), e.Pool, letters, false); err != nil {
		panic(err)
	}
}

// TestDeliveryOutlivesItsSender claims a delivery and dies, as a sender does that
// is killed: the delivery is made when the lease has ended, and what the dead one
// says late changes nothing.
func TestDeliveryOutlivesItsSender(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, accepts)
	e := startHooked(t, enginetest.Combined, nil)
	task := e.Run("one", map[string]string{}).ID // before there is a webhook
	e.Stop()
	hook := r.add(e, "", "", "task.dead_lettered")
	deadLetter(e, task)
	deadLetter(e, task) // no second time
	lost, err := postgres.ClaimDeliveries(t.Context(), e.Pool, 10, time.Second)
	if err != nil || len(lost) != 1 {
		t.Fatal(lost, err)
	}
	if again, err := postgres.ClaimDeliveries(t.Context(), e.Pool, 10, time.Second); err != nil || len(again) != 0 {
		t.Errorf("claimed twice: %v, %v", again, err)
	}
	e.Play(enginetest.Combined, enginetest.Handlers{"act": failing})
	e.Await(allDelivered, 1)
	late := postgres.DeliveryResult{ID: lost[0].ID, Claim: lost[0].Claim, State: postgres.DeliveryDead, Error: "late"}
	if err := postgres.FinishDeliveries(t.Context(), e.Pool, []postgres.DeliveryResult{late}); err != nil {
		t.Fatal(err)
	}
	stored, err := postgres.ListDeliveries(t.Context(), e.Pool, hook, postgres.DeliveryDelivered, 10)
	if err != nil || len(stored) != 1 || stored[0].Error != nil || *stored[0].Status != http.StatusNoContent || stored[0].Task.String() != task {
		t.Errorf("%+v, %v", stored, err)
	}
	if got := r.accepted(func(d delivered) string { return d.Type }); !slices.Equal(got, []string{"task.dead_lettered"}) {
		t.Errorf("delivered %q", got)
	}
}

// TestDeliveriesFollowTheSettings looks at what becomes of a delivery that its
// receiver does not accept, and at deliveries that are over.
func TestDeliveriesFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.webhooks.allow_private_addresses",
		"orchestration.webhooks.max_attempts", "orchestration.webhooks.initial_delay_ms", "orchestration.webhooks.max_delay_seconds",
		"orchestration.webhooks.retention_days")
	const minute = `extract(epoch from due_at - clock_timestamp()) between 30 and 60`
	refuses := func(int) int { return http.StatusInternalServerError }
	tests := []struct {
		name     string
		answer   func(attempt int) int
		settings enginetest.Settings
		becomes  string // of the delivery, in SQL
	}{
		{"two attempts", refuses, enginetest.Settings{"orchestration.webhooks.max_attempts": "2"}, `state = 'dead' and attempts = 2 and status = 500`},
		{"three attempts", refuses, enginetest.Settings{"orchestration.webhooks.max_attempts": "3"}, `state = 'dead' and attempts = 3 and status = 500`},
		{"gone", func(int) int { return http.StatusGone }, nil, `state = 'dead' and attempts = 1 and status = 410`},
		{"redirected", func(int) int { return http.StatusFound }, enginetest.Settings{"orchestration.webhooks.max_attempts": "1"}, `state = 'dead' and status = 302`},
		{
			"private address", accepts,
			enginetest.Settings{"orchestration.webhooks.allow_private_addresses": "false"},
			`state = 'dead' and attempts = 1 and status is null and error like '%127.0.0.1 is not public: orchestration.webhooks.allow_private_addresses%'`,
		},
		{
			"initial delay", refuses,
			enginetest.Settings{"orchestration.webhooks.initial_delay_ms": "60000"},
			`state = 'pending' and attempts = 1 and ` + minute,
		},
		{
			"longest delay", refuses,
			enginetest.Settings{"orchestration.webhooks.initial_delay_ms": "3600000", "orchestration.webhooks.max_delay_seconds": "60"},
			`state = 'pending' and attempts = 1 and ` + minute,
		},
		{"kept for a week", accepts, enginetest.Settings{"orchestration.webhooks.retention_days": "7"}, `state = 'delivered' and (select count(*) = 1 ` + old + `)`},
		{"kept for two days", accepts, enginetest.Settings{"orchestration.webhooks.retention_days": "2"}, `state = 'delivered' and (select count(*) = 0 ` + old + `)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, tt.answer)
			e := startHooked(t, enginetest.None, tt.settings)
			hook := r.add(e, "", "", "task.completed")
			e.Exec(`insert into tasker.webhook_deliveries (webhook_id, task_id, event, payload, state, due_at, finished_at)
				values ($1, gen_random_uuid(), 'task.failed', '{}', 'dead', now(), now() - interval '3 days')`, hook)
			e.Play(enginetest.Combined, enginetest.Handlers{"act": failing})
			e.Create("one", map[string]string{})
			e.Await(`select coalesce(bool_or(` + tt.becomes + `), false) from tasker.webhook_deliveries where event = 'task.completed'`)
		})
	}
}

const old = `from tasker.webhook_deliveries where finished_at < now() - interval '1 day'`

// TestSlowReceivers has a receiver hold all requests: how many there are at once,
// and when the sender gives one up.
func TestSlowReceivers(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.webhooks.max_concurrent_deliveries", "orchestration.webhooks.timeout_seconds")
	for _, most := range []int{1, 3} {
		t.Run(strconv.Itoa(most), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			now, peak := 0, 0
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // the server notices that the client goes only behind the body
				mu.Lock()
				now++
				peak = max(peak, now)
				mu.Unlock()
				<-r.Context().Done()
				mu.Lock()
				now--
				mu.Unlock()
			}))
			t.Cleanup(server.Close)
			e := startHooked(t, enginetest.Combined, enginetest.Settings{
				"orchestration.webhooks.max_concurrent_deliveries": strconv.Itoa(most),
				"orchestration.webhooks.timeout_seconds":           "1",
				"orchestration.webhooks.max_attempts":              "1",
			})
			tasks := make([]string, 4)
			for i := range tasks {
				tasks[i] = e.Run("one", map[string]string{}).ID
			}
			e.Stop()
			r := &receiver{t: t, server: server, secret: webhook.NewSecret()}
			r.add(e, "", "", "task.dead_lettered")
			deadLetter(e, tasks...)
			e.Play(enginetest.Combined, enginetest.Handlers{"act": failing})
			e.Await(`select count(*) = 4 and bool_and(state = 'dead' and error like '%deadline exceeded%') from tasker.webhook_deliveries`)
			mu.Lock()
			defer mu.Unlock()
			if peak < most || peak > most+1 { // a receiver learns late that a request was given up
				t.Errorf("%d requests at once, want %d", peak, most)
			}
		})
	}
}
