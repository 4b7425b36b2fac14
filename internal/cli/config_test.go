package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tasker-systems/tasker-go/config"
)

// TestConfigScripts runs the transcripts testdata/config_*.txtar. In them
// "config ARGUMENTS..." and "config-validator ARGUMENTS..." run in this process
// and see the variables of the script; "exits CODE" before them says what they
// end with; "append FILE OTHER" adds the other file to the first. What they print has $WORK taken out, so that it can be compared.
// UPDATE_GOLDEN=1 writes anew the files that are compared with.
func TestConfigScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/config_*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no transcripts (%v)", err)
	}
	programs := map[string]func(Env, []string) int{
		"config": func(env Env, args []string) int {
			return Main(t.Context(), env, append([]string{"config"}, args...))
		},
		"config-validator": ValidatorMain,
	}
	commands := map[string]func(*testscript.TestScript, bool, []string){
		"exits": func(ts *testscript.TestScript, _ bool, args []string) {
			want, err := strconv.Atoi(args[0])
			ts.Check(err)
			runInScript(ts, programs[args[1]], args[2:], want)
		},
	}
	commands["append"] = func(ts *testscript.TestScript, _ bool, args []string) {
		text := ts.ReadFile(args[0]) + ts.ReadFile(args[1])
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
	}
	for name, program := range programs {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("write exits CODE %s", name)
			}
			runInScript(ts, program, args, 0)
		}
	}
	testscript.Run(t, testscript.Params{
		Files: files, Cmds: commands, UpdateScripts: os.Getenv("UPDATE_GOLDEN") == "1",
		Setup: func(env *testscript.Env) error {
			return os.CopyFS(filepath.Join(env.WorkDir, "shipped"), config.Shipped())
		},
	})
}

// runInScript runs a program and compares its exit code.
func runInScript(ts *testscript.TestScript, program func(Env, []string) int, args []string, want int) {
	var out, errs strings.Builder
	env := Env{Stdout: &out, Stderr: &errs, LookupEnv: func(name string) (string, bool) {
		value := ts.Getenv(name)
		return value, value != ""
	}}
	got := program(env, args)
	shorten := strings.NewReplacer(ts.Getenv("WORK")+"/", "", ts.Getenv("WORK"), ".")
	_, err := shorten.WriteString(ts.Stdout(), out.String())
	_, err2 := shorten.WriteString(ts.Stderr(), errs.String())
	ts.Check(errors.Join(err, err2))
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// command runs a config command and returns what it printed and its exit code.
func command(t *testing.T, vars map[string]string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	env := Env{Stdout: &out, Stderr: &errs, LookupEnv: func(name string) (string, bool) {
		value, set := vars[name]
		return value, set
	}}
	code = Main(t.Context(), env, append([]string{"config"}, args...))
	return out.String(), errs.String(), code
}

// TestConfigShowsNoSecret gives every command variables with a password, in a
// tree with more of them: none prints it, save the one that is asked to.
func TestConfigShowsNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	root := t.TempDir()
	if err := os.CopyFS(root, config.Shipped()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "environments/test/orchestration.toml"), "[orchestration.system.web.auth]\napi_key = 'hunter2'\njwt_private_key = 'hunter2'\n")
	write(t, filepath.Join(root, "environments/development/common.toml"), "[common.telemetry.metrics]\nexport_endpoint = 'http://u:hunter2@h/'\n[common.database]\nurl = 'postgres://u:hunter2@h/x'\n")
	write(t, filepath.Join(root, "cases.toml"), "[[case]]\nname = 'x'\nenvironment = 'development'\nvariables.DATABASE_URL = 'mysql://hunter2'\n[case.expect]\ncommon.database.url = 'x'\ncommon.telemetry.metrics.export_endpoint = 'x'\n")
	vars := map[string]string{
		"DATABASE_URL": "postgres://u:hunter2@db/x", "TASKER_API_KEY": secret, "TASKER_JWT_PUBLIC_KEY": secret,
		"TELEMETRY_ENDPOINT": "http://u:hunter2@h/", "TASKER_WEB_BIND_ADDRESS": secret, "TASKER_CONFIG_ROOT": root,
	}
	for _, args := range []string{
		"validate", "validate --json", "validate --strict -e test", "generate -c complete -e test", "generate -c complete -e production",
		"explain database.url", "explain orchestration.system.web.auth.api_key -e test", "explain metrics.export_endpoint --json", "diff test production", "diff development production --json",
		"dump -e development", "dump -e development --sources", "dump -e development -f yaml --sources", "dump -e development -f toml --sources", "dump -e production",
		"env", "env --json", "lint", "lint --json", "docs", "schema", "test " + root + "/cases.toml",
	} {
		stdout, stderr, code := command(t, vars, strings.Fields(args)...)
		if strings.Contains(stdout+stderr, secret) {
			t.Errorf("%s shows it:\n%s%s", args, stdout, stderr)
		}
		if code == ExitUsage || code == ExitIO {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
	stdout, _, code := command(t, vars, "dump", "-c", "common", "-e", "development", "--show-secrets")
	if code != 0 || strings.Count(stdout, secret) != 2 {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

// TestConfigExitCodes asks wrongly, for what is not there, and for what is
// invalid.
func TestConfigExitCodes(t *testing.T) {
	t.Parallel()
	nowhere := filepath.Join(t.TempDir(), "nowhere", "x.toml")
	broken := t.TempDir()
	if err := os.CopyFS(broken, config.Shipped()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(broken, "environments/test/common.toml"), "[common]\nenvironment = 'test'\nnone = 1\n")
	for _, c := range []struct {
		want int
		args []string
	}{
		{ExitUsage, []string{
			"generate", "generate -c common", "generate -c role -e test", "generate -c common -e prod", "generate x",
			"generate -c common -e test --check", "validate -c role", "validate -e prod", "validate a b", "validate --all -e test",
			"explain none", "explain batch_size", "explain database.url -e prod", "diff test", "diff test prod", "diff test production -c role", "diff test http://",
			"dump -f xml", "dump -c role", "dump -e prod", "lint -e prod", "detect-unused x", "test", "init", "env x", "nothing", "schema x", "docs x",
		}},
		{ExitIO, []string{
			"generate -c common -e test -s " + nowhere, "generate -c common -e test -o " + nowhere, "generate -c common -e test --check -o " + nowhere,
			"validate " + nowhere, "explain database.url -s " + nowhere, "diff test " + nowhere, "diff test production -s " + nowhere,
			"diff test http://127.0.0.1:1", "dump " + nowhere, "dump -s " + nowhere, "lint -s " + nowhere, "env -s " + nowhere, "test " + nowhere,
			"docs -o /dev/null/x", "init " + broken,
		}},
		{ExitConfig, []string{
			"generate -c common -e test -s " + broken, "validate " + broken, "validate --strict", "diff test production -s " + broken,
			"dump -e test -s " + broken, "lint -s " + broken, "test " + broken + "/base/worker.toml",
		}},
		{ExitFailed, []string{"diff test production --exit-code"}},
		{0, []string{
			"", "generate -c combined -e test", "validate --strict -c common", "validate --all", "explain", "explain X1", "explain database.url -s " + broken,
			"diff test production", "env -s " + broken, "diff --exit-code" + strings.Repeat(" test", 2),
		}},
	} {
		for _, args := range c.args {
			if _, stderr, code := command(t, nil, strings.Fields(args)...); code != c.want {
				t.Errorf("%s: exit %d, want %d; %s", args, code, c.want, stderr)
			}
		}
	}
}

// TestConfigCommandsHelp checks that every command has an explanation.
func TestConfigCommandsHelp(t *testing.T) {
	t.Parallel()
	names := []string{"init", "validate", "generate", "explain", "diff", "dump", "env", "lint", "detect-unused", "test", "schema", "docs"}
	stdout, _, _ := command(t, nil)
	for _, name := range names {
		if !strings.Contains(stdout, "\n  "+name) {
			t.Errorf("config does not list %s", name)
		}
		help, _, code := command(t, nil, name, "--help")
		if code != 0 || !slices.Contains(strings.Split(help, "\n"), "Usage:") {
			t.Errorf("%s --help exits with %d\n%s", name, code, help)
		}
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
