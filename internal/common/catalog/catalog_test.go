package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
	"github.com/tasker-systems/tasker-go/internal/testdb"
	"github.com/tasker-systems/tasker-go/taskertest"
)

func openPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func newCatalog(db postgres.DB, environment config.Environment) *catalog.Catalog {
	names := messaging.NewNames(config.Queues{WorkerNamespace: "worker", NamingPattern: "{namespace}_{name}_queue"})
	return catalog.New(db, names, environment, config.TaskTemplates{CacheEnabled: true, ReloadInterval: 300})
}

func load(t *testing.T, documents ...string) []*templates.Template {
	t.Helper()
	all, err := templates.LoadFS(taskertest.YAML(documents...))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// pay is a template of three steps; text tells definitions apart.
func pay(version, text string) string {
	return `
name: pay
namespace: shop
version: ` + version + `
description: ` + text + `
steps:
  - {name: charge, handler: {callable: charge, initialization: {gateway: slow}}, retry: {max_attempts: 7}}
  - {name: mail, handler: {callable: mail}, dependencies: [charge], retry: {retryable: false}}
  - {name: book, handler: {callable: book}, dependencies: [charge, mail]}
environments:
  test:
    steps: [{name: charge, handler: {initialization: {gateway: fast}}}]`
}

func named(version string) []postgres.TemplateName {
	return []postgres.TemplateName{{Namespace: "shop", Name: "pay", Version: version}}
}

func resolve(t *testing.T, c *catalog.Catalog, version string) *catalog.Entry {
	t.Helper()
	entries, err := c.Resolve(t.Context(), named(version))
	if err != nil {
		t.Fatal(err)
	}
	return entries[0]
}

func TestEntry(t *testing.T) {
	t.Parallel()
	c := newCatalog(openPool(t), config.Test)
	if err := c.Register(t.Context(), load(t, pay("1.0.0", "first"))); err != nil {
		t.Fatal(err)
	}
	e := resolve(t, c, "")
	want := []postgres.NewStep{
		{Name: "charge", Dependents: []int32{2, 3}, MaxAttempts: 7},
		{Name: "mail", DependsOn: []int32{1}, Dependents: []int32{3}, MaxAttempts: 1},
		{Name: "book", DependsOn: []int32{1, 2}, MaxAttempts: 4},
	}
	for i, got := range e.Steps {
		if got.Name != want[i].Name || got.MaxAttempts != want[i].MaxAttempts ||
			!slices.Equal(got.DependsOn, want[i].DependsOn) || !slices.Equal(got.Dependents, want[i].Dependents) {
			t.Errorf("step %d is %+v, want %+v", i, got, want[i])
		}
	}
	if e.Queue != "worker_shop_queue" || string(e.Configs[0]) != `{"gateway":"fast"}` || e.Configs[1] != nil {
		t.Errorf("queue %s, configs %s", e.Queue, e.Configs)
	}
	if s, i, ok := e.Step("book"); !ok || i != 2 || s.Name != "book" {
		t.Errorf("step book is %v at %d, %t", s, i, ok)
	}
	if _, _, ok := e.Step("none"); ok {
		t.Error("found a step that does not exist")
	}
	again, err := c.Entry(t.Context(), e.ID)
	if again != e || err != nil {
		t.Errorf("by id: %v, %v", again, err)
	}
}

// TestVersions: the highest version is meant unless one is named; versions count
// by their numbers.
func TestVersions(t *testing.T) {
	t.Parallel()
	c := newCatalog(openPool(t), config.Test)
	if err := c.Register(t.Context(), nil); err != nil {
		t.Errorf("nothing to register: %v", err)
	}
	if err := c.Register(t.Context(), load(t, pay("1.9.0", "a"), pay("1.10.0", "b"), pay("0.20.0", "c"))); err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]string{"": "b", "1.9.0": "a", "0.20.0": "c"} {
		if got := resolve(t, c, asked).Template.Description; got != want {
			t.Errorf("version %q is %q, want %q", asked, got, want)
		}
	}
	_, err := c.Resolve(t.Context(), append(named("2.0.0"), named("3.0.0")...))
	if !errors.Is(err, catalog.ErrUnknownTemplate) || !strings.Contains(err.Error(), "shop/pay/2.0.0") || !strings.Contains(err.Error(), "shop/pay/3.0.0") {
		t.Errorf("unknown versions gave %v", err)
	}
	if _, err := c.Entry(t.Context(), uuid.New()); !errors.Is(err, postgres.ErrNotFound) {
		t.Errorf("an unknown id gave %v", err)
	}
}

// TestChanges: what changed under an unchanged version is what new tasks get, and
// going back works as well. Old definitions stay.
func TestChanges(t *testing.T) {
	t.Parallel()
	pool := openPool(t)
	c := newCatalog(pool, config.Test)
	ids := map[string]uuid.UUID{}
	for _, text := range []string{"first", "second", "first", "first", "second"} {
		if err := c.Register(t.Context(), load(t, pay("1.0.0", text))); err != nil {
			t.Fatal(err)
		}
		e := resolve(t, c, "1.0.0")
		if e.Template.Description != text {
			t.Errorf("registered %q, resolved %q", text, e.Template.Description)
		}
		if before, seen := ids[text]; seen && before != e.ID {
			t.Errorf("%q has two ids", text)
		}
		ids[text] = e.ID
	}
	for text, id := range ids {
		if e, err := newCatalog(pool, config.Test).Entry(t.Context(), id); err != nil || e.Template.Description != text {
			t.Errorf("definition %q reads %v, %v", text, e, err)
		}
	}
}

// TestProductionRefusesChanges, all of them at once and going back too, unless
// it is told to replace.
func TestProductionRefusesChanges(t *testing.T) {
	t.Parallel()
	c := newCatalog(openPool(t), config.Production)
	before := load(t, pay("1.0.0", "a"), pay("1.1.0", "a"))
	for range 2 { // the same again is no change
		if err := c.Register(t.Context(), before); err != nil {
			t.Fatal(err)
		}
	}
	after := load(t, pay("1.0.0", "b"), pay("1.1.0", "b"), pay("1.2.0", "b"))
	err := c.Register(t.Context(), after)
	changed, ok := errors.AsType[*catalog.ChangedError](err)
	if !ok || !slices.Equal(changed.Templates, append(named("1.0.0"), named("1.1.0")...)) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"template shop/pay has changed and still has version 1.0.0; give it a new version", "version 1.1.0;", "--replace"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := c.Resolve(t.Context(), named("1.2.0")); !errors.Is(err, catalog.ErrUnknownTemplate) {
		t.Errorf("one of the refused was registered: %v", err)
	}
	if err := c.Register(t.Context(), load(t, pay("1.2.0", "b"))); err != nil {
		t.Errorf("a new version: %v", err)
	}
	if err := c.Replace(t.Context(), after); err != nil || resolve(t, c, "1.0.0").Template.Description != "b" {
		t.Errorf("replaced on purpose: %v, %q", err, resolve(t, c, "1.0.0").Template.Description)
	}
	if err := c.Register(t.Context(), before); err == nil || resolve(t, c, "1.0.0").Template.Description != "b" {
		t.Errorf("went back without a word: %v", err)
	}
}

// TestProductionRefusesOneOfTwo: workers that start together with definitions
// that differ do not both get theirs.
func TestProductionRefusesOneOfTwo(t *testing.T) {
	t.Parallel()
	pool := openPool(t)
	results := make([]error, 8)
	var g errgroup.Group
	for i := range results {
		all := load(t, pay("1.0.0", fmt.Sprintf("text %d", i)))
		g.Go(func() error { results[i] = newCatalog(pool, config.Production).Register(t.Context(), all); return nil })
	}
	_ = g.Wait() // what went wrong is in results
	registered := 0
	for _, err := range results {
		if _, changed := errors.AsType[*catalog.ChangedError](err); err == nil {
			registered++
		} else if !changed {
			t.Error(err)
		}
	}
	if registered != 1 {
		t.Errorf("%d of the definitions were registered", registered)
	}
}

// TestRegisterAtOnce: workers that start together register the same templates.
func TestRegisterAtOnce(t *testing.T) {
	t.Parallel()
	pool := openPool(t)
	all := load(t, pay("1.0.0", "a"), pay("2.0.0", "a"), strings.Replace(pay("1.0.0", "a"), "shop", "office", 1))
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { return newCatalog(pool, config.Test).Register(t.Context(), all) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	stored, err := postgres.ListTemplates(t.Context(), pool)
	if len(stored) != len(all) || err != nil {
		t.Errorf("%d templates, want %d (%v)", len(stored), len(all), err)
	}
}

// A counter counts the queries that reach the database.
type counter struct {
	postgres.DB

	queries atomic.Int32
}

func (c *counter) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	c.queries.Add(1)
	return c.DB.Query(ctx, sql, args...)
}

// TestEntryAsksOnce: the steps of a first batch all need one definition.
func TestEntryAsksOnce(t *testing.T) {
	t.Parallel()
	pool := openPool(t)
	if err := newCatalog(pool, config.Test).Register(t.Context(), load(t, pay("1.0.0", "a"))); err != nil {
		t.Fatal(err)
	}
	id := resolve(t, newCatalog(pool, config.Test), "").ID
	counted := &counter{DB: pool}
	c := newCatalog(counted, config.Test)
	var g errgroup.Group
	for range 100 {
		g.Go(func() error { _, err := c.Entry(t.Context(), id); return err })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := counted.queries.Load(); n != 1 {
		t.Errorf("%d queries, want 1", n)
	}
}
