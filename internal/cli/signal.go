package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
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
	t := taskCommand{env: env}
	var payload, sender string
	cmd := &cobra.Command{
		Use:   "send TASK NAME",
		Short: "Send a signal",
		Long: "Send a signal: the step of the task that waits for it, or will, completes with the\n" +
			"payload as its result. Of several signals of a name the first counts.",
		Example: `  tasker-cli signal send 0197f7c0-0000-7000-8000-000000000000 approval --payload '{"by": "ann"}'`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !json.Valid([]byte(payload)) {
				return usage(fmt.Errorf("--payload is no JSON: it looks like {\"approved\": true}, or \"text\""))
			}
			c, err := t.server.client()
			if err != nil {
				return err
			}
			received, err := c.SendSignal(cmd.Context(), args[0], args[1], json.RawMessage(payload), sender)
			switch {
			case err != nil:
				return t.server.explain(err)
			case t.json:
				return printJSON(env, map[string]bool{"received": received})
			case !received:
				_, err = fmt.Fprintf(env.Stdout, "a signal %s was there already, and counts\n", args[1])
			default:
				_, err = fmt.Fprintln(env.Stdout, "received")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&payload, "payload", "null", "the result of the step that waits, as JSON")
	cmd.Flags().StringVar(&sender, "sender", "", "who sends it")
	t.flags(cmd)
	return cmd
}

func newSignalListCommand(env Env) *cobra.Command {
	t := taskCommand{env: env}
	cmd := &cobra.Command{
		Use:   "list TASK",
		Short: "List the signals that a task waits for",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := t.server.client()
			if err != nil {
				return err
			}
			waiting, raw, err := c.ListWaiting(cmd.Context(), args[0])
			if err != nil {
				return t.server.explain(err)
			}
			if t.json {
				return printJSON(env, raw)
			}
			tab := table{columns: []column{{title: "signal"}, {title: "step"}, {title: "since"}, {title: "until"}}}
			for _, w := range waiting {
				until := "as long as it takes"
				if w.DueAt != nil {
					until = w.DueAt.Format(time.RFC3339)
				}
				tab.add(w.Signal, w.Step, w.Since.Format(time.RFC3339), until)
			}
			printTable(env, &tab)
			return nil
		},
	}
	t.flags(cmd)
	return cmd
}
