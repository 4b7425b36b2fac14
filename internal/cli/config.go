package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
)

// newConfigCommand returns the commands that work on configuration files.
func newConfigCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Generate and validate configuration files",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newConfigGenerateCommand(env), newConfigValidateCommand(env))
	return cmd
}

func newConfigGenerateCommand(env Env) *cobra.Command {
	var context, environment, source, output string
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Merge the layers of a context into one file",
		Long: "Merge the layers of a context into one file, for TASKER_CONFIG_PATH. Placeholders\n" +
			"like ${DATABASE_URL} stay, and the layers are validated before anything is written.",
		Example: "  tasker-cli config generate --context orchestration --environment production -o orchestration.toml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := config.ParseContext(context)
			if err != nil {
				return usage(err)
			}
			e, err := config.ParseEnvironment(environment)
			if err != nil {
				return usage(err)
			}
			data, err := config.Generate(c, config.Options{
				Environment: string(e), Root: source, LookupEnv: env.LookupEnv,
			})
			if err != nil {
				return err
			}
			if output == "-" {
				_, err := env.Stdout.Write(data)
				return err
			}
			if err := writeFile(output, data); err != nil {
				return &ExitError{Code: ExitIO, Err: err}
			}
			fmt.Fprintf(env.Stderr, "wrote %s (%d bytes)\n", output, len(data))
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&context, "context", "c", "", "common, orchestration, worker or complete (required)")
	flags.StringVarP(&environment, "environment", "e", "", "test, development or production (required)")
	flags.StringVarP(&source, "source-dir", "s", "", "directory with base and environments (default: TASKER_CONFIG_ROOT, else built in)")
	flags.StringVarP(&output, "output", "o", "-", "file to write; - is standard output")
	return cmd
}

// writeFile replaces a file as a whole or not at all.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

func newConfigValidateCommand(env Env) *cobra.Command {
	var v validation
	cmd := &cobra.Command{
		Use:   "validate [file or directory]",
		Short: "Check configuration files and list everything that is wrong",
		Long: "Check a file or a tree of layers and list everything that is wrong. Without an\n" +
			"argument the files are those that a server would load. Variables need not be set:\n" +
			"those that a process will need are listed.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				v.path = args[0]
			}
			return v.run(env)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&v.context, "context", "c", "", "common, orchestration, worker or complete (default: all that apply)")
	flags.StringVarP(&v.environment, "environment", "e", "", "test, development or production (default: all that apply)")
	flags.BoolVar(&v.json, "json", false, "print the result as JSON")
	flags.BoolVar(&v.strict, "strict", false, "treat warnings as errors")
	return cmd
}

// ValidatorMain is the program config-validator: config validate on its own. It
// returns the exit code.
func ValidatorMain(env Env, args []string) int {
	cmd := newConfigValidateCommand(env)
	cmd.Use = "config-validator [file or directory]"
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(env.Stdout)
	cmd.SetErr(env.Stderr)
	cmd.SetArgs(args)
	err := cmd.Execute()
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(env.Stderr, "config-validator: %s\n", text)
	}
	if coded, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return coded.ExitCode()
	}
	return ExitUsage // cobra's own errors are about flags and arguments
}
