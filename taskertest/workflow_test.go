package taskertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// template is a template test/it with the given steps.
func template(steps string) fs.FS {
	return taskertest.YAML("{name: it, namespace: test, steps: [" + steps + "]}")
}

// behaviours are handlers that say what they do by their names.
func behaviours() *tasker.Handlers {
	h := tasker.NewHandlers()
	add := func(name string, handle tasker.HandlerFunc) { h.Add(name, handle) }
	add("ok", func(_ context.Context, step *tasker.Step) (any, error) { return step.Name, nil })
	add("fail", func(context.Context, *tasker.Step) (any, error) { return nil, errors.New("no") })
	add("fail_for_good", func(context.Context, *tasker.Step) (any, error) { return nil, tasker.Permanent(errors.New("never")) })
	add("fail_twice", func(_ context.Context, step *tasker.Step) (any, error) {
		if step.Attempt <= 2 {
			return nil, tasker.RetryAfter(time.Hour, fmt.Errorf("attempt %d of %d", step.Attempt, step.MaxAttempts))
		}
		return step.Attempt, nil
	})
	add("panic", func(context.Context, *tasker.Step) (any, error) { panic("oops") })
	add("exit", func(context.Context, *tasker.Step) (any, error) { runtime.Goexit(); return nil, nil })
	add("sleep", func(ctx context.Context, _ *tasker.Step) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
	add("step", func(_ context.Context, step *tasker.Step) (any, error) { return step, nil })
	return h
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, steps string
		want        string
	}{
		{"complete", `{name: a, handler: {callable: ok}}, {name: b, handler: {callable: ok}, dependencies: [a]}`, `
test/it/1.0.0: complete
  a  complete  attempts: 1  "a"
  b  complete  attempts: 1  "b"
`},
		{"recovers", `{name: a, handler: {callable: fail_twice}}`, `
test/it/1.0.0: complete
  a  complete  attempts: 3  3
`},
		{"attempts used up", `{name: a, handler: {callable: fail_twice}, retry: {max_attempts: 2}}`, `
test/it/1.0.0: error
  a  error  attempts: 2  handler_error: attempt 2 of 2
`},
		{"not retryable", `{name: a, handler: {callable: fail_twice}, retry: {retryable: false, max_attempts: 9}}`, `
test/it/1.0.0: error
  a  error  attempts: 1  handler_error: attempt 1 of 1
`},
		{"no attempts is one", `{name: a, handler: {callable: ok}, retry: {max_attempts: 0}}`, `
test/it/1.0.0: complete
  a  complete  attempts: 1  "a"
`},
		{"permanent", `{name: a, handler: {callable: fail_for_good}}`, `
test/it/1.0.0: error
  a  error  attempts: 1  handler_error: never
`},
		{"panic", `{name: a, handler: {callable: panic}}`, `
test/it/1.0.0: error
  a  error  attempts: 4  handler_panic: panic: oops
`},
		{"goroutine ended", `{name: a, handler: {callable: exit}, retry: {max_attempts: 1}}`, `
test/it/1.0.0: error
  a  error  attempts: 1  handler_panic: the handler ended its goroutine (runtime.Goexit)
`},
		{"timeout", `{name: a, handler: {callable: sleep}, timeout_seconds: 7, retry: {max_attempts: 2}}`, `
test/it/1.0.0: error
  a  error  attempts: 2  handler_timeout: the handler did not finish within 7s
`},
		{"blocked, and the other branch runs to its end", `{name: a, handler: {callable: fail}}, {name: b, handler: {callable: ok}},
			{name: c, handler: {callable: ok}, dependencies: [b]}, {name: d, handler: {callable: ok}, dependencies: [a, c]},
			{name: e, handler: {callable: ok}, dependencies: [d]}`, `
test/it/1.0.0: blocked_by_failures
  a  error     attempts: 4  handler_error: no
  b  complete  attempts: 1  "b"
  c  complete  attempts: 1  "c"
  d  pending   attempts: 0  
  e  pending   attempts: 0  
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := taskertest.RunWorkflow(t, behaviours(), template(tt.steps), "test/it", nil)
				if want := strings.TrimPrefix(tt.want, "\n"); got.String() != want {
					t.Errorf("got\n%swant\n%s", got, want)
				}
			})
		})
	}
}

func TestRetriesDoNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got := taskertest.RunWorkflow(t, behaviours(), template(`{name: a, handler: {callable: fail_twice}}`), "test/it", nil)
		if took := time.Since(began); took != 0 {
			t.Errorf("took %s", took)
		}
		failures := got.Steps["a"].Failures
		if len(failures) != 2 || failures[1].RetryAfter != time.Hour || failures[0].Message != "attempt 1 of 4" {
			t.Errorf("failures %v", failures)
		}
	})
}

func TestStepSeesItsTask(t *testing.T) {
	t.Parallel()
	fsys := taskertest.YAML(`
name: it
namespace: test
version: 1.2.3
steps:
  - {name: a, handler: {callable: ok}}
  - {name: b, handler: {callable: ok}, dependencies: [a]}
  - {name: c, handler: {callable: step, initialization: {limit: 1, shop: x}}, dependencies: [b], retry: {max_attempts: 7}}
environments:
  test: {steps: [{name: c, handler: {initialization: {limit: 2}}}]}
`)
	o := taskertest.RunWorkflow(t, behaviours(), fsys, "test/it", map[string]int{"n": 1})
	got := taskertest.Result[tasker.Step](t, o, "c")
	want := tasker.Step{
		Task: got.Task, ID: got.ID, Name: "c", Namespace: "test", Template: "it", Version: "1.2.3",
		Attempt: 1, MaxAttempts: 7, Context: json.RawMessage(`{"n":1}`), Config: json.RawMessage(`{"limit":2,"shop":"x"}`),
		Results:    map[string]json.RawMessage{"b": json.RawMessage(`"b"`)},
		Checkpoint: json.RawMessage(`null`), // as JSON has one that is not there
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || got.Task == "" || got.ID == got.Task {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestReadyStepsRunInParallel has two branches that each wait for the other.
func TestReadyStepsRunInParallel(t *testing.T) {
	t.Parallel()
	var both sync.WaitGroup
	both.Add(2)
	h := behaviours()
	h.Add("meet", tasker.HandlerFunc(func(context.Context, *tasker.Step) (any, error) {
		both.Done()
		both.Wait()
		return nil, nil
	}))
	got := taskertest.RunWorkflow(t, h, template(`{name: start, handler: {callable: ok}},
		{name: left, handler: {callable: meet}, dependencies: [start]}, {name: right, handler: {callable: meet}, dependencies: [start]},
		{name: end, handler: {callable: ok}, dependencies: [left, right]}`), "test/it", nil)
	if got.State != tasker.TaskComplete {
		t.Error(got)
	}
}

func TestHighestVersionRuns(t *testing.T) {
	t.Parallel()
	version := func(v string) string {
		return fmt.Sprintf("{name: it, namespace: test, version: %s, steps: [{name: a, handler: {callable: step}}]}", v)
	}
	fsys := taskertest.YAML(version("1.9.0"), version("1.10.0"), version("1.2.0"))
	for name, want := range map[string]string{"test/it": "1.10.0", "test/it/1.2.0": "1.2.0"} {
		o := taskertest.RunWorkflow(t, behaviours(), fsys, name, nil)
		if got := taskertest.Result[tasker.Step](t, o, "a").Version; got != want {
			t.Errorf("%s ran version %s, want %s", name, got, want)
		}
	}
}

func TestRunWorkflowEndsTheTest(t *testing.T) {
	t.Parallel()
	ok := template(`{name: a, handler: {callable: ok}}`)
	tests := []struct {
		name  string
		fsys  fs.FS
		run   string
		input any
		want  string
	}{
		{"problems", taskertest.YAML("{name: it}"), "test/it", nil, "load templates: template1.yaml:1"},
		{
			"input_schema", taskertest.YAML(`{name: it, namespace: test, input_schema: {required: [n]}, steps: [{name: a, handler: {callable: ok}}]}`),
			"test/it", nil, "the context does not match the input_schema of test/it:\nmissing property 'n'",
		},
		{"unknown template", ok, "test/other", nil, `no template "test/other" (namespace/name); there are ["test/it"]`},
		{
			"unknown handlers", template(`{name: a, handler: {callable: oh}}, {name: b, handler: {callable: k}}`), "test/it", nil,
			`template test/it: step "a": no handler "oh" in this worker; it has ["exit" "fail" "fail_for_good" "fail_twice" "ok" "panic" "sleep" "step"]` + "\n" +
				`step "b": no handler "k"`,
		},
		{
			"other step types", template(`{name: a, type: decision, handler: {callable: ok}}`), "test/it", nil,
			`template test/it: step "a" is of type decision; only standard steps can run`,
		},
		{"no object", ok, "test/it", []int{1}, "the context must be a JSON object, not [1]"},
		{"no JSON", ok, "test/it", json.RawMessage(`{`), "encode the context as JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			why := whyStopped(t, func(t testing.TB) { taskertest.RunWorkflow(t, behaviours(), tt.fsys, tt.run, tt.input) })
			if !strings.HasPrefix(why, tt.want) {
				t.Errorf("ended with %q, want %q", why, tt.want)
			}
		})
	}
}

func TestResultEndsTheTest(t *testing.T) {
	t.Parallel()
	o := taskertest.RunWorkflow(t, behaviours(), template(`{name: a, handler: {callable: ok}},
		{name: b, handler: {callable: fail}}`), "test/it", nil)
	for step, want := range map[string]string{
		"a": `decode the result "a" of step "a": json: cannot unmarshal string`,
		"b": `step "b" is error and has no result; test/it/1.0.0: error`,
		"c": `template test/it/1.0.0 has no step "c"; it has ["a" "b"]`,
	} {
		if why := whyStopped(t, func(t testing.TB) { taskertest.Result[int](t, o, step) }); !strings.HasPrefix(why, want) {
			t.Errorf("ended with %q, want %q", why, want)
		}
	}
}

// TestLaws runs random graphs in which random steps fail and checks what the
// engine promises: a step runs exactly if all steps before it are complete, and
// sees the results of its dependencies and no others.
func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(r, "steps")
		steps := make([]string, n)
		want := map[string]tasker.StepState{}
		dependencies := map[string][]string{}
		state := tasker.TaskComplete
		for i := range n {
			name := fmt.Sprintf("s%d", i)
			callable := rapid.SampledFrom([]string{"seen", "seen", "seen", "fail_for_good"}).Draw(r, name)
			want[name] = tasker.StepComplete
			if callable != "seen" {
				want[name] = tasker.StepError
			}
			for j := range i {
				if before := fmt.Sprintf("s%d", j); rapid.Bool().Draw(r, name+" after "+before) {
					dependencies[name] = append(dependencies[name], before)
					if want[before] != tasker.StepComplete {
						want[name] = tasker.StepPending
					}
				}
			}
			switch {
			case want[name] == tasker.StepPending:
				state = tasker.TaskBlockedByFailures
			case want[name] == tasker.StepError && state == tasker.TaskComplete:
				state = tasker.TaskError
			}
			steps[i] = fmt.Sprintf("{name: %s, handler: {callable: %s}, dependencies: [%s]}", name, callable, strings.Join(dependencies[name], ", "))
		}
		h := behaviours()
		h.Add("seen", tasker.HandlerFunc(func(_ context.Context, step *tasker.Step) (any, error) {
			return slices.Sorted(maps.Keys(step.Results)), nil
		}))
		order := rapid.Permutation(steps).Draw(r, "order in the template")
		o := taskertest.RunWorkflow(t, h, template(strings.Join(order, ", ")), "test/it", nil)
		if o.State != state || len(o.Steps) != n {
			r.Fatalf("want state %s of %d steps, got %s", state, n, o)
		}
		for name, step := range o.Steps {
			if step.State != want[name] {
				r.Fatalf("want step %s %s, got %s", name, want[name], o)
			}
			if step.State != tasker.StepComplete {
				continue
			}
			saw := taskertest.Result[[]string](t, o, name)
			slices.Sort(dependencies[name])
			if !slices.Equal(saw, dependencies[name]) {
				r.Fatalf("step %s saw results of %q, depends on %q", name, saw, dependencies[name])
			}
		}
	})
}
