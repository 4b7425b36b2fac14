package cli

import (
	"context"
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
	cmd.AddCommand(
		newWebhookAddCommand(env), newWebhookListCommand(env), newWebhookRemoveCommand(env),
		newWebhookDeliveriesCommand(env), newWebhookRedeliverCommand(env),
	)
	return cmd
}

func newWebhookAddCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var request apiclient.WebhookRequest
	cmd := r.command(&cobra.Command{
		Use:   "add URL",
		Short: "Add a webhook and print its id and its secret, which is not shown again",
		Example: `  tasker-cli webhook add https://example.com/tasker --events task.completed,task.failed
  tasker-cli webhook add https://example.com/tasker --events task.dead_lettered --namespace orders`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		request.URL = args[0]
		added, err := c.CreateWebhook(ctx, request)
		if err != nil {
			return view{}, err
		}
		return view{raw: added.JSON, lines: said("webhook  %s\nsecret   %s", added.ID, added.Secret)}, nil
	})
	cmd.Flags().StringSliceVar(&request.Events, "events", []string{"task.completed", "task.failed", "task.blocked_by_failures"},
		"of these and task.cancelled, task.resolved_manually, task.dead_lettered")
	cmd.Flags().StringVar(&request.Namespace, "namespace", "", "only of tasks of this namespace")
	cmd.Flags().StringVar(&request.Template, "template", "", "only of tasks of this template, by its name")
	return cmd
}

func newWebhookListCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.command(&cobra.Command{
		Use: "list", Short: "List the webhooks, oldest first", Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		list, err := c.ListWebhooks(ctx)
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{{title: "webhook"}, {title: "url"}, {title: "events"}, {title: "namespace"}, {title: "template"}}}
		for i := range list.Webhooks {
			w := &list.Webhooks[i]
			t.add(w.ID, w.URL, strings.Join(w.Events, ","), orAny(w.Namespace), orAny(w.Template))
		}
		return view{raw: list.JSON, lines: tabled(&t)}, nil
	})
}

// orAny writes a filter that is not there.
func orAny(filter string) string {
	if filter == "" {
		return "any"
	}
	return filter
}

func newWebhookRemoveCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "remove WEBHOOK", Short: "Remove a webhook and its deliveries, those too that wait to be sent", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		return nothing, c.DeleteWebhook(ctx, args[0])
	}), webhookIDs)
}

func newWebhookDeliveriesCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var state string
	var limit int
	cmd := r.command(&cobra.Command{
		Use: "deliveries WEBHOOK", Short: "List what was sent and what waits to be, newest first", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		list, err := c.ListDeliveries(ctx, args[0], state, limit)
		if err != nil {
			return view{}, err
		}
		return view{raw: list.JSON, lines: deliveryLines(list.Deliveries)}, nil
	})
	cmd.Flags().StringVar(&state, "state", "", "only those in this state: pending, delivered or dead")
	cmd.Flags().IntVar(&limit, "limit", 25, "how many at most, 1 to 1000")
	r.watchFlag(cmd)
	return r.completes(cmd, webhookIDs)
}

func newWebhookRedeliverCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use:   "redeliver WEBHOOK DELIVERY",
		Short: "Send a delivery that is over once more, with all of its attempts",
		Long: "Send a delivery that is over once more, with all of its attempts. The receiver gets\n" +
			"the same body under the same id.",
		Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		again, err := c.Redeliver(ctx, args[0], args[1])
		if err != nil {
			return view{}, err
		}
		return view{raw: again.JSON, lines: deliveryLines([]apiclient.Delivery{*again})}, nil
	}), webhookIDs)
}

func deliveryLines(deliveries []apiclient.Delivery) func(*screen) []string {
	t := table{columns: []column{
		{title: "delivery"},
		{title: "created"},
		{title: "event"},
		{title: "task"},
		{title: "state"},
		{title: "attempts", right: true},
		{title: "status", right: true},
		{title: "error"},
	}}
	for i := range deliveries {
		d := &deliveries[i]
		status := ""
		if d.Status != 0 {
			status = strconv.Itoa(d.Status)
		}
		t.add(d.ID, d.CreatedAt.Local().Format(time.DateTime), d.Event, d.Task, d.State, strconv.Itoa(d.Attempts), status, d.Error)
	}
	return tabled(&t)
}
