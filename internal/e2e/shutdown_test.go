package e2e

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/internal/enginetest"
)

// prompt is how long a busy machine may take for what need not wait for leases of
// 30 s to run out.
const prompt = 5 * time.Second

// awaitShutdown waits until the process has begun to stop: it answers no more.
func (s *site) awaitShutdown(address string) {
	s.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(patience)
	for {
		conn, err := new(net.Dialer).DialContext(s.t.Context(), "tcp", address)
		if err != nil {
			return
		}
		_ = conn.Close()
		select {
		case <-ticker.C:
		case <-timeout:
			s.t.Fatalf("%s still listens", address)
		}
	}
}

// TestWorkerStopped stops a worker under load. It finishes what it can and gives
// back the rest, which need not wait for the ends of leases.
func TestWorkerStopped(t *testing.T) {
	t.Parallel()
	for _, p := range []program{ownWorker, ownCombined} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "", enginetest.Settings{ // leases last 30 s
				"orchestration.system.mode":                   `"distributed"`,
				"common.queues.pgmq.shutdown_timeout_seconds": "2",
			})
			if p == ownWorker {
				s.startOrchestrator()
			}
			leaver := s.startWorker(p)
			s.create("held", 3)
			var begun []call
			for range 6 {
				begun = append(begun, s.call())
			}
			s.startWorker(p)
			s.loadUntilSomeMoment()
			leaver.signal(syscall.SIGTERM)
			s.awaitShutdown(leaver.address("worker"))
			const finished = 2
			for _, c := range begun[:finished] {
				close(c.release)
			}
			if code := leaver.wait(); code != 0 {
				t.Errorf("%s ended with code %d", leaver, code)
			}
			ended := time.Now()
			for range begun[finished:] {
				c := s.call()
				close(c.release)
				s.within("taking over a step", ended, c.at, prompt)
			}
			s.awaitEnd()
			if n := enginetest.Query[int](s.Engine, `
				select count(*)
				from tasker.steps s
				join tasker.tasks t using (task_id)
				join tasker.templates p using (template_id)
				where p.name = 'held' and s.name in ('left', 'right') and (s.result->>'pid')::int = $1`, leaver.pid()); n != finished {
				t.Errorf("%d of the held steps finished where they began, want %d", n, finished)
			}
			if n := enginetest.Query[int](s.Engine, `select count(*) from tasker.steps where lost > 0`); n != 0 {
				t.Errorf("%d steps had to wait for the end of a lease", n)
			}
			s.auditReadiness(prompt)
		})
	}
}

// TestSecondSignal stops a worker whose handlers ignore it and then has no more
// patience.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for _, p := range []program{ownWorker, ownCombined} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			settings := quick()
			settings["common.queues.pgmq.shutdown_timeout_seconds"] = "60"
			s := newSite(t, "", settings)
			if p == ownWorker {
				s.startOrchestrator()
			}
			stubborn := s.startWorker(p)
			s.create("stubborn", 1)
			s.call()
			s.call()
			stubborn.signal(syscall.SIGTERM)
			s.awaitShutdown(stubborn.address("worker"))
			again := time.Now()
			stubborn.signal(syscall.SIGTERM)
			if code, want := stubborn.wait(), 128+int(syscall.SIGTERM); code != want {
				t.Errorf("%s ended with code %d, want %d", stubborn, code, want)
			}
			s.within("the end after a second signal", again, time.Now(), prompt)

			s.releaseAll()
			s.startWorker(p)
			s.awaitEnd()
		})
	}
}

// TestOrchestratorStopped stops the only orchestrator under load. Its successor
// need not wait for the end of its lease.
func TestOrchestratorStopped(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", nil) // standalone, and leases last 30 s
	orchestrator := s.startOrchestrator()
	s.startWorker(ownWorker)
	for range 2 {
		s.loadUntilSomeMoment()
		orchestrator.stop()
		stopped := time.Now()
		orchestrator = s.startOrchestrator()
		s.within("taking over", stopped, time.Now(), prompt)
	}
	s.awaitEnd()
	s.auditReadiness(prompt)
}
