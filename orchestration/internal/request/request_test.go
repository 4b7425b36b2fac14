package request_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/orchestration/internal/request"
)

func TestTask(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, message, err string }{
		{"bare", `{"name": "pay", "namespace": "shop", "context": {"n": 1}, "priority": 3}`, ""},
		{"in an envelope", `{"request_id": "r", "metadata": {"any": 1}, "task_request": {"name": "pay", "namespace": "shop", "context": {"n": 1}, "priority": 3}}`, ""},
		{"misspelt", `{"name": "pay", "namespce": "shop"}`, `unknown field "namespce"`},
		{"misspelt in an envelope", `{"task_request": {"nam": "pay"}}`, `unknown field "nam"`},
		{"misspelt envelope", `{"task_request": {"name": "pay"}, "meta": 1}`, `unknown field "meta"`},
		{"a list", `[1]`, "no JSON object"},
		{"a bad id", `{"name": "pay", "correlation_id": "x"}`, "decode the message"},
	}
	for _, tt := range tests {
		got, err := request.Task(json.RawMessage(tt.message))
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
			continue
		}
		if err == nil && (got.Template.Name != "pay" || got.Template.Namespace != "shop" || got.Priority != 3 || string(got.Context) != `{"n": 1}`) {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
}

func TestFinalization(t *testing.T) {
	t.Parallel()
	id, err := request.Finalization(json.RawMessage(`{"task_uuid": "0197f7c0-0000-7000-8000-000000000000"}`))
	if err != nil || id.String() != "0197f7c0-0000-7000-8000-000000000000" {
		t.Errorf("got %s, %v", id, err)
	}
	for _, bad := range []string{`{}`, `{"task_uuid": "x"}`, `{"task": 1}`, `1`} {
		if _, err := request.Finalization(json.RawMessage(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func FuzzTask(f *testing.F) {
	f.Add([]byte(`{"task_request": {"name": "pay"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		if r, err := request.Task(data); err == nil && r.Context != nil && !json.Valid(r.Context) {
			t.Errorf("%s gave the context %s", data, r.Context)
		}
	})
}
