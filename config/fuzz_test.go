package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// FuzzLoad lays any document over the shipped tree, with any value in the
// variables: no panic, every problem has a code that is explained, no problem
// shows the value, and what loads is the same when it is written out and loaded
// again.
func FuzzLoad(f *testing.F) {
	for _, overlay := range []string{
		"", "[common.database.pool]\nmax_connections = 5000", "[common.database]\nurl = '${DATABASE_URL:?x}'",
		"[worker.system]\nworker_id = '${TASKER_WORKER_ID:-${TASKER_API_KEY-x}}'", "[orchestration.backoff]\ndefault_backoff_seconds = {0 = 9}",
		"[[orchestration.system.web.auth.protected_routes]]\nmethod = 'GET'", "[common.circuit_breakers.component_configs.x]\ntimeout_seconds = 1",
		"environment = 'test'\n[orchestration]\nmode = 'x'", "[database]\nurl = 'x'", "common = 1", "[worker.system]\nworker_id = '${TASKER_WORKER_ID}'", "[common.database.pool]\nmax_connections = '${TASKER_WORKER_ID}'",
	} {
		f.Add(overlay, "7")
		f.Add(overlay, "postgres://u:p@h/x")
		f.Add(overlay, "\xff")
	}
	f.Fuzz(func(t *testing.T, overlay, value string) {
		const mark = "hunter2hunter2"
		if strings.Contains(overlay, mark) {
			return
		}
		opts := options(Test, "", "DATABASE_URL", value+mark, "TASKER_WORKER_ID", value, "TASKER_API_KEY", mark)
		opts.Overlay = []byte(overlay)
		loaded, err := Resolve(ContextComplete, opts)
		if r, invalid := errors.AsType[*Report](err); invalid {
			for _, p := range r.Problems {
				if _, known := FindCode(p.Code); !known || p.Effect == "" || p.Fix == "" {
					t.Errorf("a problem is not explained: %s", p)
				}
			}
			if strings.Contains(r.Error(), mark) {
				t.Errorf("a value shows:\n%s", r)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		written := tomltree.Encode(loaded.Effective())
		tree, problems := tomltree.Parse("written", written)
		if len(problems) > 0 {
			t.Fatalf("written is\n%s\n%s", written, problems[0])
		}
		again := &Config{}
		if unsure, problems := schema().Decode(tree, again); len(unsure)+len(problems) > 0 || !reflect.DeepEqual(again, loaded.Config) {
			t.Fatalf("written is\n%s\n%v", written, problems)
		}
	})
}
