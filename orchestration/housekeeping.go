package orchestration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/registry"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/orchestration/internal/archive"
	"github.com/tasker-systems/tasker-go/orchestration/internal/dlq"
	"github.com/tasker-systems/tasker-go/orchestration/internal/staleness"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

// The jobs of housekeeping, by the names they have in the database.
const (
	stalenessJob = "staleness"
	remindJob    = "dlq_reminder"
	sampleJob    = "metrics"
	archiveJob   = "archive"
	registryJob  = "registry"
	brokerJob    = "broker_messages"
)

// remembered is how long the ids of messages from a broker are kept, to tell
// repeats.
const remembered = 24 * time.Hour

// A housekeeper does what is to be done once in a while by one of the
// orchestrators: it finds stale tasks, reminds of dead letters, and archives. The
// database says whose turn it is.
type housekeeper struct {
	pool    postgres.Pool
	log     *slog.Logger
	process uuid.UUID
	// recall has the workers of a namespace look which of their claims still hold.
	recall  func(namespace string)
	letters *dlq.Keeper
	teller  *teller
	names   messaging.Names
	counts  keeperMetrics
	sampler *sampler                   // nil: metrics are off
	looker  func() *staleness.Detector // for people who look how tasks stand
	jobs    []job
	failed  *eventsystem.Signal // raised when tasks may have failed
	rest    time.Duration       // how long failed tasks may wait for somebody to look at them
	hold    time.Duration       // how long a job that is no longer kept stays with its process
}

// A job is run by one process each interval.
type job struct {
	name     string
	interval time.Duration
	// run does the work and returns what it did, for the record.
	run func(ctx context.Context) (any, error)
	// asked is raised when the job may have become due.
	asked *eventsystem.Signal
}

func newHousekeeper(sys *system.Context, cfg *config.Orchestration, failed *eventsystem.Signal) *housekeeper {
	h := &housekeeper{
		pool: sys.Pool, log: sys.Log, process: sys.Process, failed: failed, teller: newTeller(sys),
		recall:  func(namespace string) { sys.Notifier.Wake(sys.Names.RecallsChannel(namespace)) },
		letters: dlq.New(sys.Pool, cfg.DLQ), names: sys.Names, counts: newKeeperMetrics(sys.Metrics), hold: hold,
		rest: cfg.EventSystems.TaskReadiness.Timing.FallbackPollingInterval.Duration(),
	}
	stale, section := cfg.StalenessDetection, sectionOf(sys, cfg)
	h.looker = func() *staleness.Detector {
		return staleness.New(sys.Pool, sys.Names, section().StalenessDetection, cfg.DLQ)
	}
	add := func(name string, interval time.Duration, run func(context.Context) (any, error)) {
		h.jobs = append(h.jobs, job{name: name, interval: interval, run: run, asked: eventsystem.NewSignal()})
	}
	add(registryJob, registry.Kept/30, func(ctx context.Context) (any, error) {
		dropped, err := postgres.DropWorkers(ctx, sys.Pool, registry.Kept)
		return map[string]any{"dropped": dropped}, err
	})
	if sys.Metrics != nil {
		h.sampler = newSampler(sys.Metrics)
		interval := sys.Common.Telemetry.Metrics.CollectionInterval.Duration()
		add(sampleJob, interval, func(ctx context.Context) (any, error) { return h.sampleOnce(ctx, interval) })
	}
	if stale.Enabled {
		detector := staleness.New(sys.Pool, sys.Names, stale, cfg.DLQ)
		add(stalenessJob, stale.DetectionInterval.Duration(), func(ctx context.Context) (any, error) {
			detector.Use(section().StalenessDetection)
			return h.detect(ctx, detector)
		})
	}
	if cfg.DLQ.Enabled {
		channel := ""
		if stale.Actions.EmitEvents {
			channel = stale.Actions.EventChannel
		}
		add(remindJob, stale.DetectionInterval.Duration(), func(ctx context.Context) (any, error) { return h.remind(ctx, channel) })
	}
	if cfg.Archive.Enabled {
		archiver := archive.New(sys.Pool, cfg.Archive)
		add(archiveJob, cfg.Archive.ArchiveInterval.Duration(), func(ctx context.Context) (any, error) { return h.archive(ctx, archiver) })
	}
	if sys.Broker != nil {
		add(brokerJob, time.Hour, func(ctx context.Context) (any, error) {
			return nil, postgres.ForgetBrokerMessages(ctx, sys.Pool, remembered)
		})
	}
	return h
}

// run keeps house until ctx ends.
func (h *housekeeper) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { h.examine(ctx) })
	for _, j := range h.jobs {
		wg.Go(func() {
			for ctx.Err() == nil {
				j.asked.Wait(ctx, h.turn(ctx, j))
			}
		})
	}
	wg.Wait()
}

// archiveAsked has the archiver run soon, whatever its interval. It reports
// whether there is one.
func (h *housekeeper) archiveAsked(ctx context.Context) (bool, error) {
	for _, j := range h.jobs {
		if j.name == archiveJob {
			err := postgres.AskForJob(ctx, h.pool, archiveJob)
			j.asked.Raise()
			return true, err
		}
	}
	return false, nil
}

const (
	// hold is how long a process has a job that it no longer keeps: after a
	// crash others begin anew then.
	hold = time.Minute
	// again is how long to wait when the database does not say whose turn it is.
	again = 5 * time.Second
)

// turn runs a job if it is due and nobody else runs it, and returns how long to
// wait for the next look.
func (h *housekeeper) turn(ctx context.Context, j job) time.Duration {
	taken, err := postgres.TakeJob(ctx, h.pool, postgres.JobClaim{Job: j.name, Process: h.process, Interval: j.interval, Hold: h.hold})
	if err == nil && taken {
		err = h.held(ctx, j)
	}
	if err != nil {
		if ctx.Err() == nil {
			h.log.WarnContext(ctx, "housekeeping failed; trying again", "job", j.name, "error", err)
		}
		return again
	}
	wait, err := postgres.JobDue(ctx, h.pool, j.name, j.interval)
	if err != nil {
		return again
	}
	return min(max(wait, time.Millisecond), j.interval)
}

// errJobLost says that another process has taken the job over.
var errJobLost = errors.New("another process has taken over")

// held runs a job that the process has, and keeps it meanwhile.
func (h *housekeeper) held(ctx context.Context, j job) error {
	running, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { h.keep(running, stop, j.name) })
	began := time.Now()
	did, err := j.run(running)
	lost := context.Cause(running)
	stop(nil)
	wg.Wait()
	if errors.Is(lost, errJobLost) {
		return lost
	}
	if err != nil {
		return err
	}
	report, err := json.Marshal(did)
	if err != nil {
		return fmt.Errorf("encode the report of job %s: %w", j.name, err)
	}
	h.log.DebugContext(ctx, "housekeeping done", "job", j.name, "took", time.Since(began), "report", string(report))
	return postgres.EndJob(ctx, h.pool, j.name, h.process, report)
}

// keep keeps a job until the context ends, and ends it when the job is lost.
func (h *housekeeper) keep(ctx context.Context, stop context.CancelCauseFunc, name string) {
	ticker := time.NewTicker(h.hold / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		has, err := postgres.KeepJob(ctx, h.pool, name, h.process, h.hold)
		if err == nil && !has {
			stop(errJobLost)
		}
	}
}

// detect looks for stale tasks and says what it found.
func (h *housekeeper) detect(ctx context.Context, detector *staleness.Detector) (any, error) {
	began := time.Now()
	report, err := detector.Run(ctx)
	h.counts.detected(ctx, time.Since(began), report, err)
	actions := map[staleness.Action]int{}
	for i := range report.Stale {
		f := &report.Stale[i]
		actions[f.Action]++
		h.log.WarnContext(ctx, "task is stale", "task_id", f.Task, "template", f.Name, "namespace", f.Namespace, "state", f.State,
			"cause", f.Cause, "used", f.Used, "limit", f.Limit, "action", f.Action, "dry_run", report.DryRun)
	}
	for i := range report.Stale {
		if f := &report.Stale[i]; f.Action.Ends() && !report.DryRun {
			h.recall(f.Namespace)
			h.teller.router.Settled(f.Namespace, []postgres.SettledTask{{Task: f.Task, State: tasker.TaskError}})
		}
	}
	h.entered(ctx, report.Entered)
	return map[string]any{"stale": len(report.Stale), "dry_run": report.DryRun, "actions": actions}, err
}

// remind warns of entries that nobody has looked after for too long.
func (h *housekeeper) remind(ctx context.Context, channel string) (any, error) {
	reminder, err := h.letters.Remind(ctx, channel)
	if err != nil || reminder == nil {
		return map[string]any{"overdue": 0}, err
	}
	h.log.WarnContext(ctx, "dead letters have been pending for too long", "entries", reminder.Overdue, "oldest", reminder.Oldest)
	return map[string]any{"overdue": reminder.Overdue}, nil
}

// archive moves old tasks out of the way.
func (h *housekeeper) archive(ctx context.Context, archiver *archive.Archiver) (any, error) {
	began := time.Now()
	moved, err := archiver.Run(ctx)
	h.counts.archiving.Record(ctx, time.Since(began).Seconds())
	h.counts.archived.Add(ctx, int64(moved.Tasks))
	if moved.Tasks > 0 {
		h.log.InfoContext(ctx, "tasks archived", "tasks", moved.Tasks, "steps", moved.Steps)
	}
	return moved, err
}

// examine sets aside tasks that failed, as soon as they have; at the latest, and
// after a crash, when the reconciler would look again.
func (h *housekeeper) examine(ctx context.Context) {
	for ctx.Err() == nil {
		entered, err := h.letters.Examine(ctx)
		if err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "failed tasks not examined; trying again", "error", err)
		}
		h.entered(ctx, entered)
		h.failed.Wait(ctx, h.rest)
	}
}

// entered says which tasks have been set aside.
func (h *housekeeper) entered(ctx context.Context, all []postgres.Entered) {
	for _, e := range all {
		h.counts.letters.Add(ctx, 1, e.Namespace, string(e.Reason))
		h.log.WarnContext(ctx, "task set aside in the dead letter queue", "entry_id", e.Entry, "task_id", e.Task,
			"template", e.Name, "namespace", e.Namespace, "state", e.State, "reason", e.Reason)
	}
	h.teller.deadLettered(all)
}

// resting shows how near open tasks are to being stale.
func (h *housekeeper) resting(ctx context.Context, most int) ([]web.RestingTask, error) {
	found, err := h.looker().Look(ctx, most)
	tasks := make([]web.RestingTask, len(found))
	for i := range found {
		f := &found[i]
		tasks[i] = web.RestingTask{
			TaskID: f.Task, Name: f.Name, Namespace: f.Namespace, Status: f.State, Cause: string(f.Cause),
			Minutes: f.Used.Minutes(), Limit: f.Limit.Minutes(), Action: string(f.Action),
		}
		tasks[i].Grade()
	}
	return tasks, err
}
