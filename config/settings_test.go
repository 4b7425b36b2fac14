package config

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

func resolve(t *testing.T, c Context, opts Options) *Loaded {
	t.Helper()
	loaded, err := Resolve(c, opts)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// TestSettings checks that every key has its value and its layers.
func TestSettings(t *testing.T) {
	t.Parallel()
	const overlay = "[worker.system]\nworker_id = '${TASKER_WORKER_ID:-none}'\n[orchestration.system.web.auth]\napi_key = 'hunter2'\n"
	loaded := resolve(t, ContextComplete, options(Test, overlay, "DATABASE_URL", "postgres://u:hunter2@db/x", "TASKER_WORKER_ID", "seven"))
	settings := map[string]Setting{}
	for _, s := range loaded.Settings() {
		if s.Entry == nil || s.Entry.Component == "" {
			t.Errorf("there is nothing to say of %s", s.Key)
		}
		settings[s.Key] = s
	}
	if missing := len(Fields()) + 3 - 3 - len(settings); missing != 0 { // three keys of pgmq for those of *
		t.Errorf("%d settings are missing", missing)
	}
	for key, want := range map[string]string{
		"common.database.pool.max_connections":                           "10 = 10 at built-in/environments/test/common.toml:10:19 ← 30 at built-in/base/common.toml:12:19",
		"common.database.pool.max_lifetime_seconds":                      "3600 = 3600 at built-in/base/common.toml:16:24",
		"common.database.url":                                            "*** = *** at built-in/environments/test/common.toml:7:7 (DATABASE_URL is set) ← *** at built-in/base/common.toml:9:7",
		"worker.system.worker_id":                                        `"seven" = '${TASKER_WORKER_ID:-none}' at overlay:2:13 (TASKER_WORKER_ID is set) ← "test-worker-001" at built-in/environments/test/worker.toml:4:13 ← "default-worker-001" at built-in/base/worker.toml:6:13`,
		"orchestration.system.web.auth.api_key":                          "*** = *** at overlay:4:11 ← '' by default",
		"orchestration.system.web.auth.jwt_private_key":                  `"" = '' by default`,
		"orchestration.decision_points.max_decision_depth":               "5 = 5 at built-in/environments/test/orchestration.toml:21:22 ← 10 by default",
		"orchestration.backoff.default_backoff_seconds":                  "[1, 2, 4] = [1, 2, 4] at built-in/environments/test/orchestration.toml:4:27 ← a table at built-in/base/orchestration.toml:12:2",
		"common.circuit_breakers.component_configs.pgmq.timeout_seconds": "15 = 15 at built-in/base/common.toml:37:19",
	} {
		s := settings[key]
		var chain []string
		for _, link := range s.Chain {
			chain = append(chain, link.String())
		}
		if got := s.Shown() + " = " + strings.Join(chain, " ← "); got != want {
			t.Errorf("%s is\n%s\nwant\n%s", key, got, want)
		}
	}
}

// TestRedact checks what a server may tell: secrets and passwords are gone and
// listed, all else keeps its value and type.
func TestRedact(t *testing.T) {
	t.Parallel()
	_, public, err := signingkey.Generate(signingkey.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	overlay := "[orchestration.system.web.auth]\njwt_public_key = '''\n" + string(public) + "'''\n" +
		"[common.telemetry.tracing]\nexport_endpoint = 'http://u:hunter2@h:1/x'\n"
	loaded := resolve(t, ContextOrchestration, options(Test, overlay, "DATABASE_URL", "postgres://u:hunter2@db/x"))
	tree, keys := Redact(loaded.Effective())
	want := []string{"common.database.url", "common.queues.rabbitmq.url", "common.telemetry.tracing.export_endpoint", "orchestration.system.web.auth.jwt_public_key"}
	if slices.Sort(keys); !slices.Equal(keys, want) {
		t.Errorf("redacted are %v, want %v", keys, want)
	}
	data, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Common struct {
			Database  struct{ URL string }
			Telemetry struct {
				Tracing struct {
					ExportEndpoint string `json:"export_endpoint"`
				}
			}
		}
		Orchestration struct {
			System struct{ Web struct{ Auth map[string]any } }
		}
		Worker any
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	auth := doc.Orchestration.System.Web.Auth
	if doc.Common.Database.URL != "***" || doc.Common.Telemetry.Tracing.ExportEndpoint != "http://***@h:1/x" || doc.Worker != nil ||
		auth["jwt_public_key"] != "***" || auth["api_key"] != "" || auth["api_key_header"] != "X-API-Key" || auth["jwt_token_expiry_hours"] != 24.0 || auth["enabled"] != false {
		t.Errorf("the redacted tree is %s", data)
	}
	if strings.Contains(string(data), "hunter2") || strings.Contains(string(data), strings.Split(string(public), "\n")[1]) {
		t.Errorf("a secret shows: %s", data)
	}
}

// TestHiddenBase breaks a value of base that every shipped environment
// overrides: all of them say so.
func TestHiddenBase(t *testing.T) {
	t.Parallel()
	for _, e := range Environments() {
		opts := options(e, "", "DATABASE_URL", "postgres://db/x")
		files := shippedWith(t, nil)
		base := files["base/common.toml"]
		base.Data = []byte(strings.Replace(string(base.Data), "max_connections = 30", "max_connections = 3000", 1))
		opts.FS = files
		r := report(t, ContextCommon, opts)
		i := slices.IndexFunc(r.Problems, func(p Problem) bool { return p.Severity == tomltree.Error })
		if p := r.Problems[i]; !p.Hidden || p.Pos.String() != "base/common.toml:12:19" || !slices.Equal(errorsOf(r), []string{"out-of-range common.database.pool.max_connections"}) {
			t.Errorf("%s gives\n%s", e, r)
		}
	}
}

// TestSecretFile reads the database URL from a file.
func TestSecretFile(t *testing.T) {
	t.Parallel()
	name := t.TempDir() + "/url"
	writeFile(t, name, "postgres://u:hunter2@db/x\n")
	got := load(t, ContextCommon, options(Production, "", "DATABASE_URL_FILE", name)).Common.Database.URL
	if got != "postgres://u:hunter2@db/x" {
		t.Errorf("the URL is %q", got)
	}
	r := report(t, ContextCommon, options(Production, "", "DATABASE_URL_FILE", name, "DATABASE_URL", "postgres://other/x"))
	if got := errorsOf(r); !slices.Equal(got, []string{"two-sources common.database.url"}) {
		t.Errorf("both give %v", got)
	}
	r = report(t, ContextCommon, options(Production, "", "DATABASE_URL_FILE", name+".none"))
	if got := errorsOf(r); !slices.Equal(got, []string{"unreadable-secret common.database.url"}) {
		t.Errorf("a missing file gives %v", got)
	}
}

// TestFindEntry finds keys, and keys in open tables.
func TestFindEntry(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"common.database.pool.max_connections":                            "common.database.pool.max_connections",
		"common.circuit_breakers.component_configs.web":                   "common.circuit_breakers.component_configs.*",
		"common.circuit_breakers.component_configs.web.failure_threshold": "common.circuit_breakers.component_configs.*.failure_threshold",
		"orchestration.system.web.auth.protected_routes.0.method":         "orchestration.system.web.auth.protected_routes.*.method",
	} {
		if e := FindEntry(key); e == nil || e.Key != want {
			t.Errorf("%s is %v", key, e)
		}
	}
	if e := FindEntry("common.none"); e != nil {
		t.Errorf("there is %s", e.Key)
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
