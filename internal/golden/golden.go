// Package golden compares what a test made with files. A case is a txtar
// archive: a comment that says what it is about, input files, and the files that
// the test should come to. UPDATE_GOLDEN=1 writes the latter anew.
package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// A Case is one archive.
type Case struct {
	t       *testing.T
	archive *txtar.Archive
	changed bool
}

// Each runs a parallel subtest for every archive that matches pattern, named
// after its file. No match is a failure.
func Each(t *testing.T, pattern string, run func(t *testing.T, c *Case)) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no file matches %s (%v)", pattern, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c := &Case{t: t, archive: archive}
			run(t, c)
			if c.changed {
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Input returns the content of a file, and fails the test if there is none.
func (c *Case) Input(name string) []byte {
	c.t.Helper()
	for _, f := range c.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	c.t.Fatalf("the case has no file %s", name)
	return nil
}

// FS returns all files of the case, inputs and others.
func (c *Case) FS() fstest.MapFS {
	files := fstest.MapFS{}
	for _, f := range c.archive.Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return files
}

// Want fails the test if got differs from the file of that name, save for
// blanks at the ends of lines.
func (c *Case) Want(name, got string) {
	c.t.Helper()
	got = tidy(got)
	update := os.Getenv("UPDATE_GOLDEN") == "1"
	for i, f := range c.archive.Files {
		if f.Name != name {
			continue
		}
		if want := tidy(string(f.Data)); got != want && !update {
			c.t.Errorf("%s is\n%s\nwant\n%s\n(UPDATE_GOLDEN=1 takes it over)", name, got, want)
		}
		c.changed = c.changed || update && got != string(f.Data)
		c.archive.Files[i].Data = []byte(got)
		return
	}
	if !update {
		c.t.Fatalf("the case has no file %s (UPDATE_GOLDEN=1 adds it)", name)
	}
	c.archive.Files = append(c.archive.Files, txtar.File{Name: name, Data: []byte(got)})
	c.changed = true
}

// tidy drops blanks at the ends of lines and ends the text with one line end,
// as the archive format asks.
func tidy(text string) string {
	lines := strings.Split(strings.TrimRight(text, " \n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// File fails the test if got differs from the content of a file, save for blanks
// at the ends of lines. UPDATE_GOLDEN=1 writes the file anew.
func File(t *testing.T, name, got string) {
	t.Helper()
	got = tidy(got)
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (UPDATE_GOLDEN=1 writes it)", err)
	}
	if string(want) != got {
		t.Errorf("%s is out of date (UPDATE_GOLDEN=1 writes it anew):\n%s", name, difference(string(want), got))
	}
}

// difference shows the first line in which two texts differ.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d is\n%s\nwant\n%s", i+1, x, y)
		}
	}
	return ""
}
