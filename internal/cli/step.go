package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newStepCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "step",
		Short: "Look at the steps of a task, and retry, resolve or complete them by hand",
		Long: "Look at the steps of a task, and retry, resolve or complete them by hand, through the\n" +
			"HTTP API of an orchestrator. A step is named by its name or its id.",
	}
	var result string
	complete := newStepActionCommand(env, stepAction{
		name: "complete", action: "complete_manually", short: "Complete a step with a result of your own",
		change: func(change *apiclient.StepChange) error {
			if !json.Valid([]byte(result)) {
				return usage(fmt.Errorf("--result is no JSON: it looks like {\"paid\": true}, or \"text\""))
			}
			change.Result = json.RawMessage(result)
			return nil
		},
	})
	complete.Flags().StringVar(&result, "result", "null", "what the steps that depend on it see, as JSON")
	cmd.AddCommand(
		newStepListCommand(env), newStepShowCommand(env), newStepAttemptsCommand(env), newStepAuditCommand(env),
		newStepActionCommand(env, stepAction{name: "retry", action: "reset_for_retry", short: "Run a failed or waiting step again, at once and with all its attempts"}),
		newStepActionCommand(env, stepAction{name: "resolve", action: "resolve_manually", short: "Declare a step done without a result"}),
		complete,
	)
	return cmd
}

func newStepListCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	cmd := r.completes(r.command(&cobra.Command{
		Use: "list TASK", Short: "List the steps of a task, in the order of its template", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		steps, raw, err := c.ListSteps(ctx, args[0])
		return view{raw: raw, lines: tabled(stepTable(steps))}, err
	}), taskIDs)
	r.watchFlag(cmd)
	return cmd
}

func newStepShowCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "show TASK STEP", Short: "Print a step with its result or its failure", Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		step, err := c.FindStep(ctx, args[0], args[1])
		if err != nil {
			return view{}, err
		}
		return view{raw: step.JSON, lines: func(s *screen) []string { return stepLines(s, step) }}, nil
	}), taskIDs)
}

// stepLines shows a step.
func stepLines(s *screen, step *apiclient.Step) []string {
	facts := []fact{
		{"step", step.Name},
		{"id", step.ID},
		{"state", string(step.State)},
		{"after", strings.Join(step.DependsOn, ", ")},
		{"attempt", attempts(step)},
		{"started", shownTime(step.StartedAt)},
		{"took", took(step)},
	}
	if step.Error != nil {
		facts = append(facts, fact{"error", step.Error.Kind + ": " + step.Error.Message})
	}
	if len(step.Results) > 0 {
		facts = append(facts, fact{"result", string(step.Results)})
	}
	return factLines(s, facts)
}

// A stepAction is one of the commands that change a step.
type stepAction struct {
	name, action, short string
	change              func(*apiclient.StepChange) error // nil: nothing more to say
}

func newStepActionCommand(env Env, a stepAction) *cobra.Command {
	r := &remote{env: env}
	var note apiclient.Note
	cmd := r.command(&cobra.Command{
		Use:   a.name + " TASK STEP",
		Short: a.short,
		Long:  a.short + ".\n\nThe step is named by its name or its id. The task moves on at once; one in error is\nopen again.",
		Args:  cobra.ExactArgs(2),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		change := apiclient.StepChange{Action: a.action, Note: note}
		if a.change != nil {
			if err := a.change(&change); err != nil {
				return view{}, err
			}
		}
		step, err := c.ChangeStep(ctx, args[0], args[1], change)
		if err != nil {
			return view{}, err
		}
		return view{raw: step.JSON, lines: said("step %s is %s", step.Name, step.State)}, nil
	})
	noteFlags(env, cmd, &note)
	return r.completes(cmd, taskIDs)
}

func newStepAttemptsCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "attempts TASK STEP", Short: "List the attempts at a step: when, on which worker, with what outcome", Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		attempts, raw, err := c.ListAttempts(ctx, args[0], args[1])
		return view{raw: raw, lines: attemptLines(attempts)}, err
	}), taskIDs)
}

func newStepAuditCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "audit TASK STEP", Short: "List what became of a step: attempts that ended, and what operators did", Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		all, raw, err := c.ListAudit(ctx, args[0], args[1])
		t := table{columns: []column{{title: "at"}, {title: "what"}, {title: "who"}, {title: "took", right: true}, {title: "why"}}}
		for i := range all {
			a := &all[i]
			what, who, took, why := a.Kind, a.Actor, "", a.Reason
			if a.Success != nil {
				what, who = fmt.Sprintf("attempt %d failed", a.Attempt), a.WorkerID
				if *a.Success {
					what = fmt.Sprintf("attempt %d complete", a.Attempt)
				}
			}
			if a.Millis != nil {
				took = milliseconds(time.Duration(*a.Millis) * time.Millisecond)
			}
			if a.Error != nil {
				why = oneLine(a.Error.Message)
			}
			t.add(a.At.Local().Format(time.DateTime), what, who, took, why)
		}
		return view{raw: raw, lines: tabled(&t)}, err
	}), taskIDs)
}

func attemptLines(attempts []apiclient.Attempt) func(*screen) []string {
	lines := table{columns: []column{
		{title: "attempt", right: true}, {title: "outcome"}, {title: "worker"}, {title: "started"}, {title: "took", right: true}, {title: "error"},
	}}
	for i := range attempts {
		a := &attempts[i]
		var started, took, why string
		if a.StartedAt != nil {
			started = a.StartedAt.Local().Format(time.DateTime)
			if a.FinishedAt != nil {
				took = milliseconds(a.FinishedAt.Sub(*a.StartedAt))
			}
		}
		if a.Error != nil {
			why = oneLine(a.Error.Message)
		}
		lines.add(fmt.Sprint(a.Attempt), a.Outcome, a.WorkerID, started, took, why)
	}
	return tabled(&lines)
}
