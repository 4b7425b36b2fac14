package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// explanation is one run of config explain.
type explanation struct {
	environment, source string
	json                bool
}

func newConfigExplainCommand(env Env) *cobra.Command {
	var x explanation
	cmd := &cobra.Command{
		Use:   "explain [KEY or CODE]",
		Short: "Say what a key does, and what its value is in each environment",
		Long: "Say what a key does, what reads it, what it may be, and what its value is in each\n" +
			"environment, with the layers it comes from. The end of a key will do, if there is\n" +
			"only one. A table lists its keys, and nothing lists the tables. The code of a\n" +
			"problem, as unknown-key or X1, is explained too.",
		Example: "  tasker-cli config explain pool.max_connections",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return x.browse(env, config.Reference())
			}
			return x.run(env, args[0])
		},
	}
	environmentFlag(cmd, &x.environment, "default: all of them")
	sourceFlag(cmd, &x.source)
	jsonFlag(cmd, &x.json)
	return cmd
}

// explained is what --json prints of a key.
type explained struct {
	Key       string           `json:"key"`
	Doc       string           `json:"doc"`
	Type      string           `json:"type"`
	Unit      string           `json:"unit,omitempty"`
	Bounds    string           `json:"bounds,omitempty"`
	Choices   []config.Choice  `json:"choices,omitempty"`
	Base      string           `json:"base,omitempty"`
	Required  bool             `json:"required"`
	Secret    bool             `json:"secret,omitempty"`
	Component string           `json:"component,omitempty"`
	Reload    string           `json:"reload,omitempty"`
	NotYet    bool             `json:"not_yet_live,omitempty"`
	Values    []explainedValue `json:"values,omitempty"`
	Keys      []explained      `json:"keys,omitempty"`
}

// explainedValue is the value of a key in one environment.
type explainedValue struct {
	Environment config.Environment `json:"environment"`
	Value       string             `json:"value,omitempty"` // as TOML
	Chain       []tomltree.Link    `json:"chain,omitempty"`
	Problem     string             `json:"problem,omitempty"` // why there is no value
}

func (x *explanation) run(env Env, name string) error {
	if code, known := config.FindCode(name); known {
		return x.explainCode(env, code)
	}
	e, err := findEntry(name)
	if err != nil {
		return err
	}
	if e.IsTable() && e.Kind != tomltree.Rows {
		return x.browse(env, e)
	}
	values, err := x.values(env, e, name)
	if err != nil {
		return err
	}
	out := newExplained(e)
	out.Values = values
	if x.json {
		return printJSON(env, out)
	}
	printEntry(env.Stdout, e)
	fmt.Fprintln(env.Stdout)
	for _, v := range values {
		text := v.Problem
		if text == "" {
			text = valueText(v.Value, v.Chain)
		}
		fmt.Fprintf(env.Stdout, "  %-12s %s\n", v.Environment, text)
	}
	return nil
}

// valueText says what a value is and where it comes from.
func valueText(value string, chain []tomltree.Link) string {
	parts := make([]string, len(chain))
	for i, link := range chain {
		parts[i] = link.String()
	}
	text := strings.Join(parts, " ← ")
	switch {
	case len(chain) == 0:
		return value
	case chain[0].Text == value:
		return text
	default:
		return value + " from " + text
	}
}

// findEntry returns the entry of a key, of which the end will do.
func findEntry(name string) (*config.Entry, error) {
	if e := config.FindEntry(name); e != nil {
		return e, nil
	}
	var ends []*config.Entry
	config.Reference().Walk(func(e *config.Entry) {
		if strings.HasSuffix(e.Key, "."+name) {
			ends = append(ends, e)
		}
	})
	if len(ends) == 1 {
		return ends[0], nil
	}
	if len(ends) > 1 {
		var keys []string
		for _, e := range ends {
			keys = append(keys, e.Key)
		}
		return nil, withHint(usage(fmt.Errorf("%d keys end in %s", len(ends), name)), "write one of "+strings.Join(keys, ", "))
	}
	err := usage(fmt.Errorf("there is no key or code %s", name))
	if former, now, found := config.FindFormer("", name); found {
		if now == "" {
			return nil, withHint(err, fmt.Sprintf("%s had it, and it is gone: %s", former.Layout, former.Why))
		}
		return nil, withHint(err, fmt.Sprintf("%s had it; it is %s now", former.Layout, now))
	}
	if near := tomltree.Nearest(name, keysLike(name)); near != "" {
		return nil, withHint(err, "did you mean "+near+"?")
	}
	return nil, withHint(err, "tasker-cli config explain lists the tables")
}

// keysLike returns the ends of all keys that have as many parts as name.
func keysLike(name string) []string {
	var list []string
	config.Reference().Walk(func(e *config.Entry) {
		parts := strings.Split(e.Key, ".")
		if most := strings.Count(name, ".") + 1; len(parts) >= most {
			list = append(list, strings.Join(parts[len(parts)-most:], "."))
		}
	})
	return list
}

// values returns the value of an entry in each environment. Name is the key that
// was asked for, with names of one's own in it.
func (x *explanation) values(env Env, e *config.Entry, name string) ([]explainedValue, error) {
	environments, err := environmentsOf(x.environment)
	if err != nil {
		return nil, err
	}
	section, _, _ := strings.Cut(e.Key, ".")
	context, err := config.ParseContext(section)
	if err != nil {
		return nil, err
	}
	var values []explainedValue
	for _, environment := range environments {
		v := explainedValue{Environment: environment}
		loaded, err := config.Resolve(context, layers(env, x.source, environment))
		switch report, invalid := errors.AsType[*config.Report](err); {
		case invalid:
			v.Problem = fmt.Sprintf("invalid (%s): see config validate", report.Count())
		case err != nil:
			return nil, err
		default:
			v.Problem = "not set"
			for _, s := range loaded.Settings() {
				if s.Key == name || s.Key == e.Key {
					v.Value, v.Chain, v.Problem = s.Shown(), s.Chain, ""
				}
			}
		}
		values = append(values, v)
	}
	return values, nil
}

func (x *explanation) explainCode(env Env, code config.Code) error {
	if x.json {
		return printJSON(env, code)
	}
	_, err := fmt.Fprintf(env.Stdout, "%s\n\n  %s.\n\n  effect   %s\n  fix      %s\n", code.Name, code.Title, code.Effect, code.Fix)
	return err
}

// browse lists what is right below a table.
func (x *explanation) browse(env Env, table *config.Entry) error {
	out := newExplained(table)
	for _, e := range table.Entries {
		out.Keys = append(out.Keys, newExplained(e))
	}
	if x.json {
		return printJSON(env, out)
	}
	if table.Key != "" {
		printEntry(env.Stdout, table)
		fmt.Fprintln(env.Stdout)
	}
	width := 0
	for _, e := range table.Entries {
		width = max(width, len(e.Name()))
	}
	for _, e := range table.Entries {
		fmt.Fprintf(env.Stdout, "  %-*s  %s\n", width, e.Name(), firstSentence(e))
		if table.Key != "" {
			continue
		}
		for _, below := range e.Entries {
			fmt.Fprintf(env.Stdout, "  %-*s  %s\n", width, "", below.Key)
		}
	}
	return nil
}

func newExplained(e *config.Entry) explained {
	return explained{
		Key: e.Key, Doc: e.Doc, Type: e.Type, Unit: e.Unit, Bounds: e.Bounds, Choices: e.Choices, Base: e.Base,
		Required: !e.Optional, Secret: e.Secret, Component: e.Component, Reload: reloadText(e), NotYet: isNotYetLive(e),
	}
}

// printEntry prints everything about a key save its values.
func printEntry(w io.Writer, e *config.Entry) {
	fmt.Fprintf(w, "%s\n\n", e.Key)
	for _, line := range wrap(e.Doc, 76) {
		fmt.Fprintf(w, "  %s\n", line)
	}
	fmt.Fprintln(w)
	typ := e.Type
	if e.Unit != "" {
		typ += " (" + e.Unit + ")"
	}
	if e.Bounds != "" {
		typ += ", " + e.Bounds
	}
	if e.Secret {
		typ += ", secret"
	}
	fmt.Fprintf(w, "  type         %s\n", typ)
	for i, c := range e.Choices {
		label := [...]string{"one of", ""}[min(i, 1)]
		fmt.Fprintf(w, "  %-12s %s\n", label, strings.TrimSuffix(c.Text+": "+c.Doc, ": "))
	}
	if e.Base != "" {
		fmt.Fprintf(w, "  default      %s\n", e.Base)
	}
	if e.Component != "" {
		fmt.Fprintf(w, "  read by      %s\n", e.Component)
	}
	if text := reloadText(e); text != "" {
		fmt.Fprintf(w, "  changes at   %s\n", text)
	}
	if isNotYetLive(e) {
		fmt.Fprintln(w, "  not yet live: no test proves that it changes what the system does")
	}
}

// reloadText says when a new value of a setting takes effect.
func reloadText(e *config.Entry) string {
	switch {
	case e.IsTable() && e.Kind != tomltree.Rows:
		return ""
	case e.IsLive():
		return "reload"
	default:
		return "restart"
	}
}

// firstSentence returns the first sentence of the description without the name
// that it begins with.
func firstSentence(e *config.Entry) string {
	sentence, _, _ := strings.Cut(e.Doc, ". ")
	return strings.TrimSuffix(strings.TrimPrefix(sentence, e.Name()+" "), ".")
}

// wrap breaks text into lines of at most width letters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
