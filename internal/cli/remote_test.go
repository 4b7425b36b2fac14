package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// environment makes an Env of variables, with what a command prints.
func environment(variables map[string]string) (env Env, stdout, stderr *bytes.Buffer) {
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return Env{
		Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr,
		LookupEnv: func(name string) (string, bool) { value, ok := variables[name]; return value, ok },
	}, stdout, stderr
}

// TestCredentials sees what a server is told of its caller: what the profile of
// the server names, and nothing of it when the server is another.
func TestCredentials(t *testing.T) {
	t.Parallel()
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		if r.Header.Get("Authorization") == "Bearer wrong" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"status": 401, "code": "UNAUTHORIZED", "detail": "who are you?"}`)
			return
		}
		_, _ = io.WriteString(w, `{"templates": []}`)
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("from.a.file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := map[string]string{"XDG_CONFIG_HOME": dir, "MY_KEY": "from a variable"}
	run := func(more map[string]string, args ...string) (code int, stderr string) {
		t.Helper()
		variables := maps.Clone(base)
		maps.Copy(variables, more)
		got = http.Header{}
		env, _, errs := environment(variables)
		return Main(t.Context(), env, args), errs.String()
	}
	for _, args := range [][]string{
		{"profile", "add", "token", "--server", server.URL, "--token-file", file},
		{"profile", "add", "key", "--server", server.URL, "--api-key-env", "MY_KEY", "--api-key-header", "X-Mine"},
	} {
		if code, stderr := run(nil, args...); code != 0 {
			t.Fatal(stderr)
		}
	}
	for _, tt := range []struct {
		name      string
		variables map[string]string
		args      []string
		header    string // "Name: value" of the request, empty for no credentials
	}{
		{"a token in a file", nil, nil, "Authorization: Bearer from.a.file"},
		{"a key of a variable, in a header of its own", nil, []string{"--profile", "key"}, "X-Mine: from a variable"},
		{"the credentials stay with the server of the profile", nil, []string{"--server", server.URL}, ""},
		{"a server of a variable", map[string]string{"TASKER_ORCHESTRATION_URL": server.URL}, nil, ""},
		{"a token of the environment goes first", map[string]string{"TASKER_CLIENT_TOKEN": "mine"}, nil, "Authorization: Bearer mine"},
		{
			"a key of the environment goes first",
			map[string]string{"TASKER_CLIENT_API_KEY_FILE": file},
			[]string{"--server", server.URL},
			"X-Api-Key: from.a.file",
		},
	} {
		if code, stderr := run(tt.variables, append([]string{"template", "list"}, tt.args...)...); code != 0 {
			t.Errorf("%s: %s", tt.name, stderr)
		}
		var sent []string
		for _, name := range []string{"Authorization", "X-Api-Key", "X-Mine"} {
			if value := got.Get(name); value != "" {
				sent = append(sent, name+": "+value)
			}
		}
		if all := strings.Join(sent, ", "); all != tt.header {
			t.Errorf("%s: sent %q, want %q", tt.name, all, tt.header)
		}
	}
	code, stderr := run(map[string]string{"TASKER_CLIENT_TOKEN": "wrong"}, "template", "list")
	if code != ExitFailed || !strings.Contains(stderr, "who are you?") || !strings.Contains(stderr, "hint: tasker-cli profile add") || strings.Contains(stderr, "wrong") {
		t.Errorf("refused with %d: %s", code, stderr)
	}
}

// TestRedirects: nobody gets the credentials but the server that was named.
func TestRedirects(t *testing.T) {
	t.Parallel()
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	env, _, stderr := environment(map[string]string{"TASKER_CLIENT_API_KEY": "k"})
	code := Main(t.Context(), env, []string{"template", "list", "--server", server.URL})
	if code != ExitFailed || asked || !strings.Contains(stderr.String(), "307") {
		t.Errorf("ended with %d, followed %t: %s", code, asked, stderr)
	}
}

// TestWatch asks again until it is interrupted, and shows an answer when it is
// another.
func TestWatch(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	times := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		times++
		_, _ = fmt.Fprintf(w, `{"workers": [{"process_uuid": "p", "role": "worker", "state": "running", "running": %d, "capacity": 9}]}`, times/2)
		if times == 3 {
			interrupt()
		}
	}))
	t.Cleanup(server.Close)
	env, stdout, stderr := environment(nil)
	if code := Main(ctx, env, []string{"worker", "list", "--watch", "--server", server.URL}); code != ExitFailed {
		t.Errorf("ended with %d: %s", code, stderr)
	}
	if busy := strings.Count(stdout.String(), "0/9"); busy != 1 || strings.Count(stdout.String(), "PROCESS") < 1 {
		t.Errorf("the first answer was shown %d times:\n%s", busy, stdout)
	}
}
