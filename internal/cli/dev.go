package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/combined"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/demo"
	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/internal/process"
)

// A devCommand is a run of dev.
type devCommand struct {
	env                   Env
	databaseURL, dir      string
	listen, workerListens string
	json                  bool
}

func newDevCommand(env Env) *cobra.Command {
	d := devCommand{env: env}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run Tasker on a PostgreSQL of its own, until Ctrl-C",
		Long: "Run orchestration and a worker with the templates and handlers of the demo in one\n" +
			"process, until Ctrl-C. The configuration is that of TASKER_ENV, development unless\n" +
			"set, from TASKER_CONFIG_ROOT or TASKER_CONFIG_PATH, else the built-in one.\n\n" +
			"The database is on a private PostgreSQL that keeps its data in .tasker/pg. A second\n" +
			"dev in the same folder shares it, given addresses of its own: on the private server\n" +
			"orchestration.system.mode counts as distributed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	databaseFlag(cmd, &d.databaseURL, "a private server")
	flags := cmd.Flags()
	flags.StringVar(&d.dir, "data", "", "folder of the private server's data (default: .tasker/pg)")
	flags.StringVar(&d.listen, "listen", "", "host:port of the API, 0 for a free port (default: orchestration.system.web.bind_address)")
	flags.StringVar(&d.workerListens, "worker-listen", "", "the same of the worker's API (default: worker.system.web.bind_address)")
	flags.BoolVar(&d.json, "json", false, "say where everything is as a line of JSON")
	return cmd
}

func (d *devCommand) run(ctx context.Context) (err error) {
	dir := d.dir
	if dir == "" {
		if dir, err = privatepg.DefaultDir(ctx, "."); err != nil {
			return err
		}
	}
	db, err := openDatabase(ctx, d.databaseURL, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	cfg, err := d.configure(db)
	if err != nil {
		return err
	}
	log := process.Logger(d.env.Stderr, d.env.variable("LOG_LEVEL"), d.env.variable("LOG_FORMAT"))
	process.LogConfig(ctx, log, cfg.Loaded())
	process.Limit(ctx, cfg.Current(), log)
	applied, err := migrate(ctx, cfg.Current().Common)
	if err != nil {
		return err
	}
	for _, m := range applied {
		log.InfoContext(ctx, "migration applied", "name", m.Name)
	}
	err = combined.Run(ctx, cfg, log, combined.Options{
		Handlers: demo.Handlers(), Templates: demo.Templates(),
		Ready: func(orchestration, worker string) { d.announce(db, orchestration, worker) },
	})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how it ends
	}
	return err
}

// configure loads the configuration and lays the flags over it.
func (d *devCommand) configure(db *database) (*config.Live, error) {
	s := setup{env: d.env}
	s.database(db.url)
	s.fill("orchestration.system.web.bind_address", "TASKER_ORCHESTRATION_WEB_BIND_ADDRESS", d.listen)
	s.fill("worker.system.web.bind_address", "TASKER_WORKER_WEB_BIND_ADDRESS", d.workerListens)
	if db.server != nil {
		// Else a restart after a kill would wait for the lease of the dead one.
		s.lay("orchestration.system.mode", `"distributed"`)
	}
	return config.LoadLive(config.ContextComplete, s.options())
}

// announce says where everything is. Nobody is left to be told when that fails.
func (d *devCommand) announce(db *database, orchestration, worker string) {
	api, health := reachable(orchestration), reachable(worker)
	if d.json {
		places := map[string]string{"orchestration_url": api, "worker_url": health, "database": db.String()}
		if db.server != nil {
			places["database_url"] = db.url // which holds no password
		}
		_ = printJSONLine(d.env, places)
		return
	}
	s := newScreen(d.env, d.env.Stdout)
	s.printf("%s", s.paint(bold, "Tasker runs."))
	if api != "" {
		s.printf("  API       %s/v1/tasks, described at %s/api-docs/ui", api, api)
	}
	if health != "" {
		s.printf("  worker    %s/health/detailed", health)
	}
	s.printf("  database  %s", db)
	if db.server != nil {
		s.printf("            psql '%s'", db.url)
	}
	if api != "" {
		s.printf("\nCreate a task in another terminal:")
		s.printf(`  tasker-cli task create demo/linear --server %s --context '{"number": 6}' --wait`, api)
	}
	s.printf("\nCtrl-C stops it.")
}

// reachable returns the URL by which this machine reaches a server that listens
// on the address, "" for one that is off.
func reachable(address string) string {
	if address == "" {
		return ""
	}
	if all, err := netip.ParseAddrPort(address); err == nil && all.Addr().IsUnspecified() {
		address = net.JoinHostPort("127.0.0.1", fmt.Sprint(all.Port()))
	}
	return "http://" + address
}
