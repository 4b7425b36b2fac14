package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

// operatorCommands are the commands below task that change what is under way.
func operatorCommands(env Env) []*cobra.Command {
	commands := []*cobra.Command{
		newTaskEventsCommand(env),
		newTaskAttemptsCommand(env),
		newTaskStepCommand(env),
		newTaskBulkCommand(env),
	}
	for _, a := range []struct{ action, short, long string }{
		{"cancel", "Cancel a task that is not over", "Steps that have not ended are cancelled, and running handlers are told to stop."},
		{"pause", "Keep the steps of a task from starting", "Steps that run finish."},
		{"resume", "Let a paused task go on", "Retries that were due meanwhile happen at once."},
		{"retry", "Run the failed steps of a task again", "The task is in error or blocked by failures. What finished is kept; attempts are\ncounted anew."},
		{"resolve", "Declare a task done none of whose steps runs", "Steps that have not ended are cancelled."},
	} {
		commands = append(commands, newTaskActionCommand(env, a.action, a.short, a.long))
	}
	return commands
}

// noteFlags adds --reason and --actor.
func noteFlags(env Env, cmd *cobra.Command, note *apiclient.Note) {
	cmd.Flags().StringVar(&note.Reason, "reason", "", "why; kept with the task")
	cmd.Flags().StringVar(&note.Actor, "actor", env.variable("USER"), "who; kept with the task")
}

func newTaskActionCommand(env Env, action, short, long string) *cobra.Command {
	t := taskCommand{env: env}
	var note apiclient.Note
	cmd := &cobra.Command{
		Use: action + " ID", Short: short, Long: short + ". " + long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := t.server.client()
			if err != nil {
				return err
			}
			task, err := c.Act(cmd.Context(), args[0], action, note)
			if err != nil {
				return t.server.explain(err)
			}
			return t.print(task)
		},
	}
	noteFlags(env, cmd, &note)
	t.flags(cmd)
	return cmd
}

func newTaskStepCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "step",
		Short: "Retry, resolve or complete a step by hand",
	}
	var result string
	complete := newStepCommand(env, stepAction{
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
		newStepCommand(env, stepAction{name: "retry", action: "reset_for_retry", short: "Run a failed or waiting step again, at once and with all its attempts"}),
		newStepCommand(env, stepAction{name: "resolve", action: "resolve_manually", short: "Declare a step done without a result"}),
		complete,
	)
	return cmd
}

// A stepAction is one of the commands below step.
type stepAction struct {
	name, action, short string
	change              func(*apiclient.StepChange) error // nil: nothing more to say
}

func newStepCommand(env Env, a stepAction) *cobra.Command {
	t := taskCommand{env: env}
	var note apiclient.Note
	cmd := &cobra.Command{
		Use:   a.name + " TASK STEP",
		Short: a.short,
		Long:  a.short + ". The step is named by its name or its id. The task moves on\nat once; one in error is open again.",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			change := apiclient.StepChange{Action: a.action, Note: note}
			if a.change != nil {
				if err := a.change(&change); err != nil {
					return err
				}
			}
			c, err := t.server.client()
			if err != nil {
				return err
			}
			step, raw, err := c.ChangeStep(cmd.Context(), args[0], args[1], change)
			switch {
			case err != nil:
				return t.server.explain(err)
			case t.json:
				return printJSON(env, raw)
			}
			_, err = fmt.Fprintf(env.Stdout, "step %s is %s\n", step.Name, step.State)
			return err
		},
	}
	noteFlags(env, cmd, &note)
	t.flags(cmd)
	return cmd
}

func newTaskEventsCommand(env Env) *cobra.Command {
	t := taskCommand{env: env}
	cmd := &cobra.Command{
		Use:   "events ID",
		Short: "List what operators did to a task",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := t.server.client()
			if err != nil {
				return err
			}
			events, raw, err := c.ListEvents(cmd.Context(), args[0])
			switch {
			case err != nil:
				return t.server.explain(err)
			case t.json:
				return printJSON(env, raw)
			}
			lines := table{columns: []column{{title: "at"}, {title: "what"}, {title: "step"}, {title: "who"}, {title: "why"}}}
			for _, e := range events {
				lines.add(e.At.Local().Format(time.DateTime), e.Kind, e.Step, e.Actor, e.Reason)
			}
			printTable(env, &lines)
			return nil
		},
	}
	t.flags(cmd)
	return cmd
}

func newTaskAttemptsCommand(env Env) *cobra.Command {
	t := taskCommand{env: env}
	cmd := &cobra.Command{
		Use:   "attempts TASK STEP",
		Short: "List the attempts at a step",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := t.server.client()
			if err != nil {
				return err
			}
			attempts, raw, err := c.ListAttempts(cmd.Context(), args[0], args[1])
			switch {
			case err != nil:
				return t.server.explain(err)
			case t.json:
				return printJSON(env, raw)
			}
			printAttempts(env, attempts)
			return nil
		},
	}
	t.flags(cmd)
	return cmd
}

func printAttempts(env Env, attempts []apiclient.Attempt) {
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
	printTable(env, &lines)
}
