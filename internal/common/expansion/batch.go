package expansion

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// A batching is what a batchable step says beside its result.
type batching struct {
	Outcome *struct {
		Type    string          `json:"type"`
		Worker  string          `json:"worker_template_name"`
		Count   *int            `json:"worker_count"`
		Cursors []tasker.Cursor `json:"cursor_configs"`
	} `json:"batch_processing_outcome"`
}

const batchForm = `it looks like {"batch_processing_outcome": {"type": "create_batches", "worker_template_name": "…", "worker_count": 1, ` +
	`"cursor_configs": [{"batch_id": "001", "start_cursor": 0, "end_cursor": 100, "batch_size": 100}]}}, or {"type": "no_batches"}`

// batches puts in the workers that a batchable step asks for.
func (g *grower) batches(result json.RawMessage) error {
	if result == nil {
		return g.noBatches("")
	}
	var b batching
	if err := json.Unmarshal(result, &b); err != nil || b.Outcome == nil {
		return fmt.Errorf("the result of a batchable step has no outcome; %s", batchForm)
	}
	o := b.Outcome
	switch {
	case o.Type == "no_batches" && len(o.Cursors) == 0:
		return g.noBatches(o.Worker)
	case o.Type != "create_batches":
		return fmt.Errorf("unknown batch outcome %q with %d cursors; %s", o.Type, len(o.Cursors), batchForm)
	case len(o.Cursors) == 0:
		return fmt.Errorf("the batch has no cursors; say no_batches when that is meant")
	case o.Count != nil && *o.Count != len(o.Cursors):
		return fmt.Errorf("the batch has worker_count %d and %d cursors; they must be as many", *o.Count, len(o.Cursors))
	}
	place, err := g.worker(o.Worker)
	if err != nil {
		return err
	}
	if err := distinct(o.Cursors); err != nil {
		return err
	}
	definition := &g.Template.Steps[place]
	cfg := BatchConfig(g.Template, g.Graph, place)
	for i, cursor := range o.Cursors {
		input, err := json.Marshal(tasker.Batch{Cursor: cursor, Field: cfg.CursorField})
		if err != nil {
			return fmt.Errorf("encode cursor %d: %w", i+1, err)
		}
		s := g.copyOf(place, fmt.Sprintf("%s_%03d", definition.Name, i+1))
		s.Input, s.Limit = input, cfg.Parallelism
		s.Tolerated = cfg.FailureStrategy != templates.FailFast
		g.put(s)
	}
	return nil
}

// distinct refuses cursors that share an id or lack a bound.
func distinct(cursors []tasker.Cursor) error {
	seen := make(map[string]bool, len(cursors))
	for i, c := range cursors {
		switch {
		case c.ID == "":
			return fmt.Errorf("cursor %d of the batch has no batch_id", i+1)
		case seen[c.ID]:
			return fmt.Errorf("two cursors of the batch have the batch_id %q", c.ID)
		case c.Start == nil || c.End == nil:
			return fmt.Errorf("cursor %q of the batch lacks start_cursor or end_cursor", c.ID)
		}
		seen[c.ID] = true
	}
	return nil
}

// noBatches puts in the one worker that has nothing to do.
func (g *grower) noBatches(worker string) error {
	place, err := g.worker(worker)
	if err != nil {
		return err
	}
	s := g.copyOf(place, g.Template.Steps[place].Name+"_000")
	s.Empty = true
	g.put(s)
	return nil
}

func (g *grower) copyOf(place int, name string) Step {
	s := Step{Ordinal: g.next, Name: name, Definition: place, DependsOn: []int32{g.Ordinal}, Depth: g.depth}
	g.next++
	return s
}

// worker is the place of the batch_worker step to copy: the one that is named,
// by the outcome or by batch_config, or the only one there is.
func (g *grower) worker(name string) (int, error) {
	var workers []string
	for _, d := range g.Graph.Dependents[g.origin] {
		if g.Template.Steps[d].Type == templates.StepBatchWorker {
			workers = append(workers, g.Template.Steps[d].Name)
		}
	}
	if cfg := g.Template.Steps[g.origin].BatchConfig; name == "" && cfg != nil {
		name = cfg.WorkerTemplate
	}
	if name == "" && len(workers) == 1 {
		name = workers[0]
	}
	if !slices.Contains(workers, name) {
		return 0, fmt.Errorf("the batch names the worker %q; the batch workers that depend on the step are [%s]", name, strings.Join(workers, ", "))
	}
	place, _ := g.Graph.Ordinal(name)
	return place, nil
}

// BatchConfig is how the copies of the batch_worker step at place run: as it
// says itself, else as the batchable step before it says, else by default.
func BatchConfig(t *templates.Template, g *templates.Graph, place int) templates.BatchConfig {
	if cfg := t.Steps[place].BatchConfig; cfg != nil {
		return *cfg
	}
	for _, p := range g.Parents[place] {
		if cfg := t.Steps[p].BatchConfig; cfg != nil {
			return *cfg
		}
	}
	return templates.DefaultBatchConfig()
}
