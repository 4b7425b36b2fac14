package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// liveTree is a tree of one's own, whose test overlay can be changed; it begins
// with quietBackoff.
func liveTree(t *testing.T) (fstest.MapFS, *Live) {
	t.Helper()
	tree := shippedWith(t, map[string]string{"environments/test/orchestration.toml": quietBackoff})
	opts := options(Test, "", "DATABASE_URL", "postgres://u:hunter2@db/x", "TASKER_API_KEY", "first")
	opts.FS = tree
	live, err := LoadLive(ContextOrchestration, opts)
	if err != nil {
		t.Fatal(err)
	}
	return tree, live
}

const quietBackoff = "[orchestration.backoff]\nmax_backoff_seconds = 10\ndefault_backoff_seconds = [1]\n"

// TestLiveFields lists the keys that a running process follows. A key that is
// added here needs a part that asks a Provider for every use, and a test of it.
func TestLiveFields(t *testing.T) {
	t.Parallel()
	var got []string
	access := 0
	for _, f := range Fields() {
		if f.Reload != "" && !f.IsLive() {
			t.Errorf("%s has the tag reload:%q", f.Key, f.Reload)
		}
		if f.IsLive() && strings.Contains(f.Key, ".system.web.") {
			access++ // all of auth and CORS, and the files of TLS
		} else if f.IsLive() {
			got = append(got, strings.TrimPrefix(f.Key, "orchestration."))
		}
	}
	want := []string{
		"backoff.backoff_multiplier", "backoff.jitter_enabled", "backoff.jitter_max_percentage", "backoff.max_backoff_seconds",
		"backoff.default_backoff_seconds", "backoff.reenqueue_delays.waiting_for_dependencies",
		"backoff.reenqueue_delays.waiting_for_retry", "backoff.reenqueue_delays.steps_in_process",
		"backoff.reenqueue_delays.evaluating_results", "staleness_detection.batch_size", "staleness_detection.dry_run",
		"staleness_detection.thresholds.steps_in_process_minutes", "staleness_detection.thresholds.waiting_for_dependencies_minutes",
		"staleness_detection.thresholds.waiting_for_retry_minutes", "staleness_detection.thresholds.task_max_lifetime_hours",
		"staleness_detection.actions.auto_transition_to_error", "staleness_detection.actions.auto_move_to_dlq",
	}
	if !slices.Equal(got, want) {
		t.Errorf("live are %q, want %q", got, want)
	}
	if want := 19 + 4 + 2 + 19 + 2; access != want {
		t.Errorf("%d keys of the web servers are live, want %d", access, want)
	}
}

// TestReload changes values that may change in a running process and others, in
// one file.
func TestReload(t *testing.T) {
	t.Parallel()
	tree, live := liveTree(t)
	before := live.Loaded()
	tree["environments/test/orchestration.toml"].Data = []byte("[orchestration.backoff]\nmax_backoff_seconds = 20\ndefault_backoff_seconds = [1]\n" +
		"[orchestration.system]\nmode = 'distributed'\n[orchestration.system.web.auth]\napi_key = '${TASKER_API_KEY}'\n")
	changes, err := live.Reload()
	if err != nil {
		t.Fatal(err)
	}
	want := &Reloaded{
		Applied: []Applied{
			{Key: "orchestration.backoff.max_backoff_seconds", From: "10", To: "20"},
			{Key: "orchestration.system.web.auth.api_key", From: `""`, To: "***"},
		},
		Pending: []string{"orchestration.system.mode"},
	}
	if !reflect.DeepEqual(changes, want) || !slices.Equal(live.Pending(), want.Pending) {
		t.Errorf("got %+v, want %+v", changes, want)
	}
	now := live.Current().Orchestration
	if now.Backoff.MaxBackoff != 20 || now.System.Mode != Standalone || now.System.Web.Auth.APIKey != "first" {
		t.Errorf("got %+v", now)
	}
	if old := before.Config.Orchestration.Backoff.MaxBackoff; old != 10 {
		t.Errorf("the configuration of before has changed: %d", old)
	}
	for _, s := range live.Loaded().Settings() {
		if s.Key == "orchestration.backoff.max_backoff_seconds" && !strings.HasPrefix(s.Origin(), "20 at environments/test/orchestration.toml:2:23 ← 3600 at base/") {
			t.Errorf("%s comes from %s", s.Key, s.Origin())
		}
	}
	if live.Loaded().Hash() == before.Hash() {
		t.Error("the hash is the same after a change")
	}

	tree["environments/test/orchestration.toml"].Data = []byte(quietBackoff)
	if changes, err = live.Reload(); err != nil || len(changes.Applied) != 2 || len(live.Pending()) != 0 {
		t.Errorf("put back: %+v, %v", changes, err)
	}
	if live.Loaded().Hash() != before.Hash() || !reflect.DeepEqual(live.Current(), before.Config) {
		t.Error("what was put back is another configuration")
	}
	if got := live.Stats(); got.Loads != 3 || got.Failures != 0 || got.Notes != 0 || got.Last.IsZero() {
		t.Errorf("got %+v", got)
	}
}

// TestReloadFails changes files so that they cannot be used, as they are or
// together with what needs a restart: nothing changes.
func TestReloadFails(t *testing.T) {
	t.Parallel()
	tree, live := liveTree(t)
	before := live.Loaded()
	for i, overlay := range []string{"[orchestration.backoff]\nmax_backoff_seconds = 0", "[", "[orchestration]\nnone = 1"} {
		tree["environments/test/orchestration.toml"].Data = []byte(overlay)
		_, err := live.Reload()
		if _, invalid := errors.AsType[*Report](err); !invalid {
			t.Errorf("%s: %v", overlay, err)
		}
		if live.Loaded() != before || live.Stats().Failures != i+1 || live.Stats().Loads != 1 {
			t.Errorf("%s: something changed: %+v", overlay, live.Stats())
		}
	}
	delete(tree, "base/orchestration.toml")
	if _, err := live.Reload(); err == nil || live.Loaded() != before {
		t.Errorf("a missing file: %v", err)
	}
}

// TestReloadIsSafe reads while others load anew.
func TestReloadIsSafe(t *testing.T) {
	t.Parallel()
	_, live := liveTree(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if _, err := live.Reload(); err != nil {
					t.Error(err)
				}
				if live.Current().Orchestration.Backoff.MaxBackoff != 10 || len(live.Pending()) != 0 {
					t.Error("a value is not what the files say")
				}
			}
		})
	}
	wg.Wait()
	if got := live.Stats().Loads; got != 81 {
		t.Errorf("%d loads", got)
	}
}

// TestReloadKeepsBlendSound: X4 compares two keys that may change in a running
// process, and they change together.
func TestReloadKeepsBlendSound(t *testing.T) {
	t.Parallel()
	tree, live := liveTree(t)
	tree["environments/test/orchestration.toml"].Data = []byte("[orchestration.backoff]\nmax_backoff_seconds = 100\ndefault_backoff_seconds = [50]\n")
	if _, err := live.Reload(); err != nil {
		t.Fatal(err)
	}
	if b := live.Current().Orchestration.Backoff; b.MaxBackoff != 100 || !slices.Equal(b.DefaultBackoff, []Seconds{50}) {
		t.Errorf("got %+v", b)
	}
}

// TestFingerprints: equal values have equal hashes wherever they come from, and
// those of secrets are slow ones.
func TestFingerprints(t *testing.T) {
	t.Parallel()
	const key = "orchestration.backoff.max_backoff_seconds"
	prints := func(overlay string, vars ...string) map[string]string {
		loaded, err := Resolve(ContextOrchestration, options(Test, overlay, vars...))
		if err != nil {
			t.Fatal(err)
		}
		list := map[string]string{}
		for _, s := range loaded.Settings() {
			if s.Key != key && s.Key != "common.database.url" && s.Key != "common.telemetry.tracing.export_endpoint" && !strings.HasSuffix(s.Key, "api_key") {
				continue
			}
			if list[s.Key], err = s.Fingerprint(); err != nil {
				t.Fatal(err)
			}
		}
		list["hash"] = loaded.Hash()
		return list
	}
	a := prints("orchestration.backoff.max_backoff_seconds = 30", "DATABASE_URL", "postgres://u:one@db/x", "TRACING_ENDPOINT", "http://u:p@h")
	b := prints("orchestration.backoff.max_backoff_seconds = '${TASKER_WORKER_ID:-30}'", "DATABASE_URL", "postgres://u:two@db/x", "TRACING_ENDPOINT", "http://h")
	if a[key] != b[key] || !strings.HasPrefix(a[key], "sha256:") {
		t.Errorf("%s has %s and %s", key, a[key], b[key])
	}
	if url := "common.database.url"; a[url] == b[url] || !strings.HasPrefix(a[url], "pbkdf2:") || !strings.HasPrefix(b[url], "pbkdf2:") {
		t.Errorf("the URL has %s and %s", a[url], b[url])
	}
	if end := "common.telemetry.tracing.export_endpoint"; !strings.HasPrefix(a[end], "pbkdf2:") || !strings.HasPrefix(b[end], "sha256:") {
		t.Errorf("the endpoint has %s and %s", a[end], b[end])
	}
	if empty := a["orchestration.system.web.auth.api_key"]; !strings.HasPrefix(empty, "sha256:") {
		t.Errorf("an empty key has %s", empty)
	}
	c := prints("orchestration.backoff.max_backoff_seconds = 30", "DATABASE_URL", "postgres://u:three@db/x", "TRACING_ENDPOINT", "http://u:p@h")
	if a["hash"] != c["hash"] || a["hash"] == b["hash"] || len(a["hash"]) != 16 {
		t.Errorf("hashes are %s, %s, %s", a["hash"], b["hash"], c["hash"])
	}
}

// TestLoadsShareNothing: loads take turns with the memory of their trees, and
// what they return has no part in it.
func TestLoadsShareNothing(t *testing.T) {
	t.Parallel()
	const overlay = "[worker.system]\nworker_id = 'a${TASKER_WORKER_ID}'\n[orchestration.backoff]\ndefault_backoff_seconds = {0 = 2}"
	opts := options(Test, overlay, "TASKER_WORKER_ID", "b")
	want, err := Resolve(ContextComplete, opts)
	if err != nil {
		t.Fatal(err)
	}
	got := load(t, ContextComplete, opts)
	opts.Overlay = []byte("[worker.system]\nworker_id = 1\n[common.databse]\nurl = 'x'")
	problems := report(t, ContextComplete, opts)
	text := problems.Error()
	for range 3 {
		load(t, ContextComplete, options(Production, "", "DATABASE_URL", "postgres://db/x"))
	}
	if !reflect.DeepEqual(got, want.Config) {
		t.Error("a configuration has changed since it was loaded")
	}
	if again := problems.Error(); again != text || !strings.Contains(text, "common.databse") {
		t.Errorf("a report has changed from\n%s\nto\n%s", text, again)
	}
}
