package web_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/internal/golden"
)

const typescript = "../../../clients/typescript"

// TestTypeScriptClient generates the client from the document and compares it with
// the one that is kept, compiles that with its types checked, and has it call a
// server.
func TestTypeScriptClient(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(typescript, "node_modules/.package-lock.json")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the tools of the client are not installed: make node_modules")
		}
		t.Skip("the tools of the client are not installed: make node_modules")
	}
	s := startServer(t, "")
	out := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = typescript
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, said)
		}
		return string(said)
	}
	run("node", "node_modules/openapi-typescript/bin/cli.js", "../../docs/openapi-orchestration.json", "--alphabetize", "--output", filepath.Join(out, "api.gen.ts"))
	generated, err := os.ReadFile(filepath.Join(out, "api.gen.ts"))
	if err != nil {
		t.Fatal(err)
	}
	golden.File(t, filepath.Join(typescript, "src/api.gen.ts"), string(generated))
	installed, err := filepath.Abs(filepath.Join(typescript, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(installed, filepath.Join(out, "node_modules")); err != nil { // where the compiled client looks for its library
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, "package.json"), []byte(`{"type": "module"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	run("node", "node_modules/typescript/bin/tsc", "--outDir", out)
	const want = `{"same":true,"steps":["start","left","right","end"],"found":[true],"ended":"cancelled","refused":"UNKNOWN_TEMPLATE"}`
	if got := run("node", filepath.Join(out, "test/tour.js"), s.base); got != want {
		t.Errorf("the client saw %s, want %s", got, want)
	}
}
