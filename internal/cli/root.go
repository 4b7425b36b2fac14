// Package cli holds the commands of tasker-cli, a file each. A command prints
// what was asked for to standard output and everything else to standard error;
// its exit code is 0, or one of those in env.go.
//
// Start reading at [Main].
package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/process"
)

// Main runs tasker-cli with the arguments and returns its exit code. A command
// stops in good order when ctx ends.
func Main(ctx context.Context, env Env, args []string) int {
	root := newRootCommand(env) //nolint:contextcheck // commands get theirs from ExecuteContext
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted") // whatever came of it
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(env.Stderr, "tasker-cli: %s\n", text)
	}
	if hinted, ok := errors.AsType[*hintError](err); ok {
		fmt.Fprintf(env.Stderr, "hint: %s\n", hinted.hint)
	}
	return process.ExitCode(err)
}

func newRootCommand(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "tasker-cli",
		Short: "Run workflows, look at them, and check what they are configured with",
		Long: "Run workflows, look at them, and check what they are configured with.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 asked wrongly, 3 a file cannot be read or written,\n" +
			"78 the configuration or a template is invalid. Of a task that was waited for: 4 it\n" +
			"failed, 5 it is blocked by failures, 6 it was cancelled, 7 the time was over.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(
		newDemoCommand(env),
		newDevCommand(env),
		newBenchCommand(env),
		newBenchRoleCommand(env),
		newTaskCommand(env),
		newStepCommand(env),
		newSignalCommand(env),
		newDLQCommand(env),
		newArchiveCommand(env),
		newTemplateCommand(env),
		newLimitCommand(env),
		newScheduleCommand(env),
		newWebhookCommand(env),
		newAuthCommand(env),
		newWorkerCommand(env),
		newSystemCommand(env),
		newProfileCommand(env),
		newDBCommand(env),
		newConfigCommand(env),
		newVersionCommand(env),
	)
	makeStrict(root)
	return root
}

// makeStrict lets every command below cmd, and itself, refuse arguments with
// ExitUsage. A command that only holds others shows its help.
func makeStrict(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		makeStrict(sub)
	}
	if !cmd.Runnable() {
		cmd.Args = noSuchCommand
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		return
	}
	accept := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := accept(cmd, args); err != nil {
			return withHint(usage(err), fmt.Sprintf("usage: %s", cmd.UseLine()))
		}
		if err := cmd.ValidateFlagGroups(); err != nil {
			return usage(err)
		}
		return nil
	}
}

// noSuchCommand refuses all arguments of a command that only holds others.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usage(fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()))
	cmd.SuggestionsMinimumDistance = 2 // letters
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		return withHint(err, fmt.Sprintf("did you mean %q?", similar[0]))
	}
	return withHint(err, fmt.Sprintf("%s --help lists the commands", cmd.CommandPath()))
}
