package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// A templateRegister is a run of template register.
type templateRegister struct {
	env         Env
	databaseURL string
	replace     bool
	json        bool
}

func newTemplateRegisterCommand(env Env) *cobra.Command {
	r := templateRegister{env: env}
	cmd := &cobra.Command{
		Use:   "register FILE|DIR...",
		Short: "Register templates with the database, without a worker",
		Long: "Register template files, or the *.yaml and *.yml of a directory, with the database:\n" +
			"all of them or, when one is refused, none. A template that changed and kept its\n" +
			"version is refused with the exit code 1 when TASKER_ENV is production, unless\n" +
			"--replace is given. Tasks that exist keep the definition they were created with.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args) },
	}
	databaseFlag(cmd, &r.databaseURL, "that of the configuration")
	cmd.Flags().BoolVar(&r.replace, "replace", false, "let templates replace what is registered under their versions")
	jsonFlag(cmd, &r.json)
	return cmd
}

func (r *templateRegister) run(ctx context.Context, names []string) error {
	all, err := r.read(names)
	if err != nil {
		return err
	}
	s := setup{env: r.env}
	s.database(r.databaseURL)
	cfg, err := s.load(config.ContextCommon)
	if err != nil {
		return err
	}
	pool, err := connect(ctx, cfg.Common, "tasker-cli")
	if err != nil {
		return err
	}
	defer pool.Close()
	c := catalog.New(pool, messaging.NewNames(cfg.Common.Queues), cfg.Common.Environment, cfg.Common.TaskTemplates)
	register := c.Register
	if r.replace {
		register = c.Replace
	}
	if err := register(ctx, all); err != nil {
		return err
	}
	if r.json {
		return printJSON(r.env, templateReport{Valid: true, Templates: linesOf(all), Problems: []templateProblem{}})
	}
	for _, t := range all {
		fmt.Fprintf(r.env.Stdout, "registered  %s/%s %s\n", t.Namespace, t.Name, t.Version)
	}
	return nil
}

// read reads the templates of files and directories; a problem in one is the
// end of all.
func (r *templateRegister) read(names []string) ([]*templates.Template, error) {
	var all []*templates.Template
	for _, name := range names {
		found, err := readTemplates(name)
		if problems, invalid := errors.AsType[templates.Problems](err); invalid {
			return nil, &ExitError{Code: ExitConfig, Err: fmt.Errorf("nothing was registered:\n%w", problems)}
		}
		if err != nil {
			return nil, &ExitError{Code: ExitIO, Err: err}
		}
		all = append(all, found...)
	}
	return all, nil
}

func linesOf(all []*templates.Template) []templateLine {
	lines := []templateLine{}
	for _, t := range all {
		lines = append(lines, templateLine{t.Namespace, t.Name, t.Version, len(t.Steps)})
	}
	return lines
}
