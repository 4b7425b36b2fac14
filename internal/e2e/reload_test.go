package e2e

import (
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/internal/process"
)

// TestReload changes the configuration of a running process, so that it takes
// part of it, and then so that it can take none. What it says of itself is
// compared with its file all the while.
func TestReload(t *testing.T) {
	t.Parallel()
	settings := enginetest.Settings{
		"orchestration.backoff.jitter_enabled": "false", "orchestration.backoff.default_backoff_seconds": "[1]",
		"orchestration.backoff.max_backoff_seconds": "10", "common.telemetry.enabled": "true",
	}
	s := newSite(t, "", settings)
	c := s.start(ownCombined)
	hash := c.find(`msg="configuration loaded" context=complete environment=test hash=(\S+) sources=\[\S*complete\.toml\]`)[1]
	url := "http://" + c.address("orchestration")
	if body := s.get(url + "/config"); !strings.Contains(body, `"hash":"`+hash+`"`) || strings.Contains(body, s.url) {
		t.Errorf("the server tells\n%s", body)
	}
	s.diff(url, 0, "0 differences")
	s.create("flaky", 1)
	c.find(`step failed.* delay=1\.5s`)

	settings["orchestration.backoff.max_backoff_seconds"] = "1"
	settings["common.database.pool.max_connections"] = "11"
	s.rewrite(settings)
	c.signal(syscall.SIGHUP)
	c.find(`msg="setting changed" key=orchestration\.backoff\.max_backoff_seconds from=10 to=1\n`)
	c.find(`msg="setting changes at the next restart" key=common\.database\.pool\.max_connections\n`)
	if now := c.find(`msg="configuration reloaded" .* hash=(\S+) .* changed=1 need_restart=1`)[1]; now == hash {
		t.Error("the hash is the same")
	}
	s.create("flaky", 1)
	c.find(`step failed.* delay=1s`)
	s.diff("http://"+c.address("worker"), process.ExitFailed, "common.database.pool.max_connections", "1 difference,")

	settings["orchestration.backoff.max_backoff_seconds"] = "7"
	s.rewrite(settings)
	name := configFile(s.dir, config.ContextComplete)
	text, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, append(text, "\n[common.none]\nkey = 1\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.signal(syscall.SIGHUP)
	c.find(`msg="configuration not reloaded; the values of before stay in effect" error=.*unknown-key.*common\.none.*complete\.toml:`)
	if body := s.get(url + "/config"); !strings.Contains(body, `"max_backoff_seconds":1`) {
		t.Errorf("the server tells\n%s", body)
	}
	metrics := s.get(url + "/metrics")
	for _, line := range []string{
		`tasker_config_loads_total{result="ok"} 2`, `tasker_config_loads_total{result="failed"} 1`, "tasker_config_pending 1",
	} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, metrics)
		}
	}
	s.awaitEnd()
}

// rewrite writes the configuration files of the site anew.
func (s *site) rewrite(settings enginetest.Settings) {
	s.t.Helper()
	settings["orchestration.system.web.bind_address"] = `"127.0.0.1:0"`
	settings["worker.system.web.bind_address"] = `"127.0.0.1:0"`
	writeConfig(s.t, s.dir, settings)
}

// diff compares the file of the site with what a server tells.
func (s *site) diff(server string, code int, says ...string) {
	s.t.Helper()
	c := s.start(taskerCLI, "config", "diff", configFile(s.dir, config.ContextComplete), server, "--exit-code")
	got := c.wait()
	text := c.output.String()
	for _, want := range says {
		if !strings.Contains(text, want) || got != code || strings.Contains(text, "not compared") {
			s.t.Errorf("exit %d, want %d and %q:\n%s", got, code, want, text)
		}
	}
}

// get returns the body of an answer that must be 200.
func (s *site) get(url string) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s, %v\n%s", url, response.Status, err, body)
	}
	return string(body)
}
