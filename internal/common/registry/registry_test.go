package registry_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/registry"
	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// TestMember follows a process through the registry, from its start to its end.
func TestMember(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var running atomic.Int32
	id := uuid.Must(uuid.NewV7())
	m, err := registry.Enter(t.Context(), pool, postgres.Worker{
		Process: id, Role: "worker", WorkerID: "w", Namespaces: []string{"b"}, Capacity: 5, Beat: 10 * time.Millisecond,
	}, func() int { return int(running.Load()) }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, ok func(postgres.RegisteredWorker) bool) (found postgres.RegisteredWorker) {
		t.Helper()
		for {
			if found, err = postgres.FindWorker(t.Context(), pool, id); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if ok(found) {
				return found
			}
		}
	}
	first := await("entered", func(w postgres.RegisteredWorker) bool {
		return w.State == postgres.WorkerRunning || w.State == postgres.WorkerGone
	})
	if first.Capacity != 5 || first.Running != 0 {
		t.Errorf("entered as %+v", first)
	}
	ctx, drain := context.WithCancel(t.Context())
	over, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); m.Run(ctx, over) }()
	running.Store(3)
	await("beats", func(w postgres.RegisteredWorker) bool { return w.Running == 3 && w.LastSeenAt.After(first.LastSeenAt) })
	if err := m.ServeToo(t.Context(), []string{"a", "b"}, []string{"a/t/1.0.0"}); err != nil {
		t.Fatal(err)
	}
	await("serves more", func(w postgres.RegisteredWorker) bool {
		return len(w.Namespaces) == 2 && w.Namespaces[0] == "a" && len(w.Templates) == 1
	})
	drain()
	await("drains", func(w postgres.RegisteredWorker) bool { return w.State == postgres.WorkerDraining })
	end()
	<-ended
	if last := await("stops", func(w postgres.RegisteredWorker) bool { return w.State == postgres.WorkerStopped }); last.StoppedAt == nil || last.Running != 0 {
		t.Errorf("it stopped as %+v", last)
	}
}
