package events

import (
	"encoding/json"
	"slices"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// schemaKey names an event of a definition. Definitions never change, so what
// was compiled of one stays good.
type schemaKey struct {
	template    uuid.UUID
	step, event int
}

// valid returns how the payload breaks the schema of the event, as
// [templates.Violations]; nil when there is no schema.
func (r *Router) valid(entry *catalog.Entry, key schemaKey, payload json.RawMessage) error {
	source := schemaOf(entry.Template, &entry.Template.Steps[key.step].PublishesEvents[key.event])
	if len(source) == 0 {
		return nil
	}
	known, ok := r.schemas.Load(key)
	if !ok {
		compiled, err := templates.CompileSchema(source)
		if err != nil {
			return err
		}
		known, _ = r.schemas.LoadOrStore(key, compiled)
	}
	schema, _ := known.(*templates.Schema) // it holds nothing else
	if broken := schema.Check(payload); len(broken) > 0 {
		return broken
	}
	return nil
}

// schemaOf is the schema of an event: its own, or that under which the template
// declares the name.
func schemaOf(t *templates.Template, e *templates.PublishedEvent) templates.Object {
	if len(e.Schema) > 0 {
		return e.Schema
	}
	i := slices.IndexFunc(t.DomainEvents, func(d templates.DomainEvent) bool { return d.Name == e.Name })
	if i < 0 {
		return nil
	}
	return t.DomainEvents[i].Schema
}
