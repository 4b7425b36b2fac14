package tasker

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestPermanent(t *testing.T) {
	t.Parallel()
	declined := errors.New("card declined")
	err := fmt.Errorf("charge: %w", Permanent(declined))
	if _, ok := errors.AsType[*PermanentError](err); !ok || !errors.Is(err, declined) || err.Error() != "charge: card declined" {
		t.Errorf("got %v", err)
	}
	if err := Permanent(nil); err != nil {
		t.Errorf("Permanent(nil) is %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	busy := errors.New("too many requests")
	err := fmt.Errorf("charge: %w", RetryAfter(90*time.Second, busy))
	later, ok := errors.AsType[*RetryAfterError](err)
	if !ok || later.After != 90*time.Second || !errors.Is(err, busy) || err.Error() != "charge: too many requests" {
		t.Errorf("got %v", err)
	}
	if err := RetryAfter(time.Second, nil); err != nil {
		t.Errorf("RetryAfter(_, nil) is %v", err)
	}
}
