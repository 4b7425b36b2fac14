// Package result decides what follows from the outcome of an attempt: the step
// is complete, is tried again after a delay, or has failed for good. It decides
// and does nothing.
package result

import (
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/backoff"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// An Attempt is what the decision about a failure rests on.
type Attempt struct {
	Number      int32 // counts from 1
	MaxAttempts int32
	Retry       templates.Retry
}

// Next returns how long to wait before the next attempt, or false when the step
// has failed for good: the failure is permanent, or attempts are used up.
func Next(cfg config.Backoff, a Attempt, f *outcome.Failure) (time.Duration, bool) {
	if f.Permanent || a.Number >= a.MaxAttempts {
		return 0, false
	}
	if f.RetryAfter > 0 {
		return backoff.Asked(cfg, f.Delay()), true
	}
	return backoff.Delay(cfg, a.Retry, int(a.Number)), true
}
