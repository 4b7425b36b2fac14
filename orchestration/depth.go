package orchestration

import (
	"context"
	"reflect"
	"runtime"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/common/depth"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/system"
)

// newProber returns what looks how much waits in the queues: those that
// orchestrators read, and those of the steps of every namespace.
func newProber(sys *system.Context) *depth.Prober {
	queues := func(ctx context.Context) ([]depth.Queue, error) {
		namespaces, err := postgres.Namespaces(ctx, sys.Pool)
		if err != nil {
			return nil, err
		}
		all := []depth.Queue{
			{Name: sys.Names.Results(), Late: depth.Late}, {Name: sys.Names.Requests(), Late: depth.Late}, {Name: sys.Names.Finalizations(), Late: depth.Late},
		}
		for _, namespace := range namespaces {
			queue, err := sys.Names.Steps(namespace)
			if err != nil {
				return nil, err
			}
			all = append(all, depth.Queue{Name: queue, Late: depth.LateSteps})
		}
		return all, nil
	}
	return depth.New(sys.Pool, queues, sys.Common.Queues.HealthCheckInterval.Duration(), sys.Log)
}

// nameOf names a loop as the code does, for people.
func nameOf(run func(context.Context)) string {
	name := runtime.FuncForPC(reflect.ValueOf(run).Pointer()).Name()
	return strings.TrimSuffix(name[strings.LastIndex(name, "/")+1:], "-fm")
}
