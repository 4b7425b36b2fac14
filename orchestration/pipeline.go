package orchestration

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// A pipeline leads what workers of other processes report from the results queue
// to the processor.
//
//	reader ── events ──▶ router ── commands ──▶ applier
//
// An event is a report that was read, a command is to apply one whose template
// is known. Both channels are bounded, and whoever fills one waits while it is
// full, so that a slow database slows the reads.
type pipeline struct {
	*processor

	queue    string
	events   chan postgres.StoredReport
	commands chan command
	settling *eventsystem.Signal // raised when what was read has been dealt with
	pending  atomic.Int64        // reports that were read and not dealt with
	hints    *hints
}

// A command is to apply a report.
type command struct {
	entry  *catalog.Entry
	report postgres.StoredReport
}

func newPipeline(p *processor, cfg config.OrchestrationChannels, hints *hints, monitor *channels.Monitor) *pipeline {
	l := &pipeline{
		processor: p, queue: p.names.Results(), settling: eventsystem.NewSignal(), hints: hints,
		events:   make(chan postgres.StoredReport, cfg.EventSystems.EventChannelBufferSize),
		commands: make(chan command, cfg.CommandProcessor.CommandBufferSize),
	}
	channels.WatchWork(monitor, "results", l.events)
	channels.WatchWork(monitor, "commands", l.commands)
	return l
}

// run applies reports until ctx ends, and then those that were read already. It
// reads when woken, when a message is due, and, unless the mode is
// EventDrivenOnly, every fallback_polling_interval_seconds.
func (l *pipeline) run(ctx context.Context, wake *eventsystem.Signal) {
	var wg sync.WaitGroup
	wg.Go(func() { l.readAll(ctx, wake) })
	wg.Go(func() { l.route(ctx) })
	wg.Go(func() { l.applyAll(ctx) })
	wg.Wait()
}

// most is how many reports one read takes: no more than the channel that they go
// through has room for.
func (l *pipeline) most() int { return min(l.processor.most(), cap(l.events)) }

// readAll reads reports until ctx ends, each time what has piled up while the last
// were applied: reads beside that were measured, and make small batches that take
// the database from those who apply.
func (l *pipeline) readAll(ctx context.Context, wake *eventsystem.Signal) {
	defer close(l.events)
	visibility := l.processor.events.Timing.VisibilityTimeout.Duration()
	for ctx.Err() == nil {
		l.announced.take()
		reports, err := l.read(ctx, l.queue, l.most(), visibility)
		if err != nil {
			if ctx.Err() == nil {
				l.log.Log(ctx, eventsystem.Given(err), "operation given up; trying again after a while", "error", err)
				wake.Wait(ctx, l.reads.Pause())
			}
			continue
		}
		for i := range reports {
			l.events <- reports[i]
		}
		if len(reports) < l.most() {
			l.announced.done() // what they announced has been read
		}
		for l.pending.Add(int64(len(reports))); ctx.Err() == nil && l.pending.Load() > 0; {
			l.settling.Wait(ctx, -1)
		}
		if len(reports) == 0 {
			wake.Wait(ctx, l.pause(ctx, l.queue))
		}
	}
}

// route finds the templates of reports, and drops those whose steps have moved
// on, until no more come. A report whose template cannot be read is left to come
// again, up to the limit of reads; the others go on.
func (l *pipeline) route(ctx context.Context) {
	defer close(l.commands)
	var stale []postgres.Message
	for r := range l.events {
		if r.Stale {
			stale = append(stale, r.Message)
			l.dealt(1)
		} else {
			l.command(ctx, &r)
		}
		if len(l.events) == 0 {
			l.drop(ctx, stale)
			stale = nil
		}
	}
}

// command has a report applied.
func (l *pipeline) command(ctx context.Context, r *postgres.StoredReport) {
	entry, err := l.entry(ctx, r.Template)
	switch {
	case err == nil:
		l.commands <- command{entry, *r}
		return
	case !errors.Is(err, catalog.ErrUnreadable):
		l.hints.send(ctx, hint{r.Message})
	case int(r.Reads) > l.processor.events.Processing.MaxRetries:
		l.endTask(ctx, r, err)
	}
	l.dealt(1)
}

// dealt notes that so many reports need nothing more.
func (l *pipeline) dealt(n int) {
	if l.pending.Add(int64(-n)) <= 0 {
		l.settling.Raise()
	}
}

// farewell bounds what a shutdown has yet to say to the database.
const farewell = 5 * time.Second

// drop deletes the messages of steps that have moved on.
func (l *pipeline) drop(ctx context.Context, stale []postgres.Message) {
	if len(stale) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if err := postgres.DeleteMessages(ctx, l.db, l.queue, stale); err != nil {
		l.log.WarnContext(ctx, "stale results not deleted; they come again", "error", err)
	}
}

// applyAll carries out commands until no more come. Those that pile up while one
// batch is applied make the next.
func (l *pipeline) applyAll(ctx context.Context) {
	for c := range l.commands {
		batch := []command{c}
		for most := l.processor.most(); len(batch) < most && len(l.commands) > 0; {
			if c, ok := <-l.commands; ok {
				batch = append(batch, c)
			}
		}
		l.applyBatch(ctx, batch)
		l.dealt(len(batch))
	}
}

// applyBatch applies reports by namespace: a batch speaks to one step queue.
func (l *pipeline) applyBatch(ctx context.Context, batch []command) {
	groups := map[string][]postgres.StoredReport{} // step queue → reports
	entries := map[string]*catalog.Entry{}
	for _, c := range batch {
		entries[c.entry.Queue] = c.entry
		groups[c.entry.Queue] = append(groups[c.entry.Queue], c.report)
	}
	for stepQueue, group := range groups {
		var left hint
		for _, r := range l.applyReportGroup(ctx, l.queue, entries[stepQueue], group) {
			left = append(left, r.Message)
		}
		l.hints.send(ctx, left)
	}
}
