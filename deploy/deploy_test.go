// Package deploy_test holds what this folder says to what it is about: the
// programs, the configuration, and the tools that read these files.
package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tasker-systems/tasker-go/internal/cli"
)

// TestFiles reads the Dockerfile, the Compose file and the manifests as those do
// that deploy them; tools/deploycheck says how.
func TestFiles(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"docker/*", "kubernetes/*", "../tools/deploycheck/*"} { // so that a change of them is no cached success
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", pattern, err)
		}
		for _, name := range files {
			if _, err := os.ReadFile(name); err != nil {
				t.Logf("not read: %v", err) // a folder of secrets, of whoever tries this
			}
		}
	}
	out, err := exec.CommandContext(t.Context(), "go", "run", "-C", "../tools/deploycheck", ".", here).CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestUnits has systemd read its units, with a program in place of ours that is
// there.
func TestUnits(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd here")
	}
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) == 0 {
		t.Fatalf("no units: %v", err)
	}
	dir := t.TempDir()
	program := regexp.MustCompile(`(?m)^(ExecStart=)/usr/local/bin/\S+`)
	args := []string{"verify", "--man=no"}
	for _, name := range units {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !program.Match(text) {
			t.Errorf("%s starts nothing", name)
		}
		copied := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(copied, program.ReplaceAll(text, []byte("${1}/bin/true")), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, copied)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v:\n%s", err, out)
	}
}

// configMap holds what config generate writes for production.
const configMap = "kubernetes/10-config.yaml"

// TestConfigMap holds the ConfigMap to the configuration. UPDATE_GOLDEN=1 writes
// it.
func TestConfigMap(t *testing.T) {
	t.Parallel()
	data := map[string]string{}
	for _, role := range []string{"orchestration", "worker"} {
		var stdout, stderr bytes.Buffer
		env := cli.Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, LookupEnv: func(string) (string, bool) { return "", false }}
		if code := cli.Main(t.Context(), env, []string{"config", "generate", "--context", role, "--environment", "production"}); code != 0 {
			t.Fatalf("config generate ended with %d: %s", code, stderr.String())
		}
		data[role+".toml"] = stdout.String()
	}
	var want bytes.Buffer
	want.WriteString("# Written by make generate, from tasker-cli config generate --environment production: put your own here.\n")
	enc := yaml.NewEncoder(&want)
	enc.SetIndent(2)
	err := enc.Encode(struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   map[string]string `yaml:"metadata"`
		Data       map[string]string `yaml:"data"`
	}{"v1", "ConfigMap", map[string]string{"name": "tasker-config", "namespace": "tasker"}, data})
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(configMap, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(configMap)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what config generate writes; write it anew with make generate", configMap)
	}
}

// TestVariables: every variable that a file here sets is one that the programs
// read.
func TestVariables(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	env := cli.Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stdout, LookupEnv: func(string) (string, bool) { return "", false }}
	if code := cli.Main(t.Context(), env, []string{"config", "env"}); code != 0 {
		t.Fatal(stdout.String())
	}
	named := regexp.MustCompile(`\b(?:TASKER|DATABASE)_[A-Z_]+\b`)
	for _, pattern := range []string{"docker/*", "systemd/*", "kubernetes/[2-9]*"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", pattern, err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				continue // a folder of secrets, of whoever tries this
			}
			for _, variable := range named.FindAllString(string(text), -1) {
				if known := strings.TrimSuffix(variable, "_FILE"); !strings.Contains(stdout.String(), "\n"+known+" ") && !strings.HasPrefix(stdout.String(), known+" ") {
					t.Errorf("%s sets %s, which nothing reads", name, variable)
				}
			}
		}
	}
}
