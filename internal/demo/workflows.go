package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
)

// A Workflow is a task to create and what must come of it.
type Workflow struct {
	Title     string // for people
	Namespace string // of the template
	Name      string // of the template
	Context   json.RawMessage
	Steps     int
	// Keys is over how many keys of limits the tasks of a workload spread, by the
	// number "key" in their contexts; 0: it has no limit.
	Keys int
	// Attempts are how many attempts a step takes, by step name; the others
	// take one.
	Attempts map[string]int
	// Result is what the workflow arrives at, for people.
	Result string

	want map[string]any // the results of all steps
}

// Check compares the results of a task's steps, by step name, with what they
// must be, to the last digit. It reports all differences: values, and steps
// that are missing or too many.
func (w Workflow) Check(results map[string]json.RawMessage) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(w.want)) {
		got, ok := results[name]
		want := encode(w.want[name])
		switch {
		case !ok:
			problems = append(problems, fmt.Errorf("step %s has no result", name))
		case !equal(got, want):
			problems = append(problems, fmt.Errorf("step %s returned %s, must be %s", name, got, want))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(results)) {
		if _, ok := w.want[name]; !ok {
			problems = append(problems, fmt.Errorf("step %s is not part of the workflow", name))
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("check %s/%s: %w", w.Namespace, w.Name, errors.Join(problems...))
	}
	return nil
}

// Workflows returns the workflows of the demo: five shapes with checked
// arithmetic, the last with a step that fails twice and recovers.
func Workflows() []Workflow {
	return []Workflow{linear(), Diamond(), tree(), mixedDAG(), orderFulfilment()}
}

// Benchmarks returns the workloads of the bench: W1 a single step, W2 a chain
// of four, W3 a diamond of four, W4 a fan-out 1→100→1, W5 a single step under a
// limit of five at once for each of a thousand keys.
func Benchmarks() []Workflow {
	w4 := []string{"start", "end"}
	for i := range fanOut {
		w4 = append(w4, branchName(i))
	}
	limited := benchmark("w5", "W5 single step, 1,000 keys", "only")
	limited.Keys, limited.Context = 1000, json.RawMessage(`{"key": 0}`)
	return []Workflow{
		benchmark("w1", "W1 single step", "only"),
		benchmark("w2", "W2 linear 4", "a", "b", "c", "d"),
		benchmark("w3", "W3 diamond 4", "a", "b", "c", "d"),
		benchmark("w4", "W4 1→100→1", w4...),
		limited,
	}
}

func linear() Workflow {
	return calculation("linear", "linear chain of 4", "6^16 = 2821109907456", map[string]any{
		"first":  six(2),
		"second": six(4, "first"),
		"third":  six(8, "second"),
		"fourth": six(16, "third"),
	})
}

// Diamond is the workflow of which the demo runs a burst.
func Diamond() Workflow {
	return calculation("diamond", "diamond", "6^16 = 2821109907456", map[string]any{
		"start": six(2),
		"left":  six(4, "start"),
		"right": six(4, "start"),
		"end":   six(16, "left", "right"),
	})
}

func tree() Workflow {
	return calculation("tree", "tree of 8", "6^32 = 7958661109946400884391936", map[string]any{
		"root":         six(2),
		"branch_left":  six(4, "root"),
		"branch_right": six(4, "root"),
		"leaf_1":       six(8, "branch_left"),
		"leaf_2":       six(8, "branch_left"),
		"leaf_3":       six(8, "branch_right"),
		"leaf_4":       six(8, "branch_right"),
		"convergence":  six(32, "leaf_1", "leaf_2", "leaf_3", "leaf_4"),
	})
}

func mixedDAG() Workflow {
	return calculation("mixed_dag", "mixed DAG of 7", "6^30 = 221073919720733357899776", map[string]any{
		"init":      six(2),
		"left":      six(4, "init"),
		"right":     six(6, "init"),
		"validate":  six(10, "left", "right"),
		"transform": six(8, "left"),
		"analyze":   six(12, "right"),
		"finalize":  six(30, "analyze", "transform", "validate"),
	})
}

func orderFulfilment() Workflow {
	want := map[string]any{
		"validate": validated{Lines: 2, TotalCents: 6497},
		"reserve":  reserved{Reservation: "RES-1042", Units: 3},
		"pay":      paid{Payment: "PAY-1042", Cents: 6497, Attempt: 3},
		"ship":     shipped{Shipment: "SHP-1042", Units: 3, PaidCents: 6497},
	}
	return Workflow{
		Title: "order fulfilment of 4", Namespace: Namespace, Name: "order_fulfilment",
		Context: encode(order{ID: "1042", Items: []item{
			{SKU: "teapot", Quantity: 1, UnitCents: 3499},
			{SKU: "cup", Quantity: 2, UnitCents: 1499},
		}}),
		Steps: len(want), Attempts: map[string]int{"pay": 3},
		Result: "shipped, paid on attempt 3", want: want,
	}
}

// calculation is a workflow that starts from the number six.
func calculation(name, title, result string, want map[string]any) Workflow {
	return Workflow{
		Title: title, Namespace: Namespace, Name: name,
		Context: encode(start{Number: big.NewInt(6)}),
		Steps:   len(want), Result: result, want: want,
	}
}

// six is the result 6^n of a step that depends on the steps from, sorted.
func six(n int64, from ...string) number {
	return number{Value: new(big.Int).Exp(big.NewInt(6), big.NewInt(n), nil), From: from}
}

func benchmark(name, title string, steps ...string) Workflow {
	want := make(map[string]any, len(steps))
	for _, s := range steps {
		want[s] = done{OK: 1}
	}
	return Workflow{
		Title: title, Namespace: BenchNamespace, Name: name, Context: json.RawMessage(`{}`),
		Steps: len(want), Result: `{"ok":1} of every step`, want: want,
	}
}

// fanOut is how many parallel steps W4 has.
const fanOut = 100

func branchName(i int) string { return fmt.Sprintf("branch_%03d", i+1) }

func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("demo: " + err.Error()) // structs of numbers and strings always encode
	}
	return raw
}

// equal reports whether two JSON texts say the same. Numbers are compared by
// their digits, so that none is taken for another that a float cannot tell
// apart.
func equal(a, b json.RawMessage) bool {
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func decode(raw json.RawMessage) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}
