package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// authCommand runs tasker-cli auth with text on its standard input.
func authCommand(t *testing.T, root, stdin string, args ...string) (stdout string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	vars := map[string]string{"TASKER_ENV": "test", "TASKER_CONFIG_ROOT": root, "DATABASE_URL": "postgres://db/x"}
	code = Main(t.Context(), Env{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		LookupEnv: func(name string) (string, bool) { value, set := vars[name]; return value, set },
	}, append([]string{"auth"}, args...))
	if code != 0 {
		t.Logf("%v: exit %d, %s", args, code, errs.String())
	}
	return out.String(), code
}

// TestAuth makes keys and tokens and checks them, by the settings of both
// servers.
func TestAuth(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.system.web.auth.jwt_private_key", "orchestration.system.web.auth.jwt_token_expiry_hours",
		"worker.system.web.auth.jwt_private_key", "worker.system.web.auth.jwt_token_expiry_hours")
	root, keys := t.TempDir(), t.TempDir()
	if err := os.CopyFS(root, config.Shipped()); err != nil {
		t.Fatal(err)
	}
	if _, code := authCommand(t, root, "", "generate-keys", keys); code != 0 {
		t.Fatal("no keys")
	}
	if _, code := authCommand(t, root, "", "generate-keys", keys); code != ExitIO {
		t.Errorf("keys are written over: exit %d", code)
	}
	if _, code := authCommand(t, root, "", "generate-token", "--subject", "ann"); code != ExitUsage {
		t.Errorf("a token without a key: exit %d", code)
	}
	pem := func(name string) string {
		content, err := os.ReadFile(filepath.Join(keys, name))
		if err != nil {
			t.Fatal(err)
		}
		return "'''\n" + string(content) + "'''\n"
	}
	for role, flags := range map[string][]string{"orchestration": nil, "worker": {"--worker"}} {
		for hours, seconds := range map[string]float64{"1": 3600, "5": 5 * 3600} {
			write(t, filepath.Join(root, "environments/test/"+role+".toml"), "["+role+".system.web.auth]\njwt_token_expiry_hours = "+hours+
				"\njwt_private_key = "+pem("private.pem")+"jwt_public_key = "+pem("public.pem"))
			token, code := authCommand(t, root, "", append([]string{"generate-token", "--subject", "ann", "--permissions", "tasks:read"}, flags...)...)
			if code != 0 {
				t.Fatalf("%s: no token", role)
			}
			payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
			if err != nil {
				t.Fatal(err)
			}
			var claims struct{ Iat, Exp float64 }
			if err := json.Unmarshal(payload, &claims); err != nil || claims.Exp-claims.Iat != seconds {
				t.Errorf("%s: %s, %v; want %v seconds", role, payload, err, seconds)
			}
			if said, code := authCommand(t, root, token, append([]string{"validate-token"}, flags...)...); code != 0 || said != "subject      ann\npermission   tasks:read\n" {
				t.Errorf("%s: exit %d, %s", role, code, said)
			}
			if _, code := authCommand(t, root, token[:len(token)-4], append([]string{"validate-token"}, flags...)...); code != ExitFailed {
				t.Errorf("%s: a broken token: exit %d", role, code)
			}
		}
	}
	made, _ := authCommand(t, root, "", "generate-api-key")
	lines := strings.Fields(made)
	if hash, code := authCommand(t, root, lines[1]+"\n", "hash-key"); code != 0 || strings.TrimSpace(hash) != lines[3] {
		t.Errorf("exit %d, %s; want %s", code, hash, lines[3])
	}
	if _, code := authCommand(t, root, "short", "hash-key"); code != ExitUsage {
		t.Errorf("a short key: exit %d", code)
	}
	if said, _ := authCommand(t, root, "", "show-permissions"); !strings.Contains(said, "tasks:context_read\n") {
		t.Errorf("got %s", said)
	}
}
