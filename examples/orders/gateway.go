package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A gateway takes payments.
type gateway interface {
	// Charge charges a card and returns the id of the charge. A key that was
	// charged already is not charged again.
	Charge(ctx context.Context, key, card string, cents int, currency string) (id string, err error)
}

// errDeclined says that the bank will not pay.
var errDeclined = errors.New("card declined")

// A busyError is the answer of a gateway that has too much to do.
type busyError struct{ retryAfter time.Duration }

func (b *busyError) Error() string { return fmt.Sprintf("gateway busy, again in %s", b.retryAfter) }

// sandbox is the gateway to play with: it takes every card but "declined".
type sandbox struct{}

// Charge implements gateway.
func (sandbox) Charge(_ context.Context, key, card string, _ int, _ string) (string, error) {
	if card == "declined" {
		return "", errDeclined
	}
	return "charge-" + key, nil
}
