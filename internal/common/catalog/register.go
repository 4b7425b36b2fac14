package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// A ChangedError names the templates whose definitions differ from what is
// registered under the same version.
type ChangedError struct {
	Templates []postgres.TemplateName
}

// Error names them all, a line each.
func (e *ChangedError) Error() string {
	lines := make([]string, len(e.Templates))
	for i, n := range e.Templates {
		lines[i] = fmt.Sprintf("template %s/%s has changed and still has version %s; give it a new version, or replace it on purpose "+
			"(tasker-cli template register --replace, worker.WithChangedTemplates)", n.Namespace, n.Name, n.Version)
	}
	return strings.Join(lines, "\n")
}

// UseRetries has what this catalog registers from now on say how often a step is
// tried again whose template does not say (worker.system.step_processing.max_retries):
// new tasks everywhere go by it, until somebody else registers the same definition
// with another number. It must not be called while templates are registered.
func (c *Catalog) UseRetries(n int) {
	retries := int32(n) //nolint:gosec // 0 to 100 by its range
	c.retries = &retries
}

// Register stores the definitions that the database lacks and creates the
// queues of their namespaces. A definition that changed under an unchanged
// version is refused with a [*ChangedError], and with it all others of the call:
// who creates tasks of a version counts on what it is. In the environments
// development and test it is taken as by [Catalog.Replace], since templates are
// written there.
func (c *Catalog) Register(ctx context.Context, all []*templates.Template) error {
	return c.register(ctx, all, c.environment != config.Production)
}

// Replace is [Catalog.Register] where a definition that changed under an
// unchanged version becomes the one that new tasks get. Tasks that exist keep
// the one they were created with.
func (c *Catalog) Replace(ctx context.Context, all []*templates.Template) error {
	return c.register(ctx, all, true)
}

func (c *Catalog) register(ctx context.Context, all []*templates.Template, replace bool) error { //nolint:revive // Register and Replace are its two forms
	if len(all) == 0 {
		return nil
	}
	stored := make([]postgres.StoredTemplate, len(all))
	var queues []string
	for i, t := range all {
		definition, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("encode template %s: %w", t.Name, err)
		}
		queue, err := c.names.Steps(t.Namespace)
		if err != nil {
			return err
		}
		queues = append(queues, queue)
		stored[i] = postgres.StoredTemplate{
			ID: uuid.Must(uuid.NewV7()), Namespace: t.Namespace, Name: t.Name, Version: t.Version,
			Digest: t.Digest(), Definition: definition,
		}
	}
	if err := c.createEventQueues(ctx, all); err != nil {
		return err
	}
	slices.Sort(queues)
	if err := postgres.CreateQueues(ctx, c.db, slices.Compact(queues)); err != nil {
		return err
	}
	changed, err := postgres.RegisterTemplates(ctx, c.db, stored, c.retries, replace)
	if err != nil {
		return err
	}
	if len(changed) > 0 && !replace {
		return &ChangedError{changed}
	}
	return nil
}

// createEventQueues creates the queues of durable events, where there are any.
func (c *Catalog) createEventQueues(ctx context.Context, all []*templates.Template) error {
	var queues []string
	for _, t := range all {
		if t.HasDurableEvents() {
			queues = append(queues, c.names.Events(t.Namespace))
		}
	}
	if queues == nil {
		return nil
	}
	slices.Sort(queues)
	return postgres.CreateEventQueues(ctx, c.db, slices.Compact(queues))
}
