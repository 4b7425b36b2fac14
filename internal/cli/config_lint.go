package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
)

func newConfigLintCommand(env Env) *cobra.Command {
	var source, environment string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Find overrides that change nothing",
		Long: "Find overrides that change nothing, because the layer below says the same. The exit\n" +
			"code is 1 if there are any.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			found, err := lint(env, source, environment)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(env, found.Problems)
			} else if len(found.Problems) > 0 {
				_, err = fmt.Fprintln(env.Stdout, found.Error())
			}
			if err == nil && len(found.Problems) > 0 {
				return &ExitError{Code: ExitFailed}
			}
			return err
		},
	}
	environmentFlag(cmd, &environment, "default: all of them")
	sourceFlag(cmd, &source)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// lint looks at every section of every environment.
func lint(env Env, source, environment string) (*config.Report, error) {
	environments, err := environmentsOf(environment)
	if err != nil {
		return nil, err
	}
	found := &config.Report{Problems: []config.Problem{}}
	for _, e := range environments {
		loaded, err := config.Resolve(config.ContextComplete, layers(env, source, e))
		if err != nil {
			return nil, err
		}
		found.Add(loaded.Redundant()...)
	}
	found.Sort()
	return found, nil
}
