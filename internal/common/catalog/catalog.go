// Package catalog keeps task templates: it registers them in the database and
// hands out the definitions that tasks run by.
package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// ErrUnknownTemplate says that no template of a name is registered.
var ErrUnknownTemplate = errors.New("unknown template")

// ErrUnreadable says that a stored definition is none that this program can read.
var ErrUnreadable = errors.New("the stored definition cannot be read")

// An Entry is a registered definition, ready for the engine. It is read-only.
type Entry struct {
	ID       uuid.UUID
	Template *templates.Template               // as it is in this environment
	Queue    string                            // of its namespace
	Steps    []postgres.NewStep                // by their place in the template
	Initial  []postgres.NewStep                // what a new task gets; the rest comes with results
	Gated    bool                              // some step waits at a gate, so the end of any step may change the state of the task
	Configs  []json.RawMessage                 // handler.initialization, by step
	Graph    *templates.Graph                  // of the template
	limits   limits                            // of its steps
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

// Catalog finds definitions by name and by id. Definitions never change by
// themselves, so with common.task_templates.cache_enabled those it has seen stay
// in memory, each for the reload interval; without, each use reads the database.
// Which definition a name means is always asked there, so that a new version
// counts at once everywhere. It is safe for concurrent use.
type Catalog struct {
	db          postgres.DB
	names       messaging.Names
	environment config.Environment
	cfg         config.TaskTemplates
	retries     *int32 // see UseRetries

	loading sync.Mutex // held while reading what is to stay in memory
	mu      sync.RWMutex
	byID    map[uuid.UUID]cached
}

// cached is a definition in memory.
type cached struct {
	entry *Entry
	until time.Time // it is read anew after
}

// New returns a catalog over db for processes of the given environment.
func New(db postgres.DB, names messaging.Names, environment config.Environment, cfg config.TaskTemplates) *Catalog {
	return &Catalog{db: db, names: names, environment: environment, cfg: cfg, byID: map[uuid.UUID]cached{}}
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
	found, err := c.find(ctx, ids)
	if err != nil {
		return nil, err
	}
	entries := make([]*Entry, len(ids))
	for i, id := range ids {
		if entries[i] = found[id]; entries[i] == nil {
			return nil, fmt.Errorf("template %s: %w", id, postgres.ErrNotFound)
		}
	}
	return entries, nil
}

// Cached returns the definition with the given id if it is in memory, else nil.
func (c *Catalog) Cached(id uuid.UUID) *Entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if kept := c.byID[id]; kept.entry != nil && time.Now().Before(kept.until) {
		return kept.entry
	}
	return nil
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

// find returns those of the definitions that exist. Of many that need the same
// one, as the steps of a first batch do, one asks the database.
func (c *Catalog) find(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*Entry, error) {
	if !c.cfg.CacheEnabled {
		return c.load(ctx, ids)
	}
	found, missing := c.known(ids)
	if len(missing) == 0 {
		return found, nil
	}
	c.loading.Lock()
	defer c.loading.Unlock()
	found, missing = c.known(ids)
	loaded, err := c.load(ctx, missing)
	if err != nil {
		return nil, err
	}
	c.keep(loaded)
	maps.Copy(found, loaded)
	return found, nil
}

// known returns the definitions that are in memory, and the ids of the others.
func (c *Catalog) known(ids []uuid.UUID) (found map[uuid.UUID]*Entry, missing []uuid.UUID) {
	found = make(map[uuid.UUID]*Entry, len(ids))
	for _, id := range ids {
		if entry := c.Cached(id); entry != nil {
			found[id] = entry
		} else {
			missing = append(missing, id)
		}
	}
	return found, missing
}

// keep puts definitions into memory and lets go of those nobody asked for since
// their time was over.
func (c *Catalog) keep(loaded map[uuid.UUID]*Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(c.byID, func(_ uuid.UUID, kept cached) bool { return now.After(kept.until) })
	for id, entry := range loaded {
		c.byID[id] = cached{entry, now.Add(c.cfg.ReloadInterval.Duration())}
	}
}

// load reads definitions from the database.
func (c *Catalog) load(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*Entry, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	stored, err := postgres.ReadTemplates(ctx, c.db, ids)
	if err != nil {
		return nil, err
	}
	entries := make(map[uuid.UUID]*Entry, len(stored))
	for _, s := range stored {
		if entries[s.ID], err = c.entry(s); err != nil {
			return nil, fmt.Errorf("template %s/%s/%s in the database: %w: %w", s.Namespace, s.Name, s.Version, ErrUnreadable, err)
		}
	}
	return entries, nil
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
	attempts := templates.DefaultAttempts
	if s.Retries != nil {
		attempts = 1 + int(*s.Retries)
	}
	e := &Entry{ID: s.ID, Template: t, Queue: queue, Graph: t.Graph(), input: inputSchema(t)}
	for i := range t.Steps {
		step := &t.Steps[i]
		created := postgres.NewStep{
			Ordinal: int32(i) + 1, Name: step.Name,
			DependsOn: ordinals(e.Graph.Parents[i]), Dependents: ordinals(e.Graph.Dependents[i]),
			MaxAttempts: int32(step.Retry.Attempts(attempts)), //nolint:gosec // 1 to 101
		}
		if step.Type == templates.StepWaitForSignal {
			created.MaxAttempts, created.Patience = 1, step.Timeout.Duration()
			created.Gates = []string{postgres.SignalGate(step.SignalName())}
		}
		e.Gated = e.Gated || len(created.Gates) > 0
		e.Steps = append(e.Steps, created)
		var raw json.RawMessage
		if step.Handler.Initialization != nil {
			if raw, err = json.Marshal(step.Handler.Initialization); err != nil {
				return nil, fmt.Errorf("encode the initialization of step %s: %w", step.Name, err)
			}
		}
		e.Configs = append(e.Configs, raw)
	}
	e.limits = limitsOf(t)
	for i := range e.Steps {
		e.Steps[i].Limits = ordinals(e.limits.ofStep[i])
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
