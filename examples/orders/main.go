// The orders command is a worker as a user of Tasker would write it: handlers
// in handlers.go, a template in templates/, and this file to put them together.
package main

import (
	"embed"
	"io/fs"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/worker"
)

//go:embed templates/*.yaml
var files embed.FS

func main() {
	worker.Main(handlers(shop{gateway: sandbox{}}), worker.WithTemplates(templates()))
}

// handlers names the handlers as the template does.
func handlers(s shop) *tasker.Handlers {
	h := tasker.NewHandlers()
	tasker.Handle(h, "check_order", s.check)
	tasker.Handle(h, "reserve_stock", s.reserve)
	tasker.Handle(h, "charge_card", s.charge)
	tasker.Handle(h, "ship_order", s.ship)
	return h
}

func templates() fs.FS {
	root, err := fs.Sub(files, "templates")
	if err != nil {
		panic(err) // only for a path that is not valid
	}
	return root
}
