package config

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// A Provider gives the configuration that is in effect now. A [*Config] is one
// that never changes, a [*Live] one that a reload may change.
type Provider interface {
	// Current returns the configuration, which must not be changed. Who wants to
	// follow a reload asks again for every use.
	Current() *Config
}

// Current returns c.
func (c *Config) Current() *Config { return c }

// Live is the configuration of a running process. It can be loaded anew; values
// of keys tagged reload:"live" change then, the others stay what they were when
// the process started. Its methods may be called concurrently.
type Live struct {
	context Context
	opts    Options

	now atomic.Pointer[running]

	mu    sync.Mutex // serializes reloads
	stats LoadStats
}

// running is a configuration in effect.
type running struct {
	loaded  *Loaded
	pending []string
}

// LoadStats count the loads of a [Live].
type LoadStats struct {
	Loads    int       // that succeeded, the first one included
	Failures int       // that did not, and changed nothing
	Last     time.Time // of the last one that succeeded
	Notes    int       // warnings and conversions of the last one that succeeded
}

// A Reloaded says what a reload came to. Keys are dotted and in the order of the
// documents.
type Reloaded struct {
	Applied []Applied // the values that have changed in the process
	Pending []string  // the keys whose new value needs a restart
}

// Applied is a value that a reload has changed.
type Applied struct {
	Key      string
	From, To string // as TOML, *** for a secret
}

// LoadLive is [Load] for a process that may load its configuration anew from the
// same Options.
func LoadLive(c Context, opts Options) (*Live, error) {
	loaded, err := Resolve(c, opts)
	if err != nil {
		return nil, err
	}
	l := &Live{context: c, opts: opts}
	l.adopt(&running{loaded: loaded}, loaded)
	return l, nil
}

// Current returns the configuration in effect, which must not be changed.
func (l *Live) Current() *Config { return l.Loaded().Config }

// Loaded returns the configuration in effect with what there is to say about it.
// After a reload, values that need a restart are still the old ones, with the
// places they came from.
func (l *Live) Loaded() *Loaded { return l.now.Load().loaded }

// Pending lists the keys that the files give another value than the process has,
// since they need a restart.
func (l *Live) Pending() []string { return l.now.Load().pending }

// Stats returns how the loads went so far.
func (l *Live) Stats() LoadStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Reload loads the configuration anew. When it cannot be used, as it is or
// together with the values that need a restart, the error says why, as that of
// [Load] does, and nothing changes.
func (l *Live) Reload() (*Reloaded, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.Loaded()
	fresh, err := Resolve(l.context, l.opts)
	if err != nil {
		l.stats.Failures++
		return nil, err
	}
	blended, err := before.blend(fresh)
	if err != nil {
		l.stats.Failures++
		return nil, err
	}
	changes := &Reloaded{}
	after := settingsByKey(blended)
	wanted := settingsByKey(fresh)
	for _, s := range before.Settings() {
		if now := after[s.Key]; !s.equals(now) {
			changes.Applied = append(changes.Applied, Applied{Key: s.Key, From: s.Shown(), To: now.Shown()})
		}
		if !after[s.Key].equals(wanted[s.Key]) {
			changes.Pending = append(changes.Pending, s.Key)
		}
		delete(wanted, s.Key)
	}
	for _, s := range fresh.Settings() { // in order
		if _, added := wanted[s.Key]; added {
			changes.Pending = append(changes.Pending, s.Key)
		}
	}
	l.adopt(&running{blended, changes.Pending}, fresh)
	return changes, nil
}

// adopt puts a configuration into effect, which came of a load. The caller holds
// the lock, or has the only reference to l.
func (l *Live) adopt(r *running, fresh *Loaded) {
	l.now.Store(r)
	l.stats.Loads++
	l.stats.Last = time.Now()
	l.stats.Notes = len(fresh.Warnings.Problems) + len(fresh.Notes)
}

// blend returns l with the values of fresh that may change in a running process.
func (l *Loaded) blend(fresh *Loaded) (*Loaded, error) {
	tree := tomltree.Blend(l.Effective(), fresh.Effective(), func(key string) bool {
		f := schema().Field(key)
		return f != nil && f.IsLive()
	})
	cfg := &Config{}
	report := &Report{}
	unsure, problems := schema().Decode(tree, cfg)
	report.Add(problems...)
	c := &checker{cfg: cfg, tree: tree, unsure: unsure, report: report}
	c.run(l.Context)
	finish(report)
	if err := report.Err(); err != nil {
		return nil, err
	}
	return &Loaded{
		Config: cfg, Context: l.Context, Sources: fresh.Sources, Warnings: fresh.Warnings, Notes: fresh.Notes, tree: tree,
	}, nil
}

func settingsByKey(l *Loaded) map[string]Setting {
	byKey := map[string]Setting{}
	for _, s := range l.Settings() {
		byKey[s.Key] = s
	}
	return byKey
}

// equals compares values, secrets included; what is absent has none.
func (s Setting) equals(other Setting) bool {
	if s.Value == nil || other.Value == nil {
		return s.Value == other.Value
	}
	a, errA := s.Value.MarshalJSON()
	b, errB := other.Value.MarshalJSON()
	return errA == nil && errB == nil && slices.Equal(a, b)
}
