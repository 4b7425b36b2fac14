package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// dump is one run of config dump.
type dump struct {
	context, environment, source, format string
	showSecrets, sources                 bool
}

func newConfigDumpCommand(env Env) *cobra.Command {
	var d dump
	cmd := &cobra.Command{
		Use:   "dump [FILE]",
		Short: "Print the configuration in effect",
		Long: "Print the configuration in effect: layers merged, defaults and variables filled in,\n" +
			"secrets and passwords in URLs replaced by ***. A variable that is missing leaves its\n" +
			"placeholder. Without a file it is what a server would load here.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			return d.run(env, file)
		},
	}
	contextFlag(cmd, &d.context, "default: complete, or what the file has")
	environmentFlag(cmd, &d.environment, "default: TASKER_ENV, else development")
	sourceFlag(cmd, &d.source)
	flags := cmd.Flags()
	flags.StringVarP(&d.format, "format", "f", "json", "json, yaml or toml")
	flags.BoolVar(&d.showSecrets, "show-secrets", false, "print secrets and passwords too")
	flags.BoolVar(&d.sources, "sources", false, "say where each value comes from")
	return cmd
}

func (d *dump) run(env Env, file string) error {
	if !slices.Contains([]string{"json", "yaml", "toml"}, d.format) {
		return usage(fmt.Errorf("unknown format %q; want json, yaml or toml", d.format))
	}
	loaded, err := d.load(env, file)
	if err != nil {
		return err
	}
	out := &dumped{tree: loaded.Effective(), chains: map[string][]tomltree.Link{}}
	if !d.showSecrets {
		out.tree, _ = config.Redact(out.tree)
	}
	if d.sources {
		for _, s := range loaded.Settings() {
			out.chains[s.Key] = s.Chain
		}
	}
	for _, u := range loaded.Unset {
		fmt.Fprintf(env.Stderr, "%s has no value: %s at %s\n", u.Variable, u.Key, u.Pos)
	}
	switch {
	case d.format == "yaml":
		return out.printYAML(env.Stdout, nil, out.tree)
	case d.format == "toml":
		_, err := env.Stdout.Write(tomltree.Annotate(out.tree, out.comment))
		return err
	case d.sources:
		return printJSON(env, out.settings())
	default:
		return printJSON(env, out.tree)
	}
}

// load loads a file, else what a server would, else the layers of a tree.
func (d *dump) load(env Env, file string) (*config.Loaded, error) {
	opts := config.Options{Environment: d.environment, Root: d.source, Path: file, LookupEnv: env.LookupEnv, Offline: true}
	if file == "" && d.source == "" {
		opts.Path = env.variable("TASKER_CONFIG_PATH")
	}
	if opts.Environment == "" && opts.Path == "" {
		opts.Environment = env.variable("TASKER_ENV")
	}
	context := config.ContextComplete
	var err error
	switch {
	case d.context != "":
		if context, err = config.ParseContext(d.context); err != nil {
			return nil, usage(err)
		}
	case opts.Path != "":
		if context, err = config.DetectContext(opts.Path); err != nil {
			return nil, err
		}
	}
	if opts.Environment != "" {
		if _, err := config.ParseEnvironment(opts.Environment); err != nil {
			return nil, usage(err)
		}
	}
	return config.Resolve(context, opts)
}

// dumped is a tree to write, with the chains of its values where these are
// wanted.
type dumped struct {
	tree   *tomltree.Value
	chains map[string][]tomltree.Link
}

// comment says where a value comes from.
func (d *dumped) comment(key string, v *tomltree.Value) string {
	value := v.Inline()
	return strings.TrimPrefix(strings.TrimPrefix(valueText(value, d.chains[key]), value), " ")
}

// dumpedSetting is a setting with where it comes from.
type dumpedSetting struct {
	Key   string          `json:"key"`
	Value *tomltree.Value `json:"value"`
	Chain []tomltree.Link `json:"chain"`
}

func (d *dumped) settings() []dumpedSetting {
	var list []dumpedSetting
	tomltree.Leaves(d.tree, func(key string, v *tomltree.Value) {
		list = append(list, dumpedSetting{key, v, d.chains[key]})
	})
	return list
}

// printYAML prints the table at path as YAML, of which scalars and lists as JSON
// are a part.
func (d *dumped) printYAML(w io.Writer, path []string, table *tomltree.Value) error {
	for _, name := range table.Keys() {
		at := append(slices.Clip(path), name)
		v := table.Lookup(name)
		text := ""
		if v.Kind() != tomltree.Table || len(v.Keys()) == 0 {
			data, err := v.MarshalJSON()
			if err != nil {
				return err
			}
			text = " " + string(data)
			if comment := d.comment(tomltree.DottedKey(at...), v); comment != "" {
				text += " # " + comment
			}
		}
		if _, err := fmt.Fprintf(w, "%s%s:%s\n", strings.Repeat("  ", len(path)), tomltree.DottedKey(name), text); err != nil {
			return err
		}
		if v.Kind() == tomltree.Table {
			if err := d.printYAML(w, at, v); err != nil {
				return err
			}
		}
	}
	return nil
}
