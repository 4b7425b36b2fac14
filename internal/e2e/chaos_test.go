package e2e

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/migrations"
)

// chaosVar names the variable with the number of tasks of TestChaos; make soak
// sets it to many.
const chaosVar = "TASKER_CHAOS_TASKS"

// A chaos kills processes at random and starts others in their place.
type chaos struct {
	*site

	server *privatepg.Server
	random *rand.Rand
	alive  map[*child]program
	killed map[int]time.Time // by process
}

// spawn runs one more process; it need not be ready before it is killed.
func (c *chaos) spawn(p program) { c.alive[c.start(p)] = p }

// strike kills somebody: a process, or now and then the server.
func (c *chaos) strike() {
	if c.random.IntN(12) == 0 {
		if err := c.server.Kill(); err != nil {
			c.t.Fatal(err)
		}
		if err := c.server.Restart(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		c.Pool.Reset()
		return
	}
	victims := make([]*child, 0, len(c.alive))
	for process := range c.alive {
		victims = append(victims, process)
	}
	slices.SortFunc(victims, func(a, b *child) int { return a.pid() - b.pid() })
	victim := victims[c.random.IntN(len(victims))]
	p := c.alive[victim]
	delete(c.alive, victim)
	select {
	case <-victim.ended: // by itself: it found no server when it started, and a supervisor would start it again
	default:
		c.killed[victim.pid()] = time.Now()
		victim.signal(syscall.SIGKILL)
	}
	victim.wait()
	c.spawn(p)
}

// open is how many tasks are not over; a server that is away counts as one.
func (c *chaos) open() (n int) {
	if err := c.Pool.QueryRow(c.t.Context(), `select count(*) from tasker.tasks where finished_at is null`).Scan(&n); err != nil {
		return 1
	}
	return n
}

// TestChaos runs workflows of mixed shapes on three orchestrators and three
// workers while somebody is killed every few hundred milliseconds, now and then
// the server: nothing is lost, nothing counts twice, nothing is stuck.
func TestChaos(t *testing.T) {
	t.Parallel()
	tasks := 400
	if text, ok := os.LookupEnv(chaosVar); ok {
		var err error
		if tasks, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", chaosVar, err)
		}
	}
	server := testdb.Server(t)
	url := server.URL(privatepg.Database)
	if _, err := migrations.Apply(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	settings := quick()
	settings["orchestration.event_systems.orchestration.timing.fallback_polling_interval_seconds"] = "1"
	settings["orchestration.event_systems.task_readiness.timing.fallback_polling_interval_seconds"] = "1"
	settings["worker.event_system.processing.max_retries"] = "100" // being killed is no fault of a step here
	s := newSite(t, url, settings)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := &chaos{
		site: s, server: server, random: rand.New(rand.NewPCG(seed, 0)), alive: map[*child]program{}, killed: map[int]time.Time{},
	}
	for range 3 {
		c.spawn(orchestrationServer)
		c.spawn(ownWorker)
	}
	s.Await(`select count(*) > 0 from tasker.templates`)
	shapes := []string{"traced", "flaky", "chain", "branches", "batches"}
	requests := make([]client.Request, tasks)
	for i := range requests {
		requests[i] = client.Request{Namespace: namespace, Template: shapes[i%len(shapes)], Priority: i % 3}
	}
	for chunk := range slices.Chunk(requests, 1000) {
		if _, err := s.Client.CreateTasks(t.Context(), chunk); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	last, moved := tasks, time.Now()
	for open := tasks; open > 0; {
		pause := time.NewTimer(time.Duration(100+c.random.IntN(500)) * time.Millisecond)
		<-pause.C
		if open = c.open(); open > 0 {
			c.strike()
		}
		if open < last {
			last, moved = open, time.Now()
		} else if time.Since(moved) > 2*patience {
			t.Fatalf("%d tasks are stuck", open)
		}
	}
	took := time.Since(began)
	for process := range c.alive {
		select {
		case <-process.ended: // as in strike
			process.wait()
			continue
		default:
		}
		role := "worker"
		if c.alive[process] == orchestrationServer {
			role = "orchestration"
		}
		process.address(role)
	}
	s.Await(`select exists (select from tasker.queue_sentinel)`)
	s.awaitEnd()
	c.report(tasks, took)
}

// report logs how long steps of killed workers took to be claimed by others.
func (c *chaos) report(tasks int, took time.Duration) {
	rows, err := c.Pool.Query(c.t.Context(), `
		select w.pid, a.finished_at
		from tasker.step_attempts a
		join tasker.workers w on w.process_id = a.process_id
		where a.error->>'kind' = 'lease_lost'`)
	if err != nil {
		c.t.Fatal(err)
	}
	var recoveries []time.Duration
	var pid int
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&pid, &at}, func() error {
		if killed, ok := c.killed[pid]; ok {
			recoveries = append(recoveries, at.Sub(killed))
		}
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
	slices.Sort(recoveries)
	quantile := func(q float64) time.Duration {
		if len(recoveries) == 0 {
			return 0
		}
		return recoveries[int(q*float64(len(recoveries)-1))].Round(time.Millisecond)
	}
	c.t.Logf("%d tasks in %s; %d processes killed; %d steps recovered, p50 %s, p99 %s, max %s (lease %s)",
		tasks, took.Round(time.Second), len(c.killed), len(recoveries), quantile(0.5), quantile(0.99), quantile(1), lease)
}
