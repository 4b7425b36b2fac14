package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
)

// newConfigCommand returns the commands that work on configuration files.
func newConfigCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write, check, explain and compare configuration files",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(
		newConfigInitCommand(env),
		newConfigValidateCommand(env),
		newConfigGenerateCommand(env),
		newConfigExplainCommand(env),
		newConfigDiffCommand(env),
		newConfigDumpCommand(env),
		newConfigEnvCommand(env),
		newConfigLintCommand(env),
		newConfigDetectUnusedCommand(env),
		newConfigMigrateCommand(env),
		newConfigTestCommand(env),
		newConfigSchemaCommand(env),
		newConfigDocsCommand(env),
	)
	return cmd
}

// sourceFlag adds --source-dir.
func sourceFlag(cmd *cobra.Command, source *string) {
	cmd.Flags().StringVarP(source, "source-dir", "s", "", "directory with base and environments (default: TASKER_CONFIG_ROOT, else built in)")
}

// environmentFlag adds --environment.
func environmentFlag(cmd *cobra.Command, environment *string, fallback string) {
	cmd.Flags().StringVarP(environment, "environment", "e", "", "test, development or production ("+fallback+")")
}

// contextFlag adds --context.
func contextFlag(cmd *cobra.Command, context *string, fallback string) {
	cmd.Flags().StringVarP(context, "context", "c", "", "common, orchestration, worker or complete ("+fallback+")")
}

// environmentsOf returns the environment of that name, all of them for "".
func environmentsOf(name string) ([]config.Environment, error) {
	if name == "" {
		return config.Environments(), nil
	}
	e, err := config.ParseEnvironment(name)
	if err != nil {
		return nil, usage(err)
	}
	return []config.Environment{e}, nil
}

// layers are the options for the layers of a tree, whatever TASKER_CONFIG_PATH
// says. Variables need not be set.
func layers(env Env, source string, e config.Environment) config.Options {
	return config.Options{
		Environment: string(e), Root: source, Offline: true,
		LookupEnv: func(name string) (string, bool) {
			if name == "TASKER_CONFIG_PATH" {
				return "", false
			}
			return env.LookupEnv(name)
		},
	}
}

// generation is one run of config generate.
type generation struct {
	context, environment, source, output string
	check                                bool
}

func newConfigGenerateCommand(env Env) *cobra.Command {
	var g generation
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Merge the layers of a context into one file",
		Long: "Merge the layers of a context into one file, for TASKER_CONFIG_PATH. Placeholders\n" +
			"like ${DATABASE_URL} stay, a comment behind each value says where it is from, and\n" +
			"the layers are validated before anything is written.\n\n" +
			"With --check nothing is written: the exit code is 1 if the file is not what would\n" +
			"be.",
		Example: "  tasker-cli config generate --context orchestration --environment production -o orchestration.toml",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return g.run(env) },
	}
	contextFlag(cmd, &g.context, "required")
	environmentFlag(cmd, &g.environment, "required")
	sourceFlag(cmd, &g.source)
	cmd.Flags().StringVarP(&g.output, "output", "o", "-", "file to write; - is standard output")
	cmd.Flags().BoolVar(&g.check, "check", false, "only compare the file with what would be written")
	return cmd
}

func (g *generation) run(env Env) error {
	c, err := config.ParseContext(g.context)
	if err != nil {
		return usage(err)
	}
	e, err := config.ParseEnvironment(g.environment)
	if err != nil {
		return usage(err)
	}
	if g.check && g.output == "-" {
		return usage(errors.New("--check needs --output: the file to compare"))
	}
	data, err := config.Generate(c, layers(env, g.source, e))
	if err != nil {
		return err
	}
	switch {
	case g.check:
		return g.compare(env, data)
	case g.output == "-":
		_, err := env.Stdout.Write(data)
		return err
	}
	if err := writeFile(g.output, data, 0o644); err != nil {
		return &ExitError{Code: ExitIO, Err: err}
	}
	_, err = fmt.Fprintf(env.Stderr, "wrote %s (%d bytes)\n", g.output, len(data))
	return err
}

// compare says whether the file is what would be written.
func (g *generation) compare(env Env, want []byte) error {
	got, err := os.ReadFile(g.output)
	if err != nil {
		return readError(err)
	}
	if bytes.Equal(got, want) {
		_, err := fmt.Fprintf(env.Stderr, "%s is up to date\n", g.output)
		return err
	}
	line := 1
	for i := 0; i < min(len(got), len(want)) && got[i] == want[i]; i++ {
		if got[i] == '\n' {
			line++
		}
	}
	return withHint(fmt.Errorf("%s is out of date, from line %d", g.output, line), "generate it again without --check")
}

// readError reports a file that cannot be read.
func readError(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("read %s: %w", pathErr.Path, pathErr.Err)
	}
	return &ExitError{Code: ExitIO, Err: err}
}

// writeFile replaces a file as a whole or not at all.
func writeFile(name string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
