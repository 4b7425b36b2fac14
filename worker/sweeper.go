package worker

import (
	"context"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// sweep looks at intervals for steps of the worker's namespaces that no message
// leads to, and sends them new ones (worker.system.fallback_poller): of tasks in
// processable_states, not too young and not too old, so many at a time. It
// repairs what the orchestrators would, should none of them run.
func (r *runner) sweep(ctx context.Context) {
	cfg := r.cfg.System.FallbackPoller
	if !cfg.Enabled {
		return
	}
	never := eventsystem.NewSignal() // nobody announces that a message is lost
	for pause := cfg.PollingInterval.Duration(); ctx.Err() == nil; {
		never.Wait(ctx, pause)
		began := time.Now()
		if ctx.Err() != nil {
			return
		}
		if err := r.sweepOnce(ctx, cfg); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "sweep for lost steps failed; trying again", "error", err)
		}
		pause = max(cfg.PollingInterval.Duration(), sweepShare*time.Since(began))
	}
}

// sweepShare bounds what sweeping may cost: after a sweep it rests at least so
// many times as long as the sweep took.
const sweepShare = 49

func (r *runner) sweepOnce(ctx context.Context, cfg config.TaskSweeper) error {
	var templates map[string]postgres.StepQueue // by namespace
	err := r.sweeps.Do(ctx, "look for templates", func(ctx context.Context) error {
		all, err := postgres.TemplatesByNamespace(ctx, r.sys.Pool)
		templates = map[string]postgres.StepQueue{}
		for namespace, ids := range all {
			if sp := r.space(namespace); sp != nil {
				templates[namespace] = postgres.StepQueue{Queue: sp.queue, Templates: ids}
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for namespace, queue := range templates {
		var sent int
		err := r.sweeps.Do(ctx, "resend steps", func(ctx context.Context) error {
			return postgres.WithPlanner(ctx, r.sys.Pool, func(db postgres.DB) (err error) {
				sent, err = postgres.ResendSteps(ctx, db, queue, sweptSteps(cfg), cfg.VisibilityTimeout.Duration())
				return err
			})
		})
		if err != nil {
			return err
		}
		if sent > 0 {
			r.log.WarnContext(ctx, "steps had lost their messages; sent new ones", "namespace", namespace, "steps", sent)
			r.sys.Notifier.Wake(r.sys.Names.StepsChannel(namespace))
			r.space(namespace).wake.Raise()
		}
	}
	return nil
}

// sweptSteps are those that a sweep looks at.
func sweptSteps(cfg config.TaskSweeper) postgres.Rest {
	age := cfg.AgeThreshold.Duration()
	rest := postgres.Rest{Enqueued: age, InProgress: age, Retrying: age, MaxAge: cfg.MaxAge.Duration(), Limit: cfg.BatchSize}
	for _, state := range cfg.ProcessableStates {
		rest.States = append(rest.States, string(state))
	}
	return rest
}
