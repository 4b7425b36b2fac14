package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/config"
)

// validation is one run of config validate.
type validation struct {
	path, context, environment string
	json, strict               bool
}

// validated is the outcome, as --json prints it.
type validated struct {
	Valid    bool           `json:"valid"`
	Checked  []checked      `json:"checked"`
	Problems []*problem     `json:"problems"`
	Unset    []unsetNeed    `json:"needed_variables"`
	byText   map[string]int // index into Problems
	strict   bool
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

// problem is one fault, whatever the number of combinations that have it.
type problem struct {
	Severity string   `json:"severity"`
	Code     string   `json:"code"`
	Key      string   `json:"key,omitempty"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
	Also     []string `json:"also,omitempty"` // places that have a part in it
	In       []string `json:"in"`
	text     string
}

// unsetNeed is a variable that a process needs and this environment lacks.
type unsetNeed struct {
	Variable string `json:"variable"`
	Key      string `json:"key"`
	Place    string `json:"place"`
}

func (v *validation) run(env Env) error {
	combinations, err := v.combinations(env)
	if err != nil {
		return err
	}
	result := validated{Valid: true, Problems: []*problem{}, Unset: []unsetNeed{}, byText: map[string]int{}, strict: v.strict}
	for _, c := range combinations {
		if err := result.check(c, v.options(env, c)); err != nil {
			return err
		}
	}
	for _, c := range result.Checked {
		result.Valid = result.Valid && result.passes(c)
	}
	if v.json {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(result)
	} else {
		result.print(env)
	}
	if err == nil && !result.Valid {
		return &ExitError{Code: ExitConfig}
	}
	return err
}

// combinations lists what to look at. A single file has one context and brings
// its environment along.
func (v *validation) combinations(env Env) ([]checked, error) {
	contexts, environments := config.Contexts(), config.Environments()
	file, err := v.singleFile(env)
	if err != nil {
		return nil, err
	}
	if file != "" {
		environments = []config.Environment{""}
	}
	switch {
	case v.context != "":
		c, err := config.ParseContext(v.context)
		if err != nil {
			return nil, usage(err)
		}
		contexts = []config.Context{c}
	case file != "":
		c, err := config.DetectContext(file)
		if err != nil {
			return nil, err
		}
		contexts = []config.Context{c}
	}
	if v.environment != "" {
		e, err := config.ParseEnvironment(v.environment)
		if err != nil {
			return nil, usage(err)
		}
		environments = []config.Environment{e}
	}
	var list []checked
	for _, e := range environments {
		for _, c := range contexts {
			list = append(list, checked{Context: c, Environment: e})
		}
	}
	return list, nil
}

// singleFile returns the one file to validate, or "" if it is a tree.
func (v *validation) singleFile(env Env) (string, error) {
	if v.path == "" {
		file, _ := env.LookupEnv("TASKER_CONFIG_PATH")
		return file, nil
	}
	info, err := os.Stat(v.path)
	if err != nil {
		return "", &ExitError{Code: ExitIO, Err: err}
	}
	if info.IsDir() {
		return "", nil
	}
	return v.path, nil
}

func (v *validation) options(env Env, c checked) config.Options {
	opts := config.Options{Environment: string(c.Environment), LookupEnv: env.LookupEnv, Offline: true}
	if info, err := os.Stat(v.path); err == nil && info.IsDir() {
		opts.Root = v.path
	} else {
		opts.Path = v.path
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
		r.add(p, c)
	}
	r.Checked = append(r.Checked, c)
	return nil
}

func (r *validated) add(p config.Problem, c checked) {
	text := p.String()
	i, known := r.byText[text]
	if !known {
		i = len(r.Problems)
		r.byText[text] = i
		r.Problems = append(r.Problems, newProblem(p, text))
	}
	where := string(c.Context)
	if c.Environment != "" {
		where = string(c.Environment) + "/" + where
	}
	r.Problems[i].In = append(r.Problems[i].In, where)
}

func newProblem(p config.Problem, text string) *problem {
	out := &problem{
		Severity: p.Severity.String(), Code: p.Code, Key: p.Key,
		File: p.Pos.File(), Line: p.Pos.Line(), Column: p.Pos.Column(),
		Message: p.Message, Hint: p.Hint, text: text,
	}
	for _, place := range p.Also {
		out.Also = append(out.Also, strings.TrimSpace(place.Pos.String()+" "+place.Note))
	}
	return out
}

func (r *validated) need(n unsetNeed) {
	if !slices.Contains(r.Unset, n) {
		r.Unset = append(r.Unset, n)
	}
}

func (r *validated) passes(c checked) bool { return c.Errors == 0 && (c.Warnings == 0 || !r.strict) }

// print writes the problems to standard error and the outcome to standard
// output.
func (r *validated) print(env Env) {
	for _, p := range r.Problems {
		fmt.Fprint(env.Stderr, p.text)
		if len(r.Checked) > 1 {
			fmt.Fprintf(env.Stderr, "  = in: %s\n", strings.Join(p.In, ", "))
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
}
