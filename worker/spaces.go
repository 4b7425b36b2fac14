package worker

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/tasker-systems/tasker-go/internal/common/eventsystem"
	"github.com/tasker-systems/tasker-go/internal/common/system"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// A space is a namespace that the worker serves.
type space struct {
	namespace string
	queue     string
	wake      *eventsystem.Signal
	limited   atomic.Bool // it had a limit when last looked at: steps that end make room
	delivered *deliveries // of RabbitMQ; nil with pgmq
}

// spacesOf returns the namespaces of templates. Of each, RabbitMQ delivers so many
// steps in advance.
func spacesOf(sys *system.Context, all []*templates.Template, prefetch int) (map[string]*space, error) {
	spaces := map[string]*space{}
	for _, t := range all {
		if spaces[t.Namespace] != nil {
			continue
		}
		queue, err := sys.Names.Steps(t.Namespace)
		if err != nil {
			return nil, err
		}
		sp := &space{namespace: t.Namespace, queue: queue, wake: eventsystem.NewSignal()}
		if sys.Broker != nil {
			sp.delivered = newDeliveries(sys.Broker, queue, prefetch, sp.wake.Raise)
		}
		spaces[t.Namespace] = sp
	}
	return spaces, nil
}

// space returns the namespace if the worker serves it, else nil.
func (r *runner) space(namespace string) *space {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spaces[namespace]
}

// namespaces are the names of those that the worker serves, sorted.
func (r *runner) namespaces() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.spaces))
}

// serveToo begins to serve the namespaces of templates that came to be
// registered, and returns those that are new.
func (r *runner) serveToo(ctx context.Context, role Role, fresh []*templates.Template) []*space {
	warnOfMissingHandlers(ctx, r.log, role.Handlers, fresh)
	spaces, err := spacesOf(r.sys, fresh, prefetch(r.sys.Common.Queues, r.cfg))
	if err != nil { // registration has named the queues already
		r.log.ErrorContext(ctx, "namespaces of reloaded templates are not served", "error", err)
		return nil
	}
	r.mu.Lock()
	maps.DeleteFunc(spaces, func(namespace string, _ *space) bool { return r.spaces[namespace] != nil })
	maps.Copy(r.spaces, spaces)
	r.mu.Unlock()
	if err := r.member.ServeToo(ctx, slices.Collect(maps.Keys(spaces)), namesOf(fresh)); err != nil {
		r.log.WarnContext(ctx, "the registry shows reloaded templates at the next heartbeat", "error", err)
	}
	if len(spaces) == 0 {
		return nil
	}
	select {
	case r.moreSpaces <- struct{}{}:
	default:
	}
	return slices.Collect(maps.Values(spaces))
}

// listen wakes the claiming of each namespace when it is notified, until ctx
// ends. It connects anew when the worker comes to serve further namespaces.
func (r *runner) listen(ctx context.Context) {
	for ctx.Err() == nil {
		listening, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		r.listener.Follow(r.signals())
		go func() { defer close(ended); r.listener.Run(listening) }()
		select {
		case <-r.moreSpaces:
		case <-ctx.Done():
		}
		stop()
		<-ended
	}
}

func (r *runner) signals() map[string]*eventsystem.Signal {
	r.mu.Lock()
	defer r.mu.Unlock()
	signals := make(map[string]*eventsystem.Signal, 2*len(r.spaces))
	for _, sp := range r.spaces {
		if sp.delivered == nil {
			signals[r.sys.Names.StepsChannel(sp.namespace)] = sp.wake
		}
		signals[r.sys.Names.RecallsChannel(sp.namespace)] = r.recalled
	}
	return signals
}
