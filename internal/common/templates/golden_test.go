package templates

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// golden runs a case for each file that matches pattern. The case gets the
// file's *.yaml sections and returns the sections that must follow them.
// UPDATE_GOLDEN=1 writes what the case returned into the file.
func golden(t *testing.T, pattern string, run func(t *testing.T, inputs []txtar.File) []txtar.File) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files match %s (%v)", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			archive := txtar.Parse(data)
			var inputs []txtar.File
			for _, f := range archive.Files {
				if filepath.Ext(f.Name) == ".yaml" {
					inputs = append(inputs, f)
				}
			}
			archive.Files = append(slices.Clip(inputs), run(t, inputs)...)
			got := txtar.Format(archive)
			if os.Getenv("UPDATE_GOLDEN") == "1" {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if string(got) != string(data) {
				t.Errorf("%s differs (UPDATE_GOLDEN=1 writes it); got:\n%s", path, got)
			}
		})
	}
}
