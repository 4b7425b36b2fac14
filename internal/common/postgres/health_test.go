package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

func TestIsUnavailable(t *testing.T) {
	t.Parallel()
	code := func(code string) error { return fmt.Errorf("do it: %w", &pgconn.PgError{Code: code}) }
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"connection lost":      {fmt.Errorf("do it: %w", io.ErrUnexpectedEOF), true},
		"no answer in time":    {context.DeadlineExceeded, true},
		"server stops":         {code("57P01"), true},
		"statement timeout":    {code("57014"), true},
		"too many connections": {code("53300"), true},
		"no such table":        {code("42P01"), false},
		"invalid text":         {code("22P05"), false},
		"not found":            {postgres.ErrNotFound, false},
		"anything else":        {errors.New("surprise"), false},
	} {
		if got := postgres.IsUnavailable(test.err); got != test.want {
			t.Errorf("%s: got %t; want %t", name, got, test.want)
		}
	}
}
