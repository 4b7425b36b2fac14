package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
)

// An end is what Done was told.
type end struct {
	result  string
	failure *outcome.Failure
}

// run makes one attempt with a timeout of a minute and returns what Done was
// told. It must be called in a bubble of synctest.
func run(t *testing.T, handle tasker.HandlerFunc) end {
	handlers := tasker.NewHandlers()
	handlers.Add("it", handle)
	ends := make(chan end, 2)
	freed := make(chan struct{})
	e := Executor{Handlers: handlers, Log: slog.New(slog.DiscardHandler)}
	go e.Run(t.Context(), Job{
		Step: &tasker.Step{ID: "id"}, Callable: "it", Timeout: time.Minute,
		Done:  func(result json.RawMessage, failure *outcome.Failure) { ends <- end{string(result), failure} },
		Freed: func() { close(freed) },
	})
	<-freed
	synctest.Wait()
	if len(ends) != 1 {
		t.Fatalf("Done was called %d times", len(ends))
	}
	return <-ends
}

// unwilling is a value that panics when it is encoded, and as an error when it
// is looked into.
type unwilling struct{}

func (*unwilling) MarshalJSON() ([]byte, error) { panic("no JSON of me") }
func (*unwilling) Error() string                { panic("no text of me") }

func TestOutcomes(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tests := []struct {
		name   string
		handle tasker.HandlerFunc
		want   end
	}{
		{
			"result", func(context.Context, *tasker.Step) (any, error) { return map[string]int{"n": 1}, nil },
			end{result: `{"n":1}`},
		},
		{
			"no result", func(context.Context, *tasker.Step) (any, error) { return nil, nil },
			end{result: `null`},
		},
		{
			"error", func(context.Context, *tasker.Step) (any, error) { return 1, boom },
			end{failure: &outcome.Failure{Kind: outcome.HandlerError, Message: "boom"}},
		},
		{
			"permanent, wrapped", func(context.Context, *tasker.Step) (any, error) {
				return nil, fmt.Errorf("charge: %w", tasker.Permanent(boom))
			},
			end{failure: &outcome.Failure{Kind: outcome.HandlerError, Message: "charge: boom", Permanent: true}},
		},
		{
			"retry after", func(context.Context, *tasker.Step) (any, error) { return nil, tasker.RetryAfter(90*time.Second, boom) },
			end{failure: &outcome.Failure{Kind: outcome.HandlerError, Message: "boom", RetryAfter: 90}},
		},
		{
			"panic", func(context.Context, *tasker.Step) (any, error) { panic(boom) },
			end{failure: &outcome.Failure{Kind: outcome.HandlerPanic, Message: "panic: boom"}},
		},
		{
			"panic while encoding", func(context.Context, *tasker.Step) (any, error) { return &unwilling{}, nil },
			end{failure: &outcome.Failure{Kind: outcome.HandlerPanic, Message: "panic: no JSON of me"}},
		},
		{
			"panic in the error", func(context.Context, *tasker.Step) (any, error) { return nil, &unwilling{} },
			end{failure: &outcome.Failure{Kind: outcome.HandlerPanic, Message: "panic: no text of me"}},
		},
		{
			"goroutine ended", func(context.Context, *tasker.Step) (any, error) { runtime.Goexit(); return nil, nil },
			end{failure: &outcome.Failure{Kind: outcome.HandlerPanic, Message: "the handler ended its goroutine (runtime.Goexit)"}},
		},
		{
			"not JSON", func(context.Context, *tasker.Step) (any, error) { return func() {}, nil },
			end{failure: &outcome.Failure{Kind: outcome.ResultNotEncoded, Message: "encode the result as JSON: json: unsupported type: func()", Permanent: true}},
		},
		{
			"too large", func(context.Context, *tasker.Step) (any, error) { return strings.Repeat("x", outcome.MaxResult), nil },
			end{failure: &outcome.Failure{Kind: outcome.ResultNotEncoded, Message: "the result has 4194306 bytes; at most 4194304 are allowed", Permanent: true}},
		},
		{"deadline", func(ctx context.Context, _ *tasker.Step) (any, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("read: %w", ctx.Err())
		}, end{failure: &outcome.Failure{Kind: outcome.HandlerTimeout, Message: "the handler did not finish within 1m0s"}}},
		{"deadline met in time all the same", func(ctx context.Context, _ *tasker.Step) (any, error) {
			<-ctx.Done()
			return "rest", nil
		}, end{result: `"rest"`}},
		{"deadline ignored", func(context.Context, *tasker.Step) (any, error) {
			<-time.After(time.Hour)
			return "late", nil
		}, end{failure: &outcome.Failure{Kind: outcome.HandlerTimeout, Message: "the handler did not finish within 1m0s"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got, want := run(t, tt.handle), tt.want
				if got.result != want.result || (got.failure == nil) != (want.failure == nil) ||
					got.failure != nil && *got.failure != *want.failure {
					t.Errorf("got %s %+v, want %s %+v", got.result, got.failure, want.result, want.failure)
				}
			})
		})
	}
}

func TestUnknownHandler(t *testing.T) {
	t.Parallel()
	handlers := tasker.NewHandlers()
	handlers.Add("square", nil)
	var got *outcome.Failure
	freed := false
	e := Executor{Handlers: handlers, Log: slog.New(slog.DiscardHandler)}
	e.Run(t.Context(), Job{
		Callable: "sqare",
		Done:     func(_ json.RawMessage, failure *outcome.Failure) { got = failure },
		Freed:    func() { freed = true },
	})
	if got == nil || got.Kind != outcome.HandlerNotFound || !got.Permanent || got.Message != `no handler "sqare" in this worker; it has ["square"]` || !freed {
		t.Errorf("got %+v, freed %t", got, freed)
	}
}
