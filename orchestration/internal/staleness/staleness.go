// Package staleness finds open tasks that stopped moving and does with them what
// orchestration.staleness_detection and the templates' lifecycles say: end them in
// error, set them aside in the dead letter queue, tell who listens, or nothing.
//
// A task rests since something last happened to one of its steps. A step that a
// worker runs and renews the lease of is healthy however long it takes; only the
// task's lifetime ends it. A retry rests from the time it is due. Paused tasks and
// tasks under investigation may rest, within their lifetime.
//
// The package returns what it found and did; telling others is the caller's.
package staleness

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// A Detector finds stale tasks. Its methods may be called one at a time.
type Detector struct {
	db    postgres.Pool
	names messaging.Names
	cfg   config.StalenessDetection
	dlq   config.DLQ
	after uuid.UUID // where the next run begins
}

// New returns a detector.
func New(db postgres.Pool, names messaging.Names, cfg config.StalenessDetection, dlq config.DLQ) *Detector {
	return &Detector{db: db, names: names, cfg: cfg, dlq: dlq}
}

// Use has the next run go by other settings, as after a reload.
func (d *Detector) Use(cfg config.StalenessDetection) { d.cfg = cfg }

// A Cause is the limit that a task went beyond.
type Cause string

// The causes.
const (
	Rest     Cause = "rest"     // it rested too long in its state
	Lifetime Cause = "lifetime" // it is too old to be unfinished
)

// An Action is what becomes of a stale task.
type Action string

// The actions.
const (
	Both     Action = "transitioned_to_dlq_and_error"
	DLQOnly  Action = "moved_to_dlq_only"
	EndOnly  Action = "transitioned_to_error_only"
	Reported Action = "reported_only"
)

// A Found is a task and the limit that it is nearest to, or furthest beyond.
type Found struct {
	Task      uuid.UUID
	Namespace string
	Name      string // of the template
	Version   string
	State     tasker.TaskState
	Cause     Cause
	Used      time.Duration // of the limit
	Limit     time.Duration
	Action    Action // what becomes of it once it is stale
}

// Share is how much of its limit the task has used up; it is stale from 1 on.
func (f *Found) Share() float64 { return share(f.Used, f.Limit) }

func share(used, limit time.Duration) float64 { return float64(used) / float64(limit) }

// A Report says what a run did, or would do.
type Report struct {
	DryRun  bool
	Stale   []Found
	Entered []postgres.Entered // new entries of the dead letter queue
}

// How many open tasks one statement looks at, and how many one transaction
// changes.
const (
	page  = 2000
	chunk = 500
)

// Run looks for stale tasks, oldest first, up to batch_size of them, and does to
// them what is configured; in a dry run it only reports. Where a run that changes
// nothing has filled its batch, the next one goes on.
func (d *Detector) Run(ctx context.Context) (Report, error) {
	report := Report{DryRun: d.cfg.DryRun}
	stale, err := d.find(ctx)
	if err != nil {
		return report, err
	}
	if d.cfg.DryRun {
		report.Stale = stale
		return report, nil
	}
	for some := range slices.Chunk(stale, chunk) {
		did, entered, err := d.act(ctx, some)
		if err != nil {
			return report, err
		}
		report.Stale, report.Entered = append(report.Stale, did...), append(report.Entered, entered...)
	}
	return report, nil
}

// find returns a batch of stale tasks.
func (d *Detector) find(ctx context.Context) ([]Found, error) {
	var stale []Found
	for {
		found, last, err := d.look(ctx, postgres.RestingQuery{After: d.after, Page: page, Share: 1})
		if err != nil {
			return nil, err
		}
		if room := d.cfg.BatchSize - len(stale); len(found) >= room {
			stale = append(stale, found[:room]...)
			d.after = stale[len(stale)-1].Task
			return stale, nil
		}
		stale = append(stale, found...)
		if d.after = last; last == uuid.Nil {
			return stale, nil
		}
	}
}

// looked bounds the open tasks that Look goes through.
const looked = 20 * page

// Look returns up to most of the oldest open tasks, those first that have used up
// most of a limit, whether stale or not. It changes nothing.
func (d *Detector) Look(ctx context.Context, most int) ([]Found, error) {
	var all []Found
	var after uuid.UUID
	for range looked / page {
		found, last, err := d.look(ctx, postgres.RestingQuery{After: after, Page: page})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
		if after = last; last == uuid.Nil {
			break
		}
	}
	slices.SortStableFunc(all, func(a, b Found) int { return cmp.Compare(b.Share(), a.Share()) })
	return all[:min(most, len(all))], nil
}

// look judges one page of tasks in a transaction of its own.
func (d *Detector) look(ctx context.Context, q postgres.RestingQuery) (found []Found, last uuid.UUID, err error) {
	err = postgres.WithPlanner(ctx, d.db, func(db postgres.DB) error {
		found, last, err = d.judgePage(ctx, db, q)
		return err
	})
	return found, last, err
}

// judgePage judges one page of tasks and returns those that have used up the
// share of a limit.
func (d *Detector) judgePage(ctx context.Context, db postgres.DB, q postgres.RestingQuery) ([]Found, uuid.UUID, error) {
	t := d.cfg.Thresholds
	q.Thresholds = postgres.Thresholds{
		StepsInProcess: t.StepsInProcess.Duration(), WaitingForDependencies: t.WaitingForDependencies.Duration(),
		WaitingForRetry: t.WaitingForRetry.Duration(), Lifetime: t.TaskMaxLifetime.Duration(),
	}
	resting, last, err := postgres.FindResting(ctx, db, q)
	if err != nil {
		return nil, uuid.Nil, err
	}
	leased, err := d.leased(ctx, db, resting)
	if err != nil {
		return nil, uuid.Nil, err
	}
	var found []Found
	for i := range resting {
		f, relevant, err := d.judge(&resting[i], leased[resting[i].Task])
		if err != nil {
			return nil, uuid.Nil, err
		}
		if relevant && f.Share() >= q.Share {
			found = append(found, f)
		}
	}
	return found, last, nil
}

// leased says of the tasks that rest while a step is in progress whether a worker
// renews its lease: one statement per namespace.
func (d *Detector) leased(ctx context.Context, db postgres.DB, resting []postgres.Resting) (map[uuid.UUID]bool, error) {
	running := map[string][]uuid.UUID{}
	for i := range resting {
		if r := &resting[i]; r.Running && r.Limit > 0 && r.Rest >= r.Limit {
			running[r.Namespace] = append(running[r.Namespace], r.Task)
		}
	}
	leased := map[uuid.UUID]bool{}
	for namespace, tasks := range running {
		queue, err := d.names.Steps(namespace)
		if err != nil {
			return nil, err
		}
		found, err := postgres.FindLeased(ctx, db, queue, tasks)
		if err != nil {
			return nil, err
		}
		for _, task := range found {
			leased[task] = true
		}
	}
	return leased, nil
}

// judge says which limit a task is nearest to and what follows once it is beyond.
// It is not relevant when its template wants it left alone, or when there is
// nothing left to do about it.
func (d *Detector) judge(r *postgres.Resting, leased bool) (f Found, relevant bool, err error) {
	f = Found{
		Task: r.Task, Namespace: r.Namespace, Name: r.Name, Version: r.Version, State: r.State,
		Cause: Lifetime, Used: r.Age, Limit: r.Lifetime,
	}
	mayRest := r.Limit == 0 || leased || r.Paused || r.DeadLetters
	if !mayRest && share(r.Rest, r.Limit) > f.Share() {
		f.Cause, f.Used, f.Limit = Rest, r.Rest, r.Limit
	}
	var lifecycle templates.Lifecycle
	if r.Lifecycle != nil {
		if err := json.Unmarshal(r.Lifecycle, &lifecycle); err != nil {
			return f, false, fmt.Errorf("decode the lifecycle of template %s/%s: %w", r.Namespace, r.Name, err)
		}
	}
	ends, setsAside := d.wanted(lifecycle)
	if lifecycle.StalenessAction == templates.StalenessNone && !ends && !setsAside || r.DeadLetters && !ends {
		return f, false, nil
	}
	setsAside = setsAside && !r.DeadLetters && d.dlq.Enabled && d.dlq.AutoDLQOnStaleness && d.dlq.Reasons.StalenessTimeout
	switch {
	case ends && setsAside:
		f.Action = Both
	case ends:
		f.Action = EndOnly
	case setsAside:
		f.Action = DLQOnly
	default:
		f.Action = Reported
	}
	return f, true, nil
}

// wanted says what shall become of a stale task: the template's own switches win
// over its staleness_action, and that over the configuration.
func (d *Detector) wanted(l templates.Lifecycle) (ends, setsAside bool) {
	ends, setsAside = d.cfg.Actions.AutoTransitionToError, d.cfg.Actions.AutoMoveToDLQ
	if l.StalenessAction != "" {
		ends, setsAside = l.StalenessAction != templates.StalenessNone, l.StalenessAction == templates.StalenessDLQ
	}
	if l.AutoFailOnTimeout != nil {
		ends = *l.AutoFailOnTimeout
	}
	if l.AutoDLQOnTimeout != nil {
		setsAside = *l.AutoDLQOnTimeout
	}
	return ends, setsAside
}

// act does to tasks what is to be done, in one transaction: once it has locked
// them it looks again, since some may have moved.
func (d *Detector) act(ctx context.Context, stale []Found) (did []Found, entered []postgres.Entered, err error) {
	tasks := make([]uuid.UUID, len(stale))
	for i := range stale {
		tasks[i] = stale[i].Task
	}
	err = postgres.WithPlanner(ctx, d.db, func(db postgres.DB) error {
		if err := postgres.LockTasks(ctx, db, tasks); err != nil {
			return err
		}
		did, _, err = d.judgePage(ctx, db, postgres.RestingQuery{Tasks: tasks, Page: len(tasks), Share: 1})
		if err != nil {
			return err
		}
		if entered, err = postgres.Enter(ctx, db, letters(did), d.dlq.IncludeFullTaskSnapshot); err != nil {
			return err
		}
		if err := d.end(ctx, db, did); err != nil {
			return err
		}
		return d.emit(ctx, db, did)
	})
	return did, entered, err
}

// letters are the entries to make.
func letters(stale []Found) []postgres.DeadLetter {
	var all []postgres.DeadLetter
	for i := range stale {
		if f := &stale[i]; f.Action == Both || f.Action == DLQOnly {
			all = append(all, postgres.DeadLetter{Task: f.Task, Reason: postgres.StalenessTimeout, Metadata: encode(f.verdict())})
		}
	}
	return all
}

// Ends reports whether the action ends the task.
func (a Action) Ends() bool { return a == Both || a == EndOnly }

// end ends the tasks that are to be ended.
func (d *Detector) end(ctx context.Context, db postgres.DB, stale []Found) error {
	var given []postgres.GivenUp
	for i := range stale {
		if f := &stale[i]; f.Action.Ends() {
			failure := outcome.Failure{Kind: outcome.StalenessTimeout, Message: f.sentence(), Permanent: true}
			given = append(given, postgres.GivenUp{Task: f.Task, Error: failure.JSON(), Actor: "staleness detection"})
		}
	}
	if len(given) == 0 {
		return nil
	}
	return postgres.GiveUp(ctx, db, given)
}

// sentence says for people what was wrong with the task.
func (f *Found) sentence() string {
	used, limit := f.Used.Round(time.Second), f.Limit
	if f.Cause == Lifetime {
		return fmt.Sprintf("the task has not ended within %s: at most %s are allowed", used, limit)
	}
	return fmt.Sprintf("the task has rested in state %s for %s: at most %s are allowed", f.State, used, limit)
}

// A verdict is what an entry of the dead letter queue says of a stale task.
type verdict struct {
	State  tasker.TaskState `json:"state"`
	Cause  Cause            `json:"cause"`
	Used   int64            `json:"used_seconds"`
	Limit  int64            `json:"limit_seconds"`
	Action Action           `json:"action"`
}

func (f *Found) verdict() verdict {
	return verdict{f.State, f.Cause, int64(f.Used.Seconds()), int64(f.Limit.Seconds()), f.Action}
}

// An event is what listeners hear of a stale task.
type event struct {
	Event     string    `json:"event"`
	Task      uuid.UUID `json:"task_uuid"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	verdict
}

// encode encodes what always encodes: texts and integers.
func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("staleness: " + err.Error())
	}
	return raw
}

// emit tells the listeners of the event channel.
func (d *Detector) emit(ctx context.Context, db postgres.DB, stale []Found) error {
	if !d.cfg.Actions.EmitEvents || len(stale) == 0 {
		return nil
	}
	payloads := make([]string, len(stale))
	for i := range stale {
		f := &stale[i]
		payloads[i] = string(encode(event{"task_stale", f.Task, f.Namespace, f.Name, f.verdict()}))
	}
	return postgres.NotifyPayloads(ctx, db, d.cfg.Actions.EventChannel, payloads)
}
