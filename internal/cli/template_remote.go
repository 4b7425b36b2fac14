package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

func newTemplateListCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.command(&cobra.Command{
		Use: "list", Short: "List the templates that are registered with a server", Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		list, err := c.ListTemplates(ctx)
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{{title: "template"}, {title: "version"}}}
		for _, l := range list.Templates {
			t.add(l.Namespace+"/"+l.Name, l.Version)
		}
		return view{raw: list.JSON, lines: tabled(&t)}, nil
	})
}

// findTemplate asks the server for NAMESPACE/NAME[@VERSION].
func findTemplate(ctx context.Context, c *apiclient.Client, name string) (*apiclient.TemplateDetail, error) {
	parsed, err := parseTemplateName(name)
	if err != nil {
		return nil, err
	}
	return c.FindTemplate(ctx, apiclient.Template{Namespace: parsed.Namespace, Name: parsed.Name, Version: parsed.Version})
}

func newTemplateInfoCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use:   "info NAMESPACE/NAME[@VERSION]",
		Short: "Print a registered template with its steps",
		Long:  "Print a registered template with its steps; without a version, the highest one. --json\nand --yaml print its definition too.",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		found, err := findTemplate(ctx, c, args[0])
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{{title: "step"}, {title: "type"}, {title: "handler"}, {title: "attempts", right: true}, {title: "after"}}}
		for _, s := range found.Steps {
			t.add(s.Name, s.Type, s.Handler, strconv.Itoa(s.MaxAttempts), strings.Join(s.Dependencies, ", "))
		}
		return view{raw: found.JSON, lines: func(s *screen) []string {
			head := factLines(s, []fact{
				{"template", found.Namespace + "/" + found.Name + " " + found.Version},
				{"description", oneLine(found.Description)},
				{"digest", found.Digest},
				{"registered", found.RegisteredAt.Local().Format(time.DateTime)},
			})
			return append(append(head, ""), t.lines(s)...)
		}}, nil
	}), templateWords)
}

// newTemplateVisualizeCommand draws a file, or what a server has.
func newTemplateVisualizeCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var format string
	cmd := &cobra.Command{
		Use:   "visualize FILE|NAMESPACE/NAME[@VERSION]",
		Short: "Draw the steps of a template and what they depend on",
		Long:  "Draw the steps of a template and what they depend on: of a file or, where there is none\nof the name, of what is registered with a server.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			draw, known := drawings[format]
			if !known {
				return usage(fmt.Errorf("unknown format %q; want mermaid or text", format))
			}
			t, err := r.readTemplate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(env.Stdout, draw(t))
			return err
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&format, "format", "text", "mermaid or text")
	completeFlag(cmd, "format", func(*cobra.Command) []string { return []string{"mermaid", "text"} })
	return cmd
}

// readTemplate reads a template from a file or, where there is none and the name
// could be that of a template, from the server.
func (r *remote) readTemplate(ctx context.Context, name string) (*templates.Template, error) {
	_, absent := os.Stat(name)
	if _, err := parseTemplateName(name); absent == nil || err != nil || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
		return readTemplateFile(name)
	}
	c, err := r.client()
	if err != nil {
		return nil, err
	}
	found, err := findTemplate(ctx, c, name)
	if err != nil {
		return nil, r.explain(err)
	}
	t, err := templates.Decode(found.Definition)
	if err != nil {
		return nil, fmt.Errorf("read the definition that %s has of %s: %w", c.Server(), name, err)
	}
	return t, nil
}

// A sketch is the begin of a template.
type sketch struct{ name, says, steps string }

// sketches are what template generate begins with.
var sketches = []sketch{
	{"linear", "one step after the other", `  - {name: first, handler: {callable: first}}
  - {name: second, handler: {callable: second}, dependencies: [first]}
  - {name: third, handler: {callable: third}, dependencies: [second]}
`},
	{"diamond", "two steps beside each other between two others", `  - {name: start, handler: {callable: start}}
  - {name: left, handler: {callable: left}, dependencies: [start]}
  - {name: right, handler: {callable: right}, dependencies: [start]}
  - {name: end, handler: {callable: end}, dependencies: [left, right]}
`},
	{"decision", "a step whose result says which others run", `  - {name: check, handler: {callable: check}}
  - {name: route, type: decision, handler: {callable: route}, dependencies: [check]}
  - {name: automatic, handler: {callable: automatic}, dependencies: [route]}
  - {name: manual, handler: {callable: manual}, dependencies: [route]}
  - {name: finish, type: deferred_convergence, handler: {callable: finish}, dependencies: [automatic, manual]}
`},
	{"batch", "a step that divides the work, and steps that share it", `  - {name: analyze, type: batchable, handler: {callable: analyze}}
  - name: work
    type: batch_worker
    handler: {callable: work}
    dependencies: [analyze]
    batch_config: {parallelism: 10, failure_strategy: continue_on_failure}
  - {name: gather, type: deferred_convergence, handler: {callable: gather}, dependencies: [work]}
`},
}

func newTemplateGenerateCommand(env Env) *cobra.Command {
	var shape string
	names := make([]string, len(sketches))
	long := []string{"Print the begin of a template, which is valid as it is:\n"}
	for i, s := range sketches {
		names[i] = s.name
		long = append(long, fmt.Sprintf("  %-9s %s", s.name, s.says))
	}
	cmd := &cobra.Command{
		Use:     "generate NAMESPACE/NAME[@VERSION]",
		Short:   "Print the begin of a template",
		Long:    strings.Join(long, "\n"),
		Example: `  tasker-cli template generate orders/fulfilment --shape diamond >config/tasks/fulfilment.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			i := slices.Index(names, shape)
			if i < 0 {
				return usage(fmt.Errorf("unknown shape %q; want one of %s", shape, strings.Join(names, ", ")))
			}
			name, err := parseTemplateName(args[0])
			if err != nil {
				return err
			}
			if name.Version == "" {
				name.Version = "1.0.0"
			}
			document := fmt.Sprintf("name: %s\nnamespace_name: %s\nversion: %s\ndescription: What it does, in a line\nsteps:\n%s",
				name.Name, name.Namespace, name.Version, sketches[i].steps)
			if _, err := templates.Parse(args[0], []byte(document)); err != nil {
				return usage(err)
			}
			_, err = fmt.Fprint(env.Stdout, document)
			return err
		},
	}
	cmd.Flags().StringVar(&shape, "shape", "linear", strings.Join(names, ", "))
	completeFlag(cmd, "shape", func(*cobra.Command) []string { return names })
	return cmd
}
