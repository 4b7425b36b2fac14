package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

func newConfigDetectUnusedCommand(env Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "detect-unused",
		Short: "List the keys that no test proves to change anything",
		Long: "List the keys that no behaviour test of this build proves to be live, that is to\n" +
			"change what the system does, each with the component that is to read it. Their\n" +
			"values are checked and kept. The exit code is 1 if there are any.\n\n" +
			"A key of a file that the tree does not have is no matter of this command: it is an\n" +
			"error wherever the file is loaded.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			found := findUnused(liveness.NotYet())
			if asJSON {
				if err := printJSON(env, found); err != nil {
					return err
				}
			} else {
				found.print(env)
			}
			if len(found.NotYet) > 0 {
				return &ExitError{Code: ExitFailed}
			}
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// unused is what detect-unused finds, as --json prints it.
type unused struct {
	Live   int           `json:"live"`
	NotYet []unusedEntry `json:"not_yet_live"`
}

type unusedEntry struct {
	Key       string `json:"key"`
	Component string `json:"component,omitempty"`
}

// findUnused compares the tree with the keys that are not yet live.
func findUnused(notYet []string) *unused {
	found := &unused{NotYet: []unusedEntry{}}
	for _, key := range liveness.Leaves() {
		if !slices.Contains(notYet, key) {
			found.Live++
			continue
		}
		found.NotYet = append(found.NotYet, unusedEntry{key, config.FindEntry(key).Component})
	}
	return found
}

// print lists the keys below the component that is to read them.
func (u *unused) print(env Env) {
	var components []string
	keys := map[string][]string{}
	for _, e := range u.NotYet {
		if keys[e.Component] == nil {
			components = append(components, e.Component)
		}
		keys[e.Component] = append(keys[e.Component], e.Key)
	}
	for _, component := range components {
		fmt.Fprintf(env.Stdout, "%s\n  %s\n\n", component, strings.Join(keys[component], "\n  "))
	}
	fmt.Fprintf(env.Stdout, "%s live, %d not yet\n", counted(u.Live, "key"), len(u.NotYet))
}

// isNotYetLive reports whether no test proves that a setting acts.
func isNotYetLive(e *config.Entry) bool { return slices.Contains(liveness.NotYet(), e.Key) }
