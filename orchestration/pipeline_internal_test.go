package orchestration

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// report has so many tasks of one step reported, as by a worker of another
// process.
func (b *bench) report(n int) {
	b.Helper()
	c := client.New(b.sys.Pool, b.sys.Common)
	defer c.Close()
	requests := make([]client.Request, n)
	for i := range requests {
		requests[i] = client.Request{Namespace: "test", Template: "single", IdempotencyKey: uuid.NewString()}
	}
	if _, err := c.CreateTasks(b.Context(), requests); err != nil {
		b.Fatal(err)
	}
	b.exec(`
		with reported as (
			update tasker.steps s
			set state = 'enqueued_for_orchestration', attempt = 1, claim = s.claim + 1, result = '1', started_at = now(), finished_at = now()
			from tasker.tasks t
			where s.state = 'enqueued' and t.task_id = s.task_id
			returning s.task_id, s.ordinal, s.claim, t.template_id
		), gone as (
			delete from pgmq.q_` + b.queue + `
		)
		insert into pgmq.q_` + b.sys.Names.Results() + ` (vt, message)
		select clock_timestamp(), jsonb_build_object('task', task_id, 'step', ordinal, 'claim', claim, 'template', template_id)
		from reported`)
}

// eventually waits until a condition holds that other goroutines bring about.
func (b *bench) eventually(what string, holds func() bool) {
	b.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(time.Minute)
	for !holds() {
		select {
		case <-ticker.C:
		case <-timeout:
			b.Fatalf("it never came to this: %s", what)
		}
	}
}

func (b *bench) pipeline() *pipeline {
	p := newProcessor(b.sys, &b.cfg, handoff.New(0, 0))
	p.look = func([]string) {}
	return newPipeline(p, b.cfg.Channels, newHints(b.sys, b.cfg.Channels.TaskReadiness.EventChannel), b.sys.Channels)
}

// TestChannelsFollowTheSettings has nobody apply what is reported: how much is
// read, and how much of that made ready to be applied, until those who do so
// wait. When somebody does, all goes through; and a shutdown leaves nothing of
// what was read.
func TestChannelsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.mpsc_channels.command_processor.command_buffer_size",
		"orchestration.mpsc_channels.event_systems.event_channel_buffer_size")
	for _, tt := range []struct{ events, commands, read int }{{12, 100, 12}, {25, 100, 25}, {100, 10, 60}, {100, 20, 60}} {
		b := newBench(t)
		b.report(60)
		b.cfg.Channels.EventSystems.EventChannelBufferSize, b.cfg.Channels.CommandProcessor.CommandBufferSize = tt.events, tt.commands
		l := b.pipeline()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var wg sync.WaitGroup
		wg.Go(func() { l.readAll(ctx, eventsystem.NewSignal()) })
		if tt.read < 60 {
			b.eventually("one read's worth of events", func() bool { return len(l.events) == tt.read })
			hidden := `select count(*) from pgmq.q_` + b.sys.Names.Results() + ` where vt > clock_timestamp()`
			if got := b.count(hidden); got != tt.read {
				t.Errorf("%v: %d results are read at once, want %d", tt, got, tt.read)
			}
		}
		wg.Go(func() { l.route(ctx) })
		if tt.read == 60 { // the one beyond is in the hand of the router
			b.eventually("a full channel of commands", func() bool { return len(l.commands) == tt.commands && len(l.events) == 60-tt.commands-1 })
			stop()
		}
		wg.Go(func() { l.applyAll(ctx) })
		b.eventually("all applied", func() bool {
			return b.count(`select count(*) from tasker.tasks where state = 'complete'`) == 60
		})
		stop()
		wg.Wait()
	}
}

// TestHintsFollowTheSettings has nobody read the hints: how many wait, and how long
// who has one more does.
func TestHintsFollowTheSettings(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "orchestration.mpsc_channels.task_readiness.event_channel.buffer_size",
		"orchestration.mpsc_channels.task_readiness.event_channel.send_timeout_ms")
	for _, tt := range []config.ReadinessChannel{{BufferSize: 10, SendTimeout: 50}, {BufferSize: 20, SendTimeout: 50}, {BufferSize: 10, SendTimeout: 2000}} {
		synctest.Test(t, func(t *testing.T) {
			var cfg config.Orchestration
			cfg.Channels.TaskReadiness.EventChannel = tt
			h := newReconciler(stranded(t), &cfg, eventsystem.NewSignal()).hints
			began := time.Now()
			sent := 0
			for h.send(t.Context(), hint{{ID: 1}}) {
				sent++
			}
			if took := time.Since(began); sent != tt.BufferSize || took != tt.SendTimeout.Duration() {
				t.Errorf("%v: %d hints wait, and one more is dropped after %s", tt, sent, took)
			}
			if !h.send(t.Context(), nil) {
				t.Error("a hint that says nothing needs room")
			}
		})
	}
}

// TestHintsAreFollowed: results that were read and not applied are due again at
// once, unless they were dealt with meanwhile, and their reader is woken.
func TestHintsAreFollowed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.report(3)
	l := b.pipeline()
	read, err := l.read(t.Context(), l.queue, 100, time.Hour)
	if err != nil || len(read) != 3 {
		t.Fatalf("read %d reports (%v)", len(read), err)
	}
	b.exec(`delete from pgmq.q_`+l.queue+` where msg_id = $1`, read[0].Message.ID)
	reports := eventsystem.NewSignal()
	r := newReconciler(b.sys, &b.cfg, reports)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.rest(ctx, time.Hour) })
	left := make(hint, len(read))
	for i := range read {
		left[i] = read[i].Message
	}
	r.hints.send(t.Context(), left)
	<-reports.C()
	stop()
	wg.Wait()
	again, err := l.read(t.Context(), l.queue, 100, time.Hour)
	if err != nil || len(again) != 2 {
		t.Errorf("%d reports come again (%v)", len(again), err)
	}
}

// TestWhatCannotBeAppliedIsHinted: a database that does not answer leaves results
// unapplied, and the reconciler hears which.
func TestWhatCannotBeAppliedIsHinted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.report(2)
	b.cfg.EventSystems.Orchestration.Processing.MaxRetries = 0
	l := b.pipeline()
	read, err := l.read(t.Context(), l.queue, 100, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := l.entry(t.Context(), read[0].Template)
	if err != nil {
		t.Fatal(err)
	}
	l.db = stranded(t).Pool
	l.applyBatch(t.Context(), []command{{entry, read[0]}, {entry, read[1]}})
	got := <-l.hints.ch
	if len(got) != 2 || got[0] != read[0].Message || got[1] != read[1].Message {
		t.Errorf("hinted at %v", got)
	}
	for _, postponed := range []postgres.Message{got[0], got[1]} {
		if n := b.count(`select count(*) from pgmq.q_`+l.queue+` where msg_id = $1 and vt > clock_timestamp()`, postponed.ID); n != 1 {
			t.Errorf("message %d is not hidden", postponed.ID)
		}
	}
}
