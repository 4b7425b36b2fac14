package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

const nightly = `{"name": "nightly", "namespace": "shapes", "template": "diamond", "version": "1.2.0", "context": {"n": 6},
	"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "tags": ["a"], "priority": 5, "time_field": "at"}`

// TestScheduleFromCreationToDeletion takes a schedule through its routes.
func TestScheduleFromCreationToDeletion(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	created := s.ask("POST", "/v1/schedules", nightly)
	schedule := read[web.Schedule](s, created, http.StatusCreated)
	if got := created.header.Get("Location"); got != "/v1/schedules/nightly" {
		t.Errorf("Location is %q", got)
	}
	if schedule.Overlap != "skip" || schedule.CatchUp != "last" || schedule.CatchUpMax != 10 || schedule.CatchUpWindow != 24*3600 ||
		schedule.Priority != 5 || *schedule.Version != "1.2.0" || string(schedule.Context.RawMessage) != `{"n":6}` {
		t.Errorf("created %+v", schedule)
	}
	if len(schedule.Upcoming) != 5 || !schedule.Upcoming[0].Equal(*schedule.NextRunAt) || !strings.Contains(created.body, "T02:30:00+0") {
		t.Errorf("times to come: %s", created.body)
	}

	for i, step := range []struct {
		method, path, body string
		want               func(web.Schedule) bool
	}{
		{"GET", "", "", func(n web.Schedule) bool { return n.NextRunAt.Equal(*schedule.NextRunAt) }},
		{"PATCH", "", `{"context": {"n": 7}, "catch_up": "none"}`, func(n web.Schedule) bool {
			return n.NextRunAt.Equal(*schedule.NextRunAt) && n.CatchUp == "none" && string(n.Context.RawMessage) == `{"n":7}` && n.Tags[0] == "a"
		}},
		{"PATCH", "", `{"time_zone": "America/New_York", "version": ""}`, func(n web.Schedule) bool {
			return !n.NextRunAt.Equal(*schedule.NextRunAt) && n.Version == nil
		}},
		{"POST", "/pause", "", func(n web.Schedule) bool { return n.Paused && n.NextRunAt == nil && n.Upcoming == nil }},
		{"POST", "/resume", "", func(n web.Schedule) bool { return !n.Paused && n.NextRunAt != nil }},
	} {
		changed := read[web.Schedule](s, s.ask(step.method, "/v1/schedules/nightly"+step.path, step.body), http.StatusOK)
		if !step.want(changed) {
			t.Errorf("step %d gave %+v", i+1, changed)
		}
	}

	triggered := read[struct {
		ID uuid.UUID `json:"task_uuid"`
	}](s, s.ask("POST", "/v1/schedules/nightly/trigger", ""), http.StatusCreated)
	task := read[web.Task](s, s.ask("GET", "/v1/tasks/"+triggered.ID.String(), ""), http.StatusOK)
	var context map[string]any
	if err := json.Unmarshal(task.Context.RawMessage, &context); err != nil || context["at"] == nil || context["n"] != 7.0 ||
		*task.Initiator != "schedule nightly" || *task.Reason != "triggered by hand" {
		t.Errorf("task %+v, %v", task, err)
	}
	runs := read[struct {
		Runs []web.ScheduleRun `json:"runs"`
	}](s, s.ask("GET", "/v1/schedules/nightly/runs", ""), http.StatusOK).Runs
	if len(runs) != 1 || !runs[0].Manual || runs[0].Outcome != "created" || *runs[0].TaskID != triggered.ID {
		t.Errorf("runs %+v", runs)
	}
	if got := s.ask("DELETE", "/v1/schedules/nightly", ""); got.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", got.status, got.body)
	}
	if got := s.ask("GET", "/v1/schedules/nightly", ""); got.status != http.StatusNotFound {
		t.Errorf("after its deletion: %d", got.status)
	}
	if got := s.ask("GET", "/v1/tasks/"+triggered.ID.String(), ""); got.status != http.StatusOK {
		t.Errorf("its task: %d", got.status)
	}
}

// TestListSchedules reads page by page.
func TestListSchedules(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for i := range 5 {
		s.ask("POST", "/v1/schedules", strings.Replace(nightly, "nightly", fmt.Sprint("s", i), 1))
	}
	var names []string
	for after := ""; ; {
		page := read[struct {
			Schedules []web.Schedule `json:"schedules"`
			Next      string         `json:"next"`
		}](s, s.ask("GET", "/v1/schedules?limit=2&after="+after, ""), http.StatusOK)
		for _, one := range page.Schedules {
			names = append(names, one.Name)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "s0 s1 s2 s3 s4" {
		t.Errorf("got %s", got)
	}
}

// TestScheduleRefusals: each mistake by its status, code and words.
func TestScheduleRefusals(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	s.ask("POST", "/v1/schedules", nightly)
	other := strings.Replace(nightly, "nightly", "other", 1)
	with := func(field, value string) string {
		return strings.Replace(other, `"tags": ["a"]`, `"`+field+`": `+value, 1)
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "", nightly, 409, `create schedule \"nightly\": exists already`},
		{"POST", "", strings.Replace(other, "30 2", "60 2", 1), 400, `minute \"60\": \"60\" is no number from 0 to 59`},
		{"POST", "", strings.Replace(other, "Europe/Berlin", "Mars/Olympus", 1), 400, `time zone \"Mars/Olympus\" is unknown`},
		{"POST", "", strings.Replace(other, `"other"`, `"a b"`, 1), 400, "body.name"},
		{"POST", "", with("overlap", `"sometimes"`), 400, "body.overlap"},
		{"POST", "", with("catch_up", `"all"`), 400, "catch_up all starts several tasks at once, so it needs overlap allow"},
		{"POST", "", with("catch_up_max", "101"), 400, "body.catch_up_max"},
		{"POST", "", with("tags", `["\u0000"]`), 400, "cannot store the character"},
		{"POST", "", `{"name": "x", "namespace": "shapes", "template": "diamond"}`, 400, "cron"},
		{"PATCH", "/nightly", `{"cron": "0 0 31 2 *"}`, 400, "there is no such day"},
		{"PATCH", "/nightly", `{"name": "renamed"}`, 400, "body.name"},
		{"PATCH", "/nobody", `{}`, 404, "NOT_FOUND"},
		{"POST", "/nobody/trigger", ``, 404, "NOT_FOUND"},
		{"POST", "/nobody/pause", ``, 404, "NOT_FOUND"},
		{"DELETE", "/nobody", ``, 404, "NOT_FOUND"},
		{"GET", "/nobody/runs", ``, 404, "NOT_FOUND"},
	} {
		got := s.ask(tt.method, "/v1/schedules"+tt.path, tt.body)
		if got.status != tt.status || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s %s %s: got %d %s, want %d %s", tt.method, tt.path, tt.body, got.status, got.body, tt.status, tt.want)
		}
	}
	s.ask("POST", "/v1/schedules", strings.Replace(other, `"diamond"`, `"nothing"`, 1))
	if got := s.ask("POST", "/v1/schedules/other/trigger", ""); got.status != 404 || !strings.Contains(got.body, "UNKNOWN_TEMPLATE") {
		t.Errorf("trigger without a template: %d %s", got.status, got.body)
	}
}
