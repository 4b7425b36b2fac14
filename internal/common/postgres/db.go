// Package postgres holds every SQL statement of Tasker: one file per subject,
// one function per statement. It decides nothing; it carries out, in sets, what
// its callers decided.
//
// Locks are taken in one order everywhere: tasks, steps, messages, each sorted
// by id. Claims and heartbeats skip what is locked, so they never wait and can
// be part of no deadlock. Start reading at apply.go, the heart of the engine.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/tasker-go/config"
)

// DB runs statements: a pool, a connection or a transaction.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// A Pool is a DB that can begin transactions.
type Pool interface {
	DB
	Begin(ctx context.Context) (pgx.Tx, error)
}

// InTx runs do in a transaction, which commits unless do fails. Within a
// transaction that is a savepoint.
func InTx(ctx context.Context, pool Pool, do func(tx Pool) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return do(tx) })
}

// ErrNotFound says that what was asked for does not exist.
var ErrNotFound = errors.New("not found")

// settings make the plans of the engine's statements what they are written to
// be, planned once: nested loops over primary keys. Statistics cannot say so,
// since tables that are small when a plan is made grow large under it.
//
// One full scan the settings leave open: that of an index, for its order. So
// the statements write key = any (array[x]) where others write key = x: the
// same thing, which serves as an index condition and suggests no order.
var settings = map[string]string{
	"plan_cache_mode":  "force_generic_plan",
	"enable_seqscan":   "off",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
	"jit":              "off",
}

// Open opens the pool that cfg describes and checks that the server answers and
// is new enough. The application's name shows in pg_stat_activity. An error
// names the server and the database and never the password.
func Open(ctx context.Context, cfg config.Database, application string) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, errors.New("common.database.url does not parse; it looks like postgresql://user:password@host:5432/database")
	}
	pc.MaxConns = int32(cfg.Pool.MaxConnections) //nolint:gosec // 1 to 1000 by its range
	pc.MinConns = int32(cfg.Pool.MinConnections) //nolint:gosec // 0 to 100 by its range
	pc.MaxConnIdleTime = cfg.Pool.IdleTimeout.Duration()
	pc.MaxConnLifetime = cfg.Pool.MaxLifetime.Duration()
	pc.ConnConfig.ConnectTimeout = cfg.Pool.AcquireTimeout.Duration()
	pc.ConnConfig.Tracer = acquireBound{cfg.Pool.AcquireTimeout.Duration()}
	params := pc.ConnConfig.RuntimeParams
	params["application_name"] = application
	params["statement_timeout"] = strconv.FormatInt(cfg.Variables.StatementTimeout.Duration().Milliseconds(), 10)
	maps.Copy(params, settings)
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open the connection pool to %s: %w", Where(cfg.URL), err)
	}
	if err := checkServer(ctx, pool, cfg); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// oldest is the first server version that works, as server_version_num.
const oldest = 150000

func checkServer(ctx context.Context, pool *pgxpool.Pool, cfg config.Database) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Pool.AcquireTimeout.Duration())
	defer cancel()
	var version int
	if err := pool.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&version); err != nil {
		return fmt.Errorf("connect to PostgreSQL at %s: %w", Where(cfg.URL), reason(err))
	}
	if version < oldest {
		return fmt.Errorf("PostgreSQL at %s is version %d; Tasker needs 15 or later", Where(cfg.URL), version/10000)
	}
	return nil
}

// A connectError says what the server or the network said. The error inside is
// for callers that branch on it: its own text repeats the connection string.
type connectError struct {
	text string
	err  error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.err }

func reason(err error) error {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return &connectError{fmt.Sprintf("%s (SQLSTATE %s)", pgErr.Message, pgErr.Code), err}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &connectError{"no answer in time; is the server running and reachable?", err}
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return &connectError{innermost(err).Error() + "; is the server running and reachable?", err}
	}
	return err
}

// innermost is the error at the end of the chain; of several attempts, the last.
func innermost(err error) error {
	for {
		switch wrapped := err.(type) { //nolint:errorlint // walks the chain itself
		case interface{ Unwrap() error }:
			if wrapped.Unwrap() == nil {
				return err
			}
			err = wrapped.Unwrap()
		case interface{ Unwrap() []error }:
			all := wrapped.Unwrap()
			err = all[len(all)-1]
		default:
			return err
		}
	}
}

// Where names the server and the database of a URL for people, without user
// and password.
func Where(databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "the configured URL"
	}
	host := u.Host
	if host == "" {
		host = u.Query().Get("host")
	}
	return host + u.Path
}

// seconds passes a duration to SQL, as $n::float8 in make_interval.
func seconds(d time.Duration) float64 { return d.Seconds() }
