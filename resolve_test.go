package tasker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
)

// says returns a handler that returns a word.
func says(word string) tasker.HandlerFunc {
	return func(context.Context, *tasker.Step) (any, error) { return word, nil }
}

// A desk is a handler with two entry points besides the usual one.
type desk struct{ tasker.HandlerFunc }

func (desk) Methods() map[string]tasker.HandlerFunc {
	return map[string]tasker.HandlerFunc{"open": says("opened"), "close": says("closed")}
}

// TestResolve looks for handlers in every way a template can name one.
func TestResolve(t *testing.T) {
	t.Parallel()
	h := tasker.NewHandlers()
	h.Add("desk", desk{says("usual")})
	h.Add("plain", says("plain"))
	h.AddResolver("shout", func(callable, method string) (tasker.Handler, bool) {
		return says(strings.ToUpper(callable + method)), strings.HasPrefix(callable, "shout") || callable == "plain"
	})
	h.AddResolver("any", func(callable, _ string) (tasker.Handler, bool) { return says("any " + callable), callable != "nothing" })
	for _, tt := range []struct{ callable, method, resolver, want string }{
		{"desk", "", "", "usual"},
		{"desk", "call", "", "usual"},
		{"desk", "open", "", "opened"},
		{"desk", "close", "explicit", "closed"},
		{"desk", "burn", "", `handler "desk" has no method "burn"; it has ["close" "open"]`},
		{"plain", "", "", "plain"}, // what was added by name comes first
		{"plain", "open", "", `handler "plain" has no method "open"; it has []`},
		{"plain", "!", "shout", "PLAIN!"},
		{"shout", "", "", "SHOUT"}, // then the resolvers in their order
		{"other", "", "", "any other"},
		{"shout", "", "any", "any shout"},
		{"other", "", "shout", `no handler "other" (method "", resolver "shout") in this worker; it has ["desk" "plain"] and the resolvers ["explicit" "shout" "any"]`},
		{"nothing", "", "", `no handler "nothing"`},
		{"shout", "", "explicit", `no handler "shout"`},
		{"desk", "", "none", `no resolver "none" in this worker; it has ["explicit" "shout" "any"]`},
	} {
		handler, err := h.Resolve(tt.callable, tt.method, tt.resolver)
		got := fmt.Sprint(err)
		if err == nil {
			value, _ := handler.Handle(t.Context(), &tasker.Step{}) // says never fails
			got = fmt.Sprint(value)
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q, %q, %q: got %s, want %s", tt.callable, tt.method, tt.resolver, got, tt.want)
		}
	}
	for _, name := range []string{"", "explicit", "shout"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a resolver was added as %q", name)
				}
			}()
			h.AddResolver(name, nil)
		}()
	}
}

// A resolver makes handlers of names that nobody added.
func ExampleHandlers_AddResolver() {
	handlers := tasker.NewHandlers()
	handlers.AddResolver("greeting", func(callable, _ string) (tasker.Handler, bool) {
		name, ok := strings.CutPrefix(callable, "greet/")
		return says("hello " + name), ok
	})

	handler, err := handlers.Resolve("greet/ann", "", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(handler.Handle(context.Background(), &tasker.Step{}))
	// Output:
	// hello ann <nil>
}
