package cli

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/combined"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/demo"
	"github.com/tasker-systems/tasker-go/internal/process"
)

// A demoCommand is a run of demo.
type demoCommand struct {
	env         Env
	databaseURL string
	json        bool

	screen *screen // shows what is going on
}

func newDemoCommand(env Env) *cobra.Command {
	d := demoCommand{env: env}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run real workflows on a throw-away PostgreSQL, and check their results",
		Long: "Run five workflows and a burst of a thousand on a private PostgreSQL, check every\n" +
			"result to the last digit, and leave nothing behind. The configuration is that of\n" +
			"TASKER_ENV, development unless set, but for two things: the web servers are off, and\n" +
			"the worker runs up to 1,000 steps at once, so that the burst has room.\n\n" +
			"With --database-url the schema and the finished tasks stay in that database. The\n" +
			"exit code is 1 when anything is wrong.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.screen = newScreen(env, env.Stderr)
			return d.run(cmd.Context())
		},
	}
	databaseFlag(cmd, &d.databaseURL, "a throw-away server")
	jsonFlag(cmd, &d.json)
	return cmd
}

func (d *demoCommand) run(ctx context.Context) error {
	report, err := d.perform(ctx)
	d.screen.draw()
	if err != nil {
		return err
	}
	if d.json {
		err = printJSON(d.env, report)
	} else {
		report.print(d.env)
	}
	if err == nil && !report.OK {
		err = errors.New("not everything went as it must; see above")
	}
	return err
}

// perform runs everything, and has stopped all it started when it returns.
func (d *demoCommand) perform(ctx context.Context) (report *demoReport, err error) {
	began := time.Now()
	if d.databaseURL == "" {
		d.screen.draw("starting a private PostgreSQL …")
	}
	db, err := openDatabase(ctx, d.databaseURL, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	cfg, err := d.configure(db)
	if err != nil {
		return nil, err
	}
	if _, err := migrate(ctx, cfg.Common); err != nil {
		return nil, err
	}
	d.screen.draw()
	d.screen.printf("PostgreSQL  %s, ready after %s", db, milliseconds(time.Since(began)))
	d.screen.draw("starting orchestration and a worker …")
	err = d.withTasker(ctx, cfg, func(ctx context.Context, pool *pgxpool.Pool) error {
		d.screen.draw()
		d.screen.printf("Tasker      orchestration and a worker in this process, configured for %s\n", cfg.Common.Environment)
		c := client.New(pool, cfg.Common)
		defer c.Close()
		run := demoRun{screen: d.screen, pool: pool, client: c}
		report, err = run.all(ctx)
		return err
	})
	return report, err
}

// configure loads the configuration and lays over it what the help says.
func (d *demoCommand) configure(db *database) (*config.Config, error) {
	s := setup{env: d.env}
	s.database(db.url)
	s.lay("orchestration.system.web.enabled", "false")
	s.lay("worker.system.web.enabled", "false")
	s.lay("worker.system.step_processing.max_concurrent_steps", "1000")
	return s.load(config.ContextComplete)
}

// withTasker calls do while both roles run.
func (d *demoCommand) withTasker(ctx context.Context, cfg *config.Config, do func(context.Context, *pgxpool.Pool) error) error {
	pool, err := connect(ctx, cfg.Common, "tasker-demo")
	if err != nil {
		return err
	}
	defer pool.Close()
	level := d.env.variable("LOG_LEVEL")
	if level == "" {
		level = "error" // the progress tells of attempts that fail
	}
	log := process.Logger(d.screen, level, d.env.variable("LOG_FORMAT"))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	ready := make(chan struct{})
	g.Go(func() error {
		err := combined.Run(ctx, cfg, log, combined.Options{
			Handlers: demo.Handlers(), Templates: demo.Templates(),
			Ready: func(string, string) { close(ready) },
		})
		if err == nil && ctx.Err() == nil {
			err = errors.New("orchestration and worker ended by themselves")
		}
		return err
	})
	g.Go(func() error {
		defer stop()
		select {
		case <-ready:
			return do(ctx, pool)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return g.Wait()
}
