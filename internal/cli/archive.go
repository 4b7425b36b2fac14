package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newArchiveCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Look at tasks that have left the live tables",
		Long:  "Look at tasks that have left the live tables, through the HTTP API of an orchestrator.",
	}
	show, run := &remote{env: env}, &remote{env: env}
	cmd.AddCommand(
		newTaskPageCommand(env, &cobra.Command{Use: "list", Short: "List archived tasks, newest first"}, (*apiclient.Client).ListArchived),
		show.completes(show.command(&cobra.Command{
			Use: "show ID", Short: "Print an archived task with its steps", Args: cobra.ExactArgs(1),
		}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
			return viewOf(c.FindArchived(ctx, args[0]))
		}), archivedIDs),
		run.command(&cobra.Command{
			Use: "run", Short: "Have the archiver run soon, whatever its interval", Args: cobra.NoArgs,
		}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
			jobs, err := c.RunArchiver(ctx)
			return view{raw: jobs, lines: said("asked for; tasks move a few at a time")}, err
		}),
	)
	return cmd
}
