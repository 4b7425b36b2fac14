package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// register registers templates as the role is allowed to.
func (role *Role) register(ctx context.Context, c *catalog.Catalog, all []*templates.Template) error {
	if role.Replace {
		return c.Replace(ctx, all)
	}
	return c.Register(ctx, all)
}

// A reloader registers the templates that change while the worker runs. One
// that has problems, or may not change, is reported and leaves what is registered
// as it is.
type reloader struct {
	role    Role
	catalog *catalog.Catalog
	log     *slog.Logger

	// registered holds the digests of what this worker registered last. What did
	// not change here is not registered again: another worker may have registered
	// something newer since.
	registered map[postgres.TemplateName]string
	reported   string // the problems that the log has already
}

// digestsOf returns the digests of templates by name and version.
func digestsOf(all []*templates.Template) map[postgres.TemplateName]string {
	digests := make(map[postgres.TemplateName]string, len(all))
	for _, t := range all {
		digests[nameOf(t)] = t.Digest()
	}
	return digests
}

func nameOf(t *templates.Template) postgres.TemplateName {
	return postgres.TemplateName{Namespace: t.Namespace, Name: t.Name, Version: t.Version}
}

// run looks for changes each interval until ctx ends, and hands what it has
// registered to serve.
func (l *reloader) run(ctx context.Context, interval time.Duration, serve func([]*templates.Template)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if fresh := l.look(ctx); len(fresh) > 0 {
			serve(fresh)
		}
	}
}

// look registers what has changed and returns it.
func (l *reloader) look(ctx context.Context) []*templates.Template {
	loaded, problems := l.role.Reload()
	fresh := slices.DeleteFunc(loaded, func(t *templates.Template) bool { return l.registered[nameOf(t)] == t.Digest() })
	err := l.role.register(ctx, l.catalog, fresh)
	if changed, ok := errors.AsType[*catalog.ChangedError](err); ok {
		problems = errors.Join(problems, changed)
		fresh = slices.DeleteFunc(fresh, func(t *templates.Template) bool { return slices.Contains(changed.Templates, nameOf(t)) })
		err = l.role.register(ctx, l.catalog, fresh)
	}
	if err != nil {
		if ctx.Err() == nil {
			l.log.WarnContext(ctx, "changed templates not registered; trying again", "error", err)
		}
		return nil
	}
	l.report(ctx, problems)
	for _, t := range fresh {
		l.registered[nameOf(t)] = t.Digest()
		l.log.InfoContext(ctx, "template reloaded", "template", nameOf(t).String())
	}
	return fresh
}

// report logs problems, once until they change.
func (l *reloader) report(ctx context.Context, problems error) {
	text := ""
	if problems != nil {
		text = problems.Error()
	}
	if text == l.reported {
		return
	}
	l.reported = text
	if problems == nil {
		l.log.InfoContext(ctx, "all templates are in order again")
		return
	}
	l.log.ErrorContext(ctx, "templates with problems are left out; those registered before stay", "error", problems)
}
