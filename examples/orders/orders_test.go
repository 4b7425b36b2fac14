package main

import (
	"context"
	"errors"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/taskertest"
)

var order = Order{ID: "1042", Card: "4242", Lines: []Line{
	{Article: "teapot", Pieces: 1, Cents: 3499},
	{Article: "cup", Pieces: 2, Cents: 1499},
}}

// A stubGateway fails as often as it has errors, then charges.
type stubGateway struct {
	errs []error
	keys map[string]bool // that it was called with
}

func (g *stubGateway) Charge(_ context.Context, key, _ string, cents int, currency string) (string, error) {
	if cents != 6497 || currency != "EUR" {
		return "", errDeclined
	}
	if g.keys == nil {
		g.keys = map[string]bool{}
	}
	g.keys[key] = true
	if len(g.errs) > 0 {
		err := g.errs[0]
		g.errs = g.errs[1:]
		return "", err
	}
	return "charge-1", nil
}

// One handler.
func TestCharge(t *testing.T) {
	step := taskertest.Step{
		Name:    "charge",
		Context: order,
		Config:  map[string]string{"currency": "EUR"},
		Results: map[string]any{"check": Total{Cents: 6497}},
	}

	receipt, err := taskertest.Run[Receipt](t, handlers(shop{&stubGateway{}}), "charge_card", step)
	if err != nil || receipt.ChargeID != "charge-1" {
		t.Errorf("got %+v, %v", receipt, err)
	}

	_, err = taskertest.Run[Receipt](t, handlers(shop{&stubGateway{errs: []error{&busyError{time.Minute}}}}), "charge_card", step)
	if failure, ok := errors.AsType[*taskertest.Failure](err); !ok || failure.Permanent || failure.RetryAfter != time.Minute {
		t.Errorf("busy gateway: got %v", err)
	}
}

// The whole workflow, with a gateway that is busy at first.
func TestFulfilOrder(t *testing.T) {
	gateway := &stubGateway{errs: []error{&busyError{time.Minute}, errors.New("connection reset")}}
	outcome := taskertest.RunWorkflow(t, handlers(shop{gateway}), templates(), "orders/fulfil_order", order)
	if outcome.State != tasker.TaskComplete {
		t.Fatal(outcome)
	}
	want := Parcel{Tracking: "parcel-1042", Pieces: 3, ChargeID: "charge-1"}
	if got := taskertest.Result[Parcel](t, outcome, "ship"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if attempts := outcome.Steps["charge"].Attempts; attempts != 3 || len(gateway.keys) != 1 {
		t.Errorf("charged in %d attempts with keys %v; want 3 attempts with one key", attempts, gateway.keys)
	}
}

// A declined card is not tried again, and nothing ships.
func TestDeclined(t *testing.T) {
	declined := order
	declined.Card = "declined"
	outcome := taskertest.RunWorkflow(t, handlers(shop{sandbox{}}), templates(), "orders/fulfil_order", declined)
	if outcome.State != tasker.TaskBlockedByFailures || outcome.Steps["charge"].Attempts != 1 ||
		outcome.Steps["reserve"].State != tasker.StepComplete || outcome.Steps["ship"].State != tasker.StepPending {
		t.Error(outcome)
	}
}

// Orders that cannot be right end at the first step.
func TestWrongOrders(t *testing.T) {
	for name, lines := range map[string][]Line{
		"empty":     nil,
		"no pieces": {{Article: "cup", Cents: 1499}},
	} {
		t.Run(name, func(t *testing.T) {
			outcome := taskertest.RunWorkflow(t, handlers(shop{sandbox{}}), templates(), "orders/fulfil_order", Order{ID: "1", Lines: lines})
			if check := outcome.Steps["check"]; check.State != tasker.StepError || check.Attempts != 1 {
				t.Error(outcome)
			}
		})
	}
}
