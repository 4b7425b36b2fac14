package outcome

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestFailureJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		failure Failure
		want    string
	}{
		{"plain", Failure{Kind: HandlerError, Message: "boom"}, `{"kind":"handler_error","message":"boom","permanent":false}`},
		{"permanent", Failure{Kind: HandlerPanic, Permanent: true}, `{"kind":"handler_panic","message":"","permanent":true}`},
		{"retry after", Failure{Kind: HandlerError, RetryAfter: 1.5}, `{"kind":"handler_error","message":"","permanent":false,"retry_after_seconds":1.5}`},
		{"NUL", Failure{Kind: HandlerError, Message: "a\x00b"}, `{"kind":"handler_error","message":"a` + "\ufffd" + `b","permanent":false}`},
		{"no UTF-8", Failure{Kind: HandlerError, Message: "a\xffb"}, `{"kind":"handler_error","message":"a\ufffdb","permanent":false}`},
	}
	for _, tt := range tests {
		if got := string(tt.failure.JSON()); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestFailureRoundTrip: an orchestrator reads what a worker wrote.
func TestFailureRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := Failure{
			Kind: rapid.String().Draw(t, "kind"), Message: rapid.StringMatching(`[^\x00]*`).Draw(t, "message"),
			Permanent: rapid.Bool().Draw(t, "permanent"), RetryAfter: rapid.Float64Range(-1e9, 1e9).Draw(t, "retry after"),
		}
		var got Failure
		if err := json.Unmarshal(want.JSON(), &got); err != nil || got != want {
			t.Fatalf("got %+v, want %+v (%v)", got, want, err)
		}
	})
}

func TestDelay(t *testing.T) {
	t.Parallel()
	if got := (&Failure{RetryAfter: 0.25}).Delay(); got != 250*time.Millisecond {
		t.Errorf("got %s", got)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	o := Outcome{Result: json.RawMessage(`"\u0000"`), Slot: true}
	o.Refuse("no NUL")
	want := Failure{Kind: ResultRefused, Message: "PostgreSQL cannot store the result: no NUL", Permanent: true}
	if o.Result != nil || *o.Failure != want || !o.Slot {
		t.Errorf("got %+v", o)
	}
}
