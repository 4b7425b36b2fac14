package scenarios_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"

	tasker "github.com/tasker-systems/tasker-go"
)

// square multiplies the numbers it depends on, or takes the task's, and squares
// the product. The step that the task calls bad fails so many times first, or for
// good if that is below zero.
func square(_ context.Context, s *tasker.Step) (any, error) {
	var in struct {
		Number *big.Int `json:"even_number"`
		Bad    string
		Times  int
	}
	if err := json.Unmarshal(s.Context, &in); err != nil {
		return nil, err
	}
	switch {
	case s.Name == in.Bad && in.Times < 0:
		return nil, tasker.Permanent(errors.New("never"))
	case s.Name == in.Bad && s.Attempt <= in.Times:
		return nil, errors.New("not yet")
	}
	product := big.NewInt(1)
	if len(s.Results) == 0 {
		product = in.Number
	}
	for name := range s.Results {
		factor := new(big.Int)
		if err := s.Result(name, factor); err != nil {
			return nil, err
		}
		product.Mul(product, factor)
	}
	return product.Mul(product, product), nil
}

// seen returns the names of the results it is given.
func seen(_ context.Context, s *tasker.Step) (any, error) {
	names := []string{}
	for name := range s.Results {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " "), nil
}

// failTimes fails as many attempts as its configuration says, then returns the
// number of the attempt.
func failTimes(_ context.Context, s *tasker.Step) (any, error) {
	var config struct {
		Times int `json:"fail_count"`
	}
	if err := json.Unmarshal(s.Config, &config); err != nil {
		return nil, err
	}
	if s.Attempt <= config.Times {
		return nil, errors.New("not yet")
	}
	return s.Attempt, nil
}

// failIfAsked fails if the task's context says so.
func failIfAsked(_ context.Context, s *tasker.Step) (any, error) {
	var in struct{ Fail bool }
	if err := json.Unmarshal(s.Context, &in); err != nil {
		return nil, err
	}
	if in.Fail {
		return nil, errors.New("as asked")
	}
	return "done", nil
}

// routeAmount sends an amount to who may approve it.
func routeAmount(_ context.Context, s *tasker.Step) (any, error) {
	var in struct{ Amount float64 }
	if err := json.Unmarshal(s.Context, &in); err != nil {
		return nil, err
	}
	switch {
	case in.Amount < 1000:
		return tasker.Branches("auto_approve"), nil
	case in.Amount < 5000:
		return tasker.Branches("manager_approval"), nil
	}
	return tasker.Branches("manager_approval", "finance_review"), nil
}

// side returns the numbers of the task with the given remainder.
func side(s *tasker.Step, remainder int) ([]int, error) {
	var in struct{ Numbers []int }
	err := json.Unmarshal(s.Context, &in)
	return slices.DeleteFunc(in.Numbers, func(n int) bool { return n%2 != remainder }), err
}

// parity returns a handler that picks the numbers of a side.
func parity(remainder int) tasker.HandlerFunc {
	return func(_ context.Context, s *tasker.Step) (any, error) { return side(s, remainder) }
}

// routeParity goes on with the side that has more numbers, or the even one.
func routeParity(_ context.Context, s *tasker.Step) (any, error) {
	var evens, odds []int
	if err := errors.Join(s.Result("branch_evens", &evens), s.Result("branch_odds", &odds)); err != nil {
		return nil, err
	}
	if len(odds) > len(evens) {
		return tasker.Branches("odd_batch_analyzer"), nil
	}
	return tasker.Branches("even_batch_analyzer"), nil
}

// analyzeSide returns a handler that cuts the numbers of a side into batches.
func analyzeSide(remainder int) tasker.HandlerFunc {
	return func(_ context.Context, s *tasker.Step) (any, error) {
		numbers, err := side(s, remainder)
		return tasker.Batches{Cursors: tasker.Range(0, len(numbers), 2), TotalItems: len(numbers)}, err
	}
}

// sumSide returns a handler that adds up the numbers of its batch.
func sumSide(remainder int) tasker.HandlerFunc {
	return func(_ context.Context, s *tasker.Step) (any, error) {
		var from, to int
		numbers, err := side(s, remainder)
		if err := errors.Join(err, s.Batch.Bounds(&from, &to)); err != nil {
			return nil, err
		}
		total := 0
		for _, n := range numbers[from:to] {
			total += n
		}
		return total, nil
	}
}

// sumBatches returns a handler that adds up what the batches of a worker found.
func sumBatches(worker string) tasker.HandlerFunc {
	return func(_ context.Context, s *tasker.Step) (any, error) {
		parts, err := tasker.BatchResults[int](s, worker)
		total := 0
		for _, part := range parts {
			total += part
		}
		return total, err
	}
}

// always returns a handler with a fixed result.
func always(result any) tasker.HandlerFunc {
	return func(context.Context, *tasker.Step) (any, error) { return result, nil }
}

// handlerOf returns the handler of a step of ours or of the original's, by the
// name of the step.
func handlerOf(step string) tasker.HandlerFunc {
	table := map[string]tasker.HandlerFunc{
		"fail_twice_then_succeed": failTimes, "always_fail": failTimes, "boundary_test_step": failIfAsked,
		"routing_decision": routeAmount, "ddb_routing_decision": routeParity,
		"branch_evens": parity(0), "branch_odds": parity(1),
		"even_batch_analyzer": analyzeSide(0), "odd_batch_analyzer": analyzeSide(1),
		"process_even_batch": sumSide(0), "process_odd_batch": sumSide(1),
		"aggregate_even_results": sumBatches("process_even_batch"), "aggregate_odd_results": sumBatches("process_odd_batch"),
		"analyze_csv": analyzeCSV, "process_csv_batch": processCSV, "aggregate_csv_results": aggregateCSV,
		"domain_events_validate_order":    always(map[string]any{"order_id": "o", "validation_timestamp": "2026-01-02T03:04:05Z"}),
		"domain_events_process_payment":   always(map[string]any{"transaction_id": "t", "amount": 7, "payment_method": "card"}),
		"domain_events_update_inventory":  always(map[string]any{"order_id": "o", "items": []any{}, "success": true}),
		"domain_events_send_notification": always(map[string]any{"notification_id": "n", "channel": "email", "recipient": "r"}),
	}
	if h, ok := table[step]; ok {
		return h
	}
	for _, prefix := range []string{"linear_", "diamond_", "tree_", "dag_"} {
		if strings.HasPrefix(step, prefix) {
			return square
		}
	}
	return seen
}
