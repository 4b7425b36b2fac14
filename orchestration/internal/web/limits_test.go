package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

type limitPage struct {
	Limits []web.Limit `json:"limits"`
	Next   string      `json:"next"`
}

// TestLimits sets limits over those that templates declare, and takes them away.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	five := int32(5)
	declared := []postgres.Limit{{Name: "key:a/b c", MaxConcurrent: &five}, {Name: "key:z", MaxConcurrent: &five}}
	if err := postgres.DeclareLimits(t.Context(), s.db, declared); err != nil {
		t.Fatal(err)
	}
	set := read[web.Limit](s, s.ask("PUT", "/v1/limits/key:a%2Fb%20c", `{"rate": 0.5, "per_seconds": 60}`), http.StatusOK)
	if set.Name != "key:a/b c" || set.Origin != "operator" || set.Concurrency != nil || set.Rate != 0.5 || set.Per != 60 || set.Burst != 1 ||
		set.Declared == nil || *set.Declared.Concurrency != 5 {
		t.Errorf("set %+v", set)
	}
	read[web.Limit](s, s.ask("PUT", "/v1/limits/namespace:shapes", `{"concurrency": 0}`), http.StatusOK)

	var names []string
	for after := ""; ; {
		page := read[limitPage](s, s.ask("GET", "/v1/limits?limit=2&after="+strings.ReplaceAll(after, " ", "%20"), ""), http.StatusOK)
		for _, l := range page.Limits {
			names = append(names, l.Name+" by "+l.Origin)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if got, want := strings.Join(names, ", "), "key:a/b c by operator, key:z by declared, namespace:shapes by operator"; got != want {
		t.Errorf("listed %s, want %s", got, want)
	}

	if a := s.ask("DELETE", "/v1/limits/key:a%2Fb%20c", ""); a.status != http.StatusNoContent {
		t.Errorf("removing it answers %d, %s", a.status, a.body)
	}
	if a := s.ask("DELETE", "/v1/limits/key:a%2Fb%20c", ""); a.status != http.StatusNotFound {
		t.Errorf("removing it again answers %d, %s", a.status, a.body)
	}
	page := read[limitPage](s, s.ask("GET", "/v1/limits?name=key:a%2Fb%20c", ""), http.StatusOK)
	if len(page.Limits) != 1 || page.Limits[0].Origin != "declared" || *page.Limits[0].Concurrency != 5 {
		t.Errorf("after that it is %+v", page.Limits)
	}
}

// TestLimitsRefused: what cannot be a limit is refused with the reason.
func TestLimitsRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for _, tt := range []struct{ name, body, says string }{
		{"payments", `{"concurrency": 1}`, "must be namespace:NAME or key:KEY"},
		{"batch:1", `{"concurrency": 1}`, "must be namespace:NAME or key:KEY"},
		{"key:", `{"concurrency": 1}`, "must be namespace:NAME or key:KEY"},
		{"key:a", `{}`, "it limits nothing"},
		{"key:a", `{"concurrency": -1}`, "body.concurrency"},
		{"key:a", `{"concurrency": 1, "burst": 2}`, "belong to a rate"},
		{"key:a", `{"rate": 1, "burst": 0.5}`, "must be at least 1"},
		{"namespace:a", `{"rate": 1}`, "a namespace has no rate"},
	} {
		a := s.ask("PUT", "/v1/limits/"+tt.name, tt.body)
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s %s: got %d, %s", tt.name, tt.body, a.status, a.body)
		}
	}
	if page := read[limitPage](s, s.ask("GET", "/v1/limits", ""), http.StatusOK); len(page.Limits) != 0 {
		t.Errorf("it set %+v", page.Limits)
	}
}
