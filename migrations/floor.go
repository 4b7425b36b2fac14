package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// Programs of two versions run side by side while one is rolled out. So a
// migration only adds, and what nothing uses any more is taken away by a later
// one, a release after the last program that used it. Such a migration says in a
// line of its file which migration a program must know to go on:
//
//	-- tasker:floor 17
//
// Programs that know less are not started any more, and while one runs the
// migration is refused.
var floorLine = regexp.MustCompile(`(?m)^-- tasker:floor (\d+)$`)

// An OutdatedError says that processes run which do not know enough for a
// migration.
type OutdatedError struct {
	Floor     int64    // what they would have to know
	Processes []string // in words
}

func (e *OutdatedError) Error() string {
	return fmt.Sprintf("the migrations take away what processes still use that know none after %d: %s", e.Floor-1, strings.Join(e.Processes, "; "))
}

// floorOf returns the highest floor among migrations that are pending, 0 when
// there is none.
func floorOf(files fs.FS, all []Migration) (int64, error) {
	highest := int64(0)
	for _, m := range all {
		if m.Applied {
			continue
		}
		text, err := fs.ReadFile(files, m.Name)
		if err != nil {
			return 0, err
		}
		for _, found := range floorLine.FindAllSubmatch(text, -1) {
			floor, err := strconv.ParseInt(string(found[1]), 10, 64)
			if err != nil || floor > m.Version {
				return 0, fmt.Errorf("%s sets the floor %s", m.Name, found[1])
			}
			highest = max(highest, floor)
		}
	}
	return highest, nil
}

// Whoever was silent for three heartbeats is gone.
const outdatedSQL = `
	select w.role || ' ' || w.version || ' on ' || w.host || ', process ' || w.pid
	from tasker.workers w
	where w.stopped_at is null and w.last_seen_at > clock_timestamp() - make_interval(secs => 3 * w.beat_seconds) and w.schema < $1
	order by w.process_id`

// guard is an [OutdatedError] while programs run that are below the floor.
func guard(ctx context.Context, db *sql.DB, floor int64) error {
	exists, err := hasFloor(ctx, db)
	if err != nil || !exists || floor == 0 {
		return err
	}
	outdated, err := texts(ctx, db, outdatedSQL, floor)
	if err == nil && len(outdated) > 0 {
		err = &OutdatedError{Floor: floor, Processes: outdated}
	}
	return err
}

// unguarded lets migrations run whatever is running.
func unguarded(context.Context, *sql.DB, int64) error { return nil }

// hasFloor reports whether the database is not older than floors are.
func hasFloor(ctx context.Context, db *sql.DB) (exists bool, err error) {
	err = db.QueryRowContext(ctx, `select to_regclass('tasker.schema_floor') is not null`).Scan(&exists)
	return exists, err
}

// raise sets the floor, if the database has one yet.
func raise(ctx context.Context, db *sql.DB, floor int64) error {
	exists, err := hasFloor(ctx, db)
	if err != nil || !exists || floor == 0 {
		return err
	}
	_, err = db.ExecContext(ctx, `update tasker.schema_floor set version = greatest(version, $1)`, floor)
	return err
}

func texts(ctx context.Context, db *sql.DB, query string, args ...any) (found []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		found = append(found, text)
	}
	return found, rows.Err()
}

// A MisfitError says that a program and a database do not go together.
type MisfitError struct{ reason string }

func (e *MisfitError) Error() string { return e.reason }

// Fit looks whether this program may work on the database. It is a [MisfitError]
// when the database lacks a migration that the program knows, or no longer has
// what the program uses. A database with migrations that the program does not
// know is fine otherwise.
func Fit(ctx context.Context, databaseURL string) error {
	all, err := Status(ctx, databaseURL)
	if err != nil {
		return err
	}
	for _, m := range all {
		if !m.Applied {
			return &MisfitError{"lacks migration " + m.Name + "; run `tasker-cli db migrate`"}
		}
	}
	return fit(ctx, databaseURL, Newest())
}

// fit holds what a program knows against the floor.
func fit(ctx context.Context, databaseURL string, known int64) error {
	var floor int64
	err := connected(databaseURL, func(db *sql.DB) error {
		return db.QueryRowContext(ctx, `select max(version) from tasker.schema_floor`).Scan(&floor)
	})
	if err != nil {
		return fmt.Errorf("read what the database asks of programs: %w", err)
	}
	if floor > known {
		return &MisfitError{fmt.Sprintf("is for programs that know migration %d, and this one knows none after %d; start a newer version", floor, known)}
	}
	return nil
}

// ApplyAnyway is [Apply], even where processes run that the migrations break.
func ApplyAnyway(ctx context.Context, databaseURL string) ([]Migration, error) {
	return apply(ctx, databaseURL, FS, unguarded)
}

// connected opens a connection for a while. Its errors have no password.
func connected(databaseURL string, do func(*sql.DB) error) (err error) {
	db, err := open(databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}
