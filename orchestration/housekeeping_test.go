package orchestration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// keeper returns a housekeeper as another process would have it.
func (b *bench) keeper() *housekeeper {
	h := newHousekeeper(b.sys, &b.cfg, eventsystem.NewSignal())
	h.process = uuid.New()
	return h
}

// job returns a job of a housekeeper, if it has it.
func (h *housekeeper) job(name string) (job, bool) {
	for _, j := range h.jobs {
		if j.name == name {
			return j, true
		}
	}
	return job{}, false
}

// runs counts the runs of a job that ended.
func (b *bench) runs(name string) int {
	b.Helper()
	return b.count(`select coalesce(sum(runs), 0)::int from tasker.housekeeping where job = $1`, name)
}

// TestJobsFollowTheSettings: whether there is a job, and how long it rests after
// a run.
func TestJobsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.staleness_detection.enabled", "orchestration.staleness_detection.detection_interval_seconds",
		"orchestration.archive.enabled", "orchestration.archive.archive_interval_hours")
	b := newBench(t)
	all := b.cfg
	tests := []struct {
		job    string
		change func(cfg *config.Orchestration)
		rest   time.Duration // zero: there is no such job
	}{
		{stalenessJob, func(cfg *config.Orchestration) { cfg.StalenessDetection.DetectionInterval = 100 }, 100 * time.Second},
		{stalenessJob, func(cfg *config.Orchestration) { cfg.StalenessDetection.DetectionInterval = 900 }, 900 * time.Second},
		{stalenessJob, func(cfg *config.Orchestration) { cfg.StalenessDetection.Enabled = false }, 0},
		{archiveJob, func(cfg *config.Orchestration) { cfg.Archive.ArchiveInterval = 3 }, 3 * time.Hour},
		{archiveJob, func(cfg *config.Orchestration) { cfg.Archive.ArchiveInterval = 9 }, 9 * time.Hour},
		{archiveJob, func(cfg *config.Orchestration) { cfg.Archive.Enabled = false }, 0},
		{remindJob, func(cfg *config.Orchestration) { cfg.StalenessDetection.DetectionInterval = 200 }, 200 * time.Second},
		{remindJob, func(cfg *config.Orchestration) { cfg.DLQ.Enabled = false }, 0},
	}
	for i, tt := range tests {
		b.cfg = all
		tt.change(&b.cfg)
		b.exec(`delete from tasker.housekeeping`)
		h := b.keeper()
		j, there := h.job(tt.job)
		if there != (tt.rest > 0) {
			t.Errorf("%d: there is a job %s: %t", i, tt.job, there)
		}
		if !there {
			continue
		}
		if rest := h.turn(t.Context(), j); rest > tt.rest || rest < tt.rest-time.Minute {
			t.Errorf("%d: after a run of %s rests %s, want %s", i, tt.job, rest, tt.rest)
		}
		if n := b.runs(tt.job); n != 1 {
			t.Errorf("%d: %s ran %d times", i, tt.job, n)
		}
	}
}

// TestOneRunsAJob: of many orchestrators one runs a job each interval. A crash
// hands it to another once its hold is over.
func TestOneRunsAJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	keepers := []*housekeeper{b.keeper(), b.keeper(), b.keeper()}
	all := func() {
		var wg sync.WaitGroup
		for _, h := range keepers {
			j, _ := h.job(stalenessJob)
			wg.Go(func() { h.turn(t.Context(), j) })
		}
		wg.Wait()
	}
	for want := 1; want <= 3; want++ {
		all()
		all()
		if n := b.runs(stalenessJob); n != want {
			t.Errorf("the job ran %d times in %d intervals", n, want)
		}
		b.exec(`update tasker.housekeeping set last_run_at = last_run_at - interval '1 day'`)
	}
	crashed := uuid.New()
	if taken, err := postgres.TakeJob(t.Context(), b.sys.Pool, postgres.JobClaim{
		Job: stalenessJob, Process: crashed, Interval: time.Second, Hold: time.Hour,
	}); !taken || err != nil {
		t.Fatalf("taken is %t: %v", taken, err)
	}
	all()
	if n := b.runs(stalenessJob); n != 3 {
		t.Errorf("a job that is held ran: %d times", n)
	}
	b.exec(`update tasker.housekeeping set held_until = now()`)
	all()
	if n := b.runs(stalenessJob); n != 4 {
		t.Errorf("after a crash the job ran %d times", n)
	}
	if err := postgres.EndJob(t.Context(), b.sys.Pool, stalenessJob, crashed, []byte(`{}`)); err != nil || b.runs(stalenessJob) != 4 {
		t.Errorf("a process that lost the job ended it: %v", err)
	}
}

// TestLostJobStops: a run whose process has lost the job is told to stop, and does
// not count.
func TestLostJobStops(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := b.keeper()
	h.hold = 300 * time.Millisecond
	stopped := make(chan error, 1)
	j := job{name: "test", interval: time.Hour, run: func(ctx context.Context) (any, error) {
		if _, err := b.sys.Pool.Exec(ctx, `update tasker.housekeeping set process_id = $1`, uuid.New()); err != nil {
			return nil, err
		}
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return nil, ctx.Err()
	}}
	h.turn(t.Context(), j)
	if err := <-stopped; !errors.Is(err, errJobLost) || b.runs("test") != 0 {
		t.Errorf("stopped by %v; ran %d times", err, b.runs("test"))
	}
}

// TestFailedJobIsTriedAgain: a run that failed does not count, and the job stays
// due.
func TestFailedJobIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := b.keeper()
	fails := true
	j := job{name: "test", interval: time.Hour, run: func(context.Context) (any, error) {
		if fails {
			return nil, errors.New("no")
		}
		return map[string]int{"done": 1}, nil
	}}
	if wait := h.turn(t.Context(), j); wait != again || b.runs("test") != 0 {
		t.Errorf("waits %s; ran %d times", wait, b.runs("test"))
	}
	b.exec(`update tasker.housekeeping set held_until = now()`)
	fails = false
	h.turn(t.Context(), j)
	jobs, err := postgres.ListJobs(t.Context(), b.sys.Pool)
	if err != nil || len(jobs) != 1 || jobs[0].Runs != 1 || string(jobs[0].Report) != `{"done": 1}` || jobs[0].Running {
		t.Errorf("the jobs are %+v (%v)", jobs, err)
	}
}

// TestArchiveOnDemand: who asks has the archiver run though it is not due, where
// there is one.
func TestArchiveOnDemand(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := b.keeper()
	j, _ := h.job(archiveJob)
	for want := 1; want <= 2; want++ {
		h.turn(t.Context(), j)
		h.turn(t.Context(), j)
		if n := b.runs(archiveJob); n != want {
			t.Errorf("the archiver ran %d times, want %d", n, want)
		}
		if there, err := h.archiveAsked(t.Context()); !there || err != nil || len(j.asked.C()) != 1 {
			t.Errorf("asked: %t, %v; woken %d times", there, err, len(j.asked.C()))
		}
	}
	b.cfg.Archive.Enabled = false
	if there, err := b.keeper().archiveAsked(t.Context()); there || err != nil {
		t.Errorf("without an archiver: %t, %v", there, err)
	}
}

// TestReconcilerEndsCycles: a task that evaluating does not help because its steps
// wait for each other ends in error.
func TestReconcilerEndsCycles(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.cfg.Backoff.ReenqueueDelays = config.ReenqueueDelays{}
	task := b.create()
	b.exec(`update tasker.steps set state = 'pending', depends_on = '{1}', dependents = '{1}', waiting_on = 1 where task_id = $1`, task)
	b.pass()
	if got := b.count(`select count(*) from tasker.tasks t join tasker.dlq_entries e using (task_id)
		where t.state = 'error' and e.reason = 'dependency_cycle_detected' and e.metadata->'cycle' = '["only"]'`); got != 1 {
		t.Error(fmt.Sprint(got, " tasks ended for a cycle"))
	}
}

// TestResting shows a task that comes near to its limit (the original's monitoring
// at 85 per cent), and changes nothing.
func TestResting(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	task := b.create()
	b.exec(`update tasker.steps set enqueued_at = now() - interval '1530 seconds' where task_id = $1`, task)
	b.exec(`update tasker.tasks set created_at = now() - interval '1530 seconds' where task_id = $1`, task)
	tasks, err := b.keeper().resting(t.Context(), 10)
	if err != nil || len(tasks) != 1 || tasks[0].TaskID != task || tasks[0].Health != "warning" || tasks[0].Limit != 30 || tasks[0].Cause != "rest" {
		t.Errorf("got %+v (%v)", tasks, err)
	}
}

// TestStalenessFollowsReloads: each run of the detector goes by the settings of
// the last load.
func TestStalenessFollowsReloads(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	task := b.create()
	b.exec(`update tasker.tasks set created_at = created_at - interval '40 minutes' where task_id = $1`, task)
	b.exec(`update tasker.steps set enqueued_at = enqueued_at - interval '40 minutes' where task_id = $1`, task)
	provider := &reloaded{}
	b.sys.Follow(provider)
	detect, _ := b.keeper().job(stalenessJob)
	for _, tt := range []struct {
		minutes config.Minutes
		dryRun  bool
		state   string
	}{{50, false, "steps_in_process"}, {30, true, "steps_in_process"}, {30, false, "error"}} {
		section := b.cfg
		section.StalenessDetection.Thresholds.StepsInProcess, section.StalenessDetection.DryRun = tt.minutes, tt.dryRun
		provider.now = &config.Config{Orchestration: &section}
		if _, err := detect.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.count(`select count(*) from tasker.tasks where task_id = $1 and state::text = $2`, task, tt.state) != 1 {
			t.Errorf("with %d minutes, dry run %t, the task is not %s", tt.minutes, tt.dryRun, tt.state)
		}
	}
}
