package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

func newTemplateCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "template", Short: "List, sketch, validate, draw and register templates"}
	cmd.AddCommand(
		newTemplateListCommand(env), newTemplateInfoCommand(env), newTemplateGenerateCommand(env),
		newTemplateValidateCommand(env), newTemplateVisualizeCommand(env), newTemplateRegisterCommand(env),
	)
	return cmd
}

func newTemplateValidateCommand(env Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate FILE|DIR...",
		Short: "Check template files and list everything that is wrong",
		Long: "Check template files, or the *.yaml and *.yml of a directory, and list everything\n" +
			"that is wrong with its position. No server is needed. The exit code is 78 when a\n" +
			"template is invalid, and 3 when a file cannot be read.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := validateTemplates(args)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(env, r)
			} else {
				r.print(env)
			}
			if err == nil && !r.Valid {
				return &ExitError{Code: ExitConfig}
			}
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// templateReport is what validate found, as --json prints it.
type templateReport struct {
	Valid     bool              `json:"valid"`
	Templates []templateLine    `json:"templates"`
	Problems  []templateProblem `json:"problems"`
}

// templateLine is a valid template.
type templateLine struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	Steps     int    `json:"steps"`
}

type templateProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

// validateTemplates looks at files and directories. Only what cannot be read is
// an error.
func validateTemplates(names []string) (*templateReport, error) {
	r := &templateReport{Templates: []templateLine{}, Problems: []templateProblem{}}
	var unreadable []error
	for _, name := range names {
		found, err := readTemplates(name)
		problems, invalid := errors.AsType[templates.Problems](err)
		if err != nil && !invalid {
			unreadable = append(unreadable, err)
		}
		for _, p := range problems {
			r.Problems = append(r.Problems, templateProblem(p))
		}
		r.Templates = append(r.Templates, linesOf(found)...)
	}
	if len(unreadable) > 0 {
		return nil, &ExitError{Code: ExitIO, Err: errors.Join(unreadable...)}
	}
	r.Valid = len(r.Problems) == 0
	return r, nil
}

// readTemplates reads a file or all those of a directory.
func readTemplates(name string) ([]*templates.Template, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		found, err := templates.LoadDir(name)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%s has no *.yaml or *.yml", name)
		}
		return found, err
	}
	t, err := readTemplate(name)
	if err != nil {
		return nil, err
	}
	return []*templates.Template{t}, nil
}

func readTemplate(name string) (*templates.Template, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return templates.Parse(filepath.ToSlash(name), data)
}

// print writes the problems to standard error and what is valid to standard
// output.
func (r *templateReport) print(env Env) {
	for _, p := range r.Problems {
		fmt.Fprintln(env.Stderr, templates.Problem(p))
	}
	if !r.Valid {
		fmt.Fprintf(env.Stderr, "tasker-cli: %s\n", counted(len(r.Problems), "problem"))
	}
	for _, t := range r.Templates {
		fmt.Fprintf(env.Stdout, "ok  %s/%s %s, %s\n", t.Namespace, t.Name, t.Version, counted(t.Steps, "step"))
	}
}

// drawings are the formats of visualize.
var drawings = map[string]func(*templates.Template) string{
	"mermaid": templates.Mermaid,
	"text":    templates.Outline,
}

// readTemplateFile reads a template from a file.
func readTemplateFile(name string) (*templates.Template, error) {
	t, err := readTemplate(name)
	if problems, invalid := errors.AsType[templates.Problems](err); invalid {
		return nil, &ExitError{Code: ExitConfig, Err: fmt.Errorf("the template is invalid:\n%w", problems)}
	}
	if err != nil {
		return nil, &ExitError{Code: ExitIO, Err: err}
	}
	return t, nil
}
