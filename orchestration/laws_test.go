package orchestration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/state"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// shapes is how many random templates the laws are tried on.
const shapes = 16

// randomShape draws a graph of up to eight steps: plain ones, decisions with
// branches that converge, batches, steps that wait for a signal.
func randomShape(random *rand.Rand, name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nnamespace: test\nidentity_strategy: always_unique\nsteps:\n", name)
	step := func(name, kind, more string, dependencies ...string) {
		handler := "handler: {callable: act}, "
		if kind == "wait_for_signal" {
			handler = ""
		}
		fmt.Fprintf(&b, "  - {name: %s, type: %s, %sdependencies: [%s]%s}\n", name, kind, handler, strings.Join(dependencies, ", "), more)
	}
	var plain []string
	for i := range 1 + random.IntN(5) {
		var dependencies []string
		for _, p := range plain {
			if random.IntN(3) == 0 {
				dependencies = append(dependencies, p)
			}
		}
		plain = append(plain, fmt.Sprintf("s%d", i))
		step(plain[i], "standard", fmt.Sprintf(", retry: {max_attempts: %d}", 1+random.IntN(3)), dependencies...)
	}
	last := plain[len(plain)-1]
	switch random.IntN(4) {
	case 0:
		step("route", "decision", ", retry: {max_attempts: 2}", last)
		step("left", "standard", "", "route")
		step("right", "standard", "", "route")
		step("join", "deferred_convergence", "", "left", "right")
	case 1:
		step("split", "batchable", ", retry: {max_attempts: 2}", last)
		strategy := []string{"continue_on_failure", "isolate", "fail_fast"}[random.IntN(3)]
		step("work", "batch_worker", fmt.Sprintf(", retry: {max_attempts: 2}, batch_config: {parallelism: 2, failure_strategy: %s}", strategy), "split")
		step("sum", "deferred_convergence", "", "work")
	case 2:
		step("go", "wait_for_signal", "", last)
		step("end", "standard", "", "go")
	}
	return b.String()
}

// A place names a step of a task.
type place struct {
	task    uuid.UUID
	ordinal int32
}

// A world is the engine with everything that may go wrong in the hands of the
// test: who claims, how handlers end, which messages are lost or doubled, when
// workers and the server crash, when time passes.
type world struct {
	*rapid.T
	b         *bench
	processor *processor
	keeper    *reconciler
	operator  *operate.Operator
	claims    []postgres.ClaimedStep // that somebody has in hand, or had: late ones too
	tasks     []uuid.UUID
	// told is what each step was told of a dependency's result.
	told map[place]map[place]string
	// from is the claim under which each result came: each is another.
	from []int32
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) exec(sql string) {
	w.Helper()
	_, err := w.b.sys.Pool.Exec(w.b.Context(), sql)
	w.must(err)
}

func (w *world) create() {
	name := fmt.Sprintf("shape%d", rapid.IntRange(0, shapes-1).Draw(w.T, "shape"))
	accepted, err := intake.Accept(w.b.Context(), w.b.sys.Pool, w.b.sys.Door(), []intake.Request{
		{Template: postgres.TemplateName{Namespace: "test", Name: name}, Priority: rapid.IntRange(-1, 1).Draw(w.T, "priority")},
	})
	w.must(err)
	w.tasks = append(w.tasks, accepted.IDs...)
}

func (w *world) claim(most int) {
	steps, err := postgres.ClaimSteps(w.b.Context(), w.b.sys.Pool, postgres.Claim{
		Queue: w.b.queue, Process: w.b.sys.Process, Limit: most, Lease: w.processor.lease,
	})
	w.must(err)
	for _, s := range steps {
		w.claims = append(w.claims, s)
		told := map[place]string{}
		for i := range s.DependsOn {
			var result string
			w.must(w.b.sys.Pool.QueryRow(w.b.Context(), `select coalesce(result::text, '') from tasker.steps where task_id = $1 and ordinal = $2`,
				s.Task, s.DependsOn[i]).Scan(&result))
			told[place{s.Task, s.DependsOn[i]}] = result
		}
		w.told[place{s.Task, s.Ordinal}] = told
	}
}

// result is what a handler returns: another one each time, in the shape that the
// type of the step asks for.
func (w *world) result(s *postgres.ClaimedStep) json.RawMessage {
	w.from = append(w.from, s.Claim)
	beside := map[string]int{"n": len(w.from)}
	var value any = beside
	switch s.Defined() {
	case "route":
		value = tasker.Decision{Steps: [][]string{nil, {"left"}, {"left", "right"}, {"nobody"}}[rapid.IntRange(0, 3).Draw(w.T, "branch")], Result: beside}
	case "split":
		value = tasker.Batches{Cursors: tasker.Range(0, rapid.IntRange(0, 4).Draw(w.T, "shares"), 1), Result: beside}
	}
	raw, err := json.Marshal(value)
	w.must(err)
	return raw
}

// finish ends some attempts, also such whose claim is lost by now.
func (w *world) finish(most int, fails bool) {
	for ; most > 0 && len(w.claims) > 0; most-- {
		at := rapid.IntRange(0, len(w.claims)-1).Draw(w.T, "which")
		s := w.claims[at]
		w.claims = slices.Delete(w.claims, at, at+1)
		o := outcome.Outcome{Step: s, Queue: w.b.queue}
		switch {
		case !fails:
			o.Result = w.result(&s)
		case rapid.Bool().Draw(w.T, "permanent"):
			o.Failure = &outcome.Failure{Kind: outcome.HandlerError, Message: "never", Permanent: true}
		default:
			o.Failure = &outcome.Failure{Kind: outcome.HandlerError, Message: "not yet"}
		}
		if rapid.Bool().Draw(w.T, "same process") {
			w.processor.applyOutcomes(w.b.Context(), []outcome.Outcome{o})
			continue
		}
		report := postgres.Report{Message: s.Message, Template: s.Template, Result: o.Result}
		if o.Failure != nil {
			report.Error = o.Failure.JSON()
		}
		_, err := postgres.ReportSteps(w.b.Context(), w.b.sys.Pool, w.b.queue, w.b.sys.Names.Results(), []postgres.Report{report})
		w.must(err)
	}
}

func (w *world) applyReports() {
	l := newPipeline(w.processor, w.b.cfg.Channels, newHints(w.b.sys, w.b.cfg.Channels.TaskReadiness.EventChannel), nil)
	reports, err := l.read(w.b.Context(), l.queue, l.most(), w.processor.lease)
	w.must(err)
	for i := range reports {
		l.events <- reports[i]
	}
	close(l.events)
	l.route(w.b.Context())
	l.applyAll(w.b.Context())
}

// leasesEnd makes every claim fall due; who holds one may still report.
func (w *world) leasesEnd() {
	w.exec(`update pgmq.q_` + w.b.queue + ` set vt = clock_timestamp() where vt > clock_timestamp()`)
}

// timePasses makes retries and reports due.
func (w *world) timePasses() {
	w.leasesEnd()
	w.exec(`update tasker.steps set next_attempt_at = clock_timestamp() where next_attempt_at > clock_timestamp()`)
	w.exec(`update tasker.gated_steps set ready_at = clock_timestamp() where ready_at > clock_timestamp()`)
	w.exec(`update pgmq.q_` + w.b.sys.Names.Results() + ` set vt = clock_timestamp() where vt > clock_timestamp()`)
}

// disturb does something to the queues that no code of ours would do.
func (w *world) disturb() {
	queue := []string{w.b.queue, w.b.sys.Names.Results()}[rapid.IntRange(0, 1).Draw(w.T, "queue")]
	some := fmt.Sprintf(`(select msg_id from pgmq.q_%s order by md5(msg_id::text || '%d') limit 2)`, queue, rapid.Int().Draw(w.T, "seed"))
	switch rapid.IntRange(0, 3).Draw(w.T, "disturbance") {
	case 0:
		w.exec(`delete from pgmq.q_` + queue + ` where msg_id in ` + some)
	case 1:
		w.exec(`insert into pgmq.q_` + queue + ` (vt, message) select vt, message from pgmq.q_` + queue + ` where msg_id in ` + some)
	case 2:
		w.leasesEnd()
	case 3: // the server crashes
		w.exec(`delete from pgmq.q_` + w.b.queue)
		w.exec(`delete from pgmq.q_` + w.b.sys.Names.Results())
		w.exec(`delete from tasker.queue_sentinel`)
	}
}

func (w *world) operate() {
	if len(w.tasks) == 0 {
		return
	}
	task := w.tasks[rapid.IntRange(0, len(w.tasks)-1).Draw(w.T, "task")]
	event := []state.TaskEvent{state.TaskPause, state.TaskResume, state.TaskRetry, state.TaskCancel}[rapid.IntRange(0, 3).Draw(w.T, "event")]
	_ = w.operator.Task(w.b.Context(), task, event, operate.By{Actor: "test"}) // refused where the state does not allow it
}

func (w *world) signal(task uuid.UUID) {
	_, _ = postgres.SendSignal(w.b.Context(), w.b.sys.Pool, postgres.Signal{Task: task, Name: "go", Payload: []byte(`"now"`)}) // refused when it is over
}

func (w *world) gates() {
	_, err := postgres.PassSignals(w.b.Context(), w.b.sys.Pool, w.b.sys.Names.Results(), 100, tooLate)
	w.must(err)
	l := newLimiter(w.b.sys, 0)
	w.must(l.sweep(w.b.Context()))
}

func (w *world) reconcile() { w.must(w.keeper.pass(w.b.Context())) }

// drain lets the engine work undisturbed until nothing can move any more.
func (w *world) drain() {
	for _, task := range w.tasks {
		_ = w.operator.Task(w.b.Context(), task, state.TaskResume, operate.By{Actor: "test"}) // refused unless paused
		w.signal(task)
	}
	w.claims = nil // whoever held one is dead
	for range 200 {
		w.timePasses()
		w.reconcile()
		w.gates()
		w.applyReports()
		w.claim(100)
		w.finish(100, false)
		var open int
		w.must(w.b.sys.Pool.QueryRow(w.b.Context(), `select count(*) from tasker.tasks where finished_at is null and state <> 'blocked_by_failures'`).Scan(&open))
		if open == 0 && len(w.claims) == 0 {
			return
		}
	}
	var stuck string
	w.must(w.b.sys.Pool.QueryRow(w.b.Context(), `
		select string_agg(distinct t.state || ': ' || s.name || ' ' || s.state || ' ' || s.waiting_on || ' ' || coalesce(s.gates::text, ''), E'\n')
		from tasker.tasks t join tasker.steps s using (task_id) where t.finished_at is null and t.state <> 'blocked_by_failures'`).Scan(&stuck))
	w.Fatalf("stuck:\n%s", stuck)
}

// check holds the world to the invariants, every result to its claim, and every
// step to what it was told: a result on which another step has built must never
// be replaced.
func (w *world) check() {
	found, err := postgres.Check(w.b.Context(), w.b.sys.Pool, postgres.Queues{
		Steps: map[string]string{"test": w.b.queue}, Results: w.b.sys.Names.Results(),
	})
	w.must(err)
	for _, v := range found {
		w.Error(v)
	}
	rows, err := w.b.sys.Pool.Query(w.b.Context(), `select (result->>'n')::int, claim from tasker.steps where state = 'complete' and result ? 'n'`)
	w.must(err)
	var n int
	var under int32
	_, err = pgx.ForEachRow(rows, []any{&n, &under}, func() error {
		if from := w.from[n-1]; from != under {
			w.Errorf("result %d came under claim %d and counts under claim %d", n, from, under)
		}
		return nil
	})
	w.must(err)
	for at, told := range w.told {
		var done bool
		w.must(w.b.sys.Pool.QueryRow(w.b.Context(), `select state = 'complete' from tasker.steps where task_id = $1 and ordinal = $2`, at.task, at.ordinal).Scan(&done))
		if !done {
			continue
		}
		for dependency, result := range told {
			var now string
			w.must(w.b.sys.Pool.QueryRow(w.b.Context(), `select coalesce(result::text, '') from tasker.steps where task_id = $1 and ordinal = $2`,
				dependency.task, dependency.ordinal).Scan(&now))
			if now != result {
				w.Errorf("step %d of task %s was told %s by step %d, which says %s now", at.ordinal, at.task, result, dependency.ordinal, now)
			}
		}
	}
}

// TestLaws plays random workflows in a world where anything may happen at any
// time. However it goes, once it is left alone every task ends or waits for a
// human, every result counted once, and the invariants hold.
func TestLaws(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.cfg.Backoff.ReenqueueDelays = config.ReenqueueDelays{}
	seed := rand.Uint64()
	t.Logf("seed of the shapes: %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	documents := make([]string, shapes)
	for i := range documents {
		documents[i] = randomShape(random, fmt.Sprintf("shape%d", i))
	}
	loaded, err := templates.LoadFS(taskertest.YAML(documents...))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.sys.Catalog.Register(t.Context(), loaded); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		b.exec(`delete from tasker.steps; delete from tasker.tasks; delete from tasker.step_attempts; delete from tasker.gated_steps;
			delete from tasker.limits; delete from tasker.limit_slots; delete from tasker.signals; delete from tasker.dlq_entries;
			delete from pgmq.q_` + b.queue + `; delete from pgmq.q_` + b.sys.Names.Results())
		w := &world{
			T: rt, b: b, processor: newProcessor(b.sys, &b.cfg, handoff.New(0, 0)),
			keeper: newReconciler(b.sys, &b.cfg, eventsystem.NewSignal()), operator: &operate.Operator{Pool: b.sys.Pool, Names: b.sys.Names, Notifier: b.sys.Notifier},
			told: map[place]map[place]string{},
		}
		w.processor.look = func([]string) {}
		w.create()
		moves := []func(){
			w.create, func() { w.claim(3) }, func() { w.claim(1) },
			func() { w.finish(2, false) }, func() { w.finish(1, false) }, func() { w.finish(1, true) },
			w.applyReports, w.leasesEnd, w.timePasses, w.disturb, w.operate, w.gates, w.reconcile,
			func() { w.signal(w.tasks[0]) },
		}
		for range rapid.IntRange(5, 60).Draw(rt, "moves") {
			moves[rapid.IntRange(0, len(moves)-1).Draw(rt, "move")]()
		}
		w.drain()
		w.check()
	})
}
