package templates

import (
	"strings"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
)

// TestDefine: a template in Go is the same as its equal in YAML.
func TestDefine(t *testing.T) {
	t.Parallel()
	inGo := tasker.Template{
		Namespace: "shop", Name: "order", Version: "2.1.0", Description: "Sells.", IdentityStrategy: "always_unique",
		InputSchema: map[string]any{"type": "object", "required": []string{"sku"}},
		Steps: []tasker.StepDefinition{
			{Name: "reserve", Handler: "reserve", Config: map[string]any{"warehouse": 3}, MaxAttempts: 5, Backoff: "linear", Base: 200 * time.Millisecond, Most: time.Minute},
			{Name: "approval", Type: "wait_for_signal", DependsOn: []string{"reserve"}, Timeout: time.Hour, Extra: map[string]any{"signal": "ok"}},
			{Name: "ship", Handler: "ship", DependsOn: []string{"approval"}, Timeout: 30 * time.Second},
		},
		Extra: map[string]any{"lifecycle": map[string]any{"max_duration_minutes": 60}},
	}
	yaml, err := Parse("order.yaml", []byte(`
name: order
namespace: shop
version: 2.1.0
description: Sells.
identity_strategy: always_unique
input_schema: {type: object, required: [sku]}
lifecycle: {max_duration_minutes: 60}
steps:
  - name: reserve
    handler: {callable: reserve, initialization: {warehouse: 3}}
    retry: {max_attempts: 5, backoff: linear, backoff_base_ms: 200, max_backoff_ms: 60000}
  - {name: approval, type: wait_for_signal, signal: ok, timeout_seconds: 3600, dependencies: [reserve]}
  - {name: ship, handler: {callable: ship}, timeout_seconds: 30, dependencies: [approval]}`))
	if err != nil {
		t.Fatal(err)
	}
	defined, err := Define([]tasker.Template{inGo})
	if err != nil {
		t.Fatal(err)
	}
	if defined[0].Digest() != yaml.Digest() {
		t.Errorf("in Go\n%+v\nin YAML\n%+v", defined[0], yaml)
	}
}

// TestDefineProblems: what is wrong is said of every template, by its name.
func TestDefineProblems(t *testing.T) {
	t.Parallel()
	_, err := Define([]tasker.Template{
		{Namespace: "shop", Name: "one", Steps: []tasker.StepDefinition{{Name: "a", Handler: "h", DependsOn: []string{"b"}}}},
		{Namespace: "shop", Name: "two", Steps: []tasker.StepDefinition{{Name: "a", Handler: "h", Extra: map[string]any{"retyr": 1}}}},
	})
	for _, want := range []string{`template shop/one in Go`, `unknown step "b"`, `template shop/two in Go`, `steps[0].retyr: unknown key`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
