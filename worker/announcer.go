package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/messaging/rabbitmq"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/system"
)

// An announcer tells the orchestrators of reports that are stored: by a
// notification, or with RabbitMQ by messages with pointers to the steps. What the
// broker does not confirm is announced again; the reports themselves are safe on
// their steps, where a poll or the reconciler finds them.
type announcer struct {
	sys    *system.Context
	raised *eventsystem.Signal
	closed chan struct{}

	mu      sync.Mutex
	pending []pointer
}

// A pointer names a step that has reported.
type pointer struct {
	Task  uuid.UUID `json:"task"`
	Step  int32     `json:"step"`
	Claim int32     `json:"claim"`
}

// pointers is what a message to the results queue says.
type pointers struct {
	Reports []pointer `json:"reports"`
}

// The most pointers of one message, and of those that wait for the broker to come
// back: beyond, polls find the reports.
const (
	together    = 200
	mostPending = 100_000
)

func newAnnouncer(sys *system.Context) *announcer {
	return &announcer{sys: sys, raised: eventsystem.NewSignal(), closed: make(chan struct{})}
}

// announce announces those outcomes that counted. It never blocks.
func (a *announcer) announce(group []outcome.Outcome, stored []int) {
	if a.sys.Broker == nil {
		a.sys.Notifier.Wake(a.sys.Names.ResultsChannel())
		return
	}
	a.mu.Lock()
	for _, i := range stored {
		if s := &group[i].Step; len(a.pending) < mostPending {
			a.pending = append(a.pending, pointer{s.Task, s.Ordinal, s.Claim})
		}
	}
	a.mu.Unlock()
	a.raised.Raise()
}

// close says that nothing more will be announced.
func (a *announcer) close() { close(a.closed) }

// run publishes until the announcer is closed and has published all, or ctx
// ends.
func (a *announcer) run(ctx context.Context) {
	for ctx.Err() == nil {
		if a.publish(ctx) {
			continue
		}
		select {
		case <-a.raised.C():
		case <-a.closed:
			if a.publish(ctx); a.empty() {
				return
			}
		case <-ctx.Done():
		}
	}
}

func (a *announcer) empty() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.pending) == 0
}

// unconfirmed is how long a batch may wait for its confirms.
const unconfirmed = 30 * time.Second

// publish publishes what is pending and reports whether there was something.
func (a *announcer) publish(ctx context.Context) bool {
	a.mu.Lock()
	batch := a.pending
	a.pending = nil
	a.mu.Unlock()
	if len(batch) == 0 {
		return false
	}
	var messages []rabbitmq.Message
	var parts [][]pointer
	for len(batch) > 0 {
		n := min(together, len(batch))
		messages, parts = append(messages, a.message(batch[:n])), append(parts, batch[:n])
		batch = batch[n:]
	}
	publishing, cancel := context.WithTimeout(ctx, unconfirmed)
	defer cancel()
	failed, err := a.sys.Broker.Publish(publishing, messages)
	if err == nil {
		return true
	}
	if ctx.Err() == nil {
		a.sys.Log.WarnContext(ctx, "results not announced; trying again", "error", err)
	}
	a.mu.Lock()
	for _, i := range failed {
		a.pending = append(a.pending, parts[i]...)
	}
	a.mu.Unlock()
	select {
	case <-time.After(a.sys.Common.Queues.PGMQ.PollInterval.Duration()):
	case <-ctx.Done():
	}
	return true
}

func (a *announcer) message(reports []pointer) rabbitmq.Message {
	body, err := json.Marshal(pointers{reports})
	if err != nil {
		panic("worker: encode pointers: " + err.Error()) // numbers and strings
	}
	first := reports[0]
	return rabbitmq.Message{
		Queue: a.sys.Names.Results(), ID: fmt.Sprintf("%s/%d/%d", first.Task, first.Step, first.Claim), Body: body,
	}
}
