package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
)

type Order struct {
	Card  string `json:"card"`
	Cents int    `json:"cents"`
}

type Receipt struct {
	ChargeID string `json:"charge_id"`
	Cents    int    `json:"cents"`
}

// attempt runs a handler as a worker would and prints what it returns. Package
// taskertest does that for tests.
func attempt(handlers *tasker.Handlers, name string, step *tasker.Step) {
	handler, ok := handlers.Find(name)
	if !ok {
		fmt.Println("no handler", name)
		return
	}
	result, err := handler.Handle(context.Background(), step)
	if err != nil {
		_, permanent := errors.AsType[*tasker.PermanentError](err)
		fmt.Printf("error: %v (permanent: %t)\n", err, permanent)
		return
	}
	raw, err := json.Marshal(result)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(raw))
}

// A handler gets the task's context decoded. Context that does not decode
// fails the step for good, before the handler is called.
func ExampleHandle() {
	handlers := tasker.NewHandlers()
	tasker.Handle(handlers, "charge_card", func(_ context.Context, step *tasker.Step, order Order) (Receipt, error) {
		// Task and step together are a key that is the same in every attempt.
		return Receipt{ChargeID: step.Task + "/" + step.Name, Cents: order.Cents}, nil
	})

	attempt(handlers, "charge_card", &tasker.Step{Task: "7f3", Name: "charge", Context: json.RawMessage(`{"cents": 1999}`)})
	attempt(handlers, "charge_card", &tasker.Step{Task: "7f3", Name: "charge", Context: json.RawMessage(`[]`)})
	// Output:
	// {"charge_id":"7f3/charge","cents":1999}
	// error: decode the task's context: json: cannot unmarshal array into Go value of type tasker_test.Order (permanent: true)
}

// A handler that needs no input, or reads it by itself, is a HandlerFunc.
func ExampleHandlers_Add() {
	handlers := tasker.NewHandlers()
	handlers.Add("tick", tasker.HandlerFunc(func(_ context.Context, step *tasker.Step) (any, error) {
		return map[string]int{"attempt": step.Attempt}, nil
	}))
	fmt.Println(handlers.Names())

	attempt(handlers, "tick", &tasker.Step{Attempt: 1})
	// Output:
	// [tick]
	// {"attempt":1}
}

// A step reads the results of the steps it depends on.
func ExampleStep_Result() {
	handlers := tasker.NewHandlers()
	tasker.Handle(handlers, "send_mail", func(_ context.Context, step *tasker.Step, _ Order) (string, error) {
		var receipt Receipt
		if err := step.Result("charge", &receipt); err != nil {
			return "", err
		}
		return fmt.Sprintf("charged %d cents", receipt.Cents), nil
	})

	attempt(handlers, "send_mail", &tasker.Step{
		Name: "mail", Context: json.RawMessage(`{}`),
		Results: map[string]json.RawMessage{"charge": json.RawMessage(`{"cents": 1999}`)},
	})
	attempt(handlers, "send_mail", &tasker.Step{Name: "mail", Context: json.RawMessage(`{}`)})
	// Output:
	// "charged 1999 cents"
	// error: result of step "charge" for step "mail": no result (is it among its dependencies?) (permanent: false)
}

// Another attempt would be declined too.
func ExamplePermanent() {
	handlers := tasker.NewHandlers()
	tasker.Handle(handlers, "charge_card", func(_ context.Context, _ *tasker.Step, order Order) (Receipt, error) {
		if order.Card == "" {
			return Receipt{}, tasker.Permanent(errors.New("no card"))
		}
		return Receipt{Cents: order.Cents}, nil
	})

	attempt(handlers, "charge_card", &tasker.Step{Context: json.RawMessage(`{"cents": 1999}`)})
	// Output:
	// error: no card (permanent: true)
}

// The server said when to come back.
func ExampleRetryAfter() {
	err := tasker.RetryAfter(30*time.Second, errors.New("gateway: too many requests"))

	later, _ := errors.AsType[*tasker.RetryAfterError](err)
	fmt.Println(err, "- again in", later.After)
	// Output:
	// gateway: too many requests - again in 30s
}
