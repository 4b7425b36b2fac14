package cli

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// TestFindUnused has the command look at lists of its own: the real one ends
// empty.
func TestFindUnused(t *testing.T) {
	t.Parallel()
	all := len(liveness.Leaves())
	var out strings.Builder
	none := findUnused(nil)
	none.print(Env{Stdout: &out})
	if got, want := out.String(), counted(all, "key")+" live, 0 not yet\n"; got != want || none.NotYet == nil {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	findUnused([]string{"common.database.url", "common.database.pool.max_connections", "worker.system.worker_id"}).print(Env{Stdout: &out})
	want := "the connection pool of every process\n  common.database.url\n  common.database.pool.max_connections\n\n" +
		"the worker\n  worker.system.worker_id\n\n" + counted(all-3, "key") + " live, 3 not yet\n"
	if got := out.String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestDetectUnused runs the command on the list of this build, and compares what
// explain and the reference say with it.
func TestDetectUnused(t *testing.T) {
	t.Parallel()
	listed := liveness.NotYet()
	wantCode := 0
	if len(listed) > 0 {
		wantCode = ExitFailed
	}
	stdout, stderr, code := command(t, nil, "detect-unused", "--json")
	var got unused
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != wantCode {
		t.Fatalf("exit %d, %v, %s", code, err, stderr)
	}
	var keys []string
	for _, e := range got.NotYet {
		keys = append(keys, e.Key)
		if e.Component == "" {
			t.Errorf("%s has no component that is to read it", e.Key)
		}
	}
	slices.Sort(keys)
	if !slices.Equal(keys, listed) || got.Live+len(listed) != len(liveness.Leaves()) {
		t.Errorf("%d live, not yet %v; want %v", got.Live, keys, listed)
	}
	config.Reference().Walk(func(e *config.Entry) {
		var text strings.Builder
		printEntry(&text, e)
		if marked := strings.Contains(text.String(), "not yet live"); marked != slices.Contains(listed, e.Key) {
			t.Errorf("explain marks %s: %t", e.Key, marked)
		}
	})
	reference, err := os.ReadFile("../../docs/" + referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(reference), "**Not yet live.**"); got != len(listed) {
		t.Errorf("the reference marks %d keys, want %d", got, len(listed))
	}
}
