package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A StoredTemplate is a registered definition.
type StoredTemplate struct {
	ID           uuid.UUID
	Namespace    string
	Name         string
	Version      string
	Digest       string
	Definition   json.RawMessage
	RegisteredAt time.Time
	Retries      *int32 // of steps whose definition does not say; nil: whoever registered it did not either
}

const templateColumns = `template_id, namespace, name, version, digest, definition, registered_at, default_retries`

// Registrations come one after the other, so that of two that differ one sees
// the other.
const registerTurnSQL = `select pg_advisory_xact_lock(hashtext('tasker.templates'))`

// Of each version there is a current definition, the newest. Where it is not the
// one given, the template has changed: unless that is allowed ($7), nothing is
// stored. A definition that is there already keeps its id; registering it again
// makes it the newest again, so that going back to an older text works. What it
// says about retries ($8) is what whoever says so last says.
const registerTemplatesSQL = `
	with given as (
		select *
		from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
			r (template_id, namespace, name, version, digest, definition)
	), changed as (
		select g.namespace, g.name, g.version
		from given g
		join lateral (
			select t.digest
			from tasker.templates t
			where t.namespace = g.namespace and t.name = g.name and t.version = g.version
			order by t.registered_at desc
			limit 1
		) newest on newest.digest <> g.digest
	), stored as (
		insert into tasker.templates as t (template_id, namespace, name, version, digest, definition, default_retries)
		select template_id, namespace, name, version, digest, definition::jsonb, $8
		from given
		where $7 or not exists (select from changed)
		on conflict (namespace, name, version, digest) do update
		set registered_at = case
				when (t.namespace, t.name, t.version) in (select namespace, name, version from changed) then clock_timestamp()
				else t.registered_at
			end,
			default_retries = coalesce(excluded.default_retries, t.default_retries)
		where (excluded.namespace, excluded.name, excluded.version) in (select namespace, name, version from changed)
		or excluded.default_retries <> coalesce(t.default_retries, -1)
	)
	select namespace, name, version
	from changed
	order by namespace, name, version`

// RegisterTemplates stores definitions; one that is stored already stays as it
// is, but for the retries of steps that do not say, which are those given unless
// nil. IDs must be new. It returns the names, with versions, of those that differ
// from the current definition of their version: unless replace is set, nothing
// is stored when there are any.
func RegisterTemplates(ctx context.Context, db DB, templates []StoredTemplate, retries *int32, replace bool) ([]TemplateName, error) {
	n := len(templates)
	ids := make([]uuid.UUID, n)
	namespaces, names, versions := make([]string, n), make([]string, n), make([]string, n)
	digests, definitions := make([]string, n), make([]string, n)
	for i, t := range templates {
		ids[i], namespaces[i], names[i], versions[i] = t.ID, t.Namespace, t.Name, t.Version
		digests[i], definitions[i] = t.Digest, string(t.Definition)
	}
	var changed []TemplateName
	b := &pgx.Batch{}
	b.Queue(registerTurnSQL)
	b.Queue(registerTemplatesSQL, ids, namespaces, names, versions, digests, definitions, replace, retries).Query(func(rows pgx.Rows) (err error) {
		changed, err = pgx.CollectRows(rows, pgx.RowToStructByPos[TemplateName])
		return err
	})
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("register templates: %w", err)
	}
	return changed, nil
}

// The newest definition of each version.
const listTemplatesSQL = `
	select distinct on (namespace, name, version) ` + templateColumns + `
	from tasker.templates
	order by namespace, name, version, registered_at desc`

// ListTemplates returns the current definition of every version of every
// template, by namespace, name and version.
func ListTemplates(ctx context.Context, db DB) ([]StoredTemplate, error) {
	rows, _ := db.Query(ctx, listTemplatesSQL)
	return collectTemplates(rows, "list templates")
}

// The newest definition of each version of one template.
const listVersionsSQL = `
	select ` + templateColumns + `
	from (
		select distinct on (version) ` + templateColumns + `
		from tasker.templates
		where namespace = $1 and name = $2
		order by version, registered_at desc
	) t
	order by string_to_array(substring(version from '^[0-9.]+'), '.')::int[] desc, registered_at desc`

// ListVersions returns the current definition of every version of a template,
// the highest version first.
func ListVersions(ctx context.Context, db DB, name TemplateName) ([]StoredTemplate, error) {
	rows, _ := db.Query(ctx, listVersionsSQL, name.Namespace, name.Name)
	return collectTemplates(rows, "list the versions of template "+name.String())
}

// The current definition of a template: of the named version, or of the highest
// version when none is named.
const findTemplateSQL = `
	select template_id
	from tasker.templates
	where namespace = $1 and name = $2 and ($3 = '' or version = $3)
	order by string_to_array(substring(version from '^[0-9.]+'), '.')::int[] desc, registered_at desc
	limit 1`

// FindTemplates looks up the current definition of each of the three-part
// names; uuid.Nil stands for one that does not exist. An empty version means
// the highest.
func FindTemplates(ctx context.Context, db DB, names []TemplateName) ([]uuid.UUID, error) {
	b := &pgx.Batch{}
	ids := make([]uuid.UUID, len(names))
	for i, n := range names {
		b.Queue(findTemplateSQL, n.Namespace, n.Name, n.Version).QueryRow(func(row pgx.Row) error {
			if err := row.Scan(&ids[i]); !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			return nil
		})
	}
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("look up templates: %w", err)
	}
	return ids, nil
}

// TemplateName names a template; an empty Version means the highest.
type TemplateName struct{ Namespace, Name, Version string }

// String is namespace/name or namespace/name/version.
func (n TemplateName) String() string {
	if n.Version == "" {
		return n.Namespace + "/" + n.Name
	}
	return n.Namespace + "/" + n.Name + "/" + n.Version
}

const readTemplatesSQL = `select ` + templateColumns + ` from tasker.templates where template_id = any ($1)`

// ReadTemplates returns the definitions with the given ids, in no order.
func ReadTemplates(ctx context.Context, db DB, ids []uuid.UUID) ([]StoredTemplate, error) {
	rows, _ := db.Query(ctx, readTemplatesSQL, ids)
	return collectTemplates(rows, "read templates")
}

func collectTemplates(rows pgx.Rows, doing string) ([]StoredTemplate, error) {
	templates, err := pgx.CollectRows(rows, pgx.RowToStructByPos[StoredTemplate])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return templates, nil
}

const namespacesSQL = `select distinct namespace from tasker.templates order by namespace`

// Namespaces lists the namespaces that have templates.
func Namespaces(ctx context.Context, db DB) ([]string, error) {
	rows, _ := db.Query(ctx, namespacesSQL)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	return names, nil
}
