package privatepg

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakePostgres makes a folder with programs that say they are of a version.
func fakePostgres(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"initdb":   "#!/bin/sh\n",
		"postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindPrefersGroupThenVersion(t *testing.T) {
	t.Parallel()
	old, fifteen, beta := fakePostgres(t, "13.4"), fakePostgres(t, "15.18 (Debian 15.18-0)"), fakePostgres(t, "18beta1")
	empty := t.TempDir()
	for name, c := range map[string]struct {
		groups [][]string
		want   string
	}{
		"newest of a group":   {[][]string{{empty, fifteen, beta, old}}, beta},
		"first group":         {[][]string{{fifteen}, {beta}}, fifteen},
		"past what is old":    {[][]string{{old}, {empty}, {fifteen}}, fifteen},
		"past what is absent": {[][]string{nil, {filepath.Join(empty, "none")}, {beta}}, beta},
	} {
		got, err := find(t.Context(), c.groups)
		if err != nil || got.Dir != c.want {
			t.Errorf("%s: got %v, %v; want %s", name, got, err, c.want)
		}
	}
}

func TestFindNothing(t *testing.T) {
	t.Parallel()
	old := fakePostgres(t, "13.4")
	_, err := find(t.Context(), [][]string{{old}})
	notFound, ok := errors.AsType[*NotFoundError](err)
	if !ok {
		t.Fatalf("got %v, want a NotFoundError", err)
	}
	for _, want := range []string{"only 13 in " + old, "TASKER_PG_BIN", notFound.Install} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
}

// TestFindObeysVariable cannot be parallel: it sets the variable.
func TestFindObeysVariable(t *testing.T) {
	fifteen, old := fakePostgres(t, "15.1"), fakePostgres(t, "14.9")
	t.Setenv("TASKER_PG_BIN", fifteen)
	if got, err := Find(t.Context()); err != nil || got != (Binaries{Dir: fifteen, Version: 15}) {
		t.Errorf("got %v, %v", got, err)
	}
	for dir, want := range map[string]string{old: "PostgreSQL 14 is older than 15", t.TempDir(): errNoServer.Error()} {
		t.Setenv("TASKER_PG_BIN", dir)
		if _, err := Find(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("TASKER_PG_BIN=%s: got %v, want %q", dir, err, want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 18beta1\n":                        18,
		"postgres (PostgreSQL) 17":                               17,
		"postgres (EnterpriseDB) 15":                             0,
		"":                                                       0,
	} {
		if got, err := parseVersion(in); got != want || (err == nil) != (want > 0) {
			t.Errorf("parseVersion(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
}

// TestInstallersAgree keeps the script of the make targets and the error of
// the command line to the same package managers.
func TestInstallersAgree(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../scripts/ensure.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range installers {
		if !strings.Contains(string(script), i.manager) {
			t.Errorf("scripts/ensure.sh does not know %s", i.manager)
		}
	}
}

// TestWatchdogIsPortable has the shell check the script's grammar.
func TestWatchdogIsPortable(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-n", "watchdog.sh").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
