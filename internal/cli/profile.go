package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newProfileCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "Keep servers and credentials under names",
		Long: "Keep servers and credentials under names, in tasker/client.toml in XDG_CONFIG_HOME,\n" +
			"which is ~/.config where it is not set.\n\n" +
			"A command that talks to a server takes the one of --server, else of --profile, of\n" +
			"TASKER_PROFILE, of TASKER_ORCHESTRATION_URL, else of the profile in use. A profile names\n" +
			"the variable or the file that holds a secret and never the secret. Its credentials go\n" +
			"to its own server only; TASKER_CLIENT_TOKEN, TASKER_CLIENT_API_KEY, and the same with\n" +
			"_FILE, go before them.",
	}
	cmd.AddCommand(
		newProfileAddCommand(env), newProfileListCommand(env), newProfileUseCommand(env),
		newProfileShowCommand(env), newProfileCheckCommand(env), newProfileRemoveCommand(env),
	)
	return cmd
}

// named lets the first argument of a command be completed to the name of a profile.
func named(env Env, cmd *cobra.Command) *cobra.Command {
	completeFirst(cmd, func(*cobra.Command) []string { return profileNames(env) })
	return cmd
}

func newProfileAddCommand(env Env) *cobra.Command {
	var p profile
	var replace bool
	cmd := &cobra.Command{
		Use:   "add NAME --server URL",
		Short: "Add a profile; the first one is used at once",
		Example: `  tasker-cli profile add production --server https://tasker.example.com --token-file ~/.config/tasker/production.jwt
  tasker-cli profile add staging --server https://staging.example.com --api-key-env STAGING_TASKER_KEY`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := readProfiles(env)
			if err != nil {
				return err
			}
			if _, taken := file.Profiles[args[0]]; taken && !replace {
				return withHint(fmt.Errorf("there is a profile %q already", args[0]), "--replace puts this one in its place")
			}
			if _, err := apiclient.New(p.Server, apiclient.Options{}); err != nil {
				return usage(err)
			}
			if p.Output != "" && !slices.Contains(forms, p.Output) {
				return usage(fmt.Errorf("unknown form %q; --output is table, json or yaml", p.Output))
			}
			if file.Profiles == nil {
				file.Profiles = map[string]profile{}
			}
			if file.Profiles[args[0]] = p; file.Active == "" {
				file.Active = args[0]
			}
			return file.write(env)
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.Server, "server", "", "URL of an orchestrator, as https://tasker.example.com")
	f.StringVar(&p.TokenEnv, "token-env", "", "variable that holds a JWT")
	f.StringVar(&p.TokenFile, "token-file", "", "file that holds a JWT")
	f.StringVar(&p.APIKeyEnv, "api-key-env", "", "variable that holds an API key")
	f.StringVar(&p.APIKeyFile, "api-key-file", "", "file that holds an API key")
	f.StringVar(&p.APIKeyHeader, "api-key-header", "", "header that carries the API key (default X-API-Key)")
	f.StringVar(&p.CAFile, "ca-file", "", "certificates, in PEM, of those who may vouch for the server (default: those of the system)")
	f.StringVarP(&p.Output, "output", "o", "", "how results are printed: table, json or yaml (default table)")
	f.BoolVar(&replace, "replace", false, "replace a profile of this name")
	cmd.MarkFlagsMutuallyExclusive("token-env", "token-file", "api-key-env", "api-key-file")
	completeFlag(cmd, "output", func(*cobra.Command) []string { return forms })
	return cmd
}

// profileLine is a profile as list and show print it.
type profileLine struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	profile
}

func newProfileListCommand(env Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the profiles", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			file, err := readProfiles(env)
			if err != nil {
				return err
			}
			lines := []profileLine{}
			t := table{columns: []column{{title: "profile"}, {title: "in use"}, {title: "server"}, {title: "credentials"}}}
			for _, name := range slices.Sorted(maps.Keys(file.Profiles)) {
				p := file.Profiles[name]
				lines = append(lines, profileLine{name, name == file.Active, p})
				inUse := ""
				if name == file.Active {
					inUse = "yes"
				}
				t.add(name, inUse, p.Server, p.credentials())
			}
			if asJSON {
				return printJSON(env, lines)
			}
			printTable(env, &t)
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// credentials says where those of a profile come from.
func (p profile) credentials() string {
	switch {
	case p.TokenEnv != "":
		return "token of " + p.TokenEnv
	case p.TokenFile != "":
		return "token in " + p.TokenFile
	case p.APIKeyEnv != "":
		return "API key of " + p.APIKeyEnv
	case p.APIKeyFile != "":
		return "API key in " + p.APIKeyFile
	}
	return "none"
}

func newProfileUseCommand(env Env) *cobra.Command {
	return newProfileChangeCommand(env, "use NAME", "Use a profile from now on", func(file *profileFile, name string) { file.Active = name })
}

func newProfileRemoveCommand(env Env) *cobra.Command {
	return newProfileChangeCommand(env, "remove NAME", "Remove a profile; files that it names stay", func(file *profileFile, name string) {
		if delete(file.Profiles, name); file.Active == name {
			file.Active = ""
		}
	})
}

// newProfileChangeCommand returns a command that does something with a profile
// that exists.
func newProfileChangeCommand(env Env, use, short string, change func(file *profileFile, name string)) *cobra.Command {
	return named(env, &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := readProfiles(env)
			if err != nil {
				return err
			}
			if _, err := file.find(args[0]); err != nil {
				return err
			}
			change(file, args[0])
			return file.write(env)
		},
	})
}

func newProfileShowCommand(env Env) *cobra.Command {
	var asJSON bool
	cmd := named(env, &cobra.Command{
		Use: "show [NAME]", Short: "Print a profile, by default the one in use", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := readProfiles(env)
			if err != nil {
				return err
			}
			name := file.Active
			if len(args) > 0 {
				name = args[0]
			}
			if name == "" {
				return withHint(errors.New("no profile is in use"), "tasker-cli profile use chooses one")
			}
			p, err := file.find(name)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(env, profileLine{name, name == file.Active, p})
			}
			for _, line := range factLines(newScreen(env, env.Stdout), append([]fact{{"profile", name}}, p.settings()...)) {
				fmt.Fprintln(env.Stdout, line)
			}
			return nil
		},
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newProfileCheckCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	cmd := r.command(&cobra.Command{
		Use: "check [NAME]", Short: "Ask the server of a profile whether it answers, and to whom", Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		health, err := c.Health(ctx)
		if err != nil {
			return view{}, err
		}
		system, err := c.DescribeSystem(ctx)
		if err != nil {
			return view{}, err
		}
		raw := map[string]any{"server": c.Server(), "status": health.Status, "version": system.Version, "environment": system.Environment}
		return view{raw: raw, lines: func(s *screen) []string {
			return factLines(s, []fact{
				{"server", c.Server()}, {"status", health.Status}, {"version", system.Version}, {"environment", system.Environment},
			})
		}}, nil
	})
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			r.profile = args[0]
		}
		return run(cmd, args)
	}
	return named(env, cmd)
}
