package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

// operatorCommands are the commands below task that change what is under way.
func operatorCommands(env Env) []*cobra.Command {
	commands := []*cobra.Command{newTaskEventsCommand(env), newTaskBulkCommand(env)}
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
	r := &remote{env: env}
	var note apiclient.Note
	cmd := r.command(&cobra.Command{
		Use: action + " ID", Short: short, Long: short + ".\n\n" + long, Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		return viewOf(c.Act(ctx, args[0], action, note))
	})
	noteFlags(env, cmd, &note)
	return r.completes(cmd, taskIDs)
}

func newTaskEventsCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "events ID", Short: "List what operators did to a task", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		events, raw, err := c.ListEvents(ctx, args[0])
		t := table{columns: []column{{title: "at"}, {title: "what"}, {title: "step"}, {title: "who"}, {title: "why"}}}
		for _, e := range events {
			t.add(e.At.Local().Format(time.DateTime), e.Kind, e.Step, e.Actor, e.Reason)
		}
		return view{raw: raw, lines: tabled(&t)}, err
	}), taskIDs)
}
