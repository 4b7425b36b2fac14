package cli

import (
	"context"
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
		newDLQListCommand(env), newDLQStatsCommand(env), newDLQShowCommand(env),
		newDLQEntryCommand(env, taskIDs, &cobra.Command{
			Use: "add TASK", Short: "Set a task aside by hand", Args: cobra.ExactArgs(1),
			Long: "Set a task aside by hand: open an investigation. The task itself stays as it is.",
		}, func(ctx context.Context, c *apiclient.Client, args []string, note apiclient.DLQNote) (*apiclient.DLQEntry, error) {
			return c.SetAside(ctx, args[0], note)
		}),
		newDLQEntryCommand(env, entryIDs, &cobra.Command{
			Use: "resolve ENTRY manually_resolved|permanently_failed|cancelled", Short: "Close an investigation", Args: cobra.ExactArgs(2),
		}, func(ctx context.Context, c *apiclient.Client, args []string, note apiclient.DLQNote) (*apiclient.DLQEntry, error) {
			return c.ResolveDLQ(ctx, args[0], args[1], note)
		}),
		newDLQEntryCommand(env, entryIDs, &cobra.Command{
			Use: "requeue ENTRY", Short: "Put the task of an entry back to work", Args: cobra.ExactArgs(1),
			Long: "Put the task of an entry back to work, and resolve the entry. What is complete stays;\n" +
				"the other steps begin anew with all of their attempts.",
		}, func(ctx context.Context, c *apiclient.Client, args []string, note apiclient.DLQNote) (*apiclient.DLQEntry, error) {
			return c.RequeueDLQ(ctx, args[0], note)
		}),
	)
	return cmd
}

// A dlqAction does something to one entry and returns it.
type dlqAction func(context.Context, *apiclient.Client, []string, apiclient.DLQNote) (*apiclient.DLQEntry, error)

// newDLQEntryCommand completes a command that changes one entry.
func newDLQEntryCommand(env Env, known words, cmd *cobra.Command, act dlqAction) *cobra.Command {
	r := &remote{env: env}
	var note apiclient.DLQNote
	r.command(cmd, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		entry, err := act(ctx, c, args, note)
		if err != nil {
			return view{}, err
		}
		return view{raw: entry.JSON, lines: entryLines([]apiclient.DLQEntry{*entry})}, nil
	})
	cmd.Flags().StringVar(&note.By, "by", env.variable("USER"), "who you are; kept with the entry")
	cmd.Flags().StringVar(&note.Notes, "notes", "", "what there is to say; kept with the entry")
	return r.completes(cmd, known)
}

// newDLQShowCommand prints JSON where no other form is asked for: a snapshot fits
// no table.
func newDLQShowCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "show ENTRY", Short: "Print an entry with what was wrong and the snapshot of its task", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		entry, err := c.FindDLQEntry(ctx, args[0])
		if err != nil {
			return view{}, err
		}
		if r.form == "table" {
			r.form = "json"
		}
		return view{raw: entry.JSON}, nil
	}), entryIDs)
}

func newDLQListCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var f apiclient.DLQFilter
	var urgent bool
	cmd := r.command(&cobra.Command{
		Use: "list", Short: "List entries, newest first", Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		var list *apiclient.DLQList
		var err error
		if urgent {
			list, err = c.Investigations(ctx, f.Limit)
		} else {
			list, err = c.ListDLQ(ctx, f)
		}
		if err != nil {
			return view{}, err
		}
		return view{raw: list.JSON, lines: entryLines(list.Entries)}, nil
	})
	flags := cmd.Flags()
	flags.StringVar(&f.Resolution, "resolution", "", "only entries with this resolution, such as pending or requeued")
	flags.StringVar(&f.Reason, "reason", "", "only entries for this reason, such as staleness_timeout")
	flags.BoolVar(&urgent, "urgent", false, "only pending entries, the most urgent first")
	flags.IntVar(&f.Limit, "limit", 50, "how many at most, 1 to 1000")
	flags.IntVar(&f.Offset, "offset", 0, "how many to leave out first")
	cmd.MarkFlagsMutuallyExclusive("urgent", "resolution")
	cmd.MarkFlagsMutuallyExclusive("urgent", "reason")
	cmd.MarkFlagsMutuallyExclusive("urgent", "offset")
	r.watchFlag(cmd)
	return cmd
}

func entryLines(entries []apiclient.DLQEntry) func(*screen) []string {
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
	return tabled(&t)
}

func newDLQStatsCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	cmd := r.command(&cobra.Command{
		Use: "stats", Short: "Count entries by reason and resolution", Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		stats, err := c.SummarizeDLQ(ctx)
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{{title: "reason"}}}
		for _, title := range []string{"pending", "overdue", "resolved", "failed", "cancelled", "requeued", "total"} {
			t.columns = append(t.columns, column{title: title, right: true})
		}
		for _, s := range stats.Reasons {
			row := []string{s.Reason}
			for _, n := range []int{s.Pending, s.Overdue, s.ManuallyResolved, s.PermanentlyFailed, s.Cancelled, s.Requeued, s.Total} {
				row = append(row, strconv.Itoa(n))
			}
			t.add(row...)
		}
		return view{raw: stats.JSON, lines: tabled(&t)}, nil
	})
	r.watchFlag(cmd)
	return cmd
}
