package templates

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// LoadDir reads the templates of a folder of the file system; see [LoadFS].
// Messages name files by their path, dir included.
func LoadDir(dir string) ([]*Template, error) {
	ts, err := loadFS(os.DirFS(dir), func(name string) string { return filepath.Join(dir, name) })
	if err != nil {
		return ts, fmt.Errorf("load templates from %s: %w", dir, err)
	}
	return ts, nil
}

// LoadFS reads every *.yaml and *.yml directly in the root of fsys, in the
// order of their names. Two files that describe the same version of a template
// are an error. The problems of all files are reported at once, as [Problems],
// beside the templates that have none. No files, no templates: that is not an
// error.
func LoadFS(fsys fs.FS) ([]*Template, error) {
	ts, err := loadFS(fsys, func(name string) string { return name })
	if err != nil {
		return ts, fmt.Errorf("load templates: %w", err)
	}
	return ts, nil
}

// loadFS is LoadFS with the names of files in messages.
func loadFS(fsys fs.FS, shown func(name string) string) ([]*Template, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	type identity struct{ namespace, name, version string }
	var (
		templates []*Template
		problems  Problems
		where     = map[identity]string{}
	)
	for _, e := range entries {
		if e.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, path.Ext(e.Name())) {
			continue
		}
		file := shown(e.Name())
		data, err := readFile(fsys, e.Name())
		if err != nil {
			problems = append(problems, Problem{File: file, Message: err.Error()})
			continue
		}
		t, r := parse(file, data)
		if len(r.problems) == 0 {
			id, pos := identity{t.Namespace, t.Name, t.Version}, r.position("name")
			if other, ok := where[id]; ok {
				r.addf("name", "template %s/%s version %s is already defined in %s; change the version or remove one", id.namespace, id.name, id.version, other)
			} else {
				where[id] = fmt.Sprintf("%s:%d", file, pos.line)
			}
		}
		r.problems.sort()
		problems = append(problems, r.problems...)
		if len(r.problems) == 0 {
			templates = append(templates, t)
		}
	}
	if len(problems) > 0 {
		return templates, problems
	}
	return templates, nil
}

// readFile reads a file, but not much more than a template may have.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return data, nil
}
