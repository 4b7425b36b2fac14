package client_test

import (
	"errors"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
)

// TestSchedules takes a schedule through all that a client can do with it.
func TestSchedules(t *testing.T) {
	t.Parallel()
	e := start(t)
	wanted := client.Schedule{
		Name: "nightly", Task: request(map[string]int{"n": 1}), TimeField: "at", Cron: "0 3 * * *", TimeZone: "Europe/Berlin",
		Overlap: client.OverlapAllow, CatchUp: client.CatchUpAll, CatchUpWindow: time.Hour,
	}
	created, err := e.Client.CreateSchedule(t.Context(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	if !created.NextRunAt.After(time.Now().Add(-time.Minute)) || created.CatchUpMax != 10 || created.CatchUpWindow != time.Hour ||
		created.Task.Template != "echo" || created.TimeField != "at" {
		t.Errorf("created %+v", created)
	}
	if _, err := e.Client.CreateSchedule(t.Context(), wanted); !errors.Is(err, client.ErrExists) {
		t.Errorf("the same name again: %v", err)
	}
	id, err := e.Client.TriggerSchedule(t.Context(), "nightly")
	if err != nil {
		t.Fatal(err)
	}
	if task := e.Wait(id); task.State != tasker.TaskComplete {
		t.Errorf("task is %s", task.State)
	}
	if err := e.Client.PauseSchedule(t.Context(), "nightly"); err != nil {
		t.Fatal(err)
	}
	if s, err := e.Client.Schedule(t.Context(), "nightly"); err != nil || !s.Paused || !s.NextRunAt.IsZero() || s.LastTaskID != id {
		t.Errorf("paused: %+v, %v", s, err)
	}
	if err := e.Client.ResumeSchedule(t.Context(), "nightly"); err != nil {
		t.Fatal(err)
	}
	if s, err := e.Client.Schedule(t.Context(), "nightly"); err != nil || s.Paused || s.NextRunAt.IsZero() {
		t.Errorf("resumed: %+v, %v", s, err)
	}
	if err := e.Client.DeleteSchedule(t.Context(), "nightly"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client.Schedule(t.Context(), "nightly"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	wanted.Cron, wanted.Task.Context = "0 3 * *", 7
	if _, err := e.Client.CreateSchedule(t.Context(), wanted); !errors.Is(err, client.ErrInvalidSchedule) {
		t.Errorf("wrong: %v", err)
	}
	wanted.Task.Context = func() {}
	if _, err := e.Client.CreateSchedule(t.Context(), wanted); !errors.Is(err, client.ErrInvalidSchedule) {
		t.Errorf("no JSON: %v", err)
	}
}
