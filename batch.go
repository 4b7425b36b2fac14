package tasker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Cursor is the share of one batch worker: from Start up to End, whatever the
// two mean to the handlers (an id, an offset, a date). Size counts its items.
type Cursor struct {
	ID    string          `json:"batch_id"`
	Start json.RawMessage `json:"start_cursor"`
	End   json.RawMessage `json:"end_cursor"`
	Size  int             `json:"batch_size"`
}

// Bounds decodes the start and the end of the share.
func (c Cursor) Bounds(start, end any) error {
	if err := json.Unmarshal(c.Start, start); err != nil {
		return fmt.Errorf("decode the start of batch %s: %w", c.ID, err)
	}
	if err := json.Unmarshal(c.End, end); err != nil {
		return fmt.Errorf("decode the end of batch %s: %w", c.ID, err)
	}
	return nil
}

// Range splits the integers from start up to and without end into shares of
// size, the last one perhaps smaller. An empty range has none. It panics unless
// size is above zero.
func Range(start, end, size int) []Cursor {
	if size <= 0 {
		panic("tasker: a batch needs a size above zero")
	}
	var cursors []Cursor
	for ; start < end; start += size {
		upTo := min(start+size, end)
		cursors = append(cursors, Cursor{
			ID: fmt.Sprintf("%03d", len(cursors)+1), Size: upTo - start,
			Start: fmt.Appendf(nil, "%d", start), End: fmt.Appendf(nil, "%d", upTo),
		})
	}
	return cursors
}

// Batches is what the handler of a batchable step returns: the shares of the
// work, one batch worker each. Without any, one worker that has nothing to do
// stands for all and is complete from the start, so that the steps after the
// batch run all the same.
//
// Worker names the batch_worker step to copy; empty is the one that depends on
// the step, if there is but one. Result is as in [Decision].
type Batches struct {
	Worker     string
	Cursors    []Cursor
	TotalItems int
	Result     any
}

// MarshalJSON writes the result with the outcome in its member
// batch_processing_outcome.
func (b Batches) MarshalJSON() ([]byte, error) {
	outcome := map[string]any{"type": "no_batches"}
	if len(b.Cursors) > 0 {
		outcome = map[string]any{
			"type": "create_batches", "worker_template_name": b.Worker, "worker_count": len(b.Cursors),
			"cursor_configs": b.Cursors, "total_items": b.TotalItems,
		}
	}
	return withOutcome(b.Result, "batch_processing_outcome", outcome)
}

// A Batch is what a batch worker is to do.
type Batch struct {
	Cursor

	// Field names what the cursor counts: batch_config.cursor_field.
	Field string `json:"cursor_field"`
}

// BatchResults decodes the results of the workers that are copies of the named
// batch_worker step, in the order of their batches. Those that failed, or had
// nothing to do, are left out.
func BatchResults[T any](s *Step, worker string) ([]T, error) {
	names := slices.SortedFunc(maps.Keys(s.Results), func(a, b string) int { // _999 comes before _1000
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	var all []T
	for _, name := range names {
		number, ok := strings.CutPrefix(name, worker+"_")
		if !ok || strings.Trim(number, "0123456789") != "" || strings.Trim(number, "0") == "" {
			continue
		}
		var one T
		if err := s.Result(name, &one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
