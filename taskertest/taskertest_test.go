package taskertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// order is the context that the tests run with.
type order struct {
	Cents int `json:"cents"`
}

var errDeclined = errors.New("card declined")

// handlers are what the tests of Run run.
func handlers() *tasker.Handlers {
	h := tasker.NewHandlers()
	tasker.Handle(h, "double", func(_ context.Context, _ *tasker.Step, o order) (order, error) {
		return order{Cents: 2 * o.Cents}, nil
	})
	tasker.Handle(h, "decline", func(context.Context, *tasker.Step, order) (order, error) {
		return order{}, fmt.Errorf("charge: %w", tasker.Permanent(errDeclined))
	})
	tasker.Handle(h, "busy", func(context.Context, *tasker.Step, order) (order, error) {
		return order{}, tasker.RetryAfter(90*time.Second, errors.New("too many requests"))
	})
	tasker.Handle(h, "panic", func(context.Context, *tasker.Step, order) (order, error) { panic("oops") })
	tasker.Handle(h, "sleep", func(ctx context.Context, _ *tasker.Step, _ order) (order, error) {
		<-ctx.Done()
		return order{}, ctx.Err()
	})
	tasker.Handle(h, "oversleep", func(context.Context, *tasker.Step, order) (order, error) {
		<-time.After(time.Hour)
		return order{}, nil
	})
	h.Add("channel", tasker.HandlerFunc(func(context.Context, *tasker.Step) (any, error) { return make(chan int), nil }))
	h.Add("step", tasker.HandlerFunc(func(_ context.Context, step *tasker.Step) (any, error) { return step, nil }))
	return h
}

func TestRunReturnsTheResult(t *testing.T) {
	t.Parallel()
	for name, input := range map[string]any{
		"value": order{Cents: 21}, "map": map[string]int{"cents": 21}, "JSON": json.RawMessage(`{"cents": 21}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := taskertest.Run[order](t, handlers(), "double", taskertest.Step{Context: input})
			if err != nil || got.Cents != 42 {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		handler string
		step    taskertest.Step
		want    taskertest.Failure // its cause apart
	}{
		{"decline", taskertest.Step{}, taskertest.Failure{Kind: "handler_error", Message: "charge: card declined", Permanent: true}},
		{"busy", taskertest.Step{}, taskertest.Failure{Kind: "handler_error", Message: "too many requests", RetryAfter: 90 * time.Second}},
		{"panic", taskertest.Step{}, taskertest.Failure{Kind: "handler_panic", Message: "panic: oops"}},
		{"sleep", taskertest.Step{}, taskertest.Failure{Kind: "handler_timeout", Message: "the handler did not finish within 30s"}},
		{"sleep", taskertest.Step{Timeout: time.Minute}, taskertest.Failure{Kind: "handler_timeout", Message: "the handler did not finish within 1m0s"}},
		{"oversleep", taskertest.Step{}, taskertest.Failure{Kind: "handler_timeout", Message: "the handler did not finish within 30s"}},
		{"channel", taskertest.Step{}, taskertest.Failure{
			Kind: "result_not_encodable", Message: "encode the result as JSON: json: unsupported type: chan int", Permanent: true,
		}},
		{"double", taskertest.Step{Context: order{}, Attempt: 2}, taskertest.Failure{}},
		{"double", taskertest.Step{Context: []int{1}}, taskertest.Failure{
			Kind: "handler_error", Permanent: true,
			Message: "decode the task's context: json: cannot unmarshal array into Go value of type taskertest_test.order",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.handler, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, err := taskertest.Run[order](t, handlers(), tt.handler, tt.step)
				<-time.After(2 * time.Hour) // by the clock of the bubble: even oversleep returns
				if tt.want == (taskertest.Failure{}) {
					if err != nil {
						t.Errorf("got %v, want no error", err)
					}
					return
				}
				got, ok := errors.AsType[*taskertest.Failure](err)
				if !ok {
					t.Fatalf("got %T %v", err, err)
				}
				if got.Kind != tt.want.Kind || got.Message != tt.want.Message || got.Permanent != tt.want.Permanent || got.RetryAfter != tt.want.RetryAfter {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
			})
		})
	}
}

func TestRunKeepsTheCause(t *testing.T) {
	t.Parallel()
	_, err := taskertest.Run[order](t, handlers(), "decline", taskertest.Step{})
	if _, permanent := errors.AsType[*tasker.PermanentError](err); !permanent || !errors.Is(err, errDeclined) {
		t.Errorf("%v does not wrap what the handler returned", err)
	}
	_, err = taskertest.Run[order](t, handlers(), "panic", taskertest.Step{})
	if errors.Unwrap(err) != nil {
		t.Errorf("a panic has a cause: %v", errors.Unwrap(err))
	}
}

func TestRunBuildsTheStep(t *testing.T) {
	t.Parallel()
	got, err := taskertest.Run[tasker.Step](t, handlers(), "step", taskertest.Step{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "step" || got.Attempt != 1 || got.MaxAttempts != 4 || string(got.Context) != "{}" ||
		got.Task == "" || got.ID == got.Task || string(got.Config) != "null" || got.Results != nil {
		t.Errorf("the zero Step gives %+v", got)
	}
	got, err = taskertest.Run[tasker.Step](t, handlers(), "step", taskertest.Step{
		Name: "pay", Attempt: 5, Config: map[string]int{"limit": 1}, Results: map[string]any{"validate": order{Cents: 7}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var result order
	if got.Name != "pay" || !got.LastAttempt() || string(got.Config) != `{"limit":1}` ||
		got.Result("validate", &result) != nil || result.Cents != 7 {
		t.Errorf("got %+v", got)
	}
}

// A stopped test is a testing.TB that remembers why it was ended.
type stoppedTest struct {
	testing.TB
	why string
}

func (s *stoppedTest) Fatalf(format string, args ...any) {
	s.why = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (s *stoppedTest) Fatal(args ...any) { s.Fatalf("%s", fmt.Sprint(args...)) }

// whyStopped returns why run ended its test, or nothing.
func whyStopped(t *testing.T, run func(testing.TB)) string {
	t.Helper()
	s := &stoppedTest{TB: t}
	over := make(chan struct{})
	go func() {
		defer close(over)
		run(s)
	}()
	<-over
	return s.why
}

func TestRunEndsTheTest(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		run  func(t testing.TB)
		want string
	}{
		{
			"unknown handler", func(t testing.TB) { _, _ = taskertest.Run[order](t, handlers(), "duble", taskertest.Step{}) },
			`no handler "duble"; there are ["busy" "channel"`,
		},
		{"context", func(t testing.TB) {
			_, _ = taskertest.Run[order](t, handlers(), "double", taskertest.Step{Context: func() {}})
		}, "encode the context as JSON: json: unsupported type: func()"},
		{"config", func(t testing.TB) {
			_, _ = taskertest.Run[order](t, handlers(), "double", taskertest.Step{Config: json.RawMessage("{")})
		}, "encode the config as JSON"},
		{"result", func(t testing.TB) {
			_, _ = taskertest.Run[order](t, handlers(), "double", taskertest.Step{Results: map[string]any{"a": func() {}}})
		}, "encode the result of step a as JSON"},
		{"other type", func(t testing.TB) {
			_, _ = taskertest.Run[[]int](t, handlers(), "double", taskertest.Step{})
		}, `decode the result {"cents":0} of handler "double": json: cannot unmarshal object`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if why := whyStopped(t, tt.run); !strings.HasPrefix(why, tt.want) {
				t.Errorf("ended with %q, want %q", why, tt.want)
			}
		})
	}
}

// TestDefaultTimeout holds what a step that sets no timeout gets here against
// the shipped configuration.
func TestDefaultTimeout(t *testing.T) {
	t.Parallel()
	shipped, err := os.ReadFile("../config/tasker/base/worker.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(shipped), "\nprocessing_timeout_seconds = 30\n") {
		t.Error("worker.toml has another processing_timeout_seconds than taskertest")
	}
}
