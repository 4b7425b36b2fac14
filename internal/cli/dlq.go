package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newDLQCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look after tasks that cannot go on",
		Long: "Look after tasks that cannot go on: the dead letter queue, through the HTTP API of an\n" +
			"orchestrator. An entry is an investigation; resolve it, or requeue its task.",
	}
	cmd.AddCommand(
		newDLQListCommand(env), newDLQStatsCommand(env),
		newDLQEntryCommand(env, &cobra.Command{
			Use: "show ENTRY", Short: "Print an entry with what was wrong and the snapshot of its task", Args: cobra.ExactArgs(1),
		}, (*dlqCommand).show),
		newDLQEntryCommand(env, &cobra.Command{
			Use: "add TASK", Short: "Set a task aside by hand", Args: cobra.ExactArgs(1),
			Long: "Set a task aside by hand: open an investigation. The task itself stays as it is.",
		}, (*dlqCommand).add),
		newDLQEntryCommand(env, &cobra.Command{
			Use: "resolve ENTRY manually_resolved|permanently_failed|cancelled", Short: "Close an investigation", Args: cobra.ExactArgs(2),
		}, (*dlqCommand).resolve),
		newDLQEntryCommand(env, &cobra.Command{
			Use: "requeue ENTRY", Short: "Put the task of an entry back to work", Args: cobra.ExactArgs(1),
			Long: "Put the task of an entry back to work, and resolve the entry. What is complete stays;\n" +
				"the other steps begin anew with all of their attempts.",
		}, (*dlqCommand).requeue),
	)
	return cmd
}

// A dlqCommand is one of the commands below dlq.
type dlqCommand struct {
	env    Env
	server server
	json   bool
	note   apiclient.DLQNote
	client *apiclient.Client
}

func (d *dlqCommand) flags(cmd *cobra.Command) {
	d.server.flag(d.env, cmd)
	jsonFlag(cmd, &d.json)
}

// A dlqAction does something to one entry and returns it.
type dlqAction func(*dlqCommand, context.Context, []string) (*apiclient.DLQEntry, error)

// newDLQEntryCommand completes a command that is about one entry.
func newDLQEntryCommand(env Env, cmd *cobra.Command, act dlqAction) *cobra.Command {
	d := &dlqCommand{env: env}
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if d.client, err = d.server.client(); err != nil {
			return err
		}
		entry, err := act(d, cmd.Context(), args)
		switch {
		case err != nil:
			return d.server.explain(err)
		case d.json:
			return printJSON(env, entry.JSON)
		}
		printEntries(env, []apiclient.DLQEntry{*entry})
		return nil
	}
	d.flags(cmd)
	cmd.Flags().StringVar(&d.note.By, "by", "", "who you are; kept with the entry")
	cmd.Flags().StringVar(&d.note.Notes, "notes", "", "what there is to say; kept with the entry")
	return cmd
}

// show always prints JSON: a snapshot fits no table.
func (d *dlqCommand) show(ctx context.Context, args []string) (*apiclient.DLQEntry, error) {
	d.json = true
	return d.client.FindDLQEntry(ctx, args[0])
}

func (d *dlqCommand) add(ctx context.Context, args []string) (*apiclient.DLQEntry, error) {
	return d.client.SetAside(ctx, args[0], d.note)
}

func (d *dlqCommand) resolve(ctx context.Context, args []string) (*apiclient.DLQEntry, error) {
	return d.client.ResolveDLQ(ctx, args[0], args[1], d.note)
}

func (d *dlqCommand) requeue(ctx context.Context, args []string) (*apiclient.DLQEntry, error) {
	return d.client.RequeueDLQ(ctx, args[0], d.note)
}

func newDLQListCommand(env Env) *cobra.Command {
	d := &dlqCommand{env: env}
	var f apiclient.DLQFilter
	var urgent bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List entries, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := d.server.client()
			if err != nil {
				return err
			}
			var list *apiclient.DLQList
			if urgent {
				list, err = c.Investigations(cmd.Context(), f.Limit)
			} else {
				list, err = c.ListDLQ(cmd.Context(), f)
			}
			switch {
			case err != nil:
				return d.server.explain(err)
			case d.json:
				return printJSON(env, list.JSON)
			}
			printEntries(env, list.Entries)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Resolution, "resolution", "", "only entries with this resolution, such as pending or requeued")
	flags.StringVar(&f.Reason, "reason", "", "only entries for this reason, such as staleness_timeout")
	flags.BoolVar(&urgent, "urgent", false, "only pending entries, the most urgent first")
	flags.IntVar(&f.Limit, "limit", 50, "how many at most, 1 to 1000")
	flags.IntVar(&f.Offset, "offset", 0, "how many to leave out first")
	cmd.MarkFlagsMutuallyExclusive("urgent", "resolution")
	cmd.MarkFlagsMutuallyExclusive("urgent", "reason")
	cmd.MarkFlagsMutuallyExclusive("urgent", "offset")
	d.flags(cmd)
	return cmd
}

// printEntries prints entries as a table.
func printEntries(env Env, entries []apiclient.DLQEntry) {
	t := table{columns: []column{
		{title: "entry"}, {title: "task"}, {title: "template"}, {title: "state"}, {title: "reason"}, {title: "resolution"}, {title: "entered"},
	}}
	for i := range entries {
		e := &entries[i]
		state, resolution := e.TaskStatus, e.Resolution
		if state == "" {
			state = "archived"
		}
		if e.Overdue {
			resolution += ", overdue"
		}
		t.add(e.ID, e.Task, e.Namespace+"/"+e.Name, state, e.Reason, resolution, e.EnteredAt.Local().Format(time.DateTime))
	}
	printTable(env, &t)
}

func newDLQStatsCommand(env Env) *cobra.Command {
	d := &dlqCommand{env: env}
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count entries by reason and resolution",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := d.server.client()
			if err != nil {
				return err
			}
			stats, err := c.SummarizeDLQ(cmd.Context())
			switch {
			case err != nil:
				return d.server.explain(err)
			case d.json:
				return printJSON(env, stats.JSON)
			}
			t := table{columns: []column{{title: "reason"}}}
			for _, title := range []string{"pending", "overdue", "resolved", "failed", "cancelled", "requeued", "total"} {
				t.columns = append(t.columns, column{title: title, right: true})
			}
			for _, r := range stats.Reasons {
				row := []string{r.Reason}
				for _, n := range []int{r.Pending, r.Overdue, r.ManuallyResolved, r.PermanentlyFailed, r.Cancelled, r.Requeued, r.Total} {
					row = append(row, strconv.Itoa(n))
				}
				t.add(row...)
			}
			printTable(env, &t)
			return nil
		},
	}
	d.flags(cmd)
	return cmd
}

func newArchiveCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Look at tasks that have left the live tables",
		Long:  "Look at tasks that have left the live tables, through the HTTP API of an orchestrator.",
	}
	cmd.AddCommand(newArchiveListCommand(env), newArchiveShowCommand(env), newArchiveRunCommand(env))
	return cmd
}

func newArchiveListCommand(env Env) *cobra.Command {
	t := taskCommand{env: env}
	var f apiclient.Filter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List archived tasks, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.server.client()
			if err != nil {
				return err
			}
			page, err := c.ListArchived(cmd.Context(), f)
			switch {
			case err != nil:
				return t.server.explain(err)
			case t.json:
				return printJSON(env, page.JSON)
			}
			printTasks(env, page)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Namespace, "namespace", "", "only tasks of templates in this namespace")
	flags.StringVar(&f.Name, "name", "", "only tasks of templates of this name")
	flags.StringVar(&f.State, "state", "", "only tasks in this final state")
	flags.StringVar(&f.After, "after", "", "only tasks older than the one with this id")
	flags.IntVar(&f.Limit, "limit", 25, "how many at most, 1 to 100")
	t.flags(cmd)
	return cmd
}

func newArchiveShowCommand(env Env) *cobra.Command {
	t := taskCommand{env: env}
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Print an archived task with its steps",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := t.server.client()
			if err != nil {
				return err
			}
			task, err := c.FindArchived(cmd.Context(), args[0])
			if err != nil {
				return t.server.explain(err)
			}
			return t.print(task)
		},
	}
	t.flags(cmd)
	return cmd
}

func newArchiveRunCommand(env Env) *cobra.Command {
	t := taskCommand{env: env}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Have the archiver run soon, whatever its interval",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.server.client()
			if err != nil {
				return err
			}
			jobs, err := c.RunArchiver(cmd.Context())
			switch {
			case err != nil:
				return t.server.explain(err)
			case t.json:
				return printJSON(env, jobs)
			}
			_, err = fmt.Fprintln(env.Stdout, "asked for; tasks move a few at a time")
			return err
		},
	}
	t.flags(cmd)
	return cmd
}
