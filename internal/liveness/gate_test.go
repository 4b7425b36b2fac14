package liveness

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestEveryLeafIsLive is the gate. UPDATE_GOLDEN=1 shortens the list by what has
// become live; it never lengthens it.
func TestEveryLeafIsLive(t *testing.T) {
	t.Parallel()
	const root = "../.."
	read, err := readLeaves(root)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(read)), slices.Sorted(slices.Values(Leaves())); !slices.Equal(got, want) {
		t.Fatalf("the Go types have other leaves than the schema:\n%v\n%v", got, want)
	}
	covered, err := coverage(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	listed := NotYet()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		listed = slices.DeleteFunc(listed, func(key string) bool { return covered[key] != "" })
		text := strings.Join(listed, "\n") + "\n"
		if err := os.WriteFile("not_yet_live.txt", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, problem := range compare(read, covered, listed) {
		t.Error(problem)
	}
	// Whoever shortens the list runs this test, and not always that of the page.
	page, err := os.ReadFile(root + "/docs/configuration-reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE_GOLDEN") == "" && strings.Count(string(page), "**Not yet live.**") != len(listed) {
		t.Error("docs/configuration-reference.md marks other settings as not yet live; UPDATE_GOLDEN=1 go test ./internal/cli writes it anew")
	}
	t.Logf("%d settings are live, %d not yet", len(covered), len(listed))
}

// compare says, sorted by key, what is wrong with the leaves (each with whether
// it is read), the tests that cover them, and the list of those not yet live.
func compare(read map[string]bool, covered map[string]string, listed []string) []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for key, at := range covered {
		if _, ok := read[key]; !ok {
			add("%s: covered at %s, and there is no such setting", key, at)
		}
	}
	for key, isRead := range read {
		at, isListed := covered[key], slices.Contains(listed, key)
		switch {
		case at != "" && !isRead:
			add("%s: covered at %s, and no code that a command reaches reads it", key, at)
		case at != "" && isListed:
			add("%s: covered at %s; take it off not_yet_live.txt (make generate)", key, at)
		case at == "" && !isListed:
			add("%s: no behaviour test covers it", key)
		}
	}
	for i, key := range listed {
		if _, ok := read[key]; !ok {
			add("%s: in not_yet_live.txt, and there is no such setting", key)
		}
		if i > 0 && listed[i-1] >= key {
			add("%s: not_yet_live.txt is not sorted", key)
		}
	}
	slices.Sort(problems)
	return problems
}

// TestGate breaks a small module in all ways that the gate is there to notice.
func TestGate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		file, old, new string // the change
		listed         string
		want           string // a part of the only problem; empty for none
		more           bool   // further problems come with it
		wantUnreadable string // a part of the error about the tests
	}{
		{name: "in order"},
		{
			name: "reader deleted", file: "engine/engine.go", old: "cfg.Queue.Size", new: "7",
			want: "queue.size: covered at engine/engine_test.go:6:2, and no code that a command reaches reads it",
		},
		{
			name: "only written", file: "engine/engine.go", old: "n := cfg.Queue.Size", new: "n := 7; cfg.Queue.Size = n",
			want: "queue.size: covered at engine/engine_test.go:6:2, and no code that a command reaches reads it",
		},
		{
			name: "reader not called", file: "engine/engine.go", old: "loop(cfg.Web)", new: "",
			want: "web.enabled: covered at engine/engine_test.go:10:2, and no code that a command reaches reads it",
		},
		{
			name: "method of an interface not called", file: "engine/engine.go", old: "p.Poll()", new: "_ = p",
			want: "poll: covered at engine/engine_test.go:6:2, and no code that a command reaches reads it",
		},
		{
			name: "command deleted", file: "cmd/run/main.go", old: "package main", new: "package lost",
			want: "queue.size: covered at engine/engine_test.go:6:2, and no code that a command reaches reads it", more: true,
		},
		{
			name: "behaviour test deleted", file: "engine/engine_test.go", old: `liveness.Covers(t, "web.enabled")`, new: "",
			want: "web.enabled: no behaviour test covers it",
		},
		{
			name: "key misspelt", file: "engine/engine_test.go", old: `"web.enabled"`, new: `"web.enbled"`,
			want: "web.enbled: covered at engine/engine_test.go:10:2, and there is no such setting", more: true,
		},
		{name: "listed and live", listed: "named.*.limit poll", want: "poll: covered at engine/engine_test.go:6:2; take it off"},
		{name: "listed twice", listed: strings.Repeat("named.*.limit ", 2), want: "not sorted"},
		{name: "listed key unknown", listed: "gone named.*.limit", want: "gone: in not_yet_live.txt, and there is no such setting"},
		{name: "list too short", listed: " ", want: "named.*.limit: no behaviour test covers it"},
		{
			name: "key computed", file: "engine/engine_test.go", old: `"web.enabled"`, new: `"web."+"enabled"`,
			wantUnreadable: "engine/engine_test.go:10:2: keys must be string literals",
		},
		{
			name: "not in a test", file: "engine/engine_test.go", old: "TestWeb", new: "helper",
			wantUnreadable: "engine/engine_test.go:10:2: helper is no test",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := unpack(t, tt.file, tt.old, tt.new)
			covered, err := coverage(os.DirFS(dir))
			if err != nil || tt.wantUnreadable != "" {
				if err == nil || tt.wantUnreadable == "" || !strings.Contains(err.Error(), tt.wantUnreadable) {
					t.Errorf("got error %v, want %q", err, tt.wantUnreadable)
				}
				return
			}
			read, err := readLeaves(dir)
			if err != nil {
				t.Fatal(err)
			}
			listed := "named.*.limit"
			if tt.listed != "" {
				listed = tt.listed
			}
			got := compare(read, covered, strings.Fields(listed))
			switch {
			case tt.want == "" && len(got) == 0:
			case tt.want != "" && (len(got) > 1) == tt.more && strings.Contains(strings.Join(got, "\n"), tt.want):
			default:
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// unpack writes testdata/module.txtar to a folder, with one file changed.
func unpack(t *testing.T, changed, before, after string) string {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/module.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		content := string(f.Data)
		if f.Name == changed {
			if strings.Count(content, before) != 1 {
				t.Fatalf("%s does not have %q once", changed, before)
			}
			content = strings.Replace(content, before, after, 1)
		}
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCoversRefusesUnknownKeys: a misspelt key fails where it is written, too.
func TestCoversRefusesUnknownKeys(t *testing.T) {
	t.Parallel()
	for key, unknown := range map[string]bool{
		"common.database.url": false, "common.database": true, "common.database.urll": true,
		"common.circuit_breakers.component_configs.*.timeout_seconds": false,
		"orchestration.system.web.auth.protected_routes":              false,
	} {
		r := recorder{TB: t}
		Covers(&r, key)
		if r.failed != unknown {
			t.Errorf("%s: refused %t, want %t", key, r.failed, unknown)
		}
	}
}

// A recorder notes whether a test failed, in place of failing it.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
