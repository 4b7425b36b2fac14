package tasker_test

import (
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"

	tasker "github.com/tasker-systems/tasker-go"
)

func TestSubscriptionMatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"payment.charged", "payment.charged", true},
		{"payment.charged", "payment.charged.twice", false},
		{"payment.charged", "payment", false},
		{"payment.*", "payment.charged", true},
		{"payment.*", "payment.card.declined", true},
		{"payment.*", "payment", false},
		{"payment.*", "payment.", false},
		{"payment.*", "payments.charged", false},
		{"*", "payment.charged", true},
		{"*", "task", true},
	} {
		if got := (tasker.Subscription{Pattern: tt.pattern}).Matches(tt.name); got != tt.want {
			t.Errorf("%s matches %s: %t, want %t", tt.pattern, tt.name, got, tt.want)
		}
	}
}

// TestPatternsAreLists holds patterns to what they mean: a list of names of
// which a star at the end stands for one word or more.
func TestPatternsAreLists(t *testing.T) {
	t.Parallel()
	words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab"}), 1, 4)
	rapid.Check(t, func(t *rapid.T) {
		name, pattern := words.Draw(t, "name"), words.Draw(t, "pattern")
		star := rapid.Bool().Draw(t, "star")
		if star {
			pattern[len(pattern)-1] = "*"
		}
		want := len(name) >= len(pattern) && (star || len(name) == len(pattern))
		for i, word := range pattern {
			want = want && (word == "*" || i < len(name) && name[i] == word)
		}
		events := tasker.NewEvents()
		events.Subscribe(strings.Join(pattern, "."), func(context.Context, tasker.Event) {})
		if got := events.Subscriptions()[0].Matches(strings.Join(name, ".")); got != want {
			t.Errorf("%q matches %q: %t, want %t", pattern, name, got, want)
		}
	})
}

func TestEventsRefuseMistakes(t *testing.T) {
	t.Parallel()
	refused := func(what string, do func(*tasker.Events)) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", what)
			}
		}()
		do(tasker.NewEvents())
	}
	publisher := func(context.Context, *tasker.Step, tasker.Event) (any, error) { return nil, nil }
	for _, pattern := range []string{"", ".", "a.", "A", "*.a", "a*", "a.**", "a b"} {
		refused("pattern "+pattern, func(e *tasker.Events) { e.Subscribe(pattern, nil) })
	}
	refused("no name", func(e *tasker.Events) { e.AddPublisher("", publisher) })
	refused("same name", func(e *tasker.Events) {
		e.AddPublisher("p", publisher)
		e.AddPublisher("p", publisher)
	})
}
