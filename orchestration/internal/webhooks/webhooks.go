// Package webhooks sends word of tasks to other systems: each delivery at least
// once, signed as the Standard Webhooks say, tried again until it is accepted or
// given up.
//
// Deliveries come to exist in the transaction in which their event happens (see
// migrations/0004_events.sql). Any number of orchestrators share them: a delivery
// is leased for an attempt, and one whose sender dies is due again when the
// lease has ended. Start reading at [Sender.Run].
package webhooks

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

const (
	// slack is how much longer than the request itself the lease on a delivery
	// lasts, for what comes before and after.
	slack = 15 * time.Second
	// rest is the least time between two looks at an empty outbox, however often
	// tasks come to rest.
	rest = 50 * time.Millisecond
	// tidying is how often old deliveries are dropped, and dropped how many at a
	// time.
	tidying = time.Hour
	dropped = 5000
)

// A Sender sends deliveries that are due.
type Sender struct {
	db     postgres.DB
	cfg    config.Webhooks
	poll   time.Duration
	grace  time.Duration
	log    *slog.Logger
	client *http.Client

	settled *eventsystem.Signal // tasks have come to rest in this process
	changed *eventsystem.Signal // webhooks have come or gone
}

// New returns a sender that looks for deliveries of other processes each poll
// and, when it is told to stop, gives requests under way the time of grace.
func New(db postgres.DB, cfg config.Webhooks, poll, grace time.Duration, log *slog.Logger) *Sender {
	return &Sender{
		db: db, cfg: cfg, poll: poll, grace: grace, log: log, client: newClient(cfg),
		settled: eventsystem.NewSignal(), changed: eventsystem.NewSignal(),
	}
}

// Settled says that tasks have come to rest in a transaction of this process, so
// that deliveries may be due. It never blocks.
func (s *Sender) Settled() { s.settled.Raise() }

// Changed says that a webhook has come or gone. It never blocks.
func (s *Sender) Changed() { s.changed.Raise() }

// Run sends what is due until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	answers := make(chan postgres.DeliveryResult, s.cfg.MaxConcurrentDeliveries)
	underWay := 0
	tidy := time.NewTicker(tidying)
	defer tidy.Stop()
	s.tidy(ctx)
	for ctx.Err() == nil {
		look := s.claim(ctx, s.cfg.MaxConcurrentDeliveries-underWay, func(d postgres.Delivery) {
			underWay++
			go func() { answers <- s.send(sending, d) }()
		})
		select {
		case first := <-answers:
			underWay -= s.finish(ctx, first, answers)
		case <-look.after:
		case <-look.settled:
			s.pause(ctx)
		case <-s.changed.C():
		case <-tidy.C:
			s.tidy(ctx)
		case <-ctx.Done():
		}
	}
	patience := time.AfterFunc(s.grace, stop)
	defer patience.Stop()
	for underWay > 0 {
		underWay -= s.finish(ctx, <-answers, answers)
	}
}

// A look says when to look for due deliveries again.
type look struct {
	after   <-chan time.Time
	settled <-chan struct{} // nil: there is no webhook, so it does not matter what comes to rest
}

// claim takes as many deliveries as there is room for.
func (s *Sender) claim(ctx context.Context, room int, start func(postgres.Delivery)) look {
	if room == 0 {
		return look{} // an answer makes some
	}
	// A claim whose answer is lost would rest until its lease has ended.
	claiming, cancel := context.WithTimeout(context.WithoutCancel(ctx), slack)
	defer cancel()
	claimed, err := postgres.ClaimDeliveries(claiming, s.db, room, s.cfg.Timeout.Duration()+slack)
	for _, d := range claimed {
		start(d)
	}
	if err == nil && len(claimed) == room {
		return look{} // there may be more, once there is room
	}
	next := s.poll
	var exist bool
	if err == nil {
		var due time.Duration
		if exist, due, err = postgres.NextDelivery(ctx, s.db); due >= 0 {
			next = min(next, max(due, rest))
		}
	}
	if err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "webhook deliveries not readable; trying again", "error", err, "pause", next)
	}
	l := look{after: time.After(next)}
	if exist {
		l.settled = s.settled.C()
	}
	return l
}

// pause lets what comes to rest at once be found at once.
func (s *Sender) pause(ctx context.Context) {
	select {
	case <-time.After(rest):
	case <-ctx.Done():
	}
}

// finish notes the first answer and those that have come meanwhile, and returns
// how many.
func (s *Sender) finish(ctx context.Context, first postgres.DeliveryResult, answers <-chan postgres.DeliveryResult) int {
	results := []postgres.DeliveryResult{first}
	for len(answers) > 0 {
		results = append(results, <-answers)
	}
	n := len(results)
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), slack)
	defer cancel()
	known := results[:0]
	for _, r := range results {
		if r.State != "" { // the shutdown cut it short: it is due again when its lease has ended
			known = append(known, r)
		}
	}
	if len(known) == 0 {
		return n
	}
	if err := postgres.FinishDeliveries(noting, s.db, known); err != nil {
		s.log.WarnContext(ctx, "ends of webhook deliveries not noted; they are made again", "error", err, "deliveries", len(known))
	}
	return n
}

// tidy drops deliveries that are over and old.
func (s *Sender) tidy(ctx context.Context) {
	for n := dropped; n == dropped; {
		var err error
		if n, err = postgres.DropDeliveries(ctx, s.db, s.cfg.Retention.Duration(), dropped); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "old webhook deliveries not dropped; trying again later", "error", err)
		}
	}
}
