package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newSystemCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "system",
		Short: "See how an installation is, and what it consists of",
	}
	cmd.AddCommand(newSystemHealthCommand(env), newSystemInfoCommand(env), newSystemPerformanceCommand(env), newSystemBottlenecksCommand(env))
	return cmd
}

func newSystemHealthCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	cmd := r.command(&cobra.Command{
		Use:   "health",
		Short: "Say how each part of a server is",
		Long: "Say how each part of a server is; with the URL of a worker, how that one is. The exit\n" +
			"code is 1 while the server cannot do its work.",
		Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		h, err := c.Health(ctx)
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{{title: "check"}, {title: "status"}, {title: "message"}}}
		for _, name := range slices.Sorted(maps.Keys(h.Checks)) {
			t.add(name, h.Checks[name].Status, h.Checks[name].Message)
		}
		shown := view{raw: h.JSON, lines: func(s *screen) []string {
			head := factLines(s, []fact{{"server", c.Server()}, {"role", h.Info.Role}, {"environment", h.Info.Environment}, {"status", h.Status}})
			return append(append(head, ""), t.lines(s)...)
		}}
		if h.Status == "unhealthy" {
			shown.err = fmt.Errorf("%s cannot do its work", c.Server())
		}
		return shown, nil
	})
	r.watchFlag(cmd)
	return cmd
}

func newSystemInfoCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	cmd := r.command(&cobra.Command{
		Use: "info", Short: "Say which versions run, on what database, and how many processes there are", Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		found, err := c.DescribeSystem(ctx)
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{{title: "role"}, {title: "state"}, {title: "version"}, {title: "processes", right: true}, {title: "busy", right: true}}}
		for _, p := range found.Processes {
			t.add(p.Role, p.State, p.Version, strconv.Itoa(p.Processes), busy(p.Running, p.Capacity))
		}
		return view{raw: found.JSON, lines: func(s *screen) []string {
			head := factLines(s, []fact{
				{"server", c.Server()},
				{"version", found.Version + ", " + found.GoVersion},
				{"environment", found.Environment},
				{"database", fmt.Sprintf("PostgreSQL %s, schema %d of %d", found.Database.Server, found.Database.Schema, found.Database.Known)},
				{"templates", thousands(found.Templates)},
				{"dead letters", thousands(found.DeadLetters) + " pending"},
			})
			return append(append(head, ""), t.lines(s)...)
		}}, nil
	})
	r.watchFlag(cmd)
	return cmd
}
