package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/demo"
)

const (
	// burstSize is how many diamonds the burst has.
	burstSize = 1000

	// refresh is how often the progress is brought up to date.
	refresh = 50 * time.Millisecond

	// demoPatience is how long a part of the demo may take. It takes a second.
	demoPatience = time.Minute

	// readers is how many tasks of the burst are read and checked at once.
	readers = 4
)

// A demoRun runs the workflows of the demo.
type demoRun struct {
	screen *screen
	pool   *pgxpool.Pool
	client *client.Client
}

// all runs everything. What goes wrong with a workflow is in the report; an
// error means that there is none.
func (r *demoRun) all(ctx context.Context) (*demoReport, error) {
	report := &demoReport{OK: true}
	for _, w := range demo.Workflows() {
		done, err := r.workflow(ctx, w)
		if err != nil {
			return nil, err
		}
		report.add(done)
		r.screen.draw()
		r.screen.printf("%s  %-22s %s", r.screen.paintState(done.verdict()), w.Title, milliseconds(done.took))
	}
	burst, err := r.burst(ctx, demo.Diamond())
	if err != nil {
		return nil, err
	}
	report.addBurst(burst)
	r.screen.draw()
	r.screen.printf("%s  burst of %s diamonds  %s\n", r.screen.paintState(burst.verdict()), thousands(burst.Tasks), milliseconds(burst.took))
	return report, nil
}

// workflow runs one task and holds it against what it must come to.
func (r *demoRun) workflow(ctx context.Context, w demo.Workflow) (demoWorkflow, error) {
	done := demoWorkflow{Workflow: w.Title, Template: w.Namespace + "/" + w.Name, Steps: w.Steps, Result: w.Result}
	began := time.Now()
	id, err := r.client.CreateTask(ctx, requestOf(w))
	if err != nil {
		return done, fmt.Errorf("create the %s: %w", w.Title, err)
	}
	task, err := r.follow(ctx, id, w)
	if err != nil {
		return done, fmt.Errorf("follow the %s: %w", w.Title, err)
	}
	done.took = time.Since(began)
	done.LatencyMS = inMilliseconds(done.took)
	done.Task = id
	if err := checkTask(w, task); err != nil {
		done.Problem = err.Error()
	}
	return done, nil
}

func requestOf(w demo.Workflow) client.Request {
	return client.Request{Namespace: w.Namespace, Template: w.Name, Context: w.Context, Initiator: "tasker-cli demo"}
}

// follow shows how a task moves until nothing more happens to it by itself.
func (r *demoRun) follow(ctx context.Context, id string, w demo.Workflow) (*client.Task, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, demoPatience, errTooSlow)
	defer cancel()
	failures := map[string]int{} // the failed attempts that were shown, by step
	for {
		waiting, stop := context.WithTimeout(ctx, refresh)
		task, err := r.client.Wait(waiting, id)
		stop()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			task, err = r.client.Task(ctx, id)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil || task.FinishedAt != nil || task.State == tasker.TaskBlockedByFailures {
			return task, err
		}
		r.show(w, task, failures)
	}
}

// errTooSlow ends a part of the demo that does not come to an end.
var errTooSlow = fmt.Errorf("not done after %s", demoPatience)

func (r *demoRun) show(w demo.Workflow, task *client.Task, failures map[string]int) {
	complete := 0
	for i := range task.Steps {
		s := &task.Steps[i]
		if s.State == tasker.StepComplete {
			complete++
		}
		if s.State == tasker.StepWaitingForRetry && failures[s.Name] < s.Attempt {
			failures[s.Name] = s.Attempt
			r.screen.printf("    %s: attempt %d of step %s failed and is tried again: %s", w.Title, s.Attempt, s.Name, messageOf(s.Error))
		}
	}
	r.screen.draw(fmt.Sprintf("    %s  %s %d of %s", w.Title, bar(complete, w.Steps), complete, counted(w.Steps, "step")))
}

func messageOf(raw json.RawMessage) string {
	var failure struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(raw, &failure); err != nil {
		return string(raw)
	}
	return failure.Message
}

// bar draws how much of all is done.
func bar(done, all int) string {
	const width = 20
	full := done * width / max(all, 1)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// checkTask holds a task against what its workflow must come to.
func checkTask(w demo.Workflow, task *client.Task) error {
	if task.State != tasker.TaskComplete {
		return fmt.Errorf("the task is in state %s", task.State)
	}
	results := make(map[string]json.RawMessage, len(task.Steps))
	var problems []error
	for i := range task.Steps {
		s := &task.Steps[i]
		results[s.Name] = s.Result
		if want := max(w.Attempts[s.Name], 1); s.Attempt != want {
			problems = append(problems, fmt.Errorf("step %s took %d attempts, must take %d", s.Name, s.Attempt, want))
		}
	}
	return errors.Join(append(problems, w.Check(results))...)
}

// burst runs many tasks of a workflow at once and checks all of them.
func (r *demoRun) burst(ctx context.Context, w demo.Workflow) (demoBurst, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, demoPatience, errTooSlow)
	defer cancel()
	done, err := r.runBurst(ctx, w)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return done, fmt.Errorf("run the burst: %w", err)
	}
	return done, nil
}

func (r *demoRun) runBurst(ctx context.Context, w demo.Workflow) (demoBurst, error) {
	requests := make([]client.Request, burstSize)
	for i := range requests {
		requests[i] = requestOf(w)
	}
	ids, err := r.client.CreateTasks(ctx, requests)
	if err != nil {
		return demoBurst{}, err
	}
	if err := r.awaitAll(ctx, ids); err != nil {
		return demoBurst{}, err
	}
	return r.checkAll(ctx, w, ids)
}

// awaitAll shows how many tasks have ended until all have.
func (r *demoRun) awaitAll(ctx context.Context, ids []string) error {
	open := make([]uuid.UUID, len(ids))
	for i, id := range ids {
		var err error
		if open[i], err = uuid.Parse(id); err != nil {
			return err
		}
	}
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for {
		states, err := postgres.TaskStates(ctx, r.pool, open)
		if err != nil {
			return err
		}
		ended := 0
		for _, state := range states {
			if state.Terminal() || state == tasker.TaskBlockedByFailures {
				ended++
			}
		}
		if ended == len(open) {
			return nil
		}
		r.screen.draw(fmt.Sprintf("    burst of diamonds  %s %s of %s tasks", bar(ended, len(open)), thousands(ended), thousands(len(open))))
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// checkAll reads and checks the tasks of a burst. How long it took, the clock
// of the database says: from the first insert to the last completion.
func (r *demoRun) checkAll(ctx context.Context, w demo.Workflow, ids []string) (demoBurst, error) {
	r.screen.draw("    checking the results of the burst …")
	tasks := make([]*client.Task, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range readers {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ids) {
					return nil
				}
				var err error
				if tasks[i], err = r.client.Task(ctx, ids[i]); err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return demoBurst{}, err
	}
	return burstOf(w, tasks), nil
}

func burstOf(w demo.Workflow, tasks []*client.Task) demoBurst {
	burst := demoBurst{Tasks: len(tasks), Steps: len(tasks) * w.Steps}
	first, last := tasks[0].CreatedAt, tasks[0].CreatedAt
	for _, task := range tasks {
		if err := checkTask(w, task); err != nil {
			burst.Wrong++
			burst.Problem = fmt.Sprintf("task %s: %s", task.ID, err)
		}
		if task.CreatedAt.Before(first) {
			first = task.CreatedAt
		}
		if task.FinishedAt != nil && task.FinishedAt.After(last) {
			last = *task.FinishedAt
		}
	}
	burst.took = last.Sub(first)
	burst.Seconds = burst.took.Seconds()
	burst.TasksPerSecond = float64(burst.Tasks) / burst.Seconds
	burst.StepsPerSecond = float64(burst.Steps) / burst.Seconds
	return burst
}
