// Package catalog keeps task templates: it registers them in the database and
// hands out the definitions that tasks run by.
package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// ErrUnknownTemplate says that no template of a name is registered.
var ErrUnknownTemplate = errors.New("unknown template")

// An Entry is a registered definition, ready for the engine. It is read-only.
type Entry struct {
	ID       uuid.UUID
	Template *templates.Template               // as it is in this environment
	Queue    string                            // of its namespace
	Steps    []postgres.NewStep                // by their place in the template
	Initial  []postgres.NewStep                // what a new task gets; the rest comes with results
	Configs  []json.RawMessage                 // handler.initialization, by step
	Graph    *templates.Graph                  // of the template
	input    func() (*templates.Schema, error) // of input_schema, compiled once; nil allows all
}

// CheckInput returns how the context of a task breaks the template's
// input_schema, nothing when it does not. The error says that the schema itself
// is no schema: an older program stored it, which did not look.
func (e *Entry) CheckInput(input json.RawMessage) (templates.Violations, error) {
	schema, err := e.input()
	if schema == nil || err != nil {
		return nil, err
	}
	return schema.Check(input), nil
}

// Step returns the definition of the step with the given name and its place.
func (e *Entry) Step(name string) (*templates.Step, int, bool) {
	i, ok := e.Graph.Ordinal(name)
	if !ok {
		return nil, 0, false
	}
	return &e.Template.Steps[i], i, true
}

// Catalog finds definitions by name and by id. Definitions never change, so
// those it has seen stay in memory. It is safe for concurrent use.
type Catalog struct {
	db          postgres.DB
	names       messaging.Names
	environment config.Environment

	loading sync.Mutex // held while reading from the database
	mu      sync.RWMutex
	byID    map[uuid.UUID]*Entry
}

// New returns a catalog over db for processes of the given environment.
func New(db postgres.DB, names messaging.Names, environment config.Environment) *Catalog {
	return &Catalog{db: db, names: names, environment: environment, byID: map[uuid.UUID]*Entry{}}
}

// Register stores the definitions that the database lacks and creates the
// queues of their namespaces. A definition that changed under an unchanged
// version becomes the one that new tasks get, while running tasks keep theirs.
// In production that is refused: there a change needs a new version.
func (c *Catalog) Register(ctx context.Context, all []*templates.Template) error {
	if len(all) == 0 {
		return nil
	}
	if err := c.refuseChanges(ctx, all); err != nil {
		return err
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
	return postgres.RegisterTemplates(ctx, c.db, stored)
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

func (c *Catalog) refuseChanges(ctx context.Context, all []*templates.Template) error {
	if c.environment != config.Production {
		return nil
	}
	current, err := postgres.ListTemplates(ctx, c.db)
	if err != nil {
		return err
	}
	var refused []error
	for _, t := range all {
		i := slices.IndexFunc(current, func(s postgres.StoredTemplate) bool {
			return s.Namespace == t.Namespace && s.Name == t.Name && s.Version == t.Version
		})
		if i >= 0 && current[i].Digest != t.Digest() {
			refused = append(refused, fmt.Errorf("template %s/%s has changed and still has version %s; give it a new version",
				t.Namespace, t.Name, t.Version))
		}
	}
	return errors.Join(refused...)
}

// Resolve returns the current definition of each name. It wraps
// [ErrUnknownTemplate] and names every name that has none.
func (c *Catalog) Resolve(ctx context.Context, names []postgres.TemplateName) ([]*Entry, error) {
	ids, err := postgres.FindTemplates(ctx, c.db, names)
	if err != nil {
		return nil, err
	}
	var unknown []error
	for i, id := range ids {
		if id == uuid.Nil {
			unknown = append(unknown, fmt.Errorf("%w %s; is a worker that registers it running?", ErrUnknownTemplate, names[i]))
		}
	}
	if len(unknown) > 0 {
		return nil, errors.Join(unknown...)
	}
	return c.Entries(ctx, ids)
}

// Entries returns the definitions with the given ids, in that order.
func (c *Catalog) Entries(ctx context.Context, ids []uuid.UUID) ([]*Entry, error) {
	if err := c.loadMissing(ctx, ids); err != nil {
		return nil, err
	}
	entries := make([]*Entry, len(ids))
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i, id := range ids {
		entries[i] = c.byID[id]
		if entries[i] == nil {
			return nil, fmt.Errorf("template %s: %w", id, postgres.ErrNotFound)
		}
	}
	return entries, nil
}

// Cached returns the definition with the given id if it is in memory, else nil.
func (c *Catalog) Cached(id uuid.UUID) *Entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id]
}

// Entry returns the definition with the given id.
func (c *Catalog) Entry(ctx context.Context, id uuid.UUID) (*Entry, error) {
	if entry := c.Cached(id); entry != nil {
		return entry, nil
	}
	entries, err := c.Entries(ctx, []uuid.UUID{id})
	if err != nil {
		return nil, err
	}
	return entries[0], nil
}

// loadMissing loads the definitions that are not in memory. Of many that need the
// same one, as the steps of a first batch do, one asks the database.
func (c *Catalog) loadMissing(ctx context.Context, ids []uuid.UUID) error {
	if len(c.missing(ids)) == 0 {
		return nil
	}
	c.loading.Lock()
	defer c.loading.Unlock()
	return c.load(ctx, c.missing(ids))
}

func (c *Catalog) missing(ids []uuid.UUID) []uuid.UUID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var missing []uuid.UUID
	for _, id := range ids {
		if c.byID[id] == nil && !slices.Contains(missing, id) {
			missing = append(missing, id)
		}
	}
	return missing
}

func (c *Catalog) load(ctx context.Context, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	stored, err := postgres.ReadTemplates(ctx, c.db, ids)
	if err != nil {
		return err
	}
	entries := make([]*Entry, len(stored))
	for i, s := range stored {
		if entries[i], err = c.entry(s); err != nil {
			return fmt.Errorf("template %s/%s/%s in the database: %w", s.Namespace, s.Name, s.Version, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range entries {
		c.byID[e.ID] = e
	}
	return nil
}

func (c *Catalog) entry(s postgres.StoredTemplate) (*Entry, error) {
	t, err := templates.Decode(s.Definition)
	if err != nil {
		return nil, err
	}
	t = t.ForEnvironment(string(c.environment))
	queue, err := c.names.Steps(t.Namespace)
	if err != nil {
		return nil, err
	}
	e := &Entry{ID: s.ID, Template: t, Queue: queue, Graph: t.Graph(), input: inputSchema(t)}
	for i := range t.Steps {
		step := &t.Steps[i]
		e.Steps = append(e.Steps, postgres.NewStep{
			Ordinal: int32(i) + 1, Name: step.Name, //nolint:gosec // at most templates.MaxSteps
			DependsOn: ordinals(e.Graph.Parents[i]), Dependents: ordinals(e.Graph.Dependents[i]),
			MaxAttempts: int32(step.Retry.Attempts()), //nolint:gosec // 1 to 100
		})
		var raw json.RawMessage
		if step.Handler.Initialization != nil {
			if raw, err = json.Marshal(step.Handler.Initialization); err != nil {
				return nil, fmt.Errorf("encode the initialization of step %s: %w", step.Name, err)
			}
		}
		e.Configs = append(e.Configs, raw)
	}
	e.Initial = initial(e.Steps, e.Graph)
	return e, nil
}

// inputSchema compiles the schema when it is first needed: most processes run
// tasks and create none.
func inputSchema(t *templates.Template) func() (*templates.Schema, error) {
	return sync.OnceValues(func() (*templates.Schema, error) {
		if len(t.InputSchema) == 0 {
			return nil, nil //nolint:nilnil // no schema is a schema that allows all
		}
		schema, err := templates.CompileSchema(t.InputSchema)
		if err != nil {
			return nil, fmt.Errorf("the input_schema of template %s/%s/%s is no valid JSON Schema: %w", t.Namespace, t.Name, t.Version, err)
		}
		return schema, nil
	})
}

// initial are the steps that exist from the start, each with those of its
// dependents that do.
func initial(steps []postgres.NewStep, graph *templates.Graph) []postgres.NewStep {
	if len(graph.Initial) == len(steps) {
		return steps
	}
	late := make(map[int32]bool, len(steps))
	for _, s := range steps {
		late[s.Ordinal] = true
	}
	for _, place := range graph.Initial {
		late[steps[place].Ordinal] = false
	}
	out := make([]postgres.NewStep, len(graph.Initial))
	for i, place := range graph.Initial {
		out[i] = steps[place]
		out[i].Dependents = slices.DeleteFunc(slices.Clone(out[i].Dependents), func(d int32) bool { return late[d] })
	}
	return out
}

// ordinals turns places in a slice into ordinals, which count from 1.
func ordinals(places []int) []int32 {
	out := make([]int32, len(places))
	for i, p := range places {
		out[i] = int32(p) + 1 //nolint:gosec // bounded by templates.MaxSteps
	}
	return out
}
