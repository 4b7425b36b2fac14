package migrations

import (
	"context"
	"io/fs"
)

// ApplyFiles applies migrations of a program that has others.
func ApplyFiles(ctx context.Context, databaseURL string, files fs.FS) ([]Migration, error) {
	return apply(ctx, databaseURL, files, guard)
}

// FitKnowing is Fit for a program that knows so many migrations.
func FitKnowing(ctx context.Context, databaseURL string, known int64) error {
	return fit(ctx, databaseURL, known)
}
