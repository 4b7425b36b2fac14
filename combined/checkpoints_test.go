package combined_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// A tally notes which items the workers of batches have dealt with, by worker and
// attempt.
type tally struct {
	mu    sync.Mutex
	items map[string][]int
}

func (t *tally) note(s *tasker.Step, item int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := fmt.Sprintf("%s/%d", s.Name, s.Attempt)
	t.items[at] = append(t.items[at], item)
}

// handle deals with the items of a share, saves after every 25th, and fails at
// the item of the context: once, or for good.
func (t *tally) handle(ctx context.Context, s *tasker.Step) (any, error) {
	var in struct {
		Bad     int
		ForGood bool
	}
	var from, to int
	if err := errors.Join(json.Unmarshal(s.Context, &in), s.Batch.Bounds(&from, &to)); err != nil {
		return nil, err
	}
	if _, err := s.LoadCheckpoint(&from); err != nil {
		return nil, err
	}
	for i := from; i < to; i++ {
		if i == in.Bad && in.ForGood {
			return nil, tasker.Permanent(errors.New("this item is no good"))
		}
		if i == in.Bad && s.Attempt == 1 {
			return nil, errors.New("once")
		}
		t.note(s, i)
		if (i+1)%25 == 0 {
			if err := s.SaveCheckpoint(ctx, i+1); err != nil {
				return nil, err
			}
		}
	}
	return to - from, nil
}

// TestCheckpointsOfBatches: a worker of a batch goes on where its last attempt
// saved, one that fails for good leaves its checkpoint to be looked at, and a
// batch of nothing has no worker.
func TestCheckpointsOfBatches(t *testing.T) {
	t.Parallel()
	template := strings.Replace(fmt.Sprintf(batchTemplate, "continue_on_failure"), "retry: {max_attempts: 1}", "retry: {max_attempts: 2, backoff_base_ms: 1}", 1)
	for _, tt := range []struct {
		name    string
		context map[string]any
		state   tasker.TaskState
		dealt   map[string]int // items, by worker and attempt
		saved   string         // by the second worker
	}{
		{"once", map[string]any{"items": 200, "size": 100, "bad": 160}, tasker.TaskComplete, map[string]int{"work_001/1": 100, "work_002/1": 60, "work_002/2": 50}, "200"},
		{
			"for good",
			map[string]any{"items": 200, "size": 100, "bad": 160, "forgood": true},
			tasker.TaskError,
			map[string]int{"work_001/1": 100, "work_002/1": 60},
			"150",
		},
		{"nothing", map[string]any{"items": 0, "size": 100, "bad": -1}, tasker.TaskComplete, map[string]int{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
				dealt := &tally{items: map[string][]int{}}
				handlers := batchHandlers()
				handlers["work"] = dealt.handle
				e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: taskertest.YAML(template), Handlers: handlers})
				id := e.Create("batch", tt.context)
				e.Await(`select count(*) = 1 from tasker.tasks where state = $1`, tt.state)
				dealt.mu.Lock()
				defer dealt.mu.Unlock()
				got := map[string]int{}
				for at, items := range dealt.items {
					got[at] = len(items)
				}
				if fmt.Sprint(got) != fmt.Sprint(tt.dealt) {
					t.Errorf("items were dealt with as %v, want %v", got, tt.dealt)
				}
				if again := dealt.items["work_002/2"]; again != nil && slices.Min(again) != 150 {
					t.Errorf("the second attempt began with %d", slices.Min(again))
				}
				saved := enginetest.Query[string](e, `select coalesce(max(checkpoint->>'value'), '') from tasker.steps where task_id = $1 and name = 'work_002'`, id)
				if saved != tt.saved {
					t.Errorf("saved is %q, want %q", saved, tt.saved)
				}
			})
		})
	}
}
