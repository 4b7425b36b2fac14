package e2e

import (
	"context"
	"maps"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/enginetest"
)

const (
	// lease is how long a claim holds in these tests unless it is renewed.
	lease = 2 * time.Second

	// slack is what recovery may take on top of a lease.
	slack = 2 * time.Second
)

// quick makes leases and pauses short, so that their end can be waited for, and
// allows several orchestrators.
func quick() enginetest.Settings {
	settings := maps.Clone(distributed)
	for _, section := range []string{
		"orchestration.event_systems.orchestration.timing", "orchestration.event_systems.task_readiness.timing",
		"worker.event_system.timing", "worker.event_system.metadata.fallback_poller", "worker.system.queue_config",
		"worker.system.fallback_poller",
	} {
		settings[section+".visibility_timeout_seconds"] = "2"
	}
	for _, section := range []string{
		"orchestration.event_systems.orchestration", "orchestration.event_systems.task_readiness", "worker.event_system",
	} {
		settings[section+".processing.backoff.max_delay_ms"] = "500" // an operation that was given up rests so long
	}
	// Nor does who found the server away leave it alone for long.
	settings["common.circuit_breakers.default_config.timeout_seconds"] = "1"
	settings["common.circuit_breakers.component_configs.pgmq.timeout_seconds"] = "1"
	return settings
}

// capacity is how many steps a worker of these tests has in hand at most
// (worker.system.step_processing.max_concurrent_steps).
const capacity = 10

// TestWorkerKilled kills a worker in the middle of as many steps as it may have.
func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	for _, p := range []program{ownWorker, ownCombined} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "", quick())
			if p == ownWorker {
				s.startOrchestrator()
			}
			victim := s.startWorker(p)
			s.create("held", capacity/2)
			lost := map[[2]string]bool{}
			for range capacity {
				c := s.call()
				lost[[2]string{c.Task, c.Step}] = true
			}
			s.create("held", 3) // they wait, or run elsewhere
			heir := s.startWorker(p)

			killed := time.Now()
			victim.kill()
			for len(lost) > 0 {
				c := s.call()
				close(c.release)
				if step := [2]string{c.Task, c.Step}; lost[step] {
					s.within("recovery of step "+c.Step, killed, c.at, lease+slack)
					delete(lost, step)
				}
			}
			s.releaseAll()
			s.awaitEnd()
			recovered := enginetest.Query[int](s.Engine, `
				select count(*) from tasker.steps where lost > 0 and (result->>'pid')::int = $1`, heir.pid())
			if recovered < capacity {
				t.Errorf("%d steps were lost and recovered, want %d", recovered, capacity)
			}
		})
	}
}

// TestWorkerStalls stops a worker for longer than its leases. What it says when
// it goes on must change nothing: others have done the work.
func TestWorkerStalls(t *testing.T) {
	t.Parallel()
	for _, p := range []program{ownWorker, ownCombined} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "", quick())
			if p == ownWorker {
				s.startOrchestrator()
			}
			sleeper := s.startWorker(p)
			const steps = 4
			s.create("held", steps/2)
			var slept []call
			for range steps {
				slept = append(slept, s.call())
			}
			heir := s.startWorker(p)
			sleeper.signal(syscall.SIGSTOP)
			s.releaseAll()
			s.awaitEnd()

			for _, c := range slept {
				close(c.release)
			}
			sleeper.signal(syscall.SIGCONT)
			sleeper.find("came after their claim was lost")
			s.awaitEnd()
			if n := enginetest.Query[int](s.Engine, `
				select count(*) from tasker.steps where lost > 0 and (result->>'pid')::int = $1`, heir.pid()); n != steps {
				t.Errorf("%d results are from the worker that went on, want %d", n, steps)
			}
		})
	}
}

// TestOrchestratorKilled kills orchestrators at random moments under load and
// replaces them.
func TestOrchestratorKilled(t *testing.T) {
	t.Parallel()
	for _, d := range []struct {
		name          string
		settings      enginetest.Settings
		program       program
		orchestrators int
	}{
		{"standalone", enginetest.Settings{"orchestration.system.mode": `"standalone"`}, orchestrationServer, 1},
		{"distributed", nil, orchestrationServer, 2},
		{"combined", nil, ownCombined, 2},
	} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			settings := quick()
			maps.Copy(settings, d.settings)
			s := newSite(t, "", settings)
			var running []*child
			for range d.orchestrators {
				running = append(running, s.start(d.program))
			}
			for _, c := range running {
				c.address("orchestration")
			}
			if d.program == orchestrationServer {
				s.startWorker(ownWorker)
			}
			s.create("flaky", 10)
			for range 3 {
				s.loadUntilSomeMoment()
				killed := time.Now()
				running[0].kill()
				next := s.start(d.program)
				next.address("orchestration")
				running = append(running[1:], next)
				s.awaitRecovery(killed, lease+slack)
			}
			s.awaitEnd()
		})
	}
}

// loadUntilSomeMoment creates tasks and returns while they are at work.
func (s *site) loadUntilSomeMoment() {
	s.t.Helper()
	const tasks, steps = 400, 4 * 400
	complete := enginetest.Query[int](s.Engine, `select count(*) from tasker.steps where state = 'complete'`)
	s.create("traced", tasks)
	s.awaitComplete(complete + 1 + rand.IntN(steps/2))
}

// awaitRecovery waits until every step that is in hand somewhere, or was when its
// process died, has moved on, and reports an error if that takes too long.
func (s *site) awaitRecovery(since time.Time, most time.Duration) {
	s.t.Helper()
	const inHand = `
		from tasker.steps
		where state in ('in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')`
	const name = `task_id || ' ' || ordinal || ' ' || claim`
	before := enginetest.Query[[]string](s.Engine, `select coalesce(array_agg(`+name+`), '{}')`+inHand)
	s.Await(`select not exists (select`+inHand+` and `+name+` = any ($1))`, before)
	s.t.Logf("recovered after %s", time.Since(since).Round(time.Millisecond))
	s.within("recovery", since, time.Now(), most)
}

// auditReadiness reports an error unless every step became ready at most d after
// the last of its dependencies had ended.
func (s *site) auditReadiness(d time.Duration) {
	s.t.Helper()
	seconds := enginetest.Query[float64](s.Engine, `
		select coalesce(max(extract(epoch from s.enqueued_at - d.finished_at)), 0)::float8
		from tasker.steps s
		cross join lateral (
			select max(d.finished_at) as finished_at
			from tasker.steps d
			where d.task_id = s.task_id and d.ordinal = any (s.depends_on)
		) d`)
	if took := time.Duration(seconds * float64(time.Second)); took > d {
		s.t.Errorf("a step was ready only %v after the steps that it depends on, want at most %v", took, d)
	}
}

// TestKilledWhileApplying kills an orchestrator whose transaction has begun, and
// lets the server commit it, so that nobody learns of it, or roll it back.
func TestKilledWhileApplying(t *testing.T) {
	t.Parallel()
	for _, p := range []program{orchestrationServer, ownCombined} {
		for fate, decide := range map[string]func(*site){"committed": func(*site) {}, "rolled back": (*site).rollBackWaiting} {
			t.Run(string(p)+" "+fate, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, "", quick())
				victim := s.start(p)
				victim.address("orchestration")
				if p == orchestrationServer {
					s.startWorker(ownWorker)
				}
				s.create("held", 2)
				var begun []call
				for range 4 {
					begun = append(begun, s.call())
				}
				tasks := s.lockTasks()
				for _, c := range begun {
					close(c.release)
				}
				s.Await(`select exists (select ` + waiting + `)`)
				victim.kill()
				decide(s)
				if err := tasks.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.releaseAll()
				s.start(p)
				s.awaitEnd()
				s.auditReadiness(lease + slack)
			})
		}
	}
}

// lockTasks locks all tasks, as one who decides about them would, and returns
// the transaction that holds them.
func (s *site) lockTasks() pgx.Tx {
	s.t.Helper()
	ctx := s.t.Context()
	tx, err := s.Pool.Begin(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }) // mostly done by then
	if _, err := tx.Exec(ctx, `select from tasker.tasks for update`); err != nil {
		s.t.Fatal(err)
	}
	return tx
}

// waiting are the connections that wait for a lock.
const waiting = `from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`

// rollBackWaiting has the server give up what waits for a lock.
func (s *site) rollBackWaiting() {
	s.t.Helper()
	s.Exec(`select pg_terminate_backend(pid) ` + waiting)
	s.Await(`select not exists (select ` + waiting + `)`)
}
