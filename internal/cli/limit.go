package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newLimitCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "limit",
		Short: "Bound how many steps run at once, and how often one starts",
		Long: "Bound how many steps of a namespace or of a key run at once, and how often one of a\n" +
			"key starts, in all processes. What is set here goes before what templates say, and\n" +
			"holds at once.",
	}
	cmd.AddCommand(newLimitSetCommand(env), newLimitListCommand(env), newLimitRemoveCommand(env))
	return cmd
}

func newLimitSetCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var concurrency int
	var numbers apiclient.LimitNumbers
	var per time.Duration
	cmd := &cobra.Command{
		Use:   "set namespace:NAME|key:KEY",
		Short: "Set a limit and print it",
		Example: `  tasker-cli limit set namespace:payments --concurrency 20
  tasker-cli limit set key:customer:42 --concurrency 0
  tasker-cli limit set key:sms --rate 100 --per 1m --burst 10`,
		Args: cobra.ExactArgs(1),
	}
	r.command(cmd, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		if cmd.Flags().Changed("concurrency") {
			numbers.Concurrency = &concurrency
		}
		if numbers.Concurrency == nil && numbers.Rate == 0 {
			return view{}, usage(errors.New("a limit needs --concurrency, --rate, or both"))
		}
		if cmd.Flags().Changed("per") {
			numbers.Per = per.Seconds()
		}
		set, err := c.SetLimit(ctx, args[0], numbers)
		if err != nil {
			return view{}, err
		}
		return view{raw: set.JSON, lines: limitLines([]apiclient.Limit{*set})}, nil
	})
	cmd.Flags().IntVar(&concurrency, "concurrency", 0, "steps at once; 0 stops them all (default: any number)")
	cmd.Flags().Float64Var(&numbers.Rate, "rate", 0, "steps that start per --per (default: any number)")
	cmd.Flags().DurationVar(&per, "per", time.Second, "period of the rate")
	cmd.Flags().Float64Var(&numbers.Burst, "burst", 0, "steps that may start at once after a pause (default: the rate)")
	return r.completes(cmd, limitNames)
}

func newLimitListCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var after string
	cmd := r.command(&cobra.Command{
		Use: "list", Short: "List the limits in force and how they are used", Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		page, err := c.ListLimits(ctx, after)
		if err != nil {
			return view{}, err
		}
		return view{raw: page.JSON, lines: limitLines(page.Limits), next: page.Next}, nil
	})
	cmd.Flags().StringVar(&after, "after", "", "only limits whose names follow this one")
	r.watchFlag(cmd)
	return cmd
}

func newLimitRemoveCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "remove NAME", Short: "Take a limit away that was set; what templates say holds again", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		return nothing, c.RemoveLimit(ctx, args[0])
	}), limitNames)
}

func limitLines(limits []apiclient.Limit) func(*screen) []string {
	t := table{columns: []column{
		{title: "limit"},
		{title: "at once", right: true},
		{title: "rate"},
		{title: "set by"},
		{title: "in use", right: true},
		{title: "waiting", right: true},
	}}
	for i := range limits {
		l := &limits[i]
		atOnce, rate, by := "", "", "template"
		if l.Concurrency != nil {
			atOnce = strconv.Itoa(*l.Concurrency)
		}
		if l.Rate != 0 {
			rate = fmt.Sprintf("%g per %s, burst %g", l.Rate, time.Duration(l.Per*float64(time.Second)), l.Burst)
		}
		if l.Origin == "operator" {
			by = l.Origin
		}
		t.add(l.Name, atOnce, rate, by, strconv.Itoa(l.InUse), strconv.Itoa(l.Waiting))
	}
	return tabled(&t)
}
