package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

type input struct {
	N int `json:"n"`
}

func TestHandlersFind(t *testing.T) {
	t.Parallel()
	h := NewHandlers()
	if got := h.Names(); len(got) != 0 {
		t.Errorf("an empty set has %q", got)
	}
	for _, name := range []string{"b", "a", "c"} {
		h.Add(name, HandlerFunc(func(context.Context, *Step) (any, error) { return name, nil }))
	}
	if got, want := h.Names(), []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	handler, ok := h.Find("b")
	if !ok {
		t.Fatal("b not found")
	}
	if got, err := handler.Handle(t.Context(), &Step{}); got != "b" || err != nil {
		t.Errorf("b returned %v, %v", got, err)
	}
	if _, ok := h.Find("d"); ok {
		t.Error("found what was never added")
	}
}

func TestHandlersPanics(t *testing.T) {
	t.Parallel()
	handle := func(context.Context, *Step, input) (input, error) { return input{}, nil }
	tests := []struct {
		name string
		add  func(*Handlers)
		want string
	}{
		{"no name", func(h *Handlers) { Handle(h, "", handle) }, "tasker: handler without a name"},
		{"added twice", func(h *Handlers) { Handle(h, "pay", handle); Handle(h, "pay", handle) }, `tasker: handler "pay" added twice`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if got := recover(); got != tt.want {
					t.Errorf("panic %v, want %q", got, tt.want)
				}
			}()
			tt.add(NewHandlers())
		})
	}
}

func TestHandleDecodesTheContext(t *testing.T) {
	t.Parallel()
	h := NewHandlers()
	called := 0
	Handle(h, "double", func(_ context.Context, step *Step, in input) (string, error) {
		called++
		return fmt.Sprintf("%s: %d", step.Name, 2*in.N), nil
	})
	handler, _ := h.Find("double")
	got, err := handler.Handle(t.Context(), &Step{Name: "s", Context: json.RawMessage(`{"n": 21, "other": true}`)})
	if got != "s: 42" || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{`{"n": "21"}`, `[]`, `{`, ``} {
		_, err := handler.Handle(t.Context(), &Step{Context: json.RawMessage(bad)})
		if _, permanent := errors.AsType[*PermanentError](err); !permanent || !strings.HasPrefix(err.Error(), "decode the task's context: ") {
			t.Errorf("context %q: got %v, want a permanent error", bad, err)
		}
	}
	if called != 1 {
		t.Errorf("the handler ran %d times", called)
	}
}

func TestHandlePassesErrorsOn(t *testing.T) {
	t.Parallel()
	h := NewHandlers()
	declined := errors.New("declined")
	Handle(h, "pay", func(context.Context, *Step, input) (input, error) { return input{}, declined })
	handler, _ := h.Find("pay")
	if _, err := handler.Handle(t.Context(), &Step{Context: json.RawMessage(`{}`)}); !errors.Is(err, declined) {
		t.Errorf("got %v", err)
	}
}
