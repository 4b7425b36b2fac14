package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// assertion is one [[case]] of an assertion file. The tables variables and expect
// of a case have keys of their own and are read apart.
type assertion struct {
	Name        string   `toml:"name" len:"1.."`
	Context     string   `toml:"context" enum:"common|orchestration|worker|complete" default:"'complete'"`
	Environment string   `toml:"environment" enum:"test|development|production"`
	Overlay     string   `toml:"overlay" default:"''"`
	Errors      []string `toml:"errors" default:"[]"`
}

var assertionSchema = sync.OnceValue(func() *tomltree.Schema {
	return tomltree.NewSchema(reflect.TypeFor[assertion](), nil)
})

func newConfigTestCommand(env Env) *cobra.Command {
	var source string
	cmd := &cobra.Command{
		Use:   "test FILE or DIRECTORY...",
		Short: "Check what a configuration comes to against assertion files",
		Long: "Check what a configuration comes to against assertion files. Each [[case]] has a\n" +
			"name, an environment and, if not complete, a context; variables, the only ones the\n" +
			"case sees; an overlay, as text; and what it expects: the values of keys, or errors\n" +
			"as \"code key\". Of a directory every .toml file is read. The exit code is 1 if a case\n" +
			"fails.",
		Example: `  [[case]]
  name = "production has a large pool"
  environment = "production"
  variables = { DATABASE_URL = "postgresql://db/tasker" }
  [case.expect]
  common.database.pool.max_connections = 50

  [[case]]
  name = "production needs a database"
  environment = "production"
  errors = ["unset-variable common.database.url"]`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := assertionFiles(args)
			if err != nil {
				return err
			}
			return runAssertions(env, source, files)
		},
	}
	sourceFlag(cmd, &source)
	return cmd
}

// assertionFiles returns the files and those in the directories.
func assertionFiles(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (name == path || strings.HasSuffix(name, ".toml")) {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			return nil, readError(err)
		}
	}
	return files, nil
}

// runAssertions runs all cases of all files.
func runAssertions(env Env, source string, files []string) error {
	passed, failed := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return readError(err)
		}
		cases, err := parseAssertions(file, data)
		if err != nil {
			return err
		}
		for _, c := range cases {
			report, err := c.run(source)
			if err != nil {
				return err
			}
			if len(report.Problems) == 0 {
				passed++
				fmt.Fprintf(env.Stdout, "ok    %s\n", c.Name)
				continue
			}
			failed++
			fmt.Fprintf(env.Stdout, "FAIL  %s\n", c.Name)
			for _, p := range report.Problems {
				fmt.Fprintf(env.Stderr, "%s\n", p)
			}
		}
	}
	fmt.Fprintf(env.Stdout, "%s passed, %d failed\n", counted(passed, "case"), failed)
	if failed > 0 {
		return &ExitError{Code: ExitFailed}
	}
	return nil
}

// assertionCase is a case that is read.
type assertionCase struct {
	assertion

	tree      *tomltree.Value // of the case
	variables map[string]string
}

// parseAssertions reads a file of cases; what is wrong with it is a report.
func parseAssertions(name string, data []byte) ([]*assertionCase, error) {
	tree, problems := tomltree.Parse(name, data)
	report := &config.Report{Problems: problems}
	for _, key := range tree.Keys() {
		if key != "case" {
			report.Add(config.Problem{Code: "unknown-key", Key: key, Pos: tree.KeyPos(key), Message: "is not a known key", Fix: "write [[case]]"})
		}
	}
	var cases []*assertionCase
	if list := tree.Lookup("case"); list != nil {
		for _, entry := range list.Entries() {
			c := &assertionCase{tree: entry, variables: map[string]string{}}
			report.Add(c.decode()...)
			cases = append(cases, c)
		}
	}
	report.Sort()
	return cases, report.Err()
}

// decode fills in the case from its tree.
func (c *assertionCase) decode() []config.Problem {
	if c.tree.Kind() != tomltree.Table {
		return []config.Problem{{Code: "wrong-type", Key: "case", Pos: c.tree.Pos(), Message: "is no table", Fix: "write [[case]]"}}
	}
	_, problems := assertionSchema().Decode(c.tree.Without("variables").Without("expect"), &c.assertion)
	if table := c.tree.Lookup("variables"); table != nil {
		tomltree.Leaves(table, func(name string, v *tomltree.Value) {
			if v.Kind() != tomltree.String {
				problems = append(problems, config.Problem{
					Code: "wrong-type", Key: "variables." + name, Pos: v.Pos(), Message: "is " + v.Kind().String() + ", want a string",
				})
			}
			c.variables[name] = v.Text()
		})
	}
	return problems
}

// run loads what the case asks for and reports what is not as it expects.
func (c *assertionCase) run(source string) (*config.Report, error) {
	loaded, err := config.Resolve(config.Context(c.Context), config.Options{
		Environment: c.Environment, Root: source, Overlay: []byte(c.Overlay),
		LookupEnv: func(name string) (string, bool) {
			value, set := c.variables[name]
			return value, set
		},
	})
	found, invalid := errors.AsType[*config.Report](err)
	if err != nil && !invalid {
		return nil, err
	}
	failures := &config.Report{}
	c.compareErrors(failures, found)
	if !invalid {
		c.compareValues(failures, loaded)
	}
	failures.Sort()
	return failures, nil
}

// compareErrors reports errors that were expected and did not come, and the
// other way round.
func (c *assertionCase) compareErrors(failures, found *config.Report) {
	var came []string
	if found != nil {
		for _, p := range found.Problems {
			if p.Severity != tomltree.Error {
				continue
			}
			text := strings.TrimSpace(p.Code + " " + p.Key)
			if came = append(came, text); !slices.Contains(c.Errors, text) {
				failures.Add(p)
			}
		}
	}
	for i, want := range c.Errors {
		if !slices.Contains(came, want) {
			failures.Add(config.Problem{
				Code: "unmet-expectation", Key: want, Pos: c.tree.Lookup("errors").Entries()[i].Pos(), Message: "did not come",
			})
		}
	}
}

// compareValues reports keys that have other values than expected.
func (c *assertionCase) compareValues(failures *config.Report, loaded *config.Loaded) {
	table := c.tree.Lookup("expect")
	if table == nil {
		return
	}
	settings := map[string]config.Setting{}
	for _, s := range loaded.Settings() {
		settings[s.Key] = s
	}
	tomltree.Leaves(table, func(key string, want *tomltree.Value) {
		p := config.Problem{Code: "unmet-expectation", Key: key, Pos: want.Pos()}
		s, known := settings[key]
		switch {
		case !known:
			p.Message = "is not set, or no key"
			p.Fix = "tasker-cli config explain lists the keys there are"
		case equalJSON(s.Value, want):
			return
		default:
			p.Message, p.Chain = "is "+s.Shown()+", want "+want.Inline(), s.Chain
			if s.Entry.Secret {
				p.Message = "is another secret"
			}
		}
		failures.Add(p)
	})
}

// equalJSON compares values, whatever was written for them.
func equalJSON(a, b *tomltree.Value) bool {
	x, errX := a.MarshalJSON()
	y, errY := b.MarshalJSON()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
