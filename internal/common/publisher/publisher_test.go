package publisher

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/channels"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const grace = 5 * time.Second

// shared are settings with a queue of so many events.
func shared(queue int, policy config.DropPolicy) config.SharedChannels {
	var cfg config.SharedChannels
	cfg.EventPublisher.EventQueueBufferSize = queue
	cfg.OverflowPolicy = config.OverflowPolicy{
		LogWarningThreshold: 0.8, DropPolicy: policy,
		Metrics: config.OverflowMetrics{Enabled: true, SaturationCheckInterval: 60},
	}
	return cfg
}

func newBus(cfg config.SharedChannels, log *slog.Logger) (*Bus, *channels.Monitor) {
	monitor := channels.NewMonitor(cfg.OverflowPolicy, log)
	return New(cfg, grace, monitor, log), monitor
}

func event(id int) tasker.Event { return tasker.Event{ID: fmt.Sprint(id), Name: "thing.happened"} }

// A recorder is a subscriber that notes what it is told, each time after a turn
// of the gate; a nil gate stands open.
type recorder struct {
	mu   sync.Mutex
	told []string
	gate chan struct{}
}

func (r *recorder) tell(ctx context.Context, e tasker.Event) {
	if r.gate != nil {
		select {
		case <-r.gate:
		case <-ctx.Done():
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, e.ID)
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

func subscription(pattern string, tell tasker.Subscriber) tasker.Subscription {
	return tasker.Subscription{Pattern: pattern, Tell: tell}
}

// TestOverflow has a subscriber stand still while more events come than there is
// room for: one in its hands, buffer in its channel, one in the hands of the
// bus where that waits, queue in that of the bus.
func TestOverflow(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.mpsc_channels.event_publisher.event_queue_buffer_size",
		"common.mpsc_channels.overflow_policy.drop_policy")
	tests := []struct {
		policy        config.DropPolicy
		queue, buffer int
		sent          int // by then; of more than fit
		want          string
		dropped       int64
	}{
		{config.Block, 2, 3, 7, "[0 1 2 3 4 5 6 7 8 9]", 0},
		{config.Block, 4, 3, 9, "[0 1 2 3 4 5 6 7 8 9]", 0},
		{config.DropNewest, 2, 3, 10, "[0 1 2 3]", 6},
		{config.DropOldest, 2, 3, 10, "[0 7 8 9]", 6},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			b, _ := newBus(shared(tt.queue, tt.policy), slog.New(slog.DiscardHandler))
			slow := &recorder{gate: make(chan struct{})}
			b.Subscribe([]tasker.Subscription{subscription("*", slow.tell)}, tt.buffer, 100)
			ctx, cancel := context.WithCancel(t.Context())
			go b.Run(ctx)
			sent := 0
			go func() {
				for ; sent < 10; sent++ {
					b.Publish(event(sent))
					time.Sleep(time.Millisecond) // the bus has done what it can
				}
			}()
			time.Sleep(time.Second)
			synctest.Wait() // all stand still
			if sent != tt.sent {
				t.Errorf("%s, queue of %d: %d events sent while the subscriber stands, want %d", tt.policy, tt.queue, sent, tt.sent)
			}
			close(slow.gate)
			time.Sleep(time.Second)
			synctest.Wait()
			if got := fmt.Sprint(slow.all()); got != tt.want {
				t.Errorf("%s, queue of %d: told of %s, want %s", tt.policy, tt.queue, got, tt.want)
			}
			if s := b.Stats(); s.Dropped != tt.dropped || s.Published != 10 {
				t.Errorf("%s, queue of %d: counted %+v", tt.policy, tt.queue, s)
			}
			cancel()
		})
	}
}

// TestSaturationIsNoticed fills a queue of ten to seven events and looks when a
// warning comes.
func TestSaturationIsNoticed(t *testing.T) {
	t.Parallel()
	liveness.Covers(t, "common.mpsc_channels.overflow_policy.log_warning_threshold",
		"common.mpsc_channels.overflow_policy.metrics.enabled",
		"common.mpsc_channels.overflow_policy.metrics.saturation_check_interval_seconds")
	tests := []struct {
		name   string
		change func(*config.OverflowPolicy)
		at     time.Duration // of the warning; zero: none comes
	}{
		{"seven of ten", func(p *config.OverflowPolicy) { p.LogWarningThreshold = 0.7 }, time.Minute},
		{"eight of ten", func(p *config.OverflowPolicy) { p.LogWarningThreshold = 0.8 }, 0},
		{"off", func(p *config.OverflowPolicy) { p.LogWarningThreshold, p.Metrics.Enabled = 0.7, false }, 0},
		{"often", func(p *config.OverflowPolicy) { p.LogWarningThreshold, p.Metrics.SaturationCheckInterval = 0.7, 5 }, 5 * time.Second},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			cfg := shared(10, config.Block)
			tt.change(&cfg.OverflowPolicy)
			var log text
			b, monitor := newBus(cfg, slog.New(slog.NewTextHandler(&log, nil)))
			b.Subscribe([]tasker.Subscription{subscription("*", new(recorder).tell)}, 10, 100)
			for i := range 7 {
				b.Publish(event(i))
			}
			warned := func() bool {
				synctest.Wait()
				return strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), "channel=events used=7 capacity=10")
			}
			ctx, cancel := context.WithCancel(t.Context())
			go monitor.Run(ctx)
			var at time.Duration
			for began := time.Now(); time.Since(began) < 2*time.Minute && at == 0; {
				time.Sleep(time.Second)
				if warned() {
					at = time.Since(began)
				}
			}
			if at != tt.at {
				t.Errorf("%s: warned after %s, want %s", tt.name, at, tt.at)
			}
			go b.Run(ctx)
			time.Sleep(2 * time.Minute) // a tick of the monitor falls well within
			synctest.Wait()
			if recovered := strings.Contains(log.String(), "channel has room again"); recovered != (tt.at > 0) {
				t.Errorf("%s: the end of the saturation is noticed: %t", tt.name, recovered)
			}
			cancel()
		})
	}
}

// TestRepeatsAreDropped publishes an event again after two others: a bus that
// remembers three knows it.
func TestRepeatsAreDropped(t *testing.T) {
	t.Parallel()
	for remember, want := range map[int]string{3: "[1 2 3]", 2: "[1 2 3 1]"} {
		synctest.Test(t, func(t *testing.T) {
			b, _ := newBus(shared(10, config.Block), slog.New(slog.DiscardHandler))
			r := &recorder{}
			b.Subscribe([]tasker.Subscription{subscription("*", r.tell)}, 10, remember)
			ctx, cancel := context.WithCancel(t.Context())
			go b.Run(ctx)
			for _, id := range []int{1, 2, 3, 1} {
				b.Publish(event(id))
			}
			synctest.Wait()
			if got := fmt.Sprint(r.all()); got != want {
				t.Errorf("remembering %d: told of %s, want %s", remember, got, want)
			}
			cancel()
		})
	}
}

// TestUseKeepsAnEventInMind: of two, the one that came up last stays.
func TestUseKeepsAnEventInMind(t *testing.T) {
	t.Parallel()
	s := newSeen(2)
	var before []string
	for _, id := range []string{"a", "b", "a", "c", "a", "b"} {
		if s.before(id) {
			before = append(before, id)
		}
	}
	if !slices.Equal(before, []string{"a", "a"}) {
		t.Errorf("seen before: %v", before)
	}
}

// TestSubscribersAreToldOfTheirOwn has one panic besides.
func TestSubscribersAreToldOfTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log text
		b, _ := newBus(shared(10, config.Block), slog.New(slog.NewTextHandler(&log, nil)))
		exact, family, all := &recorder{}, &recorder{}, &recorder{}
		b.Subscribe([]tasker.Subscription{
			subscription("a.b", func(ctx context.Context, e tasker.Event) {
				exact.tell(ctx, e)
				panic("oh")
			}),
			subscription("a.*", family.tell), subscription("*", all.tell),
		}, 10, 10)
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		for i, name := range []string{"a.b", "a.c", "b", "a.b"} {
			b.Publish(tasker.Event{ID: fmt.Sprint(i), Name: name})
		}
		synctest.Wait()
		if got := fmt.Sprint(exact.all(), family.all(), all.all()); got != "[0 3] [0 1 3] [0 1 2 3]" {
			t.Errorf("told: %s", got)
		}
		if s := b.Stats(); s.Panics != 2 || s.Delivered != 7 || s.Subscribers != 3 {
			t.Errorf("counted %+v", s)
		}
		if !strings.Contains(log.String(), "panic=oh") || !strings.Contains(log.String(), "publisher_test.go") {
			t.Errorf("the log does not show the panic with its stack: %s", log.String())
		}
		cancel()
	})
}

// TestShutdown: what was taken reaches its subscriber for as long as the grace
// lasts, then the subscriber is told to stop.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pause time.Duration // of the subscriber, per event
		told  int
		took  time.Duration
	}{
		{time.Second, 3, 3 * time.Second},
		{2 * time.Second, 2, grace},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, _ := newBus(shared(10, config.Block), slog.New(slog.DiscardHandler))
			told := 0
			b.Subscribe([]tasker.Subscription{subscription("*", func(ctx context.Context, _ tasker.Event) {
				select {
				case <-time.After(tt.pause):
					told++
				case <-ctx.Done():
				}
			})}, 1, 10)
			for i := range 3 {
				b.Publish(event(i))
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			began := time.Now()
			b.Run(ctx)
			if took := time.Since(began); told != tt.told || took != tt.took {
				t.Errorf("told of %d events in %s, want %d in %s", told, took, tt.told, tt.took)
			}
			b.Publish(event(4)) // must not wait for anybody
			if s := b.Stats(); s.Published != 4 || s.Dropped == 0 {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

// TestNobodyListens: an event without subscribers costs nothing and waits for
// nobody.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	b, _ := newBus(shared(1, config.Block), slog.New(slog.DiscardHandler))
	for i := range 3 {
		b.Publish(event(i))
	}
	if s := b.Stats(); s != (Stats{}) {
		t.Errorf("counted %+v", s)
	}
}

// text is a buffer that one goroutine writes while another reads.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *text) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
