package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
)

// ErrTaskOver says that a task has ended and takes nothing in any more.
var ErrTaskOver = postgres.ErrTaskOver

// Signal sends a signal to a task: the step of type wait_for_signal that waits
// for it, or will, completes with the payload, encoded as JSON, as its result.
// It reports false when a signal of the name is there already that no step has
// taken; that one counts. The error wraps [ErrNotFound] or [ErrTaskOver].
func (c *Client) Signal(ctx context.Context, task, name string, payload any) (bool, error) {
	id, err := taskid.Parse(task)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if name == "" {
		return false, fmt.Errorf("%w: a signal needs a name", ErrInvalid)
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		return false, fmt.Errorf("%w: encode the payload of signal %s: %w", ErrInvalid, name, err)
	}
	sent, err := postgres.SendSignal(ctx, c.pool, postgres.Signal{Task: id, Name: name, Payload: raw})
	if errors.Is(err, postgres.ErrNotFound) {
		return false, fmt.Errorf("%w: task %s", ErrNotFound, task)
	}
	if err != nil {
		return false, err
	}
	c.notifier.Wake(c.names.SignalsChannel())
	return sent, nil
}
