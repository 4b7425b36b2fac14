package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	tasker "github.com/tasker-systems/tasker-go"
)

// order is the context of an order fulfilment.
type order struct {
	ID    string `json:"order"`
	Items []item `json:"items"`
}

type item struct {
	SKU       string `json:"sku"`
	Quantity  int    `json:"quantity"`
	UnitCents int    `json:"unit_cents"`
}

// The results of the four steps.
type (
	validated struct {
		Lines      int `json:"lines"`
		TotalCents int `json:"total_cents"`
	}
	reserved struct {
		Reservation string `json:"reservation"`
		Units       int    `json:"units"`
	}
	paid struct {
		Payment string `json:"payment"`
		Cents   int    `json:"cents"`
		Attempt int    `json:"attempt"` // the one that succeeded
	}
	shipped struct {
		Shipment  string `json:"shipment"`
		Units     int    `json:"units"`
		PaidCents int    `json:"paid_cents"`
	}
)

// validateOrder adds the order up. Waiting does not mend an order that is wrong.
func validateOrder(_ context.Context, _ *tasker.Step, o order) (validated, error) {
	if o.ID == "" || len(o.Items) == 0 {
		return validated{}, tasker.Permanent(errors.New("the order has no number or no items"))
	}
	v := validated{Lines: len(o.Items)}
	for _, i := range o.Items {
		if i.Quantity < 1 || i.UnitCents < 0 {
			return validated{}, tasker.Permanent(fmt.Errorf("item %q: %d pieces at %d cents", i.SKU, i.Quantity, i.UnitCents))
		}
		v.TotalCents += i.Quantity * i.UnitCents
	}
	return v, nil
}

func reserveItems(_ context.Context, _ *tasker.Step, o order) (reserved, error) {
	r := reserved{Reservation: "RES-" + o.ID}
	for _, i := range o.Items {
		r.Units += i.Quantity
	}
	return r, nil
}

// errGatewayDown is what the first attempts at a payment meet.
var errGatewayDown = errors.New("payment gateway unavailable")

// takePayment charges what validateOrder found, once the gateway is back: the
// step's outage_attempts says how many attempts fail before.
func takePayment(_ context.Context, step *tasker.Step, o order) (paid, error) {
	var gateway struct {
		OutageAttempts int `json:"outage_attempts"`
	}
	if err := json.Unmarshal(step.Config, &gateway); err != nil {
		return paid{}, tasker.Permanent(fmt.Errorf("decode handler.initialization: %w", err))
	}
	if step.Attempt <= gateway.OutageAttempts {
		return paid{}, errGatewayDown
	}
	var v validated
	if err := step.Result("validate", &v); err != nil {
		return paid{}, err
	}
	return paid{Payment: "PAY-" + o.ID, Cents: v.TotalCents, Attempt: step.Attempt}, nil
}

func shipOrder(_ context.Context, step *tasker.Step, o order) (shipped, error) {
	var r reserved
	var p paid
	if err := errors.Join(step.Result("reserve", &r), step.Result("pay", &p)); err != nil {
		return shipped{}, err
	}
	return shipped{Shipment: "SHP-" + o.ID, Units: r.Units, PaidCents: p.Cents}, nil
}
