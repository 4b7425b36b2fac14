// Package migrations holds the schema of Tasker as SQL files and brings a
// database up to it. The schema lives in the PostgreSQL schemas "tasker" (ours)
// and "pgmq" (queues). Start reading at 0001_tasker.sql.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
)

// FS holds the migrations, NNNN_name.sql in order.
//
//go:embed *.sql
var FS embed.FS

// table remembers which migrations a database has seen. It is qualified: what
// an unqualified name means changes once a schema of the role's name exists.
const table = "tasker.migrations"

// A Migration is one step of the schema.
type Migration struct {
	Version int64  // counts from 1
	Name    string // the file's name
	Applied bool
}

// Two that create a schema at once do not see each other, and one ends with a
// duplicate key; so they take turns, in one transaction.
const createSchemaSQL = `
	do $$ begin
		perform pg_advisory_xact_lock(hashtext('tasker.schema'));
		create schema if not exists tasker;
	end $$`

// Newest is the version of the newest migration that this program has.
func Newest() int64 {
	names, err := fs.Glob(FS, "*.sql") // sorted
	if err != nil || len(names) == 0 {
		panic("migrations: none are built in")
	}
	version, err := goose.NumericComponent(names[len(names)-1])
	if err != nil {
		panic(fmt.Sprintf("migrations: %v", err))
	}
	return version
}

// Apply runs every migration the database lacks and returns those it ran.
// Concurrent calls wait for each other, so any number of processes may start
// at once. A database that is up to date is left untouched. It is an
// [OutdatedError] where processes run that the migrations would break.
func Apply(ctx context.Context, databaseURL string) ([]Migration, error) {
	return apply(ctx, databaseURL, FS, guard)
}

// apply applies the migrations among files, unless check refuses the floor that
// they set.
func apply(
	ctx context.Context, databaseURL string, files fs.FS, check func(context.Context, *sql.DB, int64) error,
) ([]Migration, error) {
	var applied []Migration
	err := with(databaseURL, files, func(db *sql.DB, p *goose.Provider) error {
		if _, err := db.ExecContext(ctx, createSchemaSQL); err != nil {
			return err
		}
		all, err := status(ctx, db, p)
		if err != nil {
			return err
		}
		floor, err := floorOf(files, all)
		if err != nil {
			return err
		}
		if err := check(ctx, db, floor); err != nil {
			return err
		}
		if err := raise(ctx, db, floor); err != nil { // first, so that nobody below starts meanwhile
			return err
		}
		results, err := p.Up(ctx)
		for _, r := range results {
			applied = append(applied, Migration{Version: r.Source.Version, Name: r.Source.Path, Applied: true})
		}
		if err != nil {
			return err
		}
		return raise(ctx, db, floor) // where the migrations have made the table for it
	})
	if err != nil {
		return applied, fmt.Errorf("migrate the database: %w", err)
	}
	return applied, nil
}

// Status lists all migrations that the program has, oldest first, and which of
// them the database has. It changes nothing.
func Status(ctx context.Context, databaseURL string) ([]Migration, error) {
	var all []Migration
	err := with(databaseURL, FS, func(db *sql.DB, p *goose.Provider) (err error) {
		all, err = status(ctx, db, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read which migrations the database has: %w", err)
	}
	return all, nil
}

func status(ctx context.Context, db *sql.DB, p *goose.Provider) ([]Migration, error) {
	applied, err := appliedVersions(ctx, db)
	var all []Migration
	for _, s := range p.ListSources() {
		all = append(all, Migration{Version: s.Version, Name: s.Path, Applied: applied[s.Version]})
	}
	return all, err
}

// appliedVersions reads the table, unless it is not there: a new database has
// no migration.
func appliedVersions(ctx context.Context, db *sql.DB) (map[int64]bool, error) {
	var exists bool
	if err := db.QueryRowContext(ctx, `select to_regclass($1) is not null`, table).Scan(&exists); err != nil || !exists {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `select version_id from `+table+` where is_applied`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	applied := map[int64]bool{}
	for rows.Next() {
		var version int64
		if err := rows.Scan(&version); err != nil {
			return nil, err
		}
		applied[version] = true
	}
	return applied, rows.Err()
}

// with opens a connection of its own, since a migration may take longer than
// the statement timeout of the pool allows.
func with(databaseURL string, files fs.FS, do func(*sql.DB, *goose.Provider) error) error {
	return connected(databaseURL, func(db *sql.DB) error {
		p, err := provider(db, files)
		if err != nil {
			return err
		}
		return do(db, p)
	})
}

func open(databaseURL string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, errors.New("the database URL does not parse") // pgx's own text may hold the password
	}
	return stdlib.OpenDB(*cfg), nil
}

func provider(db *sql.DB, files fs.FS) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	store, err := database.NewStore(database.DialectPostgres, table)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(database.DialectCustom, db, files, goose.WithStore(store), goose.WithSessionLocker(locker))
}
