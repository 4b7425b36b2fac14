// Package describe tells of templates in the words of the HTTP APIs, for both
// roles.
package describe

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// A TemplateName says which template is meant.
type TemplateName struct {
	Namespace string `json:"namespace"`
	Template  string `json:"name"`
	Version   string `json:"version"`
}

// NameOf returns the name of what is stored.
func NameOf(t *postgres.StoredTemplate) TemplateName {
	return TemplateName{Namespace: t.Namespace, Template: t.Name, Version: t.Version}
}

// A TemplateStep is what a template says of a step, in short.
type TemplateStep struct {
	Name         string   `json:"name"`
	Type         string   `json:"type"`
	Handler      string   `json:"handler,omitempty" doc:"Its callable"`
	Dependencies []string `json:"dependencies" nullable:"false"`
	MaxAttempts  int      `json:"max_attempts"`
}

// A Template is all there is to say about a version of a template.
type Template struct {
	TemplateName

	Description  string         `json:"description,omitempty"`
	Digest       string         `json:"digest"`
	RegisteredAt time.Time      `json:"registered_at"`
	Steps        []TemplateStep `json:"steps" nullable:"false" doc:"As they are in this environment"`
	Definition   web.Object     `json:"definition" doc:"As it was registered"`
}

// Read returns the template of a name, with the catalog's entry of it. It wraps
// [catalog.ErrUnknownTemplate].
func Read(ctx context.Context, db postgres.DB, c *catalog.Catalog, name postgres.TemplateName) (*catalog.Entry, Template, error) {
	entries, err := c.Resolve(ctx, []postgres.TemplateName{name})
	if err != nil {
		return nil, Template{}, err
	}
	stored, err := postgres.ReadTemplates(ctx, db, []uuid.UUID{entries[0].ID})
	if err != nil {
		return nil, Template{}, err
	}
	if len(stored) == 0 { // it was removed meanwhile
		return nil, Template{}, fmt.Errorf("%w %s", catalog.ErrUnknownTemplate, name)
	}
	t := entries[0].Template
	return entries[0], Template{
		TemplateName: NameOf(&stored[0]), Description: t.Description, Digest: stored[0].Digest, RegisteredAt: stored[0].RegisteredAt,
		Steps: stepsOf(entries[0]), Definition: web.Object{RawMessage: stored[0].Definition},
	}, nil
}

func stepsOf(e *catalog.Entry) []TemplateStep {
	steps := make([]TemplateStep, len(e.Steps))
	for i := range e.Steps {
		s := &e.Template.Steps[i]
		steps[i] = TemplateStep{
			Name: s.Name, Type: string(s.Type), Handler: s.Handler.Callable, Dependencies: append([]string{}, s.Dependencies...),
			MaxAttempts: int(e.Steps[i].MaxAttempts),
		}
	}
	return steps
}
