package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestGenerateRoundTrip checks for every context and environment that the
// generated file loads to what its layers load to, and comes out the same twice.
func TestGenerateRoundTrip(t *testing.T) {
	t.Parallel()
	for _, e := range Environments() {
		for _, c := range Contexts() {
			t.Run(string(e)+"/"+string(c), func(t *testing.T) {
				t.Parallel()
				opts := options(e, "", "DATABASE_URL", "postgres://u:p@db/x")
				data, err := Generate(c, opts)
				if err != nil {
					t.Fatal(err)
				}
				again, err := Generate(c, opts)
				if err != nil || !bytes.Equal(data, again) {
					t.Errorf("a second run differs (%v)", err)
				}
				file := filepath.Join(t.TempDir(), "tasker.toml")
				if err := os.WriteFile(file, data, 0o600); err != nil {
					t.Fatal(err)
				}
				vars := env{"DATABASE_URL": "postgres://u:p@db/x", "TASKER_ENV": string(e), "TASKER_CONFIG_PATH": file}
				got := load(t, c, Options{LookupEnv: vars.lookup})
				if want := load(t, c, opts); !reflect.DeepEqual(got, want) {
					t.Errorf("the file loads to %+v, the layers to %+v", got, want)
				}
			})
		}
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	overlay := "[common._docs]\nx = 1\n[common.database]\nurl_docs = 'where'\n[[orchestration.system.web.auth.protected_routes]]\nmethod = 'GET'\nmethod_docs = 'x'\npath = '/a\"b'\nauth_type = 'bearer'\nrequired = true"
	data, err := Generate(ContextOrchestration, options(Test, overlay, "DATABASE_URL", "postgres://secret"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, want := range []string{
		"# Tasker configuration for context orchestration, environment test.",
		"#   base/common.toml", "#   environments/test/orchestration.toml",
		`url = "${DATABASE_URL:-postgresql://`,
		"default_backoff_seconds = [1, 2, 4]",
		`protected_routes = [{method = "GET", path = "/a\"b", auth_type = "bearer", required = true}]`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the file lacks %s", want)
		}
	}
	for _, unwanted := range []string{"_docs", "secret", "[worker"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("the file has %s", unwanted)
		}
	}
	if data, err = Generate(ContextOrchestration, options(Production, "")); err != nil {
		t.Fatal(err)
	}
	if want := "default_backoff_seconds = [1, 2, 4, 8, 16]"; !strings.Contains(string(data), want) {
		t.Errorf("the file lacks %s", want)
	}
}

func TestGenerateRefuses(t *testing.T) {
	t.Parallel()
	_, err := Generate(ContextCommon, options(Test, "[common.database.pool]\nmin_connections = 50"))
	if r, ok := errors.AsType[*Report](err); !ok || !slices.Equal(errorsOf(r), []string{"X1 common.database.pool.min_connections"}) {
		t.Errorf("the error is %v", err)
	}
}

// TestSingleFile checks that the sections of a file must be those of the
// context (X23), and that its environment must be that of the process (X15).
func TestSingleFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range Contexts() {
		data, err := Generate(c, options(Test, ""))
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, string(c))
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := DetectContext(name); got != c {
			t.Errorf("the file for %s looks like one for %s (%v)", c, got, err)
		}
	}
	for _, c := range []struct {
		file string
		as   Context
		want []string
	}{
		{"worker", ContextOrchestration, []string{"X23 worker", "X23 orchestration"}},
		{"complete", ContextOrchestration, []string{"X23 worker"}},
		{"orchestration", ContextComplete, []string{"X23 worker"}},
		{"orchestration", ContextCommon, []string{"X23 orchestration"}},
	} {
		got := errorsOf(report(t, c.as, Options{Path: filepath.Join(dir, c.file), LookupEnv: env{}.lookup}))
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("the file for %s as %s gives %v, want %v", c.file, c.as, got, c.want)
		}
	}
	got := errorsOf(report(t, ContextCommon, Options{Path: filepath.Join(dir, "common"), LookupEnv: env{"TASKER_ENV": "production"}.lookup}))
	if !slices.Equal(got, []string{"X15 common.environment"}) {
		t.Errorf("with another TASKER_ENV the errors are %v", got)
	}
}
