package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

// A remote is what the commands have in common that talk to a server over HTTP:
// which one, as whom, and how to print what it answers.
type remote struct {
	env     Env
	server  string // of --server
	profile string // of --profile
	output  string // of --output
	json    bool
	yaml    bool
	watched bool // of --watch

	form string // one of forms, once client was called
}

// forms are what --output may be.
var forms = []string{"table", "json", "yaml"}

// flags adds those that say which server, and in which form.
func (r *remote) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.server, "server", "", "URL of an orchestrator (default: that of the profile, of "+serverVar+", else "+defaultServer+")")
	f.StringVar(&r.profile, "profile", "", "profile with server and credentials (default: "+profileVar+", else the one in use)")
	f.StringVarP(&r.output, "output", "o", "", "table, json or yaml (default: that of the profile, else table)")
	f.BoolVar(&r.json, "json", false, "print the result as JSON")
	f.BoolVar(&r.yaml, "yaml", false, "print the result as YAML")
	cmd.MarkFlagsMutuallyExclusive("server", "profile")
	cmd.MarkFlagsMutuallyExclusive("output", "json", "yaml")
	completeFlag(cmd, "output", func(*cobra.Command) []string { return forms })
	completeFlag(cmd, "profile", func(*cobra.Command) []string { return profileNames(r.env) })
}

// watchFlag adds --watch, by which the command asks again and again.
func (r *remote) watchFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&r.watched, "watch", "w", false, "go on showing changes until interrupted")
}

// An ask asks the server for what the arguments of a command say.
type ask func(ctx context.Context, c *apiclient.Client, args []string) (view, error)

// A view is an answer in the forms it may be printed in.
type view struct {
	raw   any                      // for programs
	lines func(s *screen) []string // for people
	next  string                   // what --after would go on from; "" when there is no more
	err   error                    // what the answer means, when that is no success
}

// command completes a command that asks a server and prints what it answers.
func (r *remote) command(cmd *cobra.Command, do ask) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := r.client()
		if err != nil {
			return err
		}
		if r.watched {
			return r.watch(cmd.Context(), func(ctx context.Context) (view, error) { return do(ctx, c, args) })
		}
		answer, err := do(cmd.Context(), c, args)
		if err != nil {
			return r.explain(err)
		}
		if err := r.show(answer); err != nil {
			return err
		}
		return answer.err
	}
	r.flags(cmd)
	return cmd
}

// client returns a client of the server, and settles the form.
func (r *remote) client() (*apiclient.Client, error) {
	to, err := r.connection()
	if err != nil {
		return nil, err
	}
	for form, wanted := range map[string]bool{"json": r.json, "yaml": r.yaml, r.output: r.output != ""} {
		if wanted {
			to.output = form
		}
	}
	if !slices.Contains(forms, to.output) {
		return nil, usage(fmt.Errorf("unknown form %q; --output is table, json or yaml", to.output))
	}
	r.form = to.output
	c, err := apiclient.New(to.server, to.options)
	if err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// forPrograms reports whether the result is for programs.
func (r *remote) forPrograms() bool { return r.form != "table" }

// show prints an answer.
func (r *remote) show(v view) error {
	if r.forPrograms() {
		return r.encode(v.raw)
	}
	for _, line := range v.lines(newScreen(r.env, r.env.Stdout)) {
		if _, err := fmt.Fprintln(r.env.Stdout, line); err != nil {
			return err
		}
	}
	if v.next != "" {
		fmt.Fprintf(r.env.Stderr, "there are more; go on with --after %s\n", v.next)
	}
	return nil
}

// encode prints a value for programs.
func (r *remote) encode(v any) error {
	if r.form == "yaml" {
		return printYAML(r.env, v)
	}
	return printJSON(r.env, v)
}

// again is how often --watch asks.
const again = 2 * time.Second

// watch shows what the server answers whenever that has changed, until ctx ends.
func (r *remote) watch(ctx context.Context, do func(context.Context) (view, error)) error {
	s := newScreen(r.env, r.env.Stdout)
	ticker := time.NewTicker(again)
	defer ticker.Stop()
	shown := ""
	for {
		answer, err := do(ctx)
		if err != nil {
			return r.explain(err)
		}
		lines := answer.lines(s)
		switch text := render(lines); {
		case text == shown:
		case s.live() && !r.forPrograms():
			s.draw(lines...)
			shown = text
		default:
			if err := r.show(answer); err != nil {
				return err
			}
			shown = text
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// explain says what to do about what went wrong in a call.
func (r *remote) explain(err error) error {
	if _, ok := errors.AsType[*apiclient.UnreachableError](err); ok {
		return withHint(err, "tasker-cli dev starts a server; --server, --profile or "+serverVar+" names another")
	}
	refused, ok := errors.AsType[*apiclient.Error](err)
	if !ok {
		return err
	}
	switch refused.Code {
	case apiclient.CodeUnknownTemplate:
		return withHint(err, "tasker-cli template list shows what is registered")
	case apiclient.CodeDuplicateTask:
		return withHint(err, "--idempotency-key tells tasks with the same context apart")
	case "":
		return withHint(err, "--server or "+serverVar+" names the server")
	}
	switch refused.Status {
	case http.StatusUnauthorized:
		return withHint(err, "tasker-cli profile add names a token or an API key; so do "+tokenVar+" and "+apiKeyVar)
	case http.StatusForbidden:
		return withHint(err, "tasker-cli profile use or --profile takes other credentials")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return withHint(err, "the server is busy or starts; try again in a while")
	}
	return err
}

// tabled makes lines of a table.
func tabled(t *table) func(*screen) []string {
	return func(s *screen) []string { return t.lines(s) }
}

// said makes lines of a text.
func said(format string, args ...any) func(*screen) []string {
	return func(*screen) []string { return strings.Split(fmt.Sprintf(format, args...), "\n") }
}

// nothing is the view of a call whose success says everything.
var nothing = view{raw: struct{}{}, lines: func(*screen) []string { return nil }}

// A fact is a line of what is known of one thing.
type fact struct{ name, value string }

// factLines lays facts out; those without a value are left out.
func factLines(s *screen, facts []fact) []string {
	width := 0
	for _, f := range facts {
		if f.value != "" {
			width = max(width, len(f.name))
		}
	}
	var lines []string
	for _, f := range facts {
		if f.value != "" {
			lines = append(lines, fmt.Sprintf("%-*s  %s", width, f.name, s.paintState(f.value)))
		}
	}
	return lines
}
