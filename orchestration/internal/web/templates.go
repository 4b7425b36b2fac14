package web

import (
	"context"
	"fmt"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/describe"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

type templatesOutput struct {
	Body struct {
		Templates []describe.TemplateName `json:"templates" nullable:"false"`
	}
}

// listTemplates answers with the names of all templates.
func (s *service) listTemplates(ctx context.Context, _ *struct{}) (*templatesOutput, error) {
	stored, err := postgres.ListTemplates(ctx, s.DB)
	if err != nil {
		return nil, err
	}
	out := &templatesOutput{}
	out.Body.Templates = make([]describe.TemplateName, len(stored))
	for i := range stored {
		out.Body.Templates[i] = describe.NameOf(&stored[i])
	}
	return out, nil
}

type versionsInput struct {
	Namespace string `path:"namespace" maxLength:"255"`
	Name      string `path:"name" maxLength:"255"`
}

// A TemplateVersion is one of the versions of a template.
type TemplateVersion struct {
	Version      string    `json:"version"`
	Digest       string    `json:"digest" doc:"Of its definition"`
	RegisteredAt time.Time `json:"registered_at"`
	Current      bool      `json:"current" doc:"It is what a request that names no version gets"`
}

type versionsOutput struct {
	Body struct {
		Versions []TemplateVersion `json:"versions" nullable:"false"`
	}
}

// listVersions answers with the versions of a template.
func (s *service) listVersions(ctx context.Context, in *versionsInput) (*versionsOutput, error) {
	name := postgres.TemplateName{Namespace: in.Namespace, Name: in.Name}
	stored, err := postgres.ListVersions(ctx, s.DB, name)
	if err != nil {
		return nil, err
	}
	if len(stored) == 0 {
		return nil, fmt.Errorf("%w %s", catalog.ErrUnknownTemplate, name)
	}
	out := &versionsOutput{}
	out.Body.Versions = make([]TemplateVersion, len(stored))
	for i, t := range stored { // the highest first
		out.Body.Versions[i] = TemplateVersion{Version: t.Version, Digest: t.Digest, RegisteredAt: t.RegisteredAt, Current: i == 0}
	}
	return out, nil
}

type templateInput struct {
	Namespace string `path:"namespace" maxLength:"255"`
	Name      string `path:"name" maxLength:"255"`
	Version   string `path:"version" maxLength:"16"`
}

type templateOutput struct {
	Body describe.Template
}

// readTemplate answers with a version of a template.
func (s *service) readTemplate(ctx context.Context, in *templateInput) (*templateOutput, error) {
	_, found, err := describe.Read(ctx, s.DB, s.Catalog, postgres.TemplateName{Namespace: in.Namespace, Name: in.Name, Version: in.Version})
	if err != nil {
		return nil, err
	}
	return &templateOutput{Body: found}, nil
}

// A HandlerUse is a step that a handler runs.
type HandlerUse struct {
	describe.TemplateName

	Callable string `json:"callable" doc:"The name of the handler"`
	Step     string `json:"step"`
}

type handlersInput struct {
	Namespace string `query:"namespace" maxLength:"255"`
}

type handlersOutput struct {
	Body struct {
		Handlers []HandlerUse `json:"handlers" nullable:"false"`
	}
}

// listHandlers answers with the handlers that templates name.
func (s *service) listHandlers(ctx context.Context, in *handlersInput) (*handlersOutput, error) {
	stored, err := postgres.ListTemplates(ctx, s.DB)
	if err != nil {
		return nil, err
	}
	out := &handlersOutput{}
	out.Body.Handlers = []HandlerUse{}
	for i := range stored {
		st := &stored[i]
		if in.Namespace != "" && in.Namespace != st.Namespace {
			continue
		}
		t, err := templates.Decode(st.Definition)
		if err != nil {
			return nil, fmt.Errorf("template %s/%s/%s in the database: %w", st.Namespace, st.Name, st.Version, err)
		}
		for _, step := range t.Steps {
			if callable := step.Handler.Callable; callable != "" {
				out.Body.Handlers = append(out.Body.Handlers, HandlerUse{
					TemplateName: describe.NameOf(st), Callable: callable, Step: step.Name,
				})
			}
		}
	}
	return out, nil
}
