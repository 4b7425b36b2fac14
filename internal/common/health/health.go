// Package health says how a process is. It asks the checks it is given and puts
// their answers together; what there is to check, each role knows itself.
package health

import (
	"context"
	"time"
)

// A Status is how a process, or a part of it, is.
type Status string

// The statuses, from good to bad.
const (
	Healthy   Status = "healthy"
	Degraded  Status = "degraded"  // it works, and somebody should look
	Unhealthy Status = "unhealthy" // it cannot do its work now
)

// worse orders the statuses.
var worse = map[Status]int{Healthy: 0, Degraded: 1, Unhealthy: 2}

// A Check looks at one part of a process. Its message is for operators, is
// shown to anyone who may ask, and so must not hold secrets.
type Check struct {
	Name string // snake_case; the key in a [Report]
	Look func(ctx context.Context) (status Status, message string)
}

// A Result is what one check found.
type Result struct {
	Status      Status    `json:"status" enum:"healthy,degraded,unhealthy"`
	Message     string    `json:"message" doc:"What was found, for people"`
	DurationMS  float64   `json:"duration_ms" doc:"How long looking took"`
	LastChecked time.Time `json:"last_checked"`
}

// A Report is what all checks found; its status is the worst of theirs.
type Report struct {
	Status Status            `json:"status" enum:"healthy,degraded,unhealthy"`
	Checks map[string]Result `json:"checks"`
}

// Ready reports whether the process can do its work.
func (r Report) Ready() bool { return r.Status != Unhealthy }

// patience is how long all checks together may take: a probe that hangs says
// less than one that fails.
const patience = 2 * time.Second

// Look asks all checks, one after the other, and takes at most two seconds if
// they heed their context.
func Look(ctx context.Context, checks []Check) Report {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	report := Report{Status: Healthy, Checks: make(map[string]Result, len(checks))}
	for _, c := range checks {
		began := time.Now()
		status, message := c.Look(ctx)
		report.Checks[c.Name] = Result{
			Status: status, Message: message, LastChecked: began,
			DurationMS: float64(time.Since(began).Microseconds()) / 1000,
		}
		if worse[status] > worse[report.Status] {
			report.Status = status
		}
	}
	return report
}
