package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/migrations"
)

// A dbCommand is one of the commands below db.
type dbCommand struct {
	env   Env
	url   string
	json  bool
	force bool
}

func newDBCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "Migrate and check the database",
		Long: "Migrate and check the database that --database-url names, else the one of the\n" +
			"configuration for TASKER_ENV.",
	}
	add := func(run func(*dbCommand, context.Context) error, sub *cobra.Command) *dbCommand {
		d := &dbCommand{env: env}
		sub.Args = cobra.NoArgs
		sub.RunE = func(cmd *cobra.Command, _ []string) error { return run(d, cmd.Context()) }
		databaseFlag(sub, &d.url, "that of the configuration")
		jsonFlag(sub, &d.json)
		cmd.AddCommand(sub)
		return d
	}
	up := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the schema up to date",
		Long: "Bring the schema up to date. Any number of processes may do so at once; they wait\n" +
			"for each other. Servers go on working meanwhile. Where a migration takes away what\n" +
			"servers of an older version still use, it is refused while these run\n" +
			"(docs/operations.md).",
	}
	migrate := add((*dbCommand).migrate, up)
	up.Flags().BoolVar(&migrate.force, "force", false, "migrate even while servers run that the migrations break")
	add((*dbCommand).status, &cobra.Command{
		Use:   "status",
		Short: "List the migrations, and which of them the database has",
	})
	add((*dbCommand).check, &cobra.Command{
		Use:   "check",
		Short: "Hold the database against the invariants of the engine",
		Long: "Hold the database against the invariants of the engine and list what breaks them;\n" +
			"the exit code is 1 when anything does.",
	})
	return cmd
}

// load returns the common section, its database that of the flag if there is
// one.
func (d *dbCommand) load() (config.Common, error) {
	s := setup{env: d.env}
	s.database(d.url)
	cfg, err := s.load(config.ContextCommon)
	if err != nil {
		return config.Common{}, err
	}
	return cfg.Common, nil
}

// A migrationLine is a migration, as --json prints it.
type migrationLine struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

func migrationLines(all []migrations.Migration) []migrationLine {
	lines := make([]migrationLine, len(all))
	for i, m := range all {
		lines[i] = migrationLine(m)
	}
	return lines
}

func (d *dbCommand) migrate(ctx context.Context) error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	apply := migrations.Apply
	if d.force {
		apply = migrations.ApplyAnyway
	}
	applied, err := migrateBy(ctx, cfg, apply)
	if _, outdated := errors.AsType[*migrations.OutdatedError](err); outdated {
		return withHint(err, "stop them, or start their new version; --force does it anyway")
	}
	if err != nil {
		return err
	}
	if d.json {
		return printJSON(d.env, map[string]any{"applied": migrationLines(applied)})
	}
	for _, m := range applied {
		fmt.Fprintf(d.env.Stdout, "applied %s\n", m.Name)
	}
	if len(applied) == 0 {
		fmt.Fprintln(d.env.Stdout, "up to date")
	}
	return nil
}

func (d *dbCommand) status(ctx context.Context) error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	pool, err := connect(ctx, cfg, "tasker-cli")
	if err != nil {
		return err
	}
	pool.Close()
	all, err := migrations.Status(ctx, cfg.Database.URL)
	if err != nil {
		return err
	}
	if d.json {
		return printJSON(d.env, map[string]any{"migrations": migrationLines(all)})
	}
	t := table{columns: []column{{title: "migration"}, {title: "state"}}}
	for _, m := range all {
		state := "pending"
		if m.Applied {
			state = "applied"
		}
		t.add(m.Name, state)
	}
	printTable(d.env, &t)
	return nil
}
