package health

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Parts are the loops that a role consists of. One that returns although its
// role goes on is a fault that nothing else would show. It is safe for
// concurrent use.
type Parts struct {
	mu      sync.Mutex
	running map[string]bool
}

// NewParts returns no parts yet.
func NewParts() *Parts { return &Parts{running: map[string]bool{}} }

// Run runs a part until it returns, which it must not do before ctx ends.
func (p *Parts) Run(ctx context.Context, name string, run func(context.Context)) {
	p.set(name, true)
	run(ctx)
	p.set(name, ctx.Err() != nil)
}

func (p *Parts) set(name string, running bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[name] = running
}

// Check is unhealthy while a part does not run that should.
func (p *Parts) Check(name string) Check {
	return Check{Name: name, Look: func(context.Context) (Status, string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		var ended []string
		for _, name := range slices.Sorted(maps.Keys(p.running)) {
			if !p.running[name] {
				ended = append(ended, name)
			}
		}
		if ended != nil {
			return Unhealthy, "ended although they should run: " + strings.Join(ended, ", ")
		}
		return Healthy, fmt.Sprintf("all %d parts run", len(p.running))
	}}
}
