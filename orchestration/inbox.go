package orchestration

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/messaging/rabbitmq"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
)

// An inbox takes what RabbitMQ delivers to one of the orchestrator's queues, and
// acknowledges it once it is stored in the database.
type inbox struct {
	*rabbitmq.Consumer

	pool   postgres.Pool
	names  messaging.Names
	queue  string
	most   int
	raised *eventsystem.Signal
	wake   func() // whoever deals with what is stored
	pause  func() time.Duration
	log    *slog.Logger
}

// newInboxes are those of requests, of finalizations and of dead letters; none
// with pgmq.
func newInboxes(sys *system.Context, door *doorkeeper, reports *eventsystem.Signal) []func(context.Context) {
	if sys.Broker == nil {
		return nil
	}
	var all []func(context.Context)
	for _, queue := range []string{sys.Names.Requests(), sys.Names.Finalizations(), sys.Names.DeadLetters()} {
		b := &inbox{
			pool: sys.Pool, names: sys.Names, queue: queue, most: door.most, raised: eventsystem.NewSignal(),
			wake: door.wake.Raise, pause: door.pause, log: sys.Log,
		}
		b.Consumer = sys.Broker.Consumer(queue, b.most, b.raised.Raise)
		take := b.store
		if queue == sys.Names.DeadLetters() {
			take, b.wake = b.bury, reports.Raise
		}
		all = append(all, func(ctx context.Context) { b.run(ctx, take) })
	}
	return all
}

// run takes what is delivered until ctx ends.
func (b *inbox) run(ctx context.Context, take func(context.Context, []rabbitmq.Delivery) error) {
	var consuming sync.WaitGroup
	defer consuming.Wait()
	consuming.Go(func() { b.Run(ctx) })
	for ctx.Err() == nil {
		taken := b.Take(b.most)
		if len(taken) == 0 {
			b.raised.Wait(ctx, -1)
			continue
		}
		if err := take(ctx, taken); err != nil {
			b.PutBack(taken)
			if ctx.Err() == nil {
				b.log.WarnContext(ctx, "messages not taken in; trying again", "queue", b.queue, "error", err)
			}
			b.raised.Wait(ctx, b.pause())
			continue
		}
		b.Ack(taken)
		b.wake()
	}
}

// store stores messages where those of pgmq are, so that one road leads on from
// there. What no JSON column takes goes to the archive of the queue.
func (b *inbox) store(ctx context.Context, taken []rabbitmq.Delivery) error {
	letters := make([]postgres.Letterhead, 0, len(taken))
	var refused []refusal
	for _, d := range taken {
		if !json.Valid(d.Body) {
			refused = append(refused, refusal{b.queue, "the message is no JSON", d.Body})
			continue
		}
		letters = append(letters, postgres.Letterhead{ID: d.ID, Content: string(d.Body)})
	}
	if err := b.storeAll(ctx, letters); err != nil {
		return err
	}
	return b.refuse(ctx, refused)
}

// storeAll stores messages; when one is refused, each half on its own.
func (b *inbox) storeAll(ctx context.Context, letters []postgres.Letterhead) error {
	if len(letters) == 0 {
		return nil
	}
	err := postgres.StoreLetters(ctx, b.pool, b.queue, letters)
	switch {
	case !postgres.IsDataError(err):
		return err
	case len(letters) == 1:
		return b.refuse(ctx, []refusal{{b.queue, postgres.Reason(err), []byte(letters[0].Content)}})
	}
	half := len(letters) / 2
	if err := b.storeAll(ctx, letters[:half]); err != nil {
		return err
	}
	return b.storeAll(ctx, letters[half:])
}

// A refusal is a message that nobody can carry out.
type refusal struct {
	queue, reason string
	content       []byte
}

// refuse sets messages aside in the archives of their queues.
func (b *inbox) refuse(ctx context.Context, all []refusal) error {
	reasons, contents := map[string][]string{}, map[string][]string{}
	for _, r := range all {
		b.log.WarnContext(ctx, "a message is refused and set aside in the archive of its queue", "queue", r.queue, "reason", r.reason)
		content := strings.ReplaceAll(strings.ToValidUTF8(string(r.content), "\uFFFD"), "\x00", "\uFFFD") // a text column takes no others
		reasons[r.queue], contents[r.queue] = append(reasons[r.queue], r.reason), append(contents[r.queue], content)
	}
	for queue := range reasons {
		if err := postgres.BuryLetters(ctx, b.pool, queue, reasons[queue], contents[queue]); err != nil {
			return err
		}
	}
	return nil
}

// bury deals with dead letters. A step whose delivery died, since workers came
// and went with it, is published anew while it is due: its own limit of lost leases
// says when it is given up. What names no step goes to the archive of the queue it
// was in.
func (b *inbox) bury(ctx context.Context, taken []rabbitmq.Delivery) error {
	namespaces, err := postgres.TemplateNamespaces(ctx, b.pool)
	if err != nil {
		return err
	}
	var queues []string
	for _, namespace := range namespaces {
		queue, err := b.names.Steps(namespace)
		if err != nil {
			return err
		}
		queues = append(queues, queue)
	}
	steps := map[string][]postgres.StepRef{}
	var refused []refusal
	for i := range taken {
		queue, reason := taken[i].Death()
		var m stepMessage
		switch {
		case slices.Contains(queues, queue) && json.Unmarshal(taken[i].Body, &m) == nil && m.Step > 0:
			steps[queue] = append(steps[queue], postgres.StepRef{Task: m.Task, Ordinal: m.Step, Claim: m.Claim})
			b.log.WarnContext(ctx, "the delivery of a step died; publishing it anew", "queue", queue, "reason", reason, "task_id", m.Task)
			continue
		case !slices.Contains(append(queues, b.names.Results(), b.names.Requests(), b.names.Finalizations()), queue):
			reason += " in the queue " + queue // which has no archive
			queue = b.names.Requests()
		}
		refused = append(refused, refusal{queue, "dead letter: " + reason, taken[i].Body})
	}
	for queue, all := range steps {
		if err := postgres.RedispatchSteps(ctx, b.pool, queue, all); err != nil {
			return err
		}
	}
	return b.refuse(ctx, refused)
}
