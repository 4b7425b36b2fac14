package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/config/legacy"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// A Migration is what turns files of the v1 layout into the present one.
type Migration struct {
	// Files are all files of the tree, by name. There are none if they have the
	// present layout already.
	Files []MigratedFile

	// Notes say what becomes of every key.
	Notes []Note

	// Proved are the combinations of environment and context that were loaded
	// from both layouts and came to the same values. A single file has one.
	Proved []string

	// Skipped are directories of environments that there are not. Their files
	// stay as they are.
	Skipped []string
}

// Changed returns the files that a migration changes.
func (m *Migration) Changed() []MigratedFile {
	return slices.DeleteFunc(slices.Clone(m.Files), func(f MigratedFile) bool { return bytes.Equal(f.Before, f.After) })
}

// MigratedFile is a file before and after a migration.
type MigratedFile struct {
	Name   string // below [Options.Root], or [Options.Path] itself
	Before []byte // nil if the file is new
	After  []byte // nil if the file goes: what it said is said elsewhere
}

// A MigrationError lists values that a migration would change. It must not be
// carried out then.
type MigrationError struct{ Differences []string }

func (e *MigrationError) Error() string {
	return "the rewritten files would not mean the same:\n  " + strings.Join(e.Differences, "\n  ")
}

// Migrate rewrites the files that [Options] lead to, in memory. It loads them
// before and after, for every environment and context and without looking at any
// variable, and compares all values, placeholders included: a difference is a
// [*MigrationError]. Files that do not load are a [*Report].
func Migrate(opts Options) (*Migration, error) {
	opts = opts.withDefaults()
	opts.Offline, opts.Overlay, opts.Environment, opts.OnLegacy = true, nil, "", nil
	from, err := findSource(opts)
	if err != nil {
		return nil, err
	}
	m := &migrator{opts: opts, from: from}
	m.opts.LookupEnv = func(string) (string, bool) { return "", false }
	if from.single != "" {
		err = m.readFile()
	} else {
		err = m.readTree()
	}
	if err != nil {
		return nil, err
	}
	before, old, err := m.loadAll(from)
	if err != nil || !old {
		return &Migration{Skipped: m.skipped}, err
	}
	migration, err := m.rewrite()
	if err != nil {
		return nil, err
	}
	return migration, m.prove(before, migration)
}

// migrator is one migration in progress.
type migrator struct {
	opts         Options
	from         source
	layers       []migratedLayer // base first
	sections     []string
	combinations []combination
	skipped      []string
}

// migratedLayer is a directory of a tree; a single file is a layer without one.
type migratedLayer struct {
	dir   string
	files []legacy.File
}

type combination struct {
	environment Environment
	context     Context
}

func (c combination) String() string {
	return strings.TrimPrefix(fmt.Sprintf("%s/%s", c.environment, c.context), "/")
}

// outcome is one combination, loaded.
type outcome struct {
	tree *tomltree.Value // with its placeholders
	cfg  *Config
}

func (m *migrator) readFile() error {
	data, err := os.ReadFile(m.from.single)
	if err != nil {
		return readError(m.from.single, err)
	}
	tree, _ := tomltree.Parse(m.from.single, data)
	c := detectContext(tree)
	m.sections = c.sections()
	m.combinations = []combination{{"", c}}
	m.layers = []migratedLayer{{files: []legacy.File{{Name: m.from.single, Data: data}}}}
	return nil
}

func (m *migrator) readTree() error {
	dirs := []string{"base"}
	entries, err := fs.ReadDir(m.from.files, m.from.prefix+"environments")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return readError(m.from.shown+"environments", err)
	}
	for _, e := range entries {
		switch _, err := ParseEnvironment(e.Name()); {
		case !e.IsDir():
		case err != nil:
			m.skipped = append(m.skipped, m.from.shown+"environments/"+e.Name())
		default:
			dirs = append(dirs, "environments/"+e.Name())
		}
	}
	for _, dir := range dirs {
		layer := migratedLayer{dir: dir}
		for _, section := range append(ContextComplete.sections(), "decision_points") {
			name := dir + "/" + section + ".toml"
			data, err := fs.ReadFile(m.from.files, m.from.prefix+name)
			switch {
			case err == nil && (dir == "base" || section != "decision_points"):
				layer.files = append(layer.files, legacy.File{Name: m.from.shown + name, Section: section, Data: data})
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return readError(m.from.shown+name, err)
			}
		}
		m.layers = append(m.layers, layer)
	}
	m.combine()
	return nil
}

// combine lists what to load: the contexts whose files base has, in the
// environments that have files of their own or that base is for.
func (m *migrator) combine() {
	environments := map[Environment]bool{}
	for _, f := range m.layers[0].files {
		tree, _ := tomltree.Parse(f.Name, f.Data)
		for _, key := range [][]string{{"environment"}, {"common", "environment"}} {
			if v := tree.Lookup(key...); v != nil && slices.Contains(Environments(), Environment(v.Text())) {
				environments[Environment(v.Text())] = true
			}
		}
		if f.Section != "decision_points" {
			m.sections = append(m.sections, f.Section)
		}
	}
	for _, layer := range m.layers[1:] {
		environments[Environment(strings.TrimPrefix(layer.dir, "environments/"))] = true
	}
	if len(environments) == 0 {
		environments[Development] = true
	}
	for _, e := range Environments() {
		for _, c := range Contexts() {
			lacks := func(section string) bool { return !slices.Contains(m.sections, section) }
			if environments[e] && !slices.ContainsFunc(c.sections(), lacks) {
				m.combinations = append(m.combinations, combination{e, c})
			}
		}
	}
}

// loadAll loads every combination and reports whether files of the v1 layout
// were among them.
func (m *migrator) loadAll(from source) (map[combination]outcome, bool, error) {
	outcomes := map[combination]outcome{}
	var report Report
	old := false
	for _, c := range m.combinations {
		opts := m.opts
		opts.Environment = string(c.environment)
		l, err := newLoader(c.context, opts, from)
		if err != nil {
			return nil, false, err
		}
		merged, err := l.merge()
		var loaded *Loaded
		if err == nil {
			loaded, err = l.decode(merged)
		}
		faults, invalid := errors.AsType[*Report](err)
		switch {
		case err == nil:
			outcomes[c] = outcome{merged, loaded.Config}
		case invalid:
			report.Add(faults.Problems...)
		default:
			return nil, false, err
		}
		old = old || l.converted
	}
	return outcomes, old, distinct(&report)
}

// distinct returns a report of errors as an error, each problem once.
func distinct(r *Report) error {
	known := map[string]bool{}
	r.Problems = slices.DeleteFunc(r.Problems, func(p Problem) bool {
		text := p.String()
		again := known[text] || p.Severity == tomltree.Warning
		known[text] = true
		return again
	})
	r.Sort()
	return r.Err()
}

// rewrite turns layer by layer into the present layout.
func (m *migrator) rewrite() (*Migration, error) {
	out := &Migration{Skipped: m.skipped}
	base := m.layers[0]
	tree, _, _ := legacy.ConvertFiles(base.files, m.sections)
	added := missing(tree)
	for _, n := range added {
		out.Notes = append(out.Notes, defaulted(n))
	}
	var report Report
	for i, layer := range m.layers {
		in := legacy.Layer{Files: layer.files, Sections: m.sections, New: added}
		if i > 0 {
			in.Below, in.New = base.files, nil
		}
		files, notes, problems := legacy.Rewrite(in)
		report.Add(problems...)
		out.Notes = append(out.Notes, notes...)
		for _, f := range files {
			out.Files = append(out.Files, m.pair(layer, f))
		}
	}
	slices.SortFunc(out.Files, func(a, b MigratedFile) int { return cmp.Compare(a.Name, b.Name) })
	legacy.Sort(out.Notes)
	finish(&report)
	return out, report.Err()
}

// pair puts a rewritten file of a layer beside what it was.
func (m *migrator) pair(layer migratedLayer, after legacy.File) MigratedFile {
	out := MigratedFile{Name: m.from.single, After: after.Data}
	if layer.dir != "" {
		out.Name = m.from.prefix + layer.dir + "/" + after.Section + ".toml"
	}
	for _, f := range layer.files {
		if f.Section == after.Section {
			out.Before = f.Data
		}
	}
	return out
}

// prove loads the rewritten files and compares.
func (m *migrator) prove(before map[combination]outcome, migration *Migration) error {
	m.opts.layout = onlyPresent
	after, _, err := m.loadAll(m.from.with(migration.Files))
	if err != nil {
		return fmt.Errorf("load the rewritten files: %w", err)
	}
	var differences []string
	for _, c := range m.combinations {
		found := compareTrees(before[c].tree, after[c].tree)
		if len(found) == 0 && !reflect.DeepEqual(before[c].cfg, after[c].cfg) {
			found = []string{"the decoded values differ"}
		}
		for _, d := range found {
			differences = append(differences, c.String()+": "+d)
		}
		migration.Proved = append(migration.Proved, c.String())
	}
	if len(differences) > 0 {
		return &MigrationError{differences}
	}
	return nil
}

// compareTrees lists the keys whose values differ. Secrets are not shown.
func compareTrees(a, b *tomltree.Value) []string {
	before, after := leaves(nil, a), leaves(nil, b)
	keys := map[string]bool{}
	for _, side := range []map[string]string{before, after} {
		for key := range side {
			keys[key] = true
		}
	}
	var list []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		x, y := cmp.Or(before[key], "nothing"), cmp.Or(after[key], "nothing")
		switch {
		case x == y:
		case schema().IsSecret(key):
			list = append(list, key+" would have another value")
		default:
			list = append(list, fmt.Sprintf("%s is %s and would be %s", key, x, y))
		}
	}
	return list
}

// leaves returns the values of a tree as text, by dotted key, without those that
// document others.
func leaves(path []string, v *tomltree.Value) map[string]string {
	if v.Kind() != tomltree.Table {
		return map[string]string{tomltree.DottedKey(path...): v.Inline()}
	}
	all := map[string]string{}
	for _, key := range v.Keys() {
		if !tomltree.IsDocs(key) {
			maps.Copy(all, leaves(append(slices.Clip(path), key), v.Lookup(key)))
		}
	}
	return all
}

// with returns the source with other files in the place of its own.
func (s source) with(files []MigratedFile) source {
	if s.single != "" {
		for _, f := range files {
			s.text = f.After
		}
		return s
	}
	changed := patchedFS{s.files, map[string][]byte{}}
	for _, f := range files {
		changed.files[f.Name] = f.After
	}
	s.files = changed
	return s
}

// patchedFS is a file system in which some files have another content, or are
// gone.
type patchedFS struct {
	fs.FS

	files map[string][]byte
}

// ReadFile implements [fs.ReadFileFS].
func (p patchedFS) ReadFile(name string) ([]byte, error) {
	data, patched := p.files[name]
	switch {
	case !patched:
		return fs.ReadFile(p.FS, name)
	case data == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	default:
		return data, nil
	}
}
