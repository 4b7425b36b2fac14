package web_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/liveness"
	"github.com/tasker-systems/tasker-go/internal/testcert"
	"github.com/tasker-systems/tasker-go/worker/internal/web"
)

// load returns the settings of a worker's server.
func load(t *testing.T, overlay string) config.WorkerWeb {
	t.Helper()
	cfg, err := config.LoadForWorker(config.Options{
		Environment: "test", Overlay: []byte(overlay), LookupEnv: func(string) (string, bool) { return "", false },
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Worker.System.Web
}

// TestEveryRouteAsksWhoCalls calls every route without credentials, with all
// permissions but its own, and with its own alone.
func TestEveryRouteAsksWhoCalls(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.web.auth.enabled")
	for _, r := range web.API().Routes() {
		if r.Permission == permission.Public {
			continue // the checks of health need a database, and have tests of their own
		}
		others := slices.DeleteFunc(permission.All(), func(p permission.Permission) bool { return p == r.Permission })
		keys := map[string][]permission.Permission{"wrong-0123456789abcdef": others, "right-0123456789abcdef": {r.Permission}}
		overlay := "[worker.system.web.auth]\nprotected_routes = []\nenabled = true\napi_keys = [\n"
		for key, granted := range keys {
			hash, err := auth.HashAPIKey(key)
			if err != nil {
				t.Fatal(err)
			}
			overlay += fmt.Sprintf("{description = %q, key_hash = %q, permissions = [", key[:5], hash)
			for _, p := range granted {
				overlay += fmt.Sprintf("%q,", p)
			}
			overlay += "]},\n"
		}
		overlay += "]"
		for _, tt := range []struct {
			overlay, key string
			want         int // 0: neither 401 nor 403
		}{
			{overlay, "", 401},
			{overlay, "wrong-0123456789abcdef", 403},
			{overlay, "right-0123456789abcdef", 0},
			{strings.Replace(overlay, "enabled = true", "enabled = false", 1), "", 0},
		} {
			h, err := web.APIWith(load(t, tt.overlay)).Handler()
			if err != nil {
				t.Fatal(err)
			}
			request := httptest.NewRequestWithContext(t.Context(), r.Method, strings.NewReplacer("{", "", "}", "").Replace(r.Path), strings.NewReader("{}"))
			if tt.key != "" {
				request.Header.Set("X-API-Key", tt.key)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request)
			if refused := w.Code == 401 || w.Code == 403; refused != (tt.want != 0) || refused && w.Code != tt.want {
				t.Errorf("%s %s with %q: %d, %s", r.Method, r.Path, tt.key, w.Code, w.Body)
			}
		}
	}
}

// TestTLS serves with one certificate and another, and without.
func TestTLS(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "worker.system.web.tls.enabled", "worker.system.web.tls.cert_path", "worker.system.web.tls.key_path")
	dir := t.TempDir()
	var trust [2]*x509.CertPool
	var tables [2]string
	for i := range trust {
		cert, key := filepath.Join(dir, fmt.Sprint("cert", i)), filepath.Join(dir, fmt.Sprint("key", i))
		trust[i] = testcert.Write(t, cert, key, int64(i))
		tables[i] = fmt.Sprintf("[worker.system.web.tls]\nenabled = true\ncert_path = '%s'\nkey_path = '%s'", cert, key)
	}
	for _, tt := range []struct {
		overlay, scheme string
		trust           *x509.CertPool
		works           bool
	}{
		{tables[0], "https", trust[0], true},
		{tables[1], "https", trust[1], true},
		{tables[1], "https", trust[0], false},
		{strings.Replace(tables[0], "true", "false", 1), "https", trust[0], false},
		{strings.Replace(tables[0], "true", "false", 1), "http", nil, true},
	} {
		cfg := load(t, tt.overlay)
		cfg.BindAddress = "127.0.0.1:0"
		ctx, cancel := context.WithCancel(t.Context())
		ready, ended := make(chan string, 1), make(chan error, 1)
		go func() {
			ended <- web.Serve(ctx, config.Common{}, cfg, web.Deps{Log: slog.New(slog.DiscardHandler)}, func(address string) { ready <- address })
		}()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: tt.trust}, DisableKeepAlives: true}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.scheme+"://"+<-ready+"/health", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err == nil {
			response.Body.Close()
		}
		if works := err == nil && response.StatusCode == http.StatusOK; works != tt.works {
			t.Errorf("%s with %s: %v", tt.scheme, tt.overlay, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
