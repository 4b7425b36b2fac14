package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/operate"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// A place has a database with a template, and firers as so many processes would
// have.
type place struct {
	t    *testing.T
	pool *pgxpool.Pool
}

func newPlace(t *testing.T) (*place, *Firer) {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 10 // two for each firer, as in processes of their own
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	p := &place{t: t, pool: pool}
	f := p.firer()
	all, err := templates.LoadFS(taskertest.YAML(`{name: report, namespace: test, steps: [{name: only, handler: {callable: work}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Door.Catalog.Register(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	return p, f
}

func (p *place) firer() *Firer {
	names := messaging.NewNames(config.Queues{WorkerNamespace: "worker", NamingPattern: "{namespace}_{name}_queue"})
	log := slog.New(slog.DiscardHandler)
	return &Firer{
		DB: p.pool, Door: intake.Door{Catalog: catalog.New(p.pool, names, config.Test, config.TaskTemplates{})}, Names: names, Notifier: eventsystem.NewNotifier(p.pool, log),
		Log: log, Look: time.Minute,
		Operator:  &operate.Operator{Pool: p.pool, Names: names, Notifier: eventsystem.NewNotifier(p.pool, log)},
		Cancelled: func(string, []uuid.UUID) {},
	}
}

// add creates a schedule that is hourly unless change says otherwise.
func (p *place) add(name string, change func(*schedules.Spec)) postgres.Schedule {
	p.t.Helper()
	spec := schedules.Spec{Name: name, Template: postgres.TemplateName{Namespace: "test", Name: "report"}, Cron: "@hourly"}
	if change != nil {
		change(&spec)
	}
	s, err := schedules.Create(p.t.Context(), p.pool, spec)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// makeDue has all schedules due since the start of so many hours ago.
func (p *place) makeDue(hours int) {
	p.t.Helper()
	p.exec(`update tasker.schedules set next_run_at = date_trunc('hour', clock_timestamp()) - make_interval(hours => $1)`, hours)
}

func (p *place) exec(sql string, args ...any) {
	p.t.Helper()
	if _, err := p.pool.Exec(p.t.Context(), sql, args...); err != nil {
		p.t.Fatalf("%s: %v", sql, err)
	}
}

func (p *place) text(sql string, args ...any) string {
	p.t.Helper()
	var text string
	if err := p.pool.QueryRow(p.t.Context(), sql, args...).Scan(&text); err != nil {
		p.t.Fatalf("%s: %v", sql, err)
	}
	return text
}

func (p *place) fire(f *Firer, want int) {
	p.t.Helper()
	if n, err := f.Fire(p.t.Context()); n != want || err != nil {
		p.t.Fatalf("fired %d, %v; want %d", n, err, want)
	}
}

// history is the outcomes, oldest first and by their first letters: cr-sk-fa.
func (p *place) history(s postgres.Schedule) string {
	p.t.Helper()
	runs, err := postgres.ScheduleRuns(p.t.Context(), p.pool, s.ID, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	var words []string
	for i := range runs {
		r := &runs[len(runs)-1-i]
		if (r.TaskID != nil) != (r.Outcome == created) || (r.Reason == "") != (r.Outcome == created) {
			p.t.Errorf("run %+v", r)
		}
		words = append(words, r.Outcome[:2])
	}
	return strings.Join(words, "-")
}

const taskCount = `select count(*)::text from tasker.tasks`

// TestCatchUp: after three hours of nobody being there, each policy through the
// database. A second look finds nothing due.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	all := p.add("all", func(s *schedules.Spec) { s.CatchUp, s.Overlap = schedules.CatchUpAll, schedules.OverlapAllow })
	two := p.add("two", func(s *schedules.Spec) {
		s.CatchUp, s.Overlap, s.CatchUpMax = schedules.CatchUpAll, schedules.OverlapAllow, 2
	})
	last := p.add("last", nil)
	paused := p.add("paused", nil)
	p.makeDue(3)
	if _, err := schedules.Update(t.Context(), p.pool, "paused", func(s *schedules.Spec) { s.Paused = true }); err != nil {
		t.Fatal(err)
	}
	p.fire(f, 3)
	p.fire(f, 0)
	for s, want := range map[*postgres.Schedule]string{
		&all: "cr-cr-cr-cr", &two: "sk-cr-cr", &last: "sk-cr", &paused: "",
	} {
		if got := p.history(*s); got != want {
			t.Errorf("%s: %q, want %q", s.Name, got, want)
		}
	}
	if got := p.text(taskCount); got != "7" {
		t.Errorf("%s tasks", got)
	}
	resumed, err := schedules.Update(t.Context(), p.pool, "paused", func(s *schedules.Spec) { s.Paused = false })
	if err != nil || resumed.NextRunAt == nil || !resumed.NextRunAt.After(resumed.UpdatedAt.Add(-time.Second)) {
		t.Errorf("resumed: next %v, %v", resumed.NextRunAt, err)
	}
	p.fire(f, 0)
	// All go on at the next hour, or at the one after it if that has begun meanwhile.
	if got := p.text(`select (min(next_run_at) > clock_timestamp() and max(next_run_at) < clock_timestamp() + interval '61 minutes')::text
		from tasker.schedules`); got != "true" {
		t.Error("not all go on at the next hour")
	}
}

// TestOverlap: while the last task is open a schedule with skip makes no other,
// one with allow does; once it has ended both do.
func TestOverlap(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	skip, allow := p.add("skip", nil), p.add("allow", func(s *schedules.Spec) { s.Overlap = schedules.OverlapAllow })
	again := func() {
		t.Helper()
		p.exec(`update tasker.schedule_runs set scheduled_for = scheduled_for - interval '1 day'`) // make room for the same hour
		p.makeDue(0)
		p.fire(f, 2)
	}
	again()
	again()
	p.exec(`update tasker.tasks set state = 'complete', finished_at = now()`)
	again()
	if got, want := p.history(skip)+"; "+p.history(allow), "cr-sk-cr; cr-cr-cr"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := p.text(`select count(*)::text from tasker.schedule_runs where reason like 'task % has not ended'`); got != "1" {
		t.Errorf("%s runs say why", got)
	}
}

// TestBadOnesFailAlone: among good schedules one has no template and one a
// context that PostgreSQL cannot store any more; they record it and go on.
func TestBadOnesFailAlone(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	unknown := p.add("unknown", func(s *schedules.Spec) { s.Template.Name = "nothing" })
	wrong := p.add("wrong", nil)
	p.exec(`update tasker.schedules set context = '[]' where name = 'wrong'`)
	for i := range 5 {
		p.add(fmt.Sprint("good-", i), nil)
	}
	p.makeDue(0)
	p.fire(f, 7)
	if got := p.text(taskCount); got != "5" {
		t.Errorf("%s tasks", got)
	}
	if got := p.history(unknown) + ", " + p.history(wrong); got != "fa, fa" {
		t.Errorf("got %s", got)
	}
	for name, want := range map[string]string{
		"unknown": "unknown template test/nothing; is a worker that registers it running?",
		"wrong":   "invalid task request: the context must be a JSON object",
	} {
		s, err := postgres.FindSchedule(t.Context(), p.pool, name)
		if err != nil || s.LastError == nil || *s.LastError != want || s.NextRunAt == nil || !s.NextRunAt.After(s.UpdatedAt) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	p.fire(f, 0)
}

// TestManyFirers fires 500 schedules from four places at once.
func TestManyFirers(t *testing.T) {
	t.Parallel()
	p, first := newPlace(t)
	const n = 500
	p.add("0", nil)
	p.exec(`insert into tasker.schedules (schedule_id, name, namespace, template, context, priority, cron, time_zone, overlap, catch_up,
			catch_up_max, catch_up_window_seconds, paused)
		select gen_random_uuid(), i::text, namespace, template, context, priority, cron, time_zone, overlap, catch_up,
			catch_up_max, catch_up_window_seconds, paused
		from tasker.schedules, generate_series(1, $1) i`, n-1)
	p.makeDue(0)
	var all sync.WaitGroup
	for _, f := range []*Firer{first, p.firer(), p.firer(), p.firer()} {
		all.Go(func() {
			for {
				fired, err := f.Fire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if due, any, err := postgres.NextSchedule(t.Context(), p.pool); fired == 0 && (!any || due > 0 || err != nil) {
					return
				}
			}
		})
	}
	all.Wait()
	got := p.text(`select concat_ws(' ', count(*), count(distinct schedule_id), count(distinct task_id), count(*) filter (where outcome = 'created'))
		from tasker.schedule_runs`) + " " + p.text(taskCount)
	if want := "500 500 500 500 500"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestCrashWhileFiring kills the connection of a firer after it has created the
// task and before it commits, as the death of its process would. Meanwhile others
// pass the schedule over; afterwards it fires once.
func TestCrashWhileFiring(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	s := p.add("once", nil)
	p.makeDue(0)
	p.exec(`create function stop() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(1); return new; end $$`)
	p.exec(`create trigger stop before insert on tasker.schedule_runs for each row execute function stop()`)
	holder, err := p.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Release()
	if _, err := holder.Exec(t.Context(), `select pg_advisory_lock(1)`); err != nil {
		t.Fatal(err)
	}
	died := make(chan error, 1)
	go func() {
		_, err := f.Fire(t.Context())
		died <- err
	}()
	const waiting = `select coalesce(max(pid), 0) from pg_locks where locktype = 'advisory' and not granted
		and database = (select oid from pg_database where datname = current_database())`
	pid := 0
	for pid == 0 {
		if err := p.pool.QueryRow(t.Context(), waiting).Scan(&pid); err != nil {
			t.Fatal(err)
		}
	}
	p.fire(p.firer(), 0)
	p.exec(`select pg_terminate_backend($1)`, pid)
	if err := <-died; err == nil || !postgres.IsTransient(err) {
		t.Errorf("the firer got %v", err)
	}
	for p.text(`select count(*)::text from pg_stat_activity where pid = $1`, pid) != "0" {
		runtime.Gosched() // the server says goodbye before it lets go of the locks
	}
	if _, err := holder.Exec(t.Context(), `select pg_advisory_unlock(1)`); err != nil {
		t.Fatal(err)
	}
	if got := p.text(taskCount); got != "0" || p.history(s) != "" {
		t.Errorf("%s tasks after the crash; history %q", got, p.history(s))
	}
	p.fire(p.firer(), 1)
	p.fire(f, 0)
	if got := p.text(taskCount); got != "1" || p.history(s) != "cr" {
		t.Errorf("%s tasks, history %q", got, p.history(s))
	}
}

// TestTask: what the task of a schedule says of where it comes from.
func TestTask(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	p.add("full", func(s *schedules.Spec) {
		s.Context, s.TimeField, s.Tags, s.Priority = json.RawMessage(`{"a": 1, "at": null}`), "at", []string{"x"}, 7
	})
	p.makeDue(0)
	p.fire(f, 1)
	got := p.text(`select concat_ws('|', t.initiator, t.tags, t.priority, t.context ->> 'a', t.context ->> 'at' = s.iso,
			t.reason = 'scheduled for ' || s.iso, s.last_task_id = t.task_id)
		from tasker.tasks t, lateral (
			select to_char(last_run_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as iso, last_task_id from tasker.schedules
		) s`)
	if want := "schedule full|{x}|7|1|t|t|t"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestEachTimeHasItsTask: whatever identity a template gives to its tasks, equal
// contexts at different times, of several schedules, or by hand, are different
// tasks.
func TestEachTimeHasItsTask(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	for _, strategy := range []string{"strict", "caller_provided", "always_unique"} {
		all, err := templates.LoadFS(taskertest.YAML(
			`{name: ` + strategy + `, namespace: test, identity_strategy: ` + strategy + `, steps: [{name: only, handler: {callable: work}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Door.Catalog.Register(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{strategy + "-a", strategy + "-b"} {
			p.add(name, func(s *schedules.Spec) {
				s.Template.Name, s.CatchUp, s.Overlap = strategy, schedules.CatchUpAll, schedules.OverlapAllow
			})
		}
	}
	p.makeDue(2)
	p.fire(f, 6)
	for range 2 {
		if accepted, err := schedules.Trigger(t.Context(), p.pool, f.Door, "strict-a"); err != nil || len(accepted.Duplicates) > 0 {
			t.Errorf("trigger: %+v, %v", accepted, err)
		}
	}
	got := p.text(`select concat_ws(' ', count(*), count(distinct task_id)) from tasker.schedule_runs where outcome = 'created'`)
	if got != "20 20" || p.text(taskCount) != "20" {
		t.Errorf("runs and their tasks: %s; tasks: %s; want 20 each", got, p.text(taskCount))
	}
}

// TestHistoryIsBounded: the newest runs are kept.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	s := p.add("old", nil)
	p.exec(`insert into tasker.schedule_runs (schedule_id, scheduled_for, manual, outcome, reason)
		select $1, clock_timestamp() - make_interval(days => i), false, 'failed', 'old' from generate_series(1, 150) i`, s.ID)
	p.makeDue(0)
	p.fire(f, 1)
	if got := p.history(s); strings.Count(got, "fa") != postgres.KeptRuns-1 || !strings.HasSuffix(got, "cr") {
		t.Errorf("history %q", got)
	}
}

// TestRunSleepsAndWakes: the loop fires what is due when it begins, and what
// becomes due, once a wake-up says so; it looks far ahead otherwise.
func TestRunSleepsAndWakes(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	f.Look = time.Hour
	p.add("first", nil)
	p.makeDue(0)
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	wake := eventsystem.NewSignal()
	loop.Go(func() { f.Run(ctx, wake) })
	defer loop.Wait()
	defer cancel()
	await := func(n int) {
		t.Helper()
		for p.text(taskCount) != fmt.Sprint(n) {
			if t.Context().Err() != nil {
				t.Fatal("the test is over")
			}
		}
	}
	await(1)
	soon := p.add("soon", nil)
	p.exec(`update tasker.schedules set next_run_at = clock_timestamp() + interval '300 ms' where schedule_id = $1`, soon.ID)
	wake.Raise()
	await(2)
	if early := p.text(`select (r.at < t.created_at - interval '1 s' or t.created_at < s.last_run_at)::text
		from tasker.schedules s join tasker.tasks t on t.task_id = s.last_task_id join tasker.schedule_runs r using (schedule_id)
		where s.schedule_id = $1`, soon.ID); early != "false" {
		t.Error("it fired before its time")
	}
	if d := f.rest(t.Context()); d > f.Look || d < time.Second {
		if p.text(`select (extract(minute from clock_timestamp()) < 59)::text`) == "true" {
			t.Errorf("it rests for %s", d)
		}
	}
}
