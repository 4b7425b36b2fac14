package demo

import (
	"context"
	"errors"
	"maps"
	"math/big"
	"slices"

	tasker "github.com/tasker-systems/tasker-go"
)

// start is the context of the tasks that calculate.
type start struct {
	Number *big.Int `json:"number"`
}

// number is the result of a step that calculates. It is an exact integer of any
// size, so a result that passes through a float on its way shows.
type number struct {
	Value *big.Int `json:"value"`
	// From names the steps whose results went into Value, sorted.
	From []string `json:"from,omitempty"`
}

// power returns a handler that multiplies what its step depends on, or takes
// the task's number when it depends on nothing, and raises that to n.
func power(n int64) func(context.Context, *tasker.Step, start) (number, error) {
	return func(_ context.Context, step *tasker.Step, in start) (number, error) {
		from := slices.Sorted(maps.Keys(step.Results))
		product := big.NewInt(1)
		for _, name := range from {
			var factor number
			if err := step.Result(name, &factor); err != nil {
				return number{}, err
			}
			product.Mul(product, factor.Value)
		}
		if len(from) == 0 {
			if in.Number == nil {
				return number{}, tasker.Permanent(errors.New(`the context has no "number"`))
			}
			product = in.Number
		}
		return number{Value: new(big.Int).Exp(product, big.NewInt(n), nil), From: from}, nil
	}
}

// done is the result of the steps of the bench.
type done struct {
	OK int `json:"ok"`
}

// ok does nothing, so that the bench measures the engine alone.
func ok(context.Context, *tasker.Step) (any, error) { return done{OK: 1}, nil }
