package e2e

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/internal/process"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// secret is the password that no program may say.
const secret = "correct-horse"

// TestBadStarts starts both servers in every way that cannot work. They say why,
// how to mend it where that is known, and never the password, and leave nothing
// behind.
func TestBadStarts(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", nil)
	fine := "DATABASE_URL=" + s.url
	taken := listen(t)
	for _, tt := range []struct {
		name string
		env  []string
		code int
		want string // a regular expression; {role} is the section of the server
	}{
		{
			"unknown environment",
			[]string{"TASKER_ENV=staging", fine},
			process.ExitConfig,
			`TASKER_ENV cannot be used: unknown environment "staging"; want test, development, production`,
		},
		{
			"no such configuration",
			[]string{"TASKER_CONFIG_ROOT=/nowhere", fine},
			process.ExitIO,
			`read configuration from /nowhere/base or /nowhere/tasker/base: file does not exist`,
		},
		{
			"malformed configuration",
			[]string{"TASKER_CONFIG_PATH=" + malformed(t), fine},
			process.ExitConfig,
			`bad\.toml:2:\d+`,
		},
		{
			"unreachable database",
			[]string{databaseAt(unused(t))},
			process.ExitFailed,
			`connect to PostgreSQL at 127\.0\.0\.1:\d+/tasker: connection refused; is the server running and reachable\?`,
		},
		{
			"wrong password",
			[]string{databaseAt(onTCP(t))},
			process.ExitFailed,
			`connect to PostgreSQL at 127\.0\.0\.1:\d+/tasker: password authentication failed for user "tasker" \(SQLSTATE 28P01\)`,
		},
		{
			"missing migrations",
			[]string{"DATABASE_URL=" + testdb.NewEmpty(t)},
			process.ExitFailed,
			`lacks migration 0001_tasker\.sql; run .tasker-cli db migrate.`,
		},
		{
			"port in use",
			[]string{fine, "TASKER_WEB_BIND_ADDRESS=" + taken},
			process.ExitFailed,
			`{role}\.system\.web\.bind_address = "` + taken + `": the port is in use; stop what listens there or choose another`,
		},
	} {
		for _, p := range []program{orchestrationServer, workerServer} {
			t.Run(tt.name+"/"+string(p), func(t *testing.T) {
				c := start(t, p, append([]string{"TASKER_ENV=test", "TASKER_WEB_BIND_ADDRESS=127.0.0.1:0"}, tt.env...))
				want := "(?ms)^" + string(p) + ": .*" + strings.ReplaceAll(tt.want, "{role}", string(p.context()))
				c.refused(tt.code, want)
			})
		}
	}
	if n := enginetest.Query[int](s.Engine, `
		select (select count(*) from tasker.leases) + (select count(*) from tasker.workers where stopped_at is null)`); n != 0 {
		t.Errorf("%d leases and workers are left", n)
	}
}

// TestSecondStandalone starts a second orchestrator beside the only one.
func TestSecondStandalone(t *testing.T) {
	t.Parallel()
	settings := quick()
	settings["orchestration.system.mode"] = `"standalone"`
	s := newSite(t, "", settings)
	s.startOrchestrator()
	s.start(orchestrationServer).refused(process.ExitFailed,
		`another orchestrator runs on this database and orchestration\.system\.mode is "standalone"; set it to "distributed"`)
}

// refused waits for the end of a process that was not to start.
func (c *child) refused(code int, want string) {
	c.t.Helper()
	if got := c.wait(); got != code {
		c.t.Errorf("%s ended with code %d, want %d", c, got, code)
	}
	text := c.output.String()
	if !regexp.MustCompile(want).MatchString(text) {
		c.t.Errorf("%s did not say %s", c, want)
	}
	if strings.Contains(text, secret) {
		c.t.Errorf("%s said the password", c)
	}
	if c.t.Failed() {
		c.t.Logf("output of %s:\n%s", c, text)
	}
}

// databaseAt is the setting of a database with the password that must stay
// secret.
func databaseAt(address string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("tasker", secret), Host: address, Path: "/tasker"}
	return "DATABASE_URL=" + u.String()
}

// listen returns an address that is taken until the test ends.
func listen(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// unused returns an address at which nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// onTCP returns the address of a server that asks for a password.
func onTCP(t *testing.T) string {
	t.Helper()
	server, err := privatepg.Start(t.Context(), privatepg.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(server.TCPURL(privatepg.Database))
	if err != nil {
		t.Fatal("the server's URL does not parse") // err would show the password
	}
	return u.Host
}

// malformed returns the name of a file that is no TOML.
func malformed(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(name, []byte("[common]\nenvironment = test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
