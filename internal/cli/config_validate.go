package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
)

func newConfigValidateCommand(env Env) *cobra.Command {
	var v validation
	cmd := &cobra.Command{
		Use:   "validate [FILE or DIRECTORY]",
		Short: "Check configuration files and list everything that is wrong",
		Long: "Check a file or a tree of layers and list everything that is wrong, each fault\n" +
			"once. Without an argument the files are those that a server would load, and with\n" +
			"--all the layers, whatever TASKER_CONFIG_PATH says. Variables need not be set: those\n" +
			"that a process will need are listed, and so is what else was not checked.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				v.path = args[0]
			}
			return v.run(env)
		},
	}
	contextFlag(cmd, &v.context, "default: all that apply")
	environmentFlag(cmd, &v.environment, "default: all that apply")
	flags := cmd.Flags()
	flags.BoolVar(&v.all, "all", false, "check every context in every environment of the layers")
	flags.BoolVar(&v.strict, "strict", false, "treat warnings as errors")
	jsonFlag(cmd, &v.json)
	return cmd
}

// ValidatorMain is the program config-validator: config validate on its own. It
// returns the exit code.
func ValidatorMain(env Env, args []string) int {
	cmd := newConfigValidateCommand(env)
	cmd.Use = "config-validator [FILE or DIRECTORY]"
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

// validation is one run of config validate.
type validation struct {
	path, context, environment string
	all, json, strict          bool
}

// validated is the outcome, as --json prints it.
type validated struct {
	Valid      bool        `json:"valid"`
	Checked    []checked   `json:"checked"`
	Faults     []*fault    `json:"faults"`
	Unset      []unsetNeed `json:"needed_variables"`
	NotChecked []string    `json:"not_checked"`
	strict     bool
}

// checked is one combination that was looked at.
type checked struct {
	Context     config.Context     `json:"context"`
	Environment config.Environment `json:"environment,omitempty"`
	Errors      int                `json:"errors"`
	Warnings    int                `json:"warnings"`
}

func (c checked) String() string {
	return strings.TrimSpace(fmt.Sprintf("%-13s %s", c.Context, c.Environment))
}

// name is the short name of the combination.
func (c checked) name() string {
	if c.Environment == "" {
		return string(c.Context)
	}
	return string(c.Environment) + "/" + string(c.Context)
}

// fault is one problem, whatever the number of combinations that have it.
type fault struct {
	Problem config.Problem `json:"problem"`
	In      []string       `json:"in"`
}

// unsetNeed is a variable that a process needs and this environment lacks.
type unsetNeed struct {
	Variable string `json:"variable"`
	Key      string `json:"key"`
	Place    string `json:"place"`
}

func (v *validation) run(env Env) error {
	file, combinations, err := v.combinations(env)
	if err != nil {
		return err
	}
	result := validated{Valid: true, Faults: []*fault{}, Unset: []unsetNeed{}, NotChecked: notChecked(file), strict: v.strict}
	for _, c := range combinations {
		if err := result.check(c, v.options(env, file, c)); err != nil {
			return err
		}
	}
	for _, c := range result.Checked {
		result.Valid = result.Valid && result.passes(c)
	}
	slices.SortStableFunc(result.Faults, func(a, b *fault) int { return a.Problem.Compare(b.Problem) })
	if v.json {
		err = printJSON(env, result)
	} else {
		result.print(env)
	}
	if err == nil && !result.Valid {
		return &ExitError{Code: ExitConfig}
	}
	return err
}

// notChecked says what a valid configuration may still lack.
func notChecked(file string) []string {
	list := []string{
		"whether the database, the broker and the exporters answer",
		"whether directories exist",
		"TASKER_ENV against common.environment",
	}
	if file != "" {
		list = append(list, "the layers that "+file+" was generated from")
	}
	return list
}

// combinations lists what to look at, and the file if it is only one: that has
// one context and brings its environment along.
func (v *validation) combinations(env Env) (file string, list []checked, err error) {
	if v.all && v.context+v.environment != "" {
		return "", nil, usage(errors.New("--all leaves no choice of a context or environment"))
	}
	contexts := config.Contexts()
	if file, err = v.singleFile(env); err != nil {
		return "", nil, err
	}
	environments, err := environmentsOf(v.environment)
	if err != nil {
		return "", nil, err
	}
	if file != "" && v.environment == "" {
		environments = []config.Environment{""}
	}
	switch {
	case v.context != "":
		c, err := config.ParseContext(v.context)
		if err != nil {
			return "", nil, usage(err)
		}
		contexts = []config.Context{c}
	case file != "":
		c, err := config.DetectContext(file)
		if err != nil {
			return "", nil, err
		}
		contexts = []config.Context{c}
	}
	for _, e := range environments {
		for _, c := range contexts {
			list = append(list, checked{Context: c, Environment: e})
		}
	}
	return file, list, nil
}

// singleFile returns the one file to validate, or "" if it is a tree.
func (v *validation) singleFile(env Env) (string, error) {
	if v.path == "" {
		if v.all {
			return "", nil
		}
		return env.variable("TASKER_CONFIG_PATH"), nil
	}
	info, err := os.Stat(v.path)
	switch {
	case err != nil:
		return "", readError(err)
	case info.IsDir():
		return "", nil
	case v.all:
		return "", usage(errors.New("--all needs a directory: one file has one context"))
	default:
		return v.path, nil
	}
}

func (v *validation) options(env Env, file string, c checked) config.Options {
	opts := layers(env, v.path, c.Environment)
	if file != "" {
		opts.Path, opts.Root = file, ""
	}
	return opts
}

// check looks at one combination. Only a file that cannot be read is an error.
func (r *validated) check(c checked, opts config.Options) error {
	loaded, err := config.Resolve(c.Context, opts)
	report, invalid := errors.AsType[*config.Report](err)
	switch {
	case err == nil:
		report = loaded.Warnings
		for _, u := range loaded.Unset {
			r.need(unsetNeed{Variable: u.Variable, Key: u.Key, Place: u.Pos.String()})
		}
	case !invalid:
		return err
	}
	c.Warnings = len(report.Warnings().Problems)
	c.Errors = len(report.Problems) - c.Warnings
	for _, p := range report.Problems {
		r.add(p, c.name())
	}
	r.Checked = append(r.Checked, c)
	return nil
}

// add notes a problem of one combination. Where it has an effect in some and is
// hidden in others, only the former are named.
func (r *validated) add(p config.Problem, where string) {
	i := slices.IndexFunc(r.Faults, func(f *fault) bool {
		q := f.Problem
		return p.Code == q.Code && p.Key == q.Key && p.Pos.String() == q.Pos.String() && p.Message == q.Message
	})
	switch {
	case i < 0:
		r.Faults = append(r.Faults, &fault{p, []string{where}})
	case p.Hidden == r.Faults[i].Problem.Hidden:
		r.Faults[i].In = append(r.Faults[i].In, where)
	case !p.Hidden:
		*r.Faults[i] = fault{p, []string{where}}
	}
}

func (r *validated) need(n unsetNeed) {
	if !slices.Contains(r.Unset, n) {
		r.Unset = append(r.Unset, n)
	}
}

func (r *validated) passes(c checked) bool { return c.Errors == 0 && (c.Warnings == 0 || !r.strict) }

// print writes the faults to standard error and the outcome to standard output.
func (r *validated) print(env Env) {
	for _, f := range r.Faults {
		fmt.Fprint(env.Stderr, f.Problem)
		if len(r.Checked) > 1 {
			fmt.Fprintf(env.Stderr, "  = in: %s\n", strings.Join(f.In, ", "))
		}
		fmt.Fprintln(env.Stderr)
	}
	for _, c := range r.Checked {
		verdict := "ok"
		if !r.passes(c) {
			verdict = "invalid"
		}
		if c.Errors+c.Warnings > 0 {
			verdict += fmt.Sprintf(" (errors: %d, warnings: %d)", c.Errors, c.Warnings)
		}
		fmt.Fprintf(env.Stdout, "%-27s %s\n", c, verdict)
	}
	for _, n := range r.Unset {
		fmt.Fprintf(env.Stdout, "needs %s, for %s at %s\n", n.Variable, n.Key, n.Place)
	}
	for _, text := range r.NotChecked {
		fmt.Fprintf(env.Stdout, "not checked: %s\n", text)
	}
}
