package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/taskertest"
)

func all() []Workflow { return append(Workflows(), Benchmarks()...) }

// TestWorkflows runs every workflow in memory and checks it as the demo does.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	for _, w := range all() {
		t.Run(w.Namespace+"/"+w.Name, func(t *testing.T) {
			t.Parallel()
			got := taskertest.RunWorkflow(t, Handlers(), Templates(), w.Namespace+"/"+w.Name, w.Context)
			if got.State != tasker.TaskComplete || len(got.Steps) != w.Steps {
				t.Fatalf("want %d steps and state complete, got %s", w.Steps, got)
			}
			if err := w.Check(got.Results()); err != nil {
				t.Error(err)
			}
			for name, step := range got.Steps {
				if want := max(1, w.Attempts[name]); step.Attempts != want {
					t.Errorf("step %s took %d attempts, want %d", name, step.Attempts, want)
				}
			}
		})
	}
}

// TestResultIsTrue holds what people are told against the numbers.
func TestResultIsTrue(t *testing.T) {
	t.Parallel()
	for _, w := range Workflows()[:4] {
		text := string(encode(slices.Collect(maps.Values(w.want))))
		_, digits, _ := strings.Cut(w.Result, " = ")
		if !strings.Contains(text, digits) {
			t.Errorf("%s: no step arrives at %q", w.Name, w.Result)
		}
	}
}

func TestCheckReportsAllDifferences(t *testing.T) {
	t.Parallel()
	w := Diamond()
	results := taskertest.RunWorkflow(t, Handlers(), Templates(), "demo/diamond", w.Context).Results()
	delete(results, "start")
	results["left"] = json.RawMessage(`{"value": 1297, "from": ["start"]}`)
	results["right"] = json.RawMessage(`{"value": 1.296e3, "from": ["start"]}`)
	results["end"] = json.RawMessage(`{"value": 2821109907456, "from": ["left"]}`)
	results["other"] = json.RawMessage(`null`)
	err := w.Check(results)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"check demo/diamond: ", "step start has no result",
		`step left returned {"value": 1297, "from": ["start"]}, must be {"value":1296,"from":["start"]}`,
		"step right returned", "step end returned", "step other is not part of the workflow",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%s", want, err)
		}
	}
}

func TestCheckIgnoresTheOrderOfKeys(t *testing.T) {
	t.Parallel()
	w := Workflows()[4]
	results := map[string]json.RawMessage{}
	for name, want := range w.want { // jsonb sorts keys and adds spaces
		var object map[string]any
		if err := json.Unmarshal(encode(want), &object); err != nil {
			t.Fatal(err)
		}
		results[name] = encode(object)
	}
	if err := w.Check(results); err != nil {
		t.Error(err)
	}
}

// TestBadInputFailsForGood gives handlers what no input_schema has looked at.
func TestBadInputFailsForGood(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, handler, context, want string }{
		{"no number", "square", `{}`, `the context has no "number"`},
		{"no integer", "square", `{"number": "six"}`, "decode the task's context"},
		{"no items", "validate_order", `{"order": "1", "items": []}`, "no number or no items"},
		{"no pieces", "validate_order", `{"order": "1", "items": [{"sku": "cup"}]}`, `item "cup": 0 pieces`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := taskertest.Run[any](t, Handlers(), tt.handler, taskertest.Step{Context: json.RawMessage(tt.context)})
			failure, ok := errors.AsType[*taskertest.Failure](err)
			if !ok || !failure.Permanent || !strings.Contains(failure.Message, tt.want) {
				t.Errorf("want a failure for good and %q, got %v", tt.want, err)
			}
		})
	}
}

// TestFanOutTemplate writes the template of W4 anew with UPDATE_GOLDEN=1 and
// compares it otherwise.
func TestFanOutTemplate(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Written by TestFanOutTemplate; UPDATE_GOLDEN=1 writes it anew.
name: w4
namespace: bench
version: 1.0.0
identity_strategy: always_unique
description: W4, a fan-out 1→100→1
steps:
  - {name: start, handler: {callable: ok}}
`)
	branches := make([]string, fanOut)
	for i := range branches {
		branches[i] = branchName(i)
		fmt.Fprintf(&b, "  - {name: %s, handler: {callable: ok}, dependencies: [start]}\n", branches[i])
	}
	fmt.Fprintf(&b, "  - {name: end, handler: {callable: ok}, dependencies: [%s]}\n", strings.Join(branches, ", "))

	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile("templates/bench_w4.yaml", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := fs.ReadFile(Templates(), "bench_w4.yaml")
	if err != nil || string(got) != b.String() {
		t.Errorf("templates/bench_w4.yaml differs from what this test writes with UPDATE_GOLDEN=1 (%v)", err)
	}
}
