package schedule

import (
	"runtime"
	"sync"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/schedules"
)

const endAll = `update tasker.tasks set state = 'complete', finished_at = now() where finished_at is null`

// again has all schedules due at the same hour once more, as if that had never
// been.
func (p *place) again() {
	p.t.Helper()
	p.exec(`update tasker.schedule_runs set scheduled_for = scheduled_for - interval '1 day'`)
	p.exec(`update tasker.tasks set identity = null`)
	p.makeDue(0)
}

func policy(overlap string) func(*schedules.Spec) {
	return func(s *schedules.Spec) { s.Overlap = overlap }
}

// TestBufferOne: a time that comes while the last task is open waits for its end,
// further ones are skipped, and a pause lets go of what waits.
func TestBufferOne(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	s := p.add("one", policy(schedules.OverlapBufferOne))
	fires := func(want int, history string) {
		t.Helper()
		p.fire(f, want)
		if got := p.history(s); got != history {
			t.Fatalf("the history is %s, want %s", got, history)
		}
	}
	p.makeDue(0)
	fires(1, "cr")
	p.again()
	fires(1, "cr") // waits
	fires(0, "cr")
	p.exec(`update tasker.schedules set buffered_for = buffered_for - interval '1 hour'`)
	p.again()
	fires(1, "cr-sk")
	if due, _, err := postgres.NextSchedule(t.Context(), p.pool); due <= 0 || err != nil {
		t.Errorf("due in %s although the task is open (%v)", due, err)
	}
	p.exec(endAll)
	if due, any, err := postgres.NextSchedule(t.Context(), p.pool); due > 0 || !any || err != nil {
		t.Errorf("due in %s although the task has ended (%v)", due, err)
	}
	p.exec(`update tasker.schedule_runs set scheduled_for = scheduled_for - interval '1 day'`)
	fires(1, "cr-sk-cr")
	fires(0, "cr-sk-cr")

	p.again()
	fires(1, "cr-sk-cr") // waits
	for _, paused := range []bool{true, false} {
		if _, err := schedules.Update(t.Context(), p.pool, "one", func(s *schedules.Spec) { s.Paused = paused }); err != nil {
			t.Fatal(err)
		}
	}
	p.exec(endAll)
	fires(0, "cr-sk-cr")
}

// TestCancelOther: the last task is cancelled in the transaction that creates
// another, and goes on when none can be created.
func TestCancelOther(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	s := p.add("one", policy(schedules.OverlapCancelOther))
	const states = `select string_agg(state::text, ' ' order by task_id) from tasker.tasks`
	p.makeDue(0)
	p.fire(f, 1)
	p.again()
	p.fire(f, 1)
	if got, want := p.text(states)+"; "+p.history(s), "cancelled steps_in_process; cr-cr"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := p.text(`select concat_ws('|', kind, actor, reason) from tasker.task_events`); got != "task.cancelled|scheduler|its schedule has created another task" {
		t.Errorf("the audit says %s", got)
	}
	p.exec(`update tasker.schedules set context = '[]'`) // none of its tasks can be created any more
	p.again()
	p.fire(f, 1)
	if got, want := p.text(states)+"; "+p.history(s), "cancelled steps_in_process; cr-cr-fa"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestOverlapManyFirers has many firers, and somebody who ends tasks, work on the
// same schedules: at no time has one two open tasks, and no time that was kept is
// lost.
func TestOverlapManyFirers(t *testing.T) {
	t.Parallel()
	for _, overlap := range []string{schedules.OverlapSkip, schedules.OverlapBufferOne, schedules.OverlapCancelOther} {
		t.Run(overlap, func(t *testing.T) {
			t.Parallel()
			p, first := newPlace(t)
			for _, name := range []string{"a", "b", "c"} {
				p.add(name, policy(overlap))
			}
			// The same hour comes again and again.
			p.exec(`alter table tasker.schedule_runs drop constraint schedule_runs_pkey`)
			// Two open tasks of one schedule are refused when the transaction commits.
			p.exec(`create table two (initiator text, tasks bigint)`)
			p.exec(`create function count_open() returns trigger language plpgsql as $$ begin
				insert into two select initiator, count(*) from tasker.tasks where finished_at is null group by 1 having count(*) > 1;
				return null; end $$`)
			p.exec(`create constraint trigger count_open after insert on tasker.tasks deferrable initially deferred
				for each row execute function count_open()`)
			var all sync.WaitGroup
			done := make(chan struct{})
			for _, f := range []*Firer{first, p.firer(), p.firer()} {
				all.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						if _, err := f.Fire(t.Context()); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			for range 15 {
				p.exec(`update tasker.tasks set identity = null`)
				p.makeDue(0)
				for p.text(`select count(*)::text from tasker.schedules where next_run_at <= clock_timestamp()`) != "0" {
					runtime.Gosched()
				}
				p.exec(`update tasker.tasks set state = 'complete', finished_at = now() where finished_at is null and random() < 0.5`)
			}
			close(done)
			all.Wait()
			p.exec(endAll)
			for p.text(`select count(*)::text from tasker.schedules where buffered_for is not null`) != "0" {
				if _, err := first.Fire(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.exec(endAll)
			}
			if got := p.text(`select count(*)::text from two`); got != "0" {
				t.Errorf("%s times a schedule had two open tasks", got)
			}
			if got := p.text(`select (count(*) > 3)::text from tasker.tasks`); got != "true" {
				t.Errorf("no more was fired than once each: %s", p.text(`select string_agg(distinct concat_ws(' ', outcome, reason), ', ') from tasker.schedule_runs`))
			}
		})
	}
}

// TestEndWhileBuffering: a task that ends in the moment in which its schedule
// decides to wait for it is not waited for, and one that ends right after tells
// who fires.
func TestEndWhileBuffering(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	s := p.add("one", policy(schedules.OverlapBufferOne))
	p.makeDue(0)
	p.fire(f, 1)
	p.again()
	tx, err := p.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), endAll); err != nil {
		t.Fatal(err)
	}
	fired := make(chan error, 1)
	go func() {
		_, err := f.Fire(t.Context())
		fired <- err
	}()
	for p.text(`select count(*)::text from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`) == "0" {
		continue // until it waits for the task
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-fired; err != nil {
		t.Fatal(err)
	}
	if got := p.history(s); got != "cr-cr" {
		t.Errorf("the history is %s, want cr-cr", got)
	}

	p.again()
	p.fire(f, 1) // waits
	listener, err := p.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Release()
	if err := postgres.Listen(t.Context(), listener.Conn(), []string{postgres.SchedulesChannel}); err != nil {
		t.Fatal(err)
	}
	p.exec(endAll)
	if n, err := listener.Conn().WaitForNotification(t.Context()); err != nil || n.Channel != postgres.SchedulesChannel {
		t.Errorf("notified of %v, %v", n, err)
	}
	p.exec(`update tasker.schedule_runs set scheduled_for = scheduled_for - interval '1 day'`)
	p.fire(f, 1)
	if got := p.history(s); got != "cr-cr-cr" {
		t.Errorf("the history is %s", got)
	}
}

// TestBreakWhileCancelling: when the transaction that has created a task and
// cancelled the other breaks off, neither has happened.
func TestBreakWhileCancelling(t *testing.T) {
	t.Parallel()
	p, f := newPlace(t)
	s := p.add("one", policy(schedules.OverlapCancelOther))
	p.makeDue(0)
	p.fire(f, 1)
	p.again()
	p.exec(`create function die() returns trigger language plpgsql as $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$`)
	p.exec(`create trigger die before update on tasker.schedules for each row execute function die()`)
	if _, err := f.Fire(t.Context()); err == nil || !postgres.IsTransient(err) {
		t.Errorf("the firer got %v", err)
	}
	p.exec(`drop trigger die on tasker.schedules`)
	if got := p.text(taskCount) + " " + p.text(`select string_agg(state::text, ' ') from tasker.tasks`); got != "1 steps_in_process" {
		t.Errorf("after the break there are %s", got)
	}
	p.fire(f, 1)
	if got := p.text(taskCount) + " " + p.history(s); got != "2 cr-cr" {
		t.Errorf("at last there are %s", got)
	}
}
