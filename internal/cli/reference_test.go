package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commandsFile holds the help of every command.
const commandsFile = "../../docs/cli.md"

// TestReference holds docs/cli.md to the help of the commands. UPDATE_GOLDEN=1
// writes it.
func TestReference(t *testing.T) {
	t.Parallel()
	env := Env{LookupEnv: func(string) (string, bool) { return "", false }}
	root := newRootCommand(env)
	root.InitDefaultCompletionCmd()
	var b bytes.Buffer
	b.WriteString("# tasker-cli\n\n<!-- Written from the commands themselves: make generate. -->\n\n" +
		"What each command says of itself with `--help`. Commands that talk to a server take it from `--server`, a profile or\n" +
		"the environment (`tasker-cli profile --help`), print tables for people and, with `--json`, `--yaml` or `--output`, what\n" +
		"the server sent for programs. `tasker-cli completion bash` (or zsh, fish, powershell) prints what teaches a shell the\n" +
		"commands, and the ids and names that the server knows.\n")
	reference(&b, root)
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(commandsFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(commandsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("docs/cli.md is not what the commands say; write it anew with make generate")
	}
}

func reference(b *bytes.Buffer, cmd *cobra.Command) {
	var help bytes.Buffer
	cmd.InitDefaultHelpFlag()
	cmd.SetOut(&help)
	if err := cmd.Help(); err != nil {
		panic(err)
	}
	fmt.Fprintf(b, "\n## %s\n\n```text\n%s\n```\n", cmd.CommandPath(), strings.TrimSpace(help.String()))
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			reference(b, sub)
		}
	}
}

// TestCommandsExplainThemselves: every command has a summary, what it takes, and
// words for each flag.
func TestCommandsExplainThemselves(t *testing.T) {
	t.Parallel()
	env := Env{LookupEnv: func(string) (string, bool) { return "", false }}
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the summary is %q", cmd.CommandPath(), cmd.Short)
		}
		for line := range strings.Lines(cmd.Long) {
			if len([]rune(line)) > 90 {
				t.Errorf("%s: a line of the description is too long for a terminal: %s", cmd.CommandPath(), line)
			}
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(newRootCommand(env))
}
