package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
)

// variableUse is a variable with its state and the settings that use it.
type variableUse struct {
	Name   string    `json:"name"`
	State  string    `json:"state"` // set, empty, file, not set; never the value
	Doc    string    `json:"doc"`
	UsedBy []usedKey `json:"used_by,omitempty"`
}

// usedKey is a setting and the environments in which it uses a variable.
type usedKey struct {
	Key          string               `json:"key"`
	Environments []config.Environment `json:"environments"`
	Demanded     bool                 `json:"demanded,omitempty"` // in one of them there is no default
	Secret       bool                 `json:"secret,omitempty"`
}

func newConfigEnvCommand(env Env) *cobra.Command {
	var source string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "env",
		Short: "List the variables that configure Tasker, set or not, and what uses them",
		Long: "List the variables that configure Tasker, set or not, and the keys that use them.\n" +
			"Values are not shown. For a variable of a secret key, NAME_FILE may name a file that\n" +
			"holds the value.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			uses, err := variableUses(env, source)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(env, uses)
			}
			for _, u := range uses {
				u.print(env)
			}
			return nil
		},
	}
	sourceFlag(cmd, &source)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// variableUses lists all variables, and what uses them in any environment.
func variableUses(env Env, source string) ([]*variableUse, error) {
	var list []*variableUse
	for _, v := range config.Variables() {
		list = append(list, &variableUse{Name: v.Name, State: variableState(env, v.Name), Doc: v.Doc})
	}
	for _, environment := range config.Environments() {
		loaded, err := config.Resolve(config.ContextComplete, layers(env, source, environment))
		report, invalid := errors.AsType[*config.Report](err)
		switch {
		case invalid:
			fmt.Fprintf(env.Stderr, "%s is invalid (%s) and left out: see config validate\n", environment, report.Count())
			continue
		case err != nil:
			return nil, err
		}
		for _, s := range loaded.Settings() {
			for _, use := range s.Value.Uses() {
				i := slices.IndexFunc(list, func(u *variableUse) bool { return u.Name == use.Variable })
				list[i].add(s, environment)
			}
		}
	}
	return list, nil
}

// variableState says whether a variable is set, without its value.
func variableState(env Env, name string) string {
	value, set := env.LookupEnv(name)
	switch {
	case value != "":
		return "set"
	case env.variable(name+"_FILE") != "":
		return "file"
	case set:
		return "empty"
	default:
		return "not set"
	}
}

// add notes that a setting uses the variable.
func (u *variableUse) add(s config.Setting, environment config.Environment) {
	i := slices.IndexFunc(u.UsedBy, func(k usedKey) bool { return k.Key == s.Key })
	if i < 0 {
		i = len(u.UsedBy)
		u.UsedBy = append(u.UsedBy, usedKey{Key: s.Key, Secret: s.Entry.Secret})
	}
	k := &u.UsedBy[i]
	if !slices.Contains(k.Environments, environment) {
		k.Environments = append(k.Environments, environment)
	}
	k.Demanded = k.Demanded || s.Missing
}

func (u *variableUse) print(env Env) {
	fmt.Fprintf(env.Stdout, "%-38s %-8s %s\n", u.Name, u.State, u.Doc)
	for _, k := range u.UsedBy {
		names := make([]string, len(k.Environments))
		for i, e := range k.Environments {
			names[i] = string(e)
		}
		note := ""
		if k.Demanded {
			note = ", not without it"
		}
		fmt.Fprintf(env.Stdout, "  %s (%s%s)\n", k.Key, strings.Join(names, ", "), note)
	}
}
