package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// comparison is one run of config diff.
type comparison struct {
	context, source string
	json, exitCode  bool
}

func newConfigDiffCommand(env Env) *cobra.Command {
	var c comparison
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare the values in effect in two environments, files or servers",
		Long: "Compare the values in effect. A and B are each an environment, a generated file, or\n" +
			"the URL of a server that runs, which is asked for /config. Secrets are compared and\n" +
			"not shown; those of a server by a hash that it tells.",
		Example: "  tasker-cli config diff test production\n" +
			"  tasker-cli config diff production http://127.0.0.1:8080",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), env, args[0], args[1]) },
	}
	contextFlag(cmd, &c.context, "default: what both have")
	sourceFlag(cmd, &c.source)
	jsonFlag(cmd, &c.json)
	cmd.Flags().BoolVar(&c.exitCode, "exit-code", false, "exit with 1 if there are differences")
	return cmd
}

// side is one of the two things compared.
type side struct {
	name     string
	sections []string
	keys     []string // in order
	cells    map[string]cell
}

// cell is the value of one key on one side.
type cell struct {
	Value  string          `json:"value"` // as TOML; *** for a secret
	Chain  []tomltree.Link `json:"chain,omitempty"`
	Origin string          `json:"origin,omitempty"` // the chain as a server tells it

	canonical   string                 // to compare by, with secrets
	unknown     bool                   // the other side does not tell the value
	fingerprint func() (string, error) // a hash of the value; "" where there is none
}

// difference is a key that the two sides do not agree on; a side that lacks the
// key has no cell.
type difference struct {
	Key string `json:"key"`
	A   *cell  `json:"a,omitempty"`
	B   *cell  `json:"b,omitempty"`
}

// compared is the outcome, as --json prints it.
type compared struct {
	A           string       `json:"a"`
	B           string       `json:"b"`
	Differences []difference `json:"differences"`
	Equal       int          `json:"equal"`
	NotCompared []string     `json:"not_compared"`
}

func (c *comparison) run(ctx context.Context, env Env, nameA, nameB string) error {
	a, err := c.side(ctx, env, nameA)
	if err != nil {
		return err
	}
	b, err := c.side(ctx, env, nameB)
	if err != nil {
		return err
	}
	result, err := compare(a, b)
	if err != nil {
		return err
	}
	if c.json {
		err = printJSON(env, result)
	} else {
		result.print(env)
	}
	if err == nil && c.exitCode && len(result.Differences) > 0 {
		return &ExitError{Code: ExitFailed}
	}
	return err
}

// side reads what a name stands for.
func (c *comparison) side(ctx context.Context, env Env, name string) (*side, error) {
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		return fetchSide(ctx, name)
	}
	of := config.ContextComplete
	var opts config.Options
	if e, err := config.ParseEnvironment(name); err == nil {
		opts = layers(env, c.source, e)
	} else if !strings.ContainsAny(name, "./") {
		return nil, withHint(usage(err), "a file has a dot or a slash in its name, a server begins with http://")
	} else {
		if of, err = config.DetectContext(name); err != nil {
			return nil, err
		}
		opts = layers(env, "", "")
		opts.Path = name
	}
	if c.context != "" {
		var err error
		if of, err = config.ParseContext(c.context); err != nil {
			return nil, usage(err)
		}
	}
	loaded, err := config.Resolve(of, opts)
	if err != nil {
		return nil, err
	}
	return loadedSide(name, loaded)
}

func loadedSide(name string, loaded *config.Loaded) (*side, error) {
	s := &side{name: name, sections: loaded.Effective().Keys(), cells: map[string]cell{}}
	for _, setting := range loaded.Settings() {
		canonical := setting.Shown() // of a placeholder without a value
		if !setting.Missing {
			data, err := setting.Value.MarshalJSON()
			if err != nil {
				return nil, err
			}
			if canonical, err = canonicalJSON(data); err != nil {
				return nil, err
			}
		}
		s.keys = append(s.keys, setting.Key)
		c := cell{Value: setting.Shown(), Chain: setting.Chain, canonical: canonical, fingerprint: setting.Fingerprint}
		if setting.Missing {
			c.fingerprint = func() (string, error) { return "", nil }
		}
		s.cells[setting.Key] = c
	}
	return s, nil
}

// canonicalJSON writes JSON so that equal values give equal texts.
func canonicalJSON(data []byte) (string, error) {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return "", err
	}
	out, err := json.Marshal(v)
	return string(out), err
}

// compare lists the keys on which a and b differ, of the sections that both
// have.
func compare(a, b *side) (*compared, error) {
	out := &compared{A: a.name, B: b.name, Differences: []difference{}, NotCompared: []string{}}
	for _, pair := range [][2]*side{{a, b}, {b, a}} {
		for _, section := range pair[0].sections {
			if !slices.Contains(pair[1].sections, section) {
				out.NotCompared = append(out.NotCompared, section+", which only "+pair[0].name+" has")
			}
		}
	}
	keys := slices.Clone(a.keys)
	for _, key := range b.keys {
		if _, both := a.cells[key]; !both {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		section, _, _ := strings.Cut(key, ".")
		if !slices.Contains(a.sections, section) || !slices.Contains(b.sections, section) {
			continue
		}
		if err := out.add(key, a.cells, b.cells); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *compared) add(key string, a, b map[string]cell) error {
	x, inA := a[key]
	y, inB := b[key]
	equal := inA && inB && x.canonical == y.canonical
	if inA && inB && (x.unknown || y.unknown) {
		hashes, err := fingerprints(x, y)
		if err != nil {
			return err
		}
		if hashes[0] == "" || hashes[1] == "" {
			c.NotCompared = append(c.NotCompared, key+", which the server does not tell")
			return nil
		}
		equal = hashes[0] == hashes[1]
	}
	if equal {
		c.Equal++
		return nil
	}
	d := difference{Key: key}
	if inA {
		d.A = &x
	}
	if inB {
		d.B = &y
	}
	c.Differences = append(c.Differences, d)
	return nil
}

// fingerprints returns the hashes of two values; one that is slow to make is
// only made where the other is there.
func fingerprints(x, y cell) (hashes [2]string, err error) {
	for i, c := range []cell{x, y} {
		if !c.unknown {
			continue
		}
		if hashes[i], err = c.fingerprint(); err != nil || hashes[i] == "" {
			return hashes, err
		}
	}
	for i, c := range []cell{x, y} {
		if hashes[i] == "" {
			if hashes[i], err = c.fingerprint(); err != nil {
				return hashes, err
			}
		}
	}
	return hashes, nil
}

func (c *compared) print(env Env) {
	for _, d := range c.Differences {
		fmt.Fprintln(env.Stdout, d.Key)
		for _, side := range []struct {
			name string
			cell *cell
		}{{c.A, d.A}, {c.B, d.B}} {
			text := "is absent"
			if side.cell != nil {
				text = valueText(side.cell.Value, side.cell.Chain)
			}
			if side.cell != nil && side.cell.Origin != "" {
				text = side.cell.Value + " from " + side.cell.Origin
			}
			fmt.Fprintf(env.Stdout, "  %s: %s\n", side.name, text)
		}
	}
	if len(c.Differences) > 0 {
		fmt.Fprintln(env.Stdout)
	}
	fmt.Fprintf(env.Stdout, "%s, %d equal\n", counted(len(c.Differences), "difference"), c.Equal)
	for _, text := range c.NotCompared {
		fmt.Fprintf(env.Stdout, "not compared: %s\n", text)
	}
}
