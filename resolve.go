package tasker

import (
	"fmt"
	"maps"
	"slices"
)

// Explicit is the name of the resolver that finds handlers by the names they
// were added under. It is asked first.
const Explicit = "explicit"

// usualMethod is what templates may call the entry point that Handle is.
const usualMethod = "call"

// A MethodHandler is a handler with further entry points, which templates select
// by the key handler.method. Without that key, or with "call", Handle is meant.
type MethodHandler interface {
	Handler
	Methods() map[string]HandlerFunc
}

// A Resolver finds a handler that was not added by name, such as one that is
// made of its name. It returns the entry point that method selects, the usual one
// when that is empty, and false for what it does not know. It is called for each
// attempt, from many goroutines.
type Resolver func(callable, method string) (Handler, bool)

// namedResolver is a resolver under the name that templates call it by.
type namedResolver struct {
	name    string
	resolve Resolver
}

// ask asks the resolver. It is the user's code, and may panic.
func (r *namedResolver) ask(callable, method string) (handler Handler, ok bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("resolver %q panicked over handler %q: %v", r.name, callable, v)
		}
	}()
	handler, ok = r.resolve(callable, method)
	return handler, ok, nil
}

// AddResolver adds a resolver, to be asked after those before it. Templates ask
// it alone with the key handler.resolver. It panics when the name is empty or
// taken, as [Handlers.Add] does.
func (h *Handlers) AddResolver(name string, r Resolver) {
	if name == "" || slices.Contains(h.resolverNames(), name) {
		panic(fmt.Sprintf("tasker: resolver %q has no name, or one that is taken", name))
	}
	h.resolvers = append(h.resolvers, namedResolver{name, r})
}

// Resolve finds the handler that a step of a template means by the keys callable,
// method and resolver of its handler, of which the last two may be empty. The
// error says what is there instead.
func (h *Handlers) Resolve(callable, method, resolver string) (Handler, error) {
	if resolver != "" && !slices.Contains(h.resolverNames(), resolver) {
		return nil, fmt.Errorf("no resolver %q in this worker; it has %q", resolver, h.resolverNames())
	}
	if resolver == "" || resolver == Explicit {
		if handler, ok := h.byName[callable]; ok {
			return entryPoint(handler, callable, method)
		}
	}
	for _, r := range h.resolvers {
		if resolver != "" && resolver != r.name {
			continue
		}
		if handler, ok, err := r.ask(callable, method); ok || err != nil {
			return handler, err
		}
	}
	if len(h.resolvers) == 0 {
		return nil, fmt.Errorf("no handler %q in this worker; it has %q", callable, h.Names())
	}
	return nil, fmt.Errorf("no handler %q (method %q, resolver %q) in this worker; it has %q and the resolvers %q",
		callable, method, resolver, h.Names(), h.resolverNames())
}

// entryPoint returns the entry point of a handler that method selects.
func entryPoint(handler Handler, callable, method string) (Handler, error) {
	var methods map[string]HandlerFunc
	if m, ok := handler.(MethodHandler); ok {
		methods = m.Methods()
	}
	if run, ok := methods[method]; ok {
		return run, nil
	}
	if method == "" || method == usualMethod {
		return handler, nil
	}
	return nil, fmt.Errorf("handler %q has no method %q; it has %q", callable, method,
		slices.Sorted(maps.Keys(methods)))
}

// resolverNames are the names of the resolvers in the order they are asked.
func (h *Handlers) resolverNames() []string {
	names := []string{Explicit}
	for _, r := range h.resolvers {
		names = append(names, r.name)
	}
	return names
}
