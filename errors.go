package tasker

import "time"

// A PermanentError fails its step at once: another attempt would end the same
// way. Make one with [Permanent].
type PermanentError struct{ Err error }

// Error is the text of the error inside.
func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the error inside.
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent marks err as not worth another attempt. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &PermanentError{Err: err}
}

// A RetryAfterError asks for the next attempt after a delay of the handler's
// choice, typically the Retry-After of a server. Make one with [RetryAfter].
type RetryAfterError struct {
	After time.Duration
	Err   error
}

// Error is the text of the error inside.
func (e *RetryAfterError) Error() string { return e.Err.Error() }

// Unwrap returns the error inside.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// RetryAfter asks for the next attempt no sooner than after d, in place of the
// backoff of the template; orchestration.backoff.max_backoff_seconds caps it.
// The attempt counts as any other. RetryAfter(d, nil) is nil.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &RetryAfterError{After: d, Err: err}
}
