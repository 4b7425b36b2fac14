package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tasker-systems/tasker-go/config/legacy"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// source is where the files of a load are.
type source struct {
	single string // one file for everything; the rest is empty then
	text   []byte // of that file, where it is not what the disk has
	files  fs.FS
	prefix string // of base and environments in files
	shown  string // the same in messages
}

// findSource follows [Options] and then the environment to the files.
func findSource(opts Options) (source, error) {
	path := opts.Path
	if path == "" && opts.Root == "" && opts.FS == nil {
		path, _ = opts.LookupEnv("TASKER_CONFIG_PATH")
	}
	if path != "" {
		return source{single: path}, nil
	}
	return findLayers(opts)
}

// findLayers is findSource for a tree of layers.
func findLayers(opts Options) (source, error) {
	root := opts.Root
	if root == "" && opts.FS == nil {
		root, _ = opts.LookupEnv("TASKER_CONFIG_ROOT")
	}
	switch {
	case opts.FS != nil:
		return findTree(opts.FS, root)
	case root != "":
		return findTree(os.DirFS(root), root)
	default:
		return source{files: embedded, prefix: "tasker/", shown: "built-in/"}, nil
	}
}

// findTree finds base in files, or in the folder tasker there.
func findTree(files fs.FS, root string) (source, error) {
	shown := ""
	if root != "" {
		shown = filepath.ToSlash(filepath.Clean(root)) + "/"
	}
	for _, prefix := range []string{"", "tasker/"} {
		if info, err := fs.Stat(files, prefix+"base"); err == nil && info.IsDir() {
			return source{files: files, prefix: prefix, shown: shown + prefix}, nil
		}
	}
	return source{}, &ReadError{
		Name: fmt.Sprintf("%sbase or %stasker/base", shown, shown), Err: fs.ErrNotExist,
	}
}

// A ReadError reports a file or directory that could not be read.
type ReadError struct {
	Name string // as the user knows it
	Err  error
}

func (e *ReadError) Error() string {
	return fmt.Sprintf("read configuration from %s: %s", e.Name, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

// ExitCode is what a program exits with that cannot read its files.
func (e *ReadError) ExitCode() int { return 3 }

// readError reports that a file could not be read, under the name the user
// knows.
func readError(name string, err error) *ReadError {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return &ReadError{Name: name, Err: err}
}

// DetectContext returns the context whose sections a single file has; a file
// that holds something else counts as complete.
func DetectContext(path string) (Context, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", readError(path, err)
	}
	tree, _ := tomltree.Parse(path, data)
	return detectContext(tree), nil
}

// detectContext is DetectContext for a file that was read.
func detectContext(tree *tomltree.Value) Context {
	orchestration, worker := tree.Lookup("orchestration") != nil, tree.Lookup("worker") != nil
	common := tree.Lookup("common") != nil
	var evidence legacy.Evidence
	if evidence.Add(tree); evidence.Shape() == legacy.IsV1 {
		sections := legacy.SectionsOf(tree)
		common = true
		orchestration, worker = slices.Contains(sections, "orchestration"), slices.Contains(sections, "worker")
	}
	switch {
	case !orchestration && !worker && common:
		return ContextCommon
	case orchestration && !worker:
		return ContextOrchestration
	case worker && !orchestration:
		return ContextWorker
	default:
		return ContextComplete
	}
}
