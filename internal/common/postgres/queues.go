package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const createQueuesSQL = `select pgmq.create_unlogged(q) from unnest($1::text[]) q order by q`

// CreateQueues creates the queues that do not exist. They are unlogged: what a
// crash of the server takes from them is rebuilt from the steps.
func CreateQueues(ctx context.Context, db DB, queues []string) error {
	if _, err := db.Exec(ctx, createQueuesSQL, queues); err != nil {
		return fmt.Errorf("create queues: %w", err)
	}
	return nil
}

const notifySQL = `select pg_notify(c, '') from unnest($1::text[]) c`

// Notify wakes the listeners of the channels.
func Notify(ctx context.Context, db DB, channels []string) error {
	if _, err := db.Exec(ctx, notifySQL, channels); err != nil {
		return fmt.Errorf("notify listeners: %w", err)
	}
	return nil
}

// Listen subscribes the connection to the channels.
func Listen(ctx context.Context, conn *pgx.Conn, channels []string) error {
	for _, c := range channels {
		if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{c}.Sanitize()); err != nil {
			return fmt.Errorf("listen to %s: %w", c, err)
		}
	}
	return nil
}

// DeleteMessages removes messages that still say what the caller thinks.
func DeleteMessages(ctx context.Context, db DB, queue string, gone []Message) error {
	ids, tasks, ordinals, claims := messages(gone)
	if _, err := db.Exec(ctx, deleteSQL(queue), ids, tasks, ordinals, claims); err != nil {
		return fmt.Errorf("delete messages from %s: %w", queue, err)
	}
	return nil
}

// IsDeadlock reports whether PostgreSQL ended the transaction because two waited
// for each other. The same may succeed at once.
func IsDeadlock(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code == "40P01" || pgErr.Code == "40001")
}

// IsDataError reports whether PostgreSQL refused a value: one that JSON allows
// and jsonb does not, such as the character U+0000, or one beyond its limits.
// The same value would be refused again.
func IsDataError(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	switch pgErr.Code[:2] {
	case "22", "54": // data exception, program limit exceeded
		return true
	}
	return false
}

// IsMissingTable reports whether a statement named a table that does not exist,
// such as a queue that somebody has dropped.
func IsMissingTable(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "42P01"
}

// Reason is what PostgreSQL said, without statement and position.
func Reason(err error) string {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err.Error()
	}
	if pgErr.Detail != "" {
		return pgErr.Message + ": " + pgErr.Detail
	}
	return pgErr.Message
}
