package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/migrations"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

type workers struct {
	Workers []web.Worker
	Next    *uuid.UUID
}

// TestWorkers reads a registry with a process in each state.
func TestWorkers(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	ids := map[string]uuid.UUID{}
	for _, w := range []postgres.Worker{
		{WorkerID: "decides", Role: "orchestration"},
		{WorkerID: "works", Role: "worker", Namespaces: []string{"a", "b"}, Handlers: []string{"h"}, Templates: []string{"a/t/1.0.0"}, Capacity: 8, Running: 3, Version: "v1"},
		{WorkerID: "drains", Role: "worker", Namespaces: []string{"a"}, Draining: true, Version: "v1"},
		{WorkerID: "silent", Role: "combined", Namespaces: []string{"b"}, Capacity: 2, Version: "v1"},
		{WorkerID: "over", Role: "worker", Namespaces: []string{"a"}, Version: "v1"},
	} {
		w.Process, w.Beat = uuid.Must(uuid.NewV7()), time.Hour
		ids[w.WorkerID] = w.Process
		if err := postgres.Beat(t.Context(), s.db, &w); err != nil {
			t.Fatal(err)
		}
	}
	s.exec(`update tasker.workers set last_seen_at = now() - interval '3 hours 1 minute' where worker_id = 'silent'`)
	s.exec(`update tasker.workers set last_seen_at = now() - interval '2 hours' where worker_id = 'works'`)
	if err := postgres.StopWorker(t.Context(), s.db, ids["over"]); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"":                           "silent gone, drains draining, works running, decides running",
		"?state=stopped":             "over stopped",
		"?state=gone":                "silent gone",
		"?state=draining":            "drains draining",
		"?state=running&role=worker": "works running",
		"?namespace=a":               "drains draining, works running",
		"?limit=1":                   "silent gone, …",
		"?after=" + ids["works"].String() + "&limit=1": "decides running",
	} {
		page := read[workers](s, s.ask("GET", "/v1/workers"+query, ""), http.StatusOK)
		var got []string
		for _, w := range page.Workers {
			got = append(got, w.WorkerID+" "+w.State)
		}
		if page.Next != nil {
			got = append(got, "…")
		}
		if all := strings.Join(got, ", "); all != want {
			t.Errorf("%s: %s, want %s", query, all, want)
		}
	}
	one := read[web.Worker](s, s.ask("GET", "/v1/workers/"+ids["works"].String(), ""), http.StatusOK)
	if one.Handlers[0] != "h" || one.Templates[0] != "a/t/1.0.0" || one.Capacity != 8 || one.Running != 3 || one.Version != "v1" || one.StoppedAt != nil {
		t.Errorf("the worker is %+v", one)
	}
	if over := read[web.Worker](s, s.ask("GET", "/v1/workers/"+ids["over"].String(), ""), http.StatusOK); over.StoppedAt == nil {
		t.Errorf("the worker that stopped is %+v", over)
	}
	s.refused(s.ask("GET", "/v1/workers/"+uuid.NewString(), ""), http.StatusNotFound, "not found")
	s.refused(s.ask("GET", "/v1/workers?state=asleep", ""), http.StatusBadRequest, "state")

	system := read[web.System](s, s.ask("GET", "/v1/system", ""), http.StatusOK)
	if d := system.Database; d.SchemaVersion != migrations.Newest() || d.KnownVersion != d.SchemaVersion || d.ServerVersion == "" {
		t.Errorf("the database is %+v", d)
	}
	if g := system.Processes; len(g) != 4 || g[0].Role != "combined" || g[0].State != "gone" || g[3] != (web.ProcessGroup{
		Role: "worker", State: "running", Version: "v1", Processes: 1, Capacity: 8, Running: 3,
	}) || system.Templates != 2 || system.Environment != "test" {
		t.Errorf("the system is %+v", system)
	}
	if n, err := postgres.DropWorkers(t.Context(), s.db, 150*time.Minute); n != 1 || err != nil {
		t.Errorf("dropped %d processes (%v), want the silent one", n, err)
	}
}
