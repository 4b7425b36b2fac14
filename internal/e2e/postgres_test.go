package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/migrations"
)

// TestPostgresKilled kills the server under load and starts it again. A crash
// empties the queues, messages of timers and leases among them; processes of
// every kind go through it without a restart.
func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t)
	url := server.URL(privatepg.Database)
	if _, err := migrations.Apply(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	settings := quick()
	// Wake-ups get lost as well; this one may be as long as a lease.
	settings["orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds"] = "1"
	s := newSite(t, url, settings)
	orchestrator, worker, both := s.startOrchestrator(), s.startWorker(ownWorker), s.startWorker(ownCombined)

	s.create("held", 2)
	var begun []call
	for range 4 {
		begun = append(begun, s.call())
	}
	s.create("flaky", 10)
	s.Await(`select count(*) > 0 from tasker.steps where state = 'waiting_for_retry'`)
	for crash := range 2 {
		s.loadUntilSomeMoment()
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if crash == 0 { // results come while there is nowhere to put them
			for _, c := range begun {
				close(c.release)
			}
			s.releaseAll()
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		restarted := time.Now()
		s.Pool.Reset() // its connections are as broken as those of the processes
		s.Await(`select exists (select from tasker.queue_sentinel)`)
		s.Check()
		// The reconciler looks each second whether the queues are there, and gives
		// steps that ran a lease from then. It announces what it has rebuilt, and
		// listeners are back after no longer than the outage took.
		s.awaitRecovery(restarted, time.Second+lease+2*slack)
	}
	s.awaitEnd()
	for _, address := range []string{
		orchestrator.address("orchestration"), worker.address("worker"), both.address("orchestration"), both.address("worker"),
	} {
		s.isReady(address)
	}
}

// isReady reports an error unless the process says that it can do its work.
func (s *site) isReady(address string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+address+"/health/ready", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		s.t.Errorf("%s is not ready: %s", address, response.Status)
	}
}
