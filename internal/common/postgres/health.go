package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

const pingSQL = `select 1`

// Ping reports whether the server answers.
func Ping(ctx context.Context, db DB) error {
	if _, err := db.Exec(ctx, pingSQL); err != nil {
		return fmt.Errorf("ask the database for an answer: %w", err)
	}
	return nil
}

// IsUnavailable reports whether err says that the server cannot be reached, is
// overloaded or stopping, or took too long. The same may succeed later.
func IsUnavailable(err error) bool {
	if _, refused := errors.AsType[*pgconn.ConnectError](err); refused {
		return true
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pgErr.Code[:2] {
		case "08", "53", "57": // connection exception, insufficient resources, operator intervention
			return true
		}
		return false
	}
	_, broken := errors.AsType[net.Error](err)
	return broken || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// IsTransient reports whether the same may succeed later: see [IsUnavailable];
// or another transaction was in the way.
func IsTransient(err error) bool {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && (pgErr.Code[:2] == "40" || pgErr.Code[:2] == "55") {
		return true // transaction rollback, object not in prerequisite state
	}
	return IsUnavailable(err)
}
