package migrations_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/migrations"
)

// withMore returns the migrations of a later program: ours and more, by the
// number that they have behind our newest.
func withMore(t *testing.T, more ...string) fstest.MapFS {
	t.Helper()
	all := fstest.MapFS{}
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = &fstest.MapFile{Data: text}
	}
	for i, text := range more {
		all[fmt.Sprintf("%04d_later.sql", migrations.Newest()+int64(i)+1)] = &fstest.MapFile{Data: []byte(text)}
	}
	return all
}

// TestFloor follows a database over two releases: the first adds, and programs of
// today go on; the second takes away, is refused while one of them runs, and then
// starts none of them any more.
func TestFloor(t *testing.T) {
	t.Parallel()
	databaseURL := testdb.New(t)
	today := migrations.Newest()
	adds := "-- +goose Up\nalter table tasker.tasks add column colour text;\n"
	takes := fmt.Sprintf("-- +goose Up\n-- tasker:floor %d\nalter table tasker.tasks drop column colour;\n", today+1)

	if _, err := migrations.ApplyFiles(t.Context(), databaseURL, withMore(t, adds)); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Fit(t.Context(), databaseURL); err != nil {
		t.Errorf("a schema that only grew refuses the programs of before: %v", err)
	}
	if again, err := migrations.Apply(t.Context(), databaseURL); len(again) != 0 || err != nil {
		t.Errorf("migrating with the program of before: %v, %v", again, err)
	}

	live := query[string](t, databaseURL, fmt.Sprintf(`
		insert into tasker.workers (process_id, role, worker_id, worker_type, host, pid, namespaces, version, schema)
		values ('%s', 'worker', 'w', '', 'left', 7, '{}', 'v1', %d) returning process_id::text`, uuid.New(), today))
	_, err := migrations.ApplyFiles(t.Context(), databaseURL, withMore(t, adds, takes))
	outdated, ok := errors.AsType[*migrations.OutdatedError](err)
	if !ok || outdated.Floor != today+1 || len(outdated.Processes) != 1 || !strings.Contains(err.Error(), "worker v1 on left, process 7") {
		t.Fatalf("while a worker of before runs: %v", err)
	}
	if err := migrations.Fit(t.Context(), databaseURL); err != nil {
		t.Errorf("what was refused has changed something: %v", err)
	}
	query[string](t, databaseURL, `update tasker.workers set stopped_at = now() where process_id = '`+live+`' returning ''`)
	if done, err := migrations.ApplyFiles(t.Context(), databaseURL, withMore(t, adds, takes)); len(done) != 1 || err != nil {
		t.Fatalf("once it has stopped: %v, %v", done, err)
	}
	err = migrations.Fit(t.Context(), databaseURL)
	if _, misfit := errors.AsType[*migrations.MisfitError](err); !misfit || !strings.Contains(err.Error(), "start a newer version") {
		t.Errorf("a program of before: %v", err)
	}
	if err := migrations.FitKnowing(t.Context(), databaseURL, today+1); err != nil {
		t.Errorf("a program of the first release: %v", err)
	}
}

// TestFit: a database that lacks the newest migration is no place to start.
func TestFit(t *testing.T) {
	t.Parallel()
	databaseURL := testdb.NewEmpty(t)
	files := withMore(t)
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	newest := names[len(names)-1]
	delete(files, newest)
	if _, err := migrations.ApplyFiles(t.Context(), databaseURL, files); err != nil {
		t.Fatal(err)
	}
	err = migrations.Fit(t.Context(), databaseURL)
	if _, misfit := errors.AsType[*migrations.MisfitError](err); !misfit || !strings.Contains(err.Error(), "lacks migration "+newest) {
		t.Errorf("one behind: %v", err)
	}
	if done, err := migrations.Apply(t.Context(), databaseURL); len(done) != 1 || err != nil {
		t.Fatalf("migrated %v, %v", done, err)
	}
	if err := migrations.Fit(t.Context(), databaseURL); err != nil {
		t.Error(err)
	}
}
