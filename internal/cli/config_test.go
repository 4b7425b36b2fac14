package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
)

// command runs a config command and returns what it printed and its exit code.
func command(t *testing.T, vars map[string]string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	env := Env{Stdout: &out, Stderr: &errs, LookupEnv: func(name string) (string, bool) {
		value, set := vars[name]
		return value, set
	}}
	if args[0] == "validator" {
		code = ValidatorMain(env, args[1:])
		return out.String(), errs.String(), code
	}
	cmd := newConfigCommand(env)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	if err := cmd.Execute(); err != nil {
		errs.WriteString(err.Error())
		code = ExitFailed
		if coded, ok := err.(interface{ ExitCode() int }); ok {
			code = coded.ExitCode()
		}
	}
	return out.String(), errs.String(), code
}

func TestConfigGenerate(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "worker.toml")
	args := []string{"generate", "--context", "worker", "--environment", "production", "--output", name}
	if _, stderr, code := command(t, nil, args...); code != 0 || !strings.Contains(stderr, "wrote "+name) {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	written, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	stdout, _, _ := command(t, map[string]string{"DATABASE_URL": "postgres://db/secret"}, args[:5]...)
	if stdout != string(written) || !strings.Contains(stdout, `url = "${DATABASE_URL}"`) {
		t.Errorf("standard output has\n%s\nthe file\n%s", stdout, written)
	}
	// An invalid tree leaves the file as it is.
	root := brokenTree(t)
	_, stderr, code := command(t, nil, append(args, "--source-dir", root)...)
	if code != ExitConfig || !strings.Contains(stderr, "common.toml:2:18") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != string(written) {
		t.Errorf("the file changed (%v)", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(name)); len(entries) != 1 {
		t.Errorf("files were left behind: %v", entries)
	}
}

func TestConfigExitCodes(t *testing.T) {
	t.Parallel()
	root := brokenTree(t)
	nowhere := filepath.Join(t.TempDir(), "nowhere", "x.toml")
	for _, c := range []struct {
		args string
		want int
	}{
		{"generate", ExitUsage},
		{"generate -c common", ExitUsage},
		{"generate -c role -e test", ExitUsage},
		{"generate -c common -e prod", ExitUsage},
		{"generate -c combined -e test", 0},
		{"generate -c common -e test -s " + nowhere, ExitIO},
		{"generate -c common -e test -o " + nowhere, ExitIO},
		{"generate -c common -e test -s " + root, ExitConfig},
		{"validate", 0},
		{"validate --strict", ExitConfig},
		{"validate --strict -c common", 0},
		{"validate -c role", ExitUsage},
		{"validate -e prod", ExitUsage},
		{"validate " + nowhere, ExitIO},
		{"validate " + root, ExitConfig},
		{"validator", 0},
		{"validator --what", ExitUsage},
		{"validator a b", ExitUsage},
		{"validator -c role", ExitUsage},
		{"validator " + root, ExitConfig},
		{"validator " + nowhere, ExitIO},
	} {
		if _, stderr, code := command(t, nil, strings.Fields(c.args)...); code != c.want {
			t.Errorf("%s: exit %d, want %d; %s", c.args, code, c.want, stderr)
		}
	}
}

// TestConfigValidate checks every combination, with and without the variable
// that production needs.
func TestConfigValidate(t *testing.T) {
	t.Parallel()
	stdout, _, code := command(t, nil, "validate")
	if code != 0 || strings.Count(stdout, " ok") != 12 || !strings.Contains(stdout, "needs DATABASE_URL, for common.database.url at built-in/environments/production/common.toml:8:7") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	stdout, _, code = command(t, map[string]string{"DATABASE_URL": "postgres://u:hunter2@db/x"}, "validate")
	if code != 0 || strings.Contains(stdout, "needs") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	_, stderr, _ := command(t, map[string]string{"DATABASE_URL": "mysql://u:hunter2@db/x"}, "validate")
	if strings.Contains(stderr, "hunter2") || strings.Count(stderr, "bad-url") != 3 { // once per layer that uses it
		t.Errorf("the problems are\n%s", stderr)
	}
}

func TestConfigValidateJSON(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := command(t, nil, "validate", "--json", "-e", "test", brokenTree(t))
	var got validated
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || stderr != "" || code != ExitConfig {
		t.Fatalf("exit %d, %v, %s\n%s", code, err, stderr, stdout)
	}
	if len(got.Checked) != 4 || got.Valid {
		t.Errorf("got %+v", got)
	}
	var found *problem
	for _, p := range got.Problems {
		if p.Code == "X1" {
			found = p
		}
	}
	if found == nil || found.Line != 2 || found.Column != 18 || len(found.In) != 4 || len(found.Also) != 1 {
		t.Errorf("the problem is %+v", found)
	}
}

// TestConfigValidateFile validates a generated file: its context is found out,
// its environment is its own.
func TestConfigValidateFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "one.toml")
	if _, stderr, code := command(t, nil, "generate", "-c", "orchestration", "-e", "production", "-o", name); code != 0 {
		t.Fatal(stderr)
	}
	for _, run := range []struct {
		vars map[string]string
		args []string
		want int
	}{
		{nil, []string{"validate", name}, 0},
		{map[string]string{"TASKER_ENV": "test"}, []string{"validate", name}, 0},
		{map[string]string{"TASKER_CONFIG_PATH": name}, []string{"validate"}, 0},
		{nil, []string{"validate", name, "-c", "worker"}, ExitConfig},
		{nil, []string{"validate", name, "-e", "test"}, ExitConfig},
	} {
		stdout, stderr, code := command(t, run.vars, run.args...)
		if code != run.want || code == 0 && !strings.HasPrefix(stdout, "orchestration ") {
			t.Errorf("%v: exit %d\n%s%s", run.args, code, stdout, stderr)
		}
	}
}

// brokenTree writes the shipped layers with an overlay for test and production
// that breaks rule X1 in its second line.
func brokenTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, e := range config.Environments() {
		for _, section := range []string{"common", "orchestration", "worker"} {
			data, err := os.ReadFile("../../config/tasker/base/" + section + ".toml")
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(root, "base", section+".toml"), string(data))
		}
		broken := "[common.database.pool]\nmin_connections =31\n[common]\nenvironment = \"" + string(e) + "\"\n"
		write(t, filepath.Join(root, "environments", string(e), "common.toml"), broken)
	}
	return root
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
