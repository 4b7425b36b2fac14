package cli

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/golden"
)

// TestConfigDocuments compares docs with what config docs writes.
func TestConfigDocuments(t *testing.T) {
	t.Parallel()
	files, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		golden.File(t, "../../docs/"+name, string(data))
	}
}

// TestConfigSchema holds the schema to the files that are shipped, and to
// overlays that the loader takes or refuses.
func TestConfigSchema(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	err := fs.WalkDir(config.Shipped(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(config.Shipped(), name)
		if err == nil {
			err = schema.Validate(asJSON(t, string(data)))
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range config.Contexts() {
		data, err := config.Generate(c, config.Options{Environment: "test", FS: config.Shipped(), LookupEnv: noVariables})
		if err == nil {
			err = schema.Validate(asJSON(t, string(data)))
		}
		if err != nil {
			t.Errorf("the file generated for %s: %v", c, err)
		}
	}
	for _, overlay := range []string{
		"[common.database.pool]\nmax_connections = 5", "[common.database.pool]\nmax_connections = 0", "[common.database.pool]\nmax_connections = 1.5",
		"[common.database.pool]\nmax_connections = '${TASKER_WORKER_ID:-5}'", "[common.database.pool]\nmax_connections = '5'", "[common.database.pool]\nmax = 5",
		"[common.database]\npool_docs = 'x'\n_docs = {a = 1}", "[common.database]\nurl = 'mysql://x'", "[common.database]\nurl = ''",
		"[common.system]\nmax_cpu_percent = 50", "[common.system]\nmax_cpu_percent = 100.5", "[common.queues]\nbackend = 'kafka'",
		"[worker.event_system]\ndeployment_mode = 'hybrid'", "[worker.system.web]\nbind_address = 'x'", "[worker.system.web]\nenabled = 'yes'", "[worker.system.web]\nenabled = '${TASKER_WORKER_ID:-true}'",
		"[orchestration.backoff]\ndefault_backoff_seconds = [1, 2]", "[orchestration.backoff]\ndefault_backoff_seconds = []", "[orchestration.backoff]\ndefault_backoff_seconds = {0 = 1, 1 = 2}",
		"[orchestration.backoff]\ndefault_backoff_seconds = {x = 1}", "[orchestration.backoff]\ndefault_backoff_seconds = [4000]",
		"[common.circuit_breakers.component_configs.web]\nfailure_threshold = 1\ntimeout_seconds = 1\nsuccess_threshold = 1",
		"[common.circuit_breakers.component_configs.web]\nfailure_threshold = 0\ntimeout_seconds = 1\nsuccess_threshold = 1",
		"[[orchestration.system.web.auth.protected_routes]]\nmethod = 'GET'\npath = '/'\nauth_type = 'bearer'\nrequired = true",
		"[[orchestration.system.web.auth.protected_routes]]\nmethod = 'GET'\npath = '/'", "[worker.system.fallback_poller]\nprocessable_states = ['x']",
		"[orchestration.mpsc_channels]\nx = 1", "[other]",
	} {
		_, err := config.Load(config.ContextComplete, config.Options{
			Environment: "development", FS: config.Shipped(), Overlay: []byte(overlay), LookupEnv: noVariables,
		})
		if refused := schema.Validate(asJSON(t, overlay)); (err == nil) != (refused == nil) {
			t.Errorf("%s\nthe loader says %v\nthe schema says %v", overlay, err, refused)
		}
	}
}

func noVariables(string) (string, bool) { return "", false }

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	stdout, stderr, code := command(t, nil, "schema")
	if code != 0 {
		t.Fatal(stderr)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(stdout))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("tasker.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("tasker.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// asJSON returns a TOML document as JSON values.
func asJSON(t *testing.T, doc string) any {
	t.Helper()
	var tree any
	if err := toml.Unmarshal([]byte(doc), &tree); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestConfigDumpFormats checks that all three formats hold the same values.
func TestConfigDumpFormats(t *testing.T) {
	t.Parallel()
	for _, sources := range [][]string{nil, {"--sources"}} {
		var fromJSON, fromYAML, fromTOML any
		dump := func(format string) []byte {
			stdout, stderr, code := command(t, nil, append([]string{"dump", "-e", "test", "-f", format}, sources...)...)
			if code != 0 {
				t.Fatal(stderr)
			}
			return []byte(stdout)
		}
		if err := yaml.Unmarshal(dump("yaml"), &fromYAML); err != nil {
			t.Fatal(err)
		}
		if err := toml.Unmarshal(dump("toml"), &fromTOML); err != nil {
			t.Fatal(err)
		}
		if sources == nil {
			if err := json.Unmarshal(dump("json"), &fromJSON); err != nil {
				t.Fatal(err)
			}
		} else {
			fromJSON = asPlainJSON(t, fromYAML)
		}
		if y, d := asPlainJSON(t, fromYAML), asPlainJSON(t, fromTOML); !reflect.DeepEqual(fromJSON, y) || !reflect.DeepEqual(fromJSON, d) {
			t.Errorf("JSON has\n%v\nYAML\n%v\nTOML\n%v", fromJSON, y, d)
		}
	}
}

// asPlainJSON returns values as JSON would have them.
func asPlainJSON(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestConfigDiffServer compares an environment with a server that runs it with
// one value changed and its secrets taken out.
func TestConfigDiffServer(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := command(t, nil, "dump", "-c", "worker", "-e", "test")
	if code != 0 {
		t.Fatal(stderr)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
		t.Fatal(err)
	}
	doc["environment"] = "test"
	doc["metadata"] = map[string]any{"source": "runtime", "redacted_fields": []string{"common.database.url"}}
	doc["worker"].(map[string]any)["system"].(map[string]any)["worker_type"] = "special"
	answer, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.URL.Path != "/config" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(answer)
	}))
	defer server.Close()
	stdout, stderr, code = command(t, nil, "diff", "test", server.URL, "--json", "--exit-code")
	if code != ExitFailed {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	var got compared
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	want := []string{"orchestration, which only test has", "common.database.url, which the server does not tell", "common.queues.rabbitmq.url, which the server does not tell"}
	if len(got.Differences) != 1 || got.Differences[0].Key != "worker.system.worker_type" || !slices.Equal(got.NotCompared, want) || got.Equal < 100 {
		t.Errorf("got %+v", got)
	}
	if _, stderr, code = command(t, nil, "diff", "test", server.URL+"/health"); code != ExitIO || !strings.Contains(stderr, "404 Not Found") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if !slices.Equal(asked, []string{"/config", "/health"}) {
		t.Errorf("the server was asked for %v", asked)
	}
}

// TestConfigReferenceIsComplete checks that every key has a line.
func TestConfigReferenceIsComplete(t *testing.T) {
	t.Parallel()
	files, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	reference := string(files[referenceFile])
	config.Reference().Walk(func(e *config.Entry) {
		if !e.IsTable() && !strings.Contains(reference, "| `"+e.Name()+"`") {
			t.Errorf("%s is not there", e.Key)
		}
	})
	if got := slices.Collect(maps.Keys(files)); len(got) != 5 {
		t.Errorf("the documents are %v", got)
	}
}
