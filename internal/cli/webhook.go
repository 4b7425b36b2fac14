package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newWebhookCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Have other systems told what becomes of tasks",
		Long:  "Have other systems told what becomes of tasks, through the HTTP API of an\norchestrator.",
	}
	cmd.AddCommand(newWebhookAddCommand(env), newWebhookListCommand(env), newWebhookRemoveCommand(env), newWebhookDeliveriesCommand(env))
	return cmd
}

// A webhookCommand is one of the commands below webhook.
type webhookCommand struct {
	env    Env
	server server
	json   bool
}

// run calls the server.
func (w *webhookCommand) run(do func(*apiclient.Client) error) error {
	c, err := w.server.client()
	if err != nil {
		return err
	}
	if err := do(c); err != nil {
		return w.server.explain(err)
	}
	return nil
}

func newWebhookAddCommand(env Env) *cobra.Command {
	w := webhookCommand{env: env}
	var request apiclient.WebhookRequest
	cmd := &cobra.Command{
		Use:   "add URL",
		Short: "Add a webhook and print its id and its secret, which is not shown again",
		Example: `  tasker-cli webhook add https://example.com/tasker --events task.completed,task.failed
  tasker-cli webhook add https://example.com/tasker --events task.dead_lettered --namespace orders`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.URL = args[0]
			return w.run(func(c *apiclient.Client) error {
				added, err := c.CreateWebhook(cmd.Context(), request)
				if err != nil {
					return err
				}
				if w.json {
					return printJSON(env, added.JSON)
				}
				_, err = fmt.Fprintf(env.Stdout, "webhook  %s\nsecret   %s\n", added.ID, added.Secret)
				return err
			})
		},
	}
	cmd.Flags().StringSliceVar(&request.Events, "events", []string{"task.completed", "task.failed", "task.blocked_by_failures"},
		"of these and task.cancelled, task.resolved_manually, task.dead_lettered")
	cmd.Flags().StringVar(&request.Namespace, "namespace", "", "only of tasks of this namespace")
	cmd.Flags().StringVar(&request.Template, "template", "", "only of tasks of this template, by its name")
	w.server.flag(env, cmd)
	jsonFlag(cmd, &w.json)
	return cmd
}

func newWebhookListCommand(env Env) *cobra.Command {
	w := webhookCommand{env: env}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the webhooks, oldest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return w.run(func(c *apiclient.Client) error {
				list, err := c.ListWebhooks(cmd.Context())
				if err != nil {
					return err
				}
				if w.json {
					return printJSON(env, list.JSON)
				}
				t := table{columns: []column{{title: "webhook"}, {title: "url"}, {title: "events"}, {title: "namespace"}, {title: "template"}}}
				for _, l := range list.Webhooks {
					t.add(l.ID, l.URL, strings.Join(l.Events, ","), orAny(l.Namespace), orAny(l.Template))
				}
				printTable(env, &t)
				return nil
			})
		},
	}
	w.server.flag(env, cmd)
	jsonFlag(cmd, &w.json)
	return cmd
}

// orAny writes a filter that is not there.
func orAny(filter string) string {
	if filter == "" {
		return "any"
	}
	return filter
}

func newWebhookRemoveCommand(env Env) *cobra.Command {
	w := webhookCommand{env: env}
	cmd := &cobra.Command{
		Use:   "remove WEBHOOK",
		Short: "Remove a webhook and its deliveries, those too that wait to be sent",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.run(func(c *apiclient.Client) error { return c.DeleteWebhook(cmd.Context(), args[0]) })
		},
	}
	w.server.flag(env, cmd)
	return cmd
}

func newWebhookDeliveriesCommand(env Env) *cobra.Command {
	w := webhookCommand{env: env}
	var state string
	var limit int
	cmd := &cobra.Command{
		Use:   "deliveries WEBHOOK",
		Short: "List what was sent and what waits to be, newest first",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.run(func(c *apiclient.Client) error {
				list, err := c.ListDeliveries(cmd.Context(), args[0], state, limit)
				if err != nil {
					return err
				}
				if w.json {
					return printJSON(env, list.JSON)
				}
				printDeliveries(env, list.Deliveries)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "only those in this state: pending, delivered or dead")
	cmd.Flags().IntVar(&limit, "limit", 25, "how many at most, 1 to 1000")
	w.server.flag(env, cmd)
	jsonFlag(cmd, &w.json)
	return cmd
}

func printDeliveries(env Env, deliveries []apiclient.Delivery) {
	t := table{columns: []column{
		{title: "created"}, {title: "event"}, {title: "task"}, {title: "state"}, {title: "attempts", right: true}, {title: "status", right: true}, {title: "error"},
	}}
	for _, d := range deliveries {
		status := ""
		if d.Status != 0 {
			status = strconv.Itoa(d.Status)
		}
		t.add(d.CreatedAt.Local().Format(time.DateTime), d.Event, d.Task, d.State, strconv.Itoa(d.Attempts), status, d.Error)
	}
	printTable(env, &t)
}
