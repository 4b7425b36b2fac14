package config

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tasker-systems/tasker-go/internal/golden"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// v1Files returns what a case has below v1.
func v1Files(c *golden.Case) fstest.MapFS {
	files := fstest.MapFS{}
	for name, f := range c.FS() {
		if v1, ok := strings.CutPrefix(name, "v1/"); ok {
			files[v1] = f
		}
	}
	return files
}

// TestMigrate rewrites the tree below v1, or the file v1.toml, of every
// testdata/migrate_*.txtar, and rewrites the result again: nothing changes.
func TestMigrate(t *testing.T) {
	t.Parallel()
	golden.Each(t, "testdata/migrate_*.txtar", func(t *testing.T, c *golden.Case) {
		opts := options("", "")
		tree := v1Files(c)
		file := filepath.Join(t.TempDir(), "v1.toml")
		if len(tree) > 0 {
			opts.FS = tree
		} else {
			opts.Path = file
			write(t, file, c.Input("v1.toml"))
		}
		m, err := Migrate(opts)
		if err != nil {
			t.Fatal(err)
		}
		var notes strings.Builder
		for _, n := range m.Notes {
			notes.WriteString(strings.ReplaceAll(n.String(), file, "v1.toml") + "\n")
		}
		for _, f := range m.Changed() {
			switch {
			case f.Name == file:
				c.Want("v2.toml", string(f.After))
				write(t, file, f.After)
			case f.After == nil:
				notes.WriteString(f.Name + " goes\n")
				delete(tree, f.Name)
			default:
				c.Want("v2/"+f.Name, string(f.After))
				tree[f.Name] = &fstest.MapFile{Data: f.After}
			}
		}
		notes.WriteString("equal in " + strings.Join(m.Proved, ", ") + "\n")
		for _, dir := range m.Skipped {
			notes.WriteString("skipped " + dir + "\n")
		}
		c.Want("notes.txt", notes.String())
		again, err := Migrate(opts)
		if err != nil || len(again.Files) > 0 {
			t.Errorf("the second time there is %+v, %v", again, err)
		}
	})
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func equalConfigs(a, b *Config) bool { return reflect.DeepEqual(a, b) }

// TestMigrateReal rewrites the original's tree. All of its comments stay, save
// those of decision_points.toml, which goes.
func TestMigrateReal(t *testing.T) {
	t.Parallel()
	tree := realTree(t)
	m, err := Migrate(from(tree, ""))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Proved) != 12 || len(m.Changed()) != 13 {
		t.Errorf("%d files change, equal in %v", len(m.Changed()), m.Proved)
	}
	after := strings.Builder{}
	for _, f := range m.Files {
		after.Write(f.After)
	}
	for _, f := range m.Files {
		if f.Name == "base/decision_points.toml" {
			continue
		}
		for line := range strings.Lines(string(f.Before)) {
			if _, comment, ok := strings.Cut(line, "#"); ok && !strings.Contains(after.String(), strings.TrimSpace(comment)) {
				t.Errorf("%s loses a comment: %s", f.Name, comment)
			}
		}
	}
	again, err := Migrate(from(patchedFS{tree, contents(m)}, ""))
	if err != nil || len(again.Files) > 0 {
		t.Errorf("the second time there is %v, %v", again, err)
	}
}

func contents(m *Migration) map[string][]byte {
	files := map[string][]byte{}
	for _, f := range m.Files {
		files[f.Name] = f.After
	}
	return files
}

// TestMigrateParts leaves out keys of the shop at random. Whatever loads can be
// rewritten.
func TestMigrateParts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 0))
		tree := shopTree(t, nil)
		for _, name := range slices.Sorted(maps.Keys(tree)) {
			tree[name].Data = thinOut(random, tree[name].Data)
			if random.IntN(8) == 0 && !strings.HasPrefix(name, "base/") && !strings.HasSuffix(name, "common.toml") {
				delete(tree, name)
			}
		}
		if _, err := Migrate(from(tree, "")); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// thinOut drops a third of the keys of a file, but none that has no default.
func thinOut(random *rand.Rand, data []byte) []byte {
	needed := []string{"environment", "url", "min_connections"}
	var out []byte
	at, open := 0, false
	for _, s := range tomltree.Outline(data) {
		key := s.Key[len(s.Key)-1]
		if s.Value == nil {
			open = key == "pgmq" // a breaker
		}
		if s.Value != nil && !open && !slices.Contains(needed, key) && random.IntN(3) == 0 {
			out = append(out, data[at:s.KeyStart]...)
			at = s.End
		}
	}
	return append(out, data[at:]...)
}

// TestMigrateRefuses has files that are not rewritten.
func TestMigrateRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, text, want string }{
		{"base/common.toml", "[database", "syntax"},
		{"environments/test/common.toml", "environment = 'test'\n[database.pool]\nmax_connections = 0", "out-of-range"},
		{"environments/test/common.toml", "environment = 'test'\n[common.system]\nprocess_name = 'x'", "mixed-layout"},
	} {
		_, err := Migrate(from(shopTree(t, map[string]string{c.file: c.text}), ""))
		if r, ok := errors.AsType[*Report](err); !ok || !strings.Contains(r.Error(), "["+c.want+"]") {
			t.Errorf("%s gives %v", c.text, err)
		}
	}
	if m, err := Migrate(options("", "")); err != nil || len(m.Files)+len(m.Notes) > 0 {
		t.Errorf("the built-in tree gives %+v, %v", m, err)
	}
}

// TestMigrateProves compares trees that differ, without showing secrets.
func TestMigrateProves(t *testing.T) {
	t.Parallel()
	parse := func(text string) *tomltree.Value {
		tree, _ := tomltree.Parse("x", []byte(text))
		return tree
	}
	a := parse("[common.database]\nurl = 'hunter2'\n[common.system]\nprocess_name = 'a'\nx_docs = 1")
	b := parse("[common.database]\nurl = 'hunter3'\n[common.system]\nmax_memory_mb = 1\nprocess_name = 'a'")
	want := []string{"common.database.url would have another value", "common.system.max_memory_mb is nothing and would be 1"}
	if got := compareTrees(a, b); !slices.Equal(got, want) {
		t.Errorf("differences are %v, want %v", got, want)
	}
}
