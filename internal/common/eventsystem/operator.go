package eventsystem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/backoff"
	"github.com/tasker-systems/tasker-go/internal/common/breakers"
)

// An Operator carries out the operations of one event system, each with the
// concurrency, the deadline and the retries that the section of the event system
// gives it, and tells the monitor what came of them.
type Operator struct {
	*Monitor

	cfg     config.EventSystem
	slots   chan struct{} // one taken per operation in progress
	breaker *breakers.Breaker
	slow    time.Duration // tries that take as long are logged; 0: none
}

// Slow is how long a try of an operation takes that performance logging tells of.
const Slow = 100 * time.Millisecond

// LogSlow has tries logged that take [Slow] or longer, if on says so. Call it
// before the operator is used.
func (o *Operator) LogSlow(on bool) *Operator { //nolint:revive // a setting
	if on {
		o.slow = Slow
	}
	return o
}

// NewOperator returns an operator that does up to max_concurrent_operations at
// once, and no more than limit, which counts if it is positive.
func NewOperator(cfg config.EventSystem, limit int, log *slog.Logger) *Operator {
	concurrency := max(1, cfg.Processing.MaxConcurrentOperations)
	if limit > 0 {
		concurrency = min(concurrency, limit)
	}
	return &Operator{Monitor: NewMonitor(cfg, log), cfg: cfg, slots: make(chan struct{}, concurrency)}
}

// Behind returns an operator for those of the operations that a circuit breaker
// guards: while it is open they fail at once and are not tried again.
func (o *Operator) Behind(b *breakers.Breaker) *Operator {
	guarded := *o
	guarded.breaker = b
	return &guarded
}

// Given says at which level the log has an operation that was given up: what a
// circuit breaker refuses, that breaker has told already.
func Given(err error) slog.Level {
	if _, refused := errors.AsType[*breakers.OpenError](err); refused {
		return slog.LevelDebug
	}
	return slog.LevelError
}

// Do does one operation: what the event system makes of the work it has found.
// A try that fails is repeated up to max_retries times, with the pauses of
// backoff between them, while ctx lasts and claim_timeout_seconds have not
// passed. Each try has processing_timeout_seconds; the end of ctx does not
// interrupt it, since the answer would be lost and not the effect. The error is
// that of the last try.
func (o *Operator) Do(ctx context.Context, what string, do func(ctx context.Context) error) error {
	return o.Try(ctx, what, o.cfg.Processing.MaxRetries, do)
}

// Try does one operation as [Operator.Do] does, with a number of retries of its
// own.
func (o *Operator) Try(ctx context.Context, what string, retries int, do func(ctx context.Context) error) error {
	began := time.Now()
	for failures := 1; ; failures++ {
		err := o.once(ctx, what, do)
		if err == nil {
			return nil
		}
		if _, refused := errors.AsType[*breakers.OpenError](err); refused {
			return fmt.Errorf("%s: %w", what, err)
		}
		pause := backoff.Operation(o.cfg.Processing.Backoff, failures)
		owned := o.cfg.Timing.ClaimTimeout.Duration() - time.Since(began)
		if ctx.Err() != nil || failures > retries || pause >= owned {
			return fmt.Errorf("%s, tried %d times: %w", what, failures, err)
		}
		o.log.WarnContext(ctx, "operation failed; trying again", "operation", what, "error", err, "failures", failures, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// Pause is how long what an operation could not do rests until it is taken up
// again: the longest pause between retries, and while a circuit breaker is open
// until it lets a trial through.
func (o *Operator) Pause() time.Duration {
	if wait := o.breaker.After(); wait > 0 {
		return wait
	}
	return o.cfg.Processing.Backoff.MaxDelay.Duration()
}

func (o *Operator) once(ctx context.Context, what string, do func(ctx context.Context) error) error {
	o.slots <- struct{}{} // others give theirs back within their deadline
	defer func() { <-o.slots }()
	done, err := o.breaker.Allow()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.cfg.Timing.ProcessingTimeout.Duration())
	defer cancel()
	began := time.Now()
	err = do(ctx)
	done(err)
	took := time.Since(began)
	o.Record(took, err)
	if o.slow > 0 && took >= o.slow {
		log := o.log
		if err != nil {
			log = log.With("error", err)
		}
		log.InfoContext(ctx, "slow operation", "operation", what, "took", took)
	}
	return err
}
