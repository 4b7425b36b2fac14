package taskertest_test

import (
	"context"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// A number is the context of the examples' tasks and the result of their steps.
type number struct {
	N int `json:"n"`
}

func numberHandlers() *tasker.Handlers {
	h := tasker.NewHandlers()
	tasker.Handle(h, "square", func(_ context.Context, _ *tasker.Step, in number) (number, error) {
		return number{N: in.N * in.N}, nil
	})
	tasker.Handle(h, "half", func(_ context.Context, step *tasker.Step, _ number) (number, error) {
		var whole number
		if err := step.Result("square", &whole); err != nil {
			return number{}, err
		}
		return number{N: whole.N / 2}, nil
	})
	return h
}

// One attempt of one handler.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestHalf(t *testing.T)
		got, err := taskertest.Run[number](t, numberHandlers(), "half", taskertest.Step{
			Results: map[string]any{"square": number{N: 36}},
		})
		if err != nil || got.N != 18 {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

// A whole workflow. The templates of a program are usually embedded; this one
// stands in the test.
func ExampleRunWorkflow() {
	_ = func(t *testing.T) { // func TestHalfSquare(t *testing.T)
		templates := taskertest.YAML(`
name: half_square
namespace: math
steps:
  - {name: square, handler: {callable: square}}
  - {name: half, handler: {callable: half}, dependencies: [square]}
`)
		outcome := taskertest.RunWorkflow(t, numberHandlers(), templates, "math/half_square", number{N: 6})
		if outcome.State != tasker.TaskComplete {
			t.Fatal(outcome)
		}
		if got := taskertest.Result[number](t, outcome, "half"); got.N != 18 {
			t.Errorf("got %d", got.N)
		}
	}
}
