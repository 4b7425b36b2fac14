package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	tasker "github.com/tasker-systems/tasker-go"
)

// An Order is the context of the task.
type Order struct {
	ID    string `json:"id"`
	Card  string `json:"card"`
	Lines []Line `json:"lines"`
}

// A Line is a number of pieces of one article.
type Line struct {
	Article string `json:"article"`
	Pieces  int    `json:"pieces"`
	Cents   int    `json:"cents"` // a piece
}

// A shop is what the handlers share.
type shop struct {
	gateway gateway
}

// Total is the result of the step check.
type Total struct {
	Cents int `json:"cents"`
}

func (shop) check(_ context.Context, _ *tasker.Step, order Order) (Total, error) {
	var total Total
	for _, line := range order.Lines {
		if line.Pieces < 1 || line.Cents < 0 {
			return Total{}, tasker.Permanent(fmt.Errorf("%d pieces of %q at %d cents", line.Pieces, line.Article, line.Cents))
		}
		total.Cents += line.Pieces * line.Cents
	}
	if total.Cents == 0 {
		return Total{}, tasker.Permanent(errors.New("nothing to pay"))
	}
	return total, nil
}

// Reservation is the result of the step reserve.
type Reservation struct {
	Pieces int `json:"pieces"`
}

func (shop) reserve(_ context.Context, _ *tasker.Step, order Order) (Reservation, error) {
	var r Reservation
	for _, line := range order.Lines {
		r.Pieces += line.Pieces
	}
	return r, nil
}

// Receipt is the result of the step charge.
type Receipt struct {
	ChargeID string `json:"charge_id"`
}

// charge charges the customer once, however often it runs: the gateway ignores
// a key that it has seen.
func (s shop) charge(ctx context.Context, step *tasker.Step, order Order) (Receipt, error) {
	var settings struct {
		Currency string `json:"currency"`
	}
	var total Total
	if err := errors.Join(json.Unmarshal(step.Config, &settings), step.Result("check", &total)); err != nil {
		return Receipt{}, tasker.Permanent(err) // the template is wrong
	}
	id, err := s.gateway.Charge(ctx, step.Task+"/"+step.Name, order.Card, total.Cents, settings.Currency)
	if errors.Is(err, errDeclined) {
		return Receipt{}, tasker.Permanent(err) // and so would be the next attempt
	}
	if busy, ok := errors.AsType[*busyError](err); ok {
		return Receipt{}, tasker.RetryAfter(busy.retryAfter, err)
	}
	return Receipt{ChargeID: id}, err
}

// Parcel is the result of the step ship, and of the order.
type Parcel struct {
	Tracking string `json:"tracking"`
	Pieces   int    `json:"pieces"`
	ChargeID string `json:"charge_id"`
}

func (shop) ship(_ context.Context, step *tasker.Step, order Order) (Parcel, error) {
	var reservation Reservation
	var receipt Receipt
	if err := errors.Join(step.Result("reserve", &reservation), step.Result("charge", &receipt)); err != nil {
		return Parcel{}, err
	}
	return Parcel{Tracking: "parcel-" + order.ID, Pieces: reservation.Pieces, ChargeID: receipt.ChargeID}, nil
}
