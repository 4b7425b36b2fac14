package web

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/health"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
)

// An Info says which process answers.
type Info struct {
	Role        string    `json:"role" enum:"orchestration,worker"`
	Environment string    `json:"environment" example:"production"`
	Process     string    `json:"process_name"`
	Started     time.Time `json:"started_at"`
}

type alive struct {
	Body struct {
		Status health.Status `json:"status" enum:"healthy"`
		Role   string        `json:"role"`
	}
}

type readiness struct {
	Body health.Report
}

type detailed struct {
	Body struct {
		health.Report

		Info Info `json:"info"`
	}
}

// HandleHealth adds the routes by which others see how the process is:
//
//   - /health and /health/live answer as long as it can answer at all;
//   - /health/ready answers with a problem while a check is unhealthy;
//   - /health/detailed says what each check found, always with status 200.
func HandleHealth(a *API, info Info, checks []health.Check) {
	live := func(context.Context, *struct{}) (*alive, error) {
		out := &alive{}
		out.Body.Status, out.Body.Role = health.Healthy, info.Role
		return out, nil
	}
	route := func(id, path, summary string) Route {
		return Route{ID: id, Method: http.MethodGet, Path: path, Summary: summary, Group: "health", Permission: permission.Public}
	}
	Handle(a, route("health", "/health", "Say that the process lives"), live)
	Handle(a, route("health-live", "/health/live", "Say that the process lives"), live)
	Handle(a, route("health-ready", "/health/ready", "Say whether the process can do its work"),
		func(ctx context.Context, _ *struct{}) (*readiness, error) {
			report := health.Look(ctx, checks)
			if !report.Ready() {
				return nil, notReady(ctx, report)
			}
			return &readiness{Body: report}, nil
		})
	Handle(a, route("health-detailed", "/health/detailed", "Say how each part of the process is"),
		func(ctx context.Context, _ *struct{}) (*detailed, error) {
			out := &detailed{}
			out.Body.Report, out.Body.Info = health.Look(ctx, checks), info
			return out, nil
		})
}

func notReady(ctx context.Context, report health.Report) *Problem {
	p := newProblem(NotReady, "the process cannot do its work now", requestID(ctx))
	for _, name := range slices.Sorted(maps.Keys(report.Checks)) {
		if found := report.Checks[name]; found.Status == health.Unhealthy {
			p.Errors = append(p.Errors, Detail{Message: found.Message, Location: name})
		}
	}
	return p
}
