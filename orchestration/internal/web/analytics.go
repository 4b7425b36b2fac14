package web

import (
	"context"
	"fmt"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// sampled is how many tasks figures are made of at most: the newest.
const sampled = 20_000

func windowOf(hours int) postgres.Window {
	return postgres.Window{Since: time.Now().Add(-time.Duration(hours) * time.Hour), Most: sampled}
}

type performanceInput struct {
	Hours int `query:"hours" minimum:"1" maximum:"720" default:"24" doc:"How far back to look"`
}

// A Spread says how long something took, in seconds; without fields when nothing
// has ended.
type Spread struct {
	Mean *float64 `json:"mean_seconds,omitempty"`
	P50  *float64 `json:"p50_seconds,omitempty"`
	P95  *float64 `json:"p95_seconds,omitempty"`
}

// Performance is how tasks and steps fared of late.
type Performance struct {
	Hours      int        `json:"hours"`
	Sampled    bool       `json:"sampled" doc:"There are more tasks; the figures are those of the newest"`
	Since      *time.Time `json:"oldest_task_at,omitempty" doc:"When the oldest of these tasks was created"`
	Namespaces int64      `json:"namespaces"`
	Templates  int64      `json:"templates"`

	Tasks        int64   `json:"tasks"`
	Open         int64   `json:"active_tasks"`
	Complete     int64   `json:"completed_tasks"`
	Failed       int64   `json:"failed_tasks"`
	Blocked      int64   `json:"blocked_tasks"`
	Cancelled    int64   `json:"cancelled_tasks"`
	Resolved     int64   `json:"resolved_tasks"`
	TasksPerHour float64 `json:"task_throughput_per_hour" doc:"Completed tasks by the time since the oldest was created"`
	Completion   float64 `json:"completion_rate" doc:"Of the tasks that are over or blocked, those that are complete; 1 when there are none"`
	ErrorRate    float64 `json:"error_rate" doc:"Likewise those that failed or are blocked"`
	TaskTime     Spread  `json:"task_duration" doc:"From creation to completion"`

	Steps        int64   `json:"steps"`
	StepsDone    int64   `json:"completed_steps"`
	StepsFailed  int64   `json:"failed_steps"`
	StepsRetried int64   `json:"retried_steps"`
	StepsPerHour float64 `json:"step_throughput_per_hour"`
	StepTime     Spread  `json:"step_duration" doc:"Of the last attempt"`
	StepWait     Spread  `json:"step_wait" doc:"For a worker, before the last attempt"`
}

type performanceOutput struct {
	Body Performance
}

// readPerformance answers with figures about the last hours.
func (s *service) readPerformance(ctx context.Context, in *performanceInput) (*performanceOutput, error) {
	var p postgres.Performance
	err := postgres.WithPlanner(ctx, s.DB, func(db postgres.DB) (err error) {
		p, err = postgres.ReadPerformance(ctx, db, windowOf(in.Hours))
		return err
	})
	if err != nil {
		return nil, err
	}
	out := Performance{
		Hours: in.Hours, Sampled: p.Tasks == sampled, Since: p.Oldest, Namespaces: p.Namespaces, Templates: p.Templates,
		Tasks: p.Tasks, Open: p.Open, Complete: p.Complete, Failed: p.Failed, Blocked: p.Blocked, Cancelled: p.Cancelled, Resolved: p.Resolved,
		Completion: 1, TaskTime: Spread{p.TaskMean, p.TaskP50, p.TaskP95},
		Steps: p.Steps, StepsDone: p.StepsComplete, StepsFailed: p.StepsFailed, StepsRetried: p.StepsRetried,
		StepTime: Spread{p.StepMean, p.StepP50, p.StepP95}, StepWait: Spread{Mean: p.WaitMean, P95: p.WaitP95},
	}
	if over := float64(p.Tasks - p.Open); over > 0 {
		out.Completion, out.ErrorRate = float64(p.Complete)/over, float64(p.Failed+p.Blocked)/over
	}
	if p.Oldest != nil {
		if hours := time.Since(*p.Oldest).Hours(); hours > 0 {
			out.TasksPerHour, out.StepsPerHour = float64(p.Complete)/hours, float64(p.StepsComplete)/hours
		}
	}
	return &performanceOutput{Body: out}, nil
}

type bottlenecksInput struct {
	Hours         int `query:"hours" minimum:"1" maximum:"720" default:"24" doc:"How far back to look"`
	Limit         int `query:"limit" minimum:"1" maximum:"100" default:"10" doc:"Of each list"`
	MinExecutions int `query:"min_executions" minimum:"1" maximum:"1000000" default:"5" doc:"What ended less often is left out"`
}

// A SlowSpot is a step, or a template as a whole, by how long it takes.
type SlowSpot struct {
	Namespace  string    `json:"namespace"`
	Name       string    `json:"task_name"`
	Version    string    `json:"version"`
	Step       string    `json:"step_name,omitempty"`
	Executions int64     `json:"execution_count"`
	Failed     int64     `json:"error_count"`
	Retried    int64     `json:"retry_count"`
	ErrorRate  float64   `json:"error_rate"`
	Mean       float64   `json:"mean_seconds"`
	P95        float64   `json:"p95_seconds"`
	Max        float64   `json:"max_seconds"`
	WaitMean   *float64  `json:"mean_wait_seconds,omitempty" doc:"For a worker"`
	LastAt     time.Time `json:"last_executed_at"`
}

// Utilization is what steps do now, and who could run them.
type Utilization struct {
	Workers    int64    `json:"workers" doc:"Processes that were seen of late"`
	Running    int64    `json:"steps_in_progress"`
	Waiting    int64    `json:"steps_waiting_for_worker"`
	Retrying   int64    `json:"steps_waiting_for_retry"`
	OldestWait *float64 `json:"oldest_wait_seconds,omitempty"`
}

// Bottlenecks is what takes long, and what to do about it.
type Bottlenecks struct {
	Steps           []SlowSpot  `json:"slow_steps" nullable:"false"`
	Tasks           []SlowSpot  `json:"slow_tasks" nullable:"false"`
	Utilization     Utilization `json:"resource_utilization"`
	Recommendations []string    `json:"recommendations" nullable:"false"`
}

type bottlenecksOutput struct {
	Body Bottlenecks
}

// readBottlenecks answers with what is slow.
func (s *service) readBottlenecks(ctx context.Context, in *bottlenecksInput) (*bottlenecksOutput, error) {
	var steps, tasks []postgres.SlowSpot
	var use postgres.Utilization
	err := postgres.WithPlanner(ctx, s.DB, func(db postgres.DB) (err error) {
		w := windowOf(in.Hours)
		if steps, err = postgres.SlowestSteps(ctx, db, w, in.MinExecutions, in.Limit); err != nil {
			return err
		}
		if tasks, err = postgres.SlowestTasks(ctx, db, w, in.MinExecutions, in.Limit); err != nil {
			return err
		}
		use, err = postgres.ReadUtilization(ctx, db, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &bottlenecksOutput{Body: Bottlenecks{
		Steps: spotsOf(steps), Tasks: spotsOf(tasks), Recommendations: recommend(steps, use),
		Utilization: Utilization{Workers: use.Workers, Running: use.Running, Waiting: use.Waiting, Retrying: use.Retrying, OldestWait: use.OldestWait},
	}}, nil
}

func spotsOf(found []postgres.SlowSpot) []SlowSpot {
	all := make([]SlowSpot, len(found))
	for i, f := range found {
		all[i] = SlowSpot{
			Namespace: f.Namespace, Name: f.Name, Version: f.Version, Step: f.Step, Executions: f.Executions, Failed: f.Failed, Retried: f.Retried,
			ErrorRate: float64(f.Failed) / float64(f.Executions), Mean: f.Mean, P95: f.P95, Max: f.Max, WaitMean: f.WaitMean, LastAt: f.LastAt,
		}
	}
	return all
}

// recommend says what the figures suggest.
func recommend(steps []postgres.SlowSpot, use postgres.Utilization) []string {
	said := []string{}
	if use.Waiting > 0 && use.Workers == 0 {
		said = append(said, fmt.Sprintf("%d steps wait for a worker and none was seen of late: start one", use.Waiting))
	}
	for _, f := range steps {
		where := fmt.Sprintf("%s/%s/%s, step %s", f.Namespace, f.Name, f.Version, f.Step)
		if share := float64(f.Failed) / float64(f.Executions); share >= 0.1 {
			said = append(said, fmt.Sprintf("%s: %.0f %% of its runs fail for good; look at its errors", where, 100*share))
		}
		if share := float64(f.Retried) / float64(f.Executions); share >= 0.25 {
			said = append(said, fmt.Sprintf("%s: %.0f %% of its runs need a retry; look at its attempts", where, 100*share))
		}
		if f.WaitMean != nil && *f.WaitMean > 1 && *f.WaitMean > f.Mean {
			said = append(said, fmt.Sprintf("%s: waits %.1f s for a worker and runs %.1f s; add workers or slots", where, *f.WaitMean, f.Mean))
		}
	}
	return said
}
