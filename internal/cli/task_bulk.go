package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

// A bulkCommand is task bulk.
type bulkCommand struct {
	waiter

	bulk          apiclient.Bulk
	after, before string
	yes, wait     bool
}

func newTaskBulkCommand(env Env) *cobra.Command {
	b := &bulkCommand{waiter: waiter{remote: remote{env: env}}}
	cmd := b.command(&cobra.Command{
		Use:   "bulk cancel|retry|resolve",
		Short: "Cancel, retry or resolve many tasks",
		Long: "Cancel, retry or resolve all tasks that the filter describes, whose state allows it\n" +
			"and that exist already. Without --yes they are only counted. An orchestrator works\n" +
			"the operation off in batches; task bulk show tells how far it has come.",
		Example: `  tasker-cli task bulk retry --namespace orders --state blocked_by_failures --reason "gateway is back" --yes --wait`,
		Args:    cobra.ExactArgs(1),
	}, b.ask)
	cmd.ValidArgs = []string{"cancel", "retry", "resolve"}
	f, flags := &b.bulk.Filter, cmd.Flags()
	flags.StringVar(&f.Namespace, "namespace", "", "only tasks of templates in this namespace")
	flags.StringVar(&f.Name, "name", "", "only tasks of templates of this name")
	flags.StringVar(&f.Version, "version", "", "only tasks of templates of this version")
	flags.StringSliceVar(&f.States, "state", nil, "only tasks in one of these states")
	flags.StringSliceVar(&f.Tags, "tag", nil, "only tasks with all of these tags")
	flags.StringVar(&b.after, "created-after", "", "only tasks created then or later, as 2026-01-31T08:00:00Z, or so long ago, as 24h")
	flags.StringVar(&b.before, "created-before", "", "only tasks created before, likewise")
	flags.BoolVar(&b.yes, "yes", false, "do it, and do not only count")
	flags.BoolVar(&b.wait, "wait", false, "wait until it is done; the exit code is 1 if some tasks could not be dealt with")
	noteFlags(env, cmd, &b.bulk.Note)
	b.timeoutFlag(cmd)
	cmd.AddCommand(newBulkShowCommand(env))
	return cmd
}

func (b *bulkCommand) ask(ctx context.Context, c *apiclient.Client, args []string) (_ view, err error) {
	b.bulk.Kind, b.bulk.DryRun = args[0], !b.yes
	if b.bulk.Filter.CreatedAfter, err = moment("--created-after", b.after); err != nil {
		return view{}, err
	}
	if b.bulk.Filter.CreatedBefore, err = moment("--created-before", b.before); err != nil {
		return view{}, err
	}
	op, err := c.StartOperation(ctx, b.bulk)
	if err == nil && b.wait && b.yes {
		op, err = b.see(ctx, c, op.ID)
	}
	if err != nil {
		return view{}, err
	}
	shown := operationView(op)
	if op.Failed > 0 {
		shown.err = fmt.Errorf("%s could not be dealt with: %s", counted(op.Failed, "task"), op.LastError)
	}
	return shown, nil
}

// see waits for the end of an operation.
func (b *bulkCommand) see(ctx context.Context, c *apiclient.Client, id string) (*apiclient.Operation, error) {
	ctx, cancel := b.limit(ctx)
	defer cancel()
	for {
		op, err := c.FindOperation(ctx, id)
		if err != nil {
			return nil, err
		}
		if op.State == "complete" {
			return op, nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, &ExitError{Code: ExitTimeout, Err: fmt.Errorf("operation %s is not done after %s: %d of %d tasks are", id, b.timeout, op.Done, op.Matched)}
			}
			return nil, ctx.Err()
		}
	}
}

// moment reads a time, or how long ago it is; empty is none.
func moment(flag, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		t := time.Now().Add(-ago)
		return &t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usage(fmt.Errorf("%s %q is no time; write 2026-01-31T08:00:00Z, or 24h for so long ago", flag, text))
	}
	return &t, nil
}

func newBulkShowCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	cmd := r.command(&cobra.Command{
		Use: "show OPERATION", Short: "Show how far an operation has come", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		op, err := c.FindOperation(ctx, args[0])
		if err != nil {
			return view{}, err
		}
		return operationView(op), nil
	})
	r.watchFlag(cmd)
	return cmd
}

func operationView(op *apiclient.Operation) view {
	if op.ID == "" {
		return view{raw: op.JSON, lines: said("would %s %s; do it with --yes", op.Kind, counted(op.Matched, "task"))}
	}
	return view{raw: op.JSON, lines: func(s *screen) []string {
		lines := []string{
			"operation  " + op.ID,
			"state      " + s.paintState(op.State),
			fmt.Sprintf("%-9s  %s of %s", op.Kind, thousands(op.Done), counted(op.Matched, "task")),
		}
		if op.Failed > 0 {
			lines = append(lines, "failed     "+thousands(op.Failed)+", the last: "+oneLine(op.LastError))
		}
		return lines
	}}
}
