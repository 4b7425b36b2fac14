// Package demo holds the example workflows that `tasker-cli demo`, the bench
// and the end-to-end tests run: templates, their handlers, and what each step
// must return. It runs nothing itself.
//
// Start reading at workflows.go.
package demo

import (
	"embed"
	"io/fs"

	tasker "github.com/tasker-systems/tasker-go"
)

// The namespaces of the templates.
const (
	Namespace      = "demo"
	BenchNamespace = "bench"
)

//go:embed templates/*.yaml
var files embed.FS

// Templates returns the templates of all workflows, *.yaml in its root.
func Templates() fs.FS {
	root, err := fs.Sub(files, "templates")
	if err != nil {
		panic("demo: " + err.Error()) // only for a path that is not valid
	}
	return root
}

// Handlers returns the handlers that the templates call.
func Handlers() *tasker.Handlers {
	h := tasker.NewHandlers()
	tasker.Handle(h, "multiply", power(1))
	tasker.Handle(h, "square", power(2))
	tasker.Handle(h, "cube", power(3))
	tasker.Handle(h, "validate_order", validateOrder)
	tasker.Handle(h, "reserve_items", reserveItems)
	tasker.Handle(h, "take_payment", takePayment)
	tasker.Handle(h, "ship_order", shipOrder)
	h.Add("ok", tasker.HandlerFunc(ok))
	return h
}
