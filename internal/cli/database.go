package cli

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/migrations"
)

// databaseFlag adds --database-url.
func databaseFlag(cmd *cobra.Command, url *string, otherwise string) {
	cmd.Flags().StringVar(url, "database-url", "",
		"PostgreSQL to use, as postgresql://user:password@host:5432/database (default: "+otherwise+")")
}

// A database is what a command works on: one that the user named, or one on a
// private server that ends with the command.
type database struct {
	url    string
	server *privatepg.Server // nil for one that the user named
}

// openDatabase returns the database at the URL or, where it is empty, that of a
// private server with its data in dir; an empty dir is a throw-away one.
func openDatabase(ctx context.Context, url, dir string) (*database, error) {
	if url != "" {
		return &database{url: url}, nil
	}
	server, err := privatepg.Start(ctx, privatepg.Options{Dir: dir})
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // err tells of programs that were killed
	}
	if err != nil {
		return nil, withHint(err, "--database-url names a PostgreSQL that runs already")
	}
	return &database{url: server.URL(privatepg.Database), server: server}, nil
}

// close ends a private server.
func (d *database) close() error {
	if d.server == nil {
		return nil
	}
	return d.server.Close()
}

// String names the database for people, without a password.
func (d *database) String() string {
	switch {
	case d.server == nil:
		return postgres.Where(d.url)
	case d.server.Attached():
		return "the private PostgreSQL of another process, in " + d.server.Dir()
	default:
		return "a private PostgreSQL, in " + d.server.Dir()
	}
}

// connect opens a pool, or says why the database cannot be used.
func connect(ctx context.Context, cfg config.Common, application string) (*pgxpool.Pool, error) {
	pool, err := postgres.Open(ctx, cfg.Database, application)
	if err != nil && ctx.Err() == nil {
		err = withHint(err, "the database is that of --database-url, else common.database.url in the configuration, which takes DATABASE_URL")
	}
	return pool, err
}

// migrate brings the schema of the database up to date and says what it ran.
func migrate(ctx context.Context, cfg config.Common) ([]migrations.Migration, error) {
	return migrateBy(ctx, cfg, migrations.Apply)
}

// migrateBy is migrate with one of the ways to apply migrations.
func migrateBy(
	ctx context.Context, cfg config.Common, apply func(context.Context, string) ([]migrations.Migration, error),
) ([]migrations.Migration, error) {
	pool, err := connect(ctx, cfg, "tasker-cli") // for its clear words when that fails
	if err != nil {
		return nil, err
	}
	pool.Close()
	applied, err := apply(ctx, cfg.Database.URL)
	if err != nil {
		return nil, fmt.Errorf("database at %s: %w", postgres.Where(cfg.Database.URL), err)
	}
	return applied, nil
}
