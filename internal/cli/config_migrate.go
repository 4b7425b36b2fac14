package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
)

// backupSuffix ends the name under which a v1 file is kept.
const backupSuffix = ".v1"

// migration is one run of config migrate.
type migration struct {
	output      string
	diff, check bool
	root        string // of the tree; "" for a single file
}

func newConfigMigrateCommand(env Env) *cobra.Command {
	var m migration
	cmd := &cobra.Command{
		Use:   "migrate [file or directory]",
		Short: "Rewrite files of the v1 layout in the present one",
		Long: "Rewrite files of the v1 layout in the present one. Headers and keys change where\n" +
			"they stand; comments, order and values stay. Removed keys become comments, and\n" +
			"what became of every key is listed. Each file is kept beside the new one, with .v1\n" +
			"behind its name.\n\n" +
			"Before anything is written, old and new files are loaded for every environment and\n" +
			"context and all values compared. Without an argument the files are those that a\n" +
			"server would load. A second run finds nothing to do.",
		Example: "  tasker-cli config migrate --diff config/tasker\n  tasker-cli config migrate config/tasker",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if m.output != "" && (m.diff || m.check) {
				return usage(errors.New("--output writes files, --diff and --check do not"))
			}
			return m.run(env, args)
		},
	}
	cmd.Flags().BoolVar(&m.diff, "diff", false, "print what would change, as a patch, and change nothing")
	cmd.Flags().BoolVar(&m.check, "check", false, "change nothing; the exit code is 1 if there is something to rewrite")
	cmd.Flags().StringVarP(&m.output, "output", "o", "", "directory to write all files to; the old ones stay as they are")
	return cmd
}

func (m *migration) run(env Env, args []string) error {
	opts, err := m.options(env, args)
	if err != nil {
		return err
	}
	result, err := config.Migrate(opts)
	if different, ok := errors.AsType[*config.MigrationError](err); ok {
		return withHint(different, "nothing was changed; please report this together with the files")
	}
	if err != nil {
		return err
	}
	for _, dir := range result.Skipped {
		fmt.Fprintf(env.Stderr, "left alone, since there is no such environment: %s\n", dir)
	}
	changed := result.Changed()
	if len(changed) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "nothing to do: the files have the present layout")
		return err
	}
	if m.diff {
		for _, f := range changed {
			old, now := m.sides(f)
			fmt.Fprint(env.Stdout, unifiedDiff(old, now, f.Before, f.After))
		}
	} else {
		for _, n := range result.Notes {
			fmt.Fprintln(env.Stderr, n)
		}
	}
	switch {
	case m.check:
		return withHint(fmt.Errorf("%d files have the v1 layout", len(changed)), "config migrate without --check rewrites them")
	case m.diff:
		return nil
	case m.output != "":
		err = m.writeTo(env, result.Files)
	default:
		err = m.replace(env, changed)
	}
	if err != nil {
		return &ExitError{Code: ExitIO, Err: err}
	}
	_, err = fmt.Fprintf(env.Stdout, "all values are as before, in %s\n", strings.Join(result.Proved, ", "))
	return err
}

// options finds the files as a server would, unless an argument names them.
func (m *migration) options(env Env, args []string) (config.Options, error) {
	opts := config.Options{LookupEnv: env.LookupEnv}
	if len(args) == 0 {
		if env.variable("TASKER_CONFIG_PATH") == "" {
			m.root = env.variable("TASKER_CONFIG_ROOT")
		}
		return opts, nil
	}
	info, err := os.Stat(args[0])
	if err != nil {
		return opts, readError(err)
	}
	if info.IsDir() {
		m.root, opts.Root = args[0], args[0]
	} else {
		opts.Path = args[0]
	}
	return opts, nil
}

// sides names a file before and after, for a patch.
func (m *migration) sides(f config.MigratedFile) (old, now string) {
	const nothing = "/dev/null"
	old, now = f.Name, f.Name
	if f.Before == nil {
		old = nothing
	}
	if f.After == nil {
		now = nothing
	}
	return old, now
}

// place returns where a file of the migration is on disk.
func (m *migration) place(f config.MigratedFile) string {
	return filepath.Join(m.root, filepath.FromSlash(f.Name))
}

// writeTo writes all files to the output directory.
func (m *migration) writeTo(env Env, files []config.MigratedFile) error {
	for _, f := range files {
		if f.After == nil {
			continue
		}
		name := filepath.Join(m.output, filepath.FromSlash(f.Name))
		if m.root == "" {
			name = filepath.Join(m.output, filepath.Base(f.Name))
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // other users run the servers
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := writeFile(name, f.After, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "wrote %s\n", name)
	}
	return nil
}

// replace puts the new files in the place of the old ones, of which it keeps
// copies. When that fails, all files are as they were.
func (m *migration) replace(env Env, files []config.MigratedFile) error {
	for _, f := range files {
		if f.Before == nil {
			continue
		}
		if err := keep(m.place(f)+backupSuffix, f.Before); err != nil {
			return err
		}
	}
	for i, f := range files {
		if err := put(m.place(f), f.After); err != nil {
			for _, done := range files[:i] {
				err = errors.Join(err, put(m.place(done), done.Before))
			}
			return err
		}
	}
	for _, f := range files {
		switch name := m.place(f); {
		case f.Before == nil:
			fmt.Fprintf(env.Stdout, "wrote %s\n", name)
		case f.After == nil:
			fmt.Fprintf(env.Stdout, "removed %s, kept as %s\n", name, filepath.Base(name)+backupSuffix)
		default:
			fmt.Fprintf(env.Stdout, "rewrote %s, kept as %s\n", name, filepath.Base(name)+backupSuffix)
		}
	}
	return nil
}

// keep writes a copy, unless there is one with the same content.
func keep(name string, data []byte) error {
	there, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeFile(name, data, 0o644)
	case err != nil:
		return fmt.Errorf("keep the old file: %w", err)
	case !bytes.Equal(there, data):
		return fmt.Errorf("keep the old file: there is another %s; move it away first", name)
	default:
		return nil
	}
}

// put writes a file, or removes it if there is nothing to write.
func put(name string, data []byte) error {
	if data != nil {
		return writeFile(name, data, 0o644)
	}
	if err := os.Remove(name); err != nil {
		return fmt.Errorf("remove the old file: %w", err)
	}
	return nil
}
