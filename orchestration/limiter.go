package orchestration

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/messaging"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
)

// A limiter lets steps through the limits they wait at: as many as there is room
// for, in the order of priority and age, one transaction for many limits.
//
// It looks at a limit when this process has applied something that concerns it,
// when the next start is due under its rate, and when the retry of a step that
// waits there is due. It looks at all of them when another process notifies it,
// and every fallback_polling_interval_seconds, which makes good what a crash or a
// lost notification left undone. What comes to be looked at during a pass makes
// the next.
type limiter struct {
	pool     postgres.Pool
	catalog  *catalog.Catalog
	names    messaging.Names
	notifier *eventsystem.Notifier
	log      *slog.Logger
	interval time.Duration
	all      *eventsystem.Signal // raised to look at all limits
	woken    *eventsystem.Signal // raised to look at those in due

	mu  sync.Mutex
	due map[string]time.Time // when to look at a gate

	// Of the loop alone.
	sweepAt time.Time // when to look at all
	readyAt time.Time // when the time of a step at a gate comes; zero: none has one
	readied time.Time // until when the times of steps have been attended to
	tidyAt  time.Time // when to tidy limits away
}

func newLimiter(sys *system.Context, interval time.Duration) *limiter {
	now := time.Now()
	return &limiter{
		pool: sys.Pool, catalog: sys.Catalog, names: sys.Names, notifier: sys.Notifier, log: sys.Log, interval: interval,
		all: eventsystem.NewSignal(), woken: eventsystem.NewSignal(), due: map[string]time.Time{},
		sweepAt: now, readied: now, tidyAt: now.Add(tidyInterval),
	}
}

const (
	mostLetThrough = 5000             // steps in one transaction
	mostGates      = 1000             // limits in one transaction
	tidyInterval   = 15 * time.Minute // between two looks for limits that nothing refers to
	tidyRest       = time.Hour        // how long these have not been changed
	mostTidied     = 10_000           // in one go
)

// look has the gates looked at, now. It never blocks.
func (l *limiter) look(gates []string) {
	if len(gates) == 0 {
		return
	}
	l.lookAfter(gates, 0)
	l.woken.Raise()
}

// lookAfter has the gates looked at when so long has passed.
func (l *limiter) lookAfter(gates []string, wait time.Duration) {
	at := time.Now().Add(wait)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, gate := range gates {
		if earlier, set := l.due[gate]; !set || at.Before(earlier) {
			l.due[gate] = at
		}
	}
}

// run lets steps through until ctx ends.
func (l *limiter) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := l.round(ctx); err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "letting steps through their limits failed; trying again", "error", err)
			l.sweepAt = time.Now().Add(time.Second)
		}
		l.rest(ctx)
	}
}

// rest waits until something is due.
func (l *limiter) rest(ctx context.Context) {
	next := l.sweepAt
	if !l.readyAt.IsZero() && l.readyAt.Before(next) {
		next = l.readyAt
	}
	l.mu.Lock()
	for _, at := range l.due {
		if at.Before(next) {
			next = at
		}
	}
	l.mu.Unlock()
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-l.woken.C():
	case <-l.all.C():
		l.sweepAt = time.Now()
	}
}

// round looks at what is due.
func (l *limiter) round(ctx context.Context) error {
	if !time.Now().Before(l.sweepAt) {
		if err := l.sweep(ctx); err != nil {
			return err
		}
	}
	gates, err := l.takeDue(ctx)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(gates, mostGates) {
		if err := l.pass(ctx, chunk); err != nil {
			return err
		}
	}
	wait, any, err := postgres.NextReady(ctx, l.pool)
	if err != nil {
		return err
	}
	l.readyAt = time.Time{}
	if any {
		l.readyAt = time.Now().Add(wait)
	}
	return nil
}

// takeDue takes the gates to be looked at now.
func (l *limiter) takeDue(ctx context.Context) ([]string, error) {
	now := time.Now()
	var gates []string
	l.mu.Lock()
	for gate, at := range l.due {
		if !at.After(now) {
			gates = append(gates, gate)
			delete(l.due, gate)
		}
	}
	l.mu.Unlock()
	if l.readyAt.IsZero() || l.readyAt.After(now) {
		return gates, nil
	}
	ready, err := postgres.ReadyGates(ctx, l.pool, now.Sub(l.readied)+readyMargin, mostLetThrough)
	if err != nil {
		return nil, err
	}
	if len(ready) == mostLetThrough {
		l.sweepAt = now // there may be more
	}
	l.readied = now
	gates = append(gates, ready...)
	slices.Sort(gates)
	return slices.Compact(gates), nil
}

// readyMargin is by how much the clocks of this process and of the server may
// drift apart between two looks.
const readyMargin = time.Second

// sweep looks at every gate at which a step waits.
func (l *limiter) sweep(ctx context.Context) error {
	began := time.Now()
	freed, err := postgres.DropOrphanSlots(ctx, l.pool)
	if err != nil {
		return err
	}
	if len(freed) > 0 {
		l.log.WarnContext(ctx, "limits had slots of steps that are not under way; they are free again", "limits", freed)
	}
	for after := ""; ; {
		gates, err := postgres.WaitingGates(ctx, l.pool, after, mostGates)
		if err != nil {
			return err
		}
		if err := l.pass(ctx, gates); err != nil {
			return err
		}
		if len(gates) < mostGates {
			break
		}
		after = gates[len(gates)-1]
	}
	l.readied = began
	l.sweepAt = began.Add(l.interval)
	return l.tidy(ctx)
}

// tidy drops limits that nothing refers to: keys of long ago, batches that are
// done.
func (l *limiter) tidy(ctx context.Context) error {
	if time.Now().Before(l.tidyAt) {
		return nil
	}
	l.tidyAt = time.Now().Add(tidyInterval)
	return postgres.WithPlanner(ctx, l.pool, func(db postgres.DB) error {
		dropped, err := postgres.DropUnusedLimits(ctx, db, tidyRest, mostTidied)
		if dropped > 0 {
			l.log.InfoContext(ctx, "dropped limits that nothing refers to", "limits", dropped)
		}
		return err
	})
}

// pass lets through what the gates have room for. When steps turn out to wait at
// another gate it looks further down the line, in ever longer strides.
func (l *limiter) pass(ctx context.Context, gates []string) error {
	const stride = 8
	for depth := 1; len(gates) > 0; depth = min(depth*stride, mostLetThrough) {
		var err error
		if gates, err = l.letThrough(ctx, gates, depth); err != nil {
			return err
		}
	}
	return nil
}

// letThrough is one transaction of a pass. It returns the gates that have room
// left for steps it has not looked at.
func (l *limiter) letThrough(ctx context.Context, gates []string, depth int) (again []string, err error) {
	namespaces := map[string]string{} // by queue
	chosen := 0
	look := postgres.Look{Gates: gates, Depth: depth, Most: mostLetThrough}
	passed, err := postgres.LetThrough(ctx, l.pool, look, func(rooms map[string]postgres.Room, steps []postgres.GatedStep) (postgres.Passage, error) {
		var v verdict
		v, again = decide(gates, rooms, steps)
		chosen = len(v.pass)
		p := postgres.Passage{Pass: map[string][]postgres.GatedStep{}, Park: v.park}
		for _, s := range v.pass {
			entry, err := l.catalog.Entry(ctx, s.Template)
			if err != nil {
				return postgres.Passage{}, err
			}
			p.Pass[entry.Queue] = append(p.Pass[entry.Queue], s)
			namespaces[entry.Queue] = entry.Template.Namespace
		}
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	for _, namespace := range namespaces {
		l.notifier.Wake(l.names.StepsChannel(namespace))
	}
	for gate, wait := range passed.Waits {
		l.lookAfter([]string{gate}, wait)
	}
	if passed.Steps < chosen {
		return gates, nil // some were cancelled meanwhile, and others may pass in their place
	}
	return again, nil
}

// A verdict says which steps pass, and which wait at another gate than they did.
type verdict struct {
	pass []postgres.GatedStep
	park []postgres.Parked
}

// decide goes through the steps in the order of their places. A step passes when
// all its gates have room; else it waits at the first that has none, so that it
// stands in the way of nobody who need not pass that one. It also returns those
// of the asked gates that have room left for steps further down the line.
func decide(asked []string, rooms map[string]postgres.Room, steps []postgres.GatedStep) (v verdict, again []string) {
	slices.SortFunc(steps, func(a, b postgres.GatedStep) int {
		return cmp.Or(cmp.Compare(a.Place, b.Place), compareIDs(a.Task, b.Task), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	left := make(map[string]int, len(rooms))
	for gate, room := range rooms {
		left[gate] = room.Steps
	}
	gone := map[string]bool{} // gates that steps have left for another
	for _, s := range steps {
		i := slices.IndexFunc(s.Gates, func(gate string) bool { return left[gate] <= 0 })
		switch {
		case i < 0:
			v.pass = append(v.pass, s)
			for _, gate := range s.Gates {
				left[gate]--
			}
		case i > 0:
			v.park = append(v.park, postgres.Parked{GatedStep: s, At: s.Gates[i]})
			gone[s.Gates[0]] = true
		}
	}
	if len(steps) >= mostLetThrough {
		return v, asked // there may be more steps
	}
	for _, gate := range asked {
		if gone[gate] && left[gate] > 0 {
			again = append(again, gate)
		}
	}
	return v, again
}

func compareIDs(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }
