package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
)

func newConfigInitCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "init DIRECTORY",
		Short: "Write the built-in files to a directory, to change them there",
		Long: "Write the built-in files to a directory, to change them there. Nothing is\n" +
			"overwritten. TASKER_CONFIG_ROOT then names the directory.",
		Example: "  tasker-cli config init config/tasker",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			written, err := writeTree(config.Shipped(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "wrote %d files to %s; TASKER_CONFIG_ROOT=%s makes Tasker read them\n", written, args[0], args[0])
			return err
		},
	}
}

// writeTree copies files to a directory that has none of them, and counts them.
func writeTree(files fs.FS, dir string) (written int, err error) {
	var names []string
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		names = append(names, name)
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			err := fmt.Errorf("write %s: there is one already", filepath.Join(dir, name))
			return withHint(&ExitError{Code: ExitIO, Err: err}, "name another directory, or remove the file")
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err == nil {
			err = writeBelow(filepath.Join(dir, name), data)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(names), nil
}

// writeBelow writes a file, and the directories that it is in.
func writeBelow(name string, data []byte) error {
	err := os.MkdirAll(filepath.Dir(name), 0o755) //nolint:gosec // servers run as another user
	if err == nil {
		err = writeFile(name, data, 0o644)
	}
	if err != nil {
		return &ExitError{Code: ExitIO, Err: err}
	}
	return nil
}
