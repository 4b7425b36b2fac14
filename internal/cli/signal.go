package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newSignalCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "signal",
		Short: "Send signals to tasks that wait for them",
		Long:  "Send signals to tasks that wait for them, through the HTTP API of an orchestrator.",
	}
	cmd.AddCommand(newSignalSendCommand(env), newSignalListCommand(env))
	return cmd
}

func newSignalSendCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var payload, sender string
	cmd := r.command(&cobra.Command{
		Use:   "send TASK NAME",
		Short: "Send a signal",
		Long: "Send a signal: the step of the task that waits for it, or will, completes with the\n" +
			"payload as its result. Of several signals of a name the first counts.",
		Example: `  tasker-cli signal send 0197f7c0-0000-7000-8000-000000000000 approval --payload '{"by": "ann"}'`,
		Args:    cobra.ExactArgs(2),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		if !json.Valid([]byte(payload)) {
			return view{}, usage(fmt.Errorf("--payload is no JSON: it looks like {\"approved\": true}, or \"text\""))
		}
		received, err := c.SendSignal(ctx, args[0], args[1], json.RawMessage(payload), sender)
		answer := view{raw: map[string]bool{"received": received}, lines: said("received")}
		if !received {
			answer.lines = said("a signal %s was there already, and counts", args[1])
		}
		return answer, err
	})
	cmd.Flags().StringVar(&payload, "payload", "null", "the result of the step that waits, as JSON")
	cmd.Flags().StringVar(&sender, "sender", "", "who sends it")
	return r.completes(cmd, taskIDs)
}

func newSignalListCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "list TASK", Short: "List the signals that a task waits for", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		waiting, raw, err := c.ListWaiting(ctx, args[0])
		t := table{columns: []column{{title: "signal"}, {title: "step"}, {title: "since"}, {title: "until"}}}
		for _, w := range waiting {
			until := "as long as it takes"
			if w.DueAt != nil {
				until = w.DueAt.Format(time.RFC3339)
			}
			t.add(w.Signal, w.Step, w.Since.Format(time.RFC3339), until)
		}
		return view{raw: raw, lines: tabled(&t)}, err
	}), taskIDs)
}
