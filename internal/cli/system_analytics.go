package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newSystemPerformanceCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var hours int
	cmd := r.command(&cobra.Command{
		Use: "performance", Short: "Say how tasks and steps fared of late", Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		p, err := c.ReadPerformance(ctx, hours)
		if err != nil {
			return view{}, err
		}
		since := fmt.Sprintf("the last %d hours", p.Hours)
		if p.Sampled {
			since += ", of which the newest tasks count"
		}
		t := table{columns: []column{{title: "time of"}, {title: "mean", right: true}, {title: "half", right: true}, {title: "95 %", right: true}}}
		for _, line := range []struct {
			name string
			took apiclient.Spread
		}{{"a task", p.TaskTime}, {"a step", p.StepTime}, {"a step's wait for a worker", p.StepWait}} {
			t.add(line.name, span(line.took.Mean), span(line.took.P50), span(line.took.P95))
		}
		return view{raw: p.JSON, lines: func(s *screen) []string {
			head := factLines(s, []fact{
				{"in", since},
				{"tasks", fmt.Sprintf("%s: %s complete, %s open, %s failed, %s blocked", thousands(p.Tasks), thousands(p.Complete), thousands(p.Open), thousands(p.Failed), thousands(p.Blocked))},
				{"steps", fmt.Sprintf("%s, %s tried again", thousands(p.Steps), thousands(p.StepsRetried))},
				{"an hour", fmt.Sprintf("%.0f tasks, %.0f steps", p.TasksPerHour, p.StepsPerHour)},
			})
			return append(append(head, ""), t.lines(s)...)
		}}, nil
	})
	cmd.Flags().IntVar(&hours, "hours", 24, "how far back to look, 1 to 720")
	r.watchFlag(cmd)
	return cmd
}

// span writes seconds as people read them; nothing when there are none.
func span(seconds *float64) string {
	if seconds == nil {
		return ""
	}
	return milliseconds(time.Duration(*seconds * float64(time.Second)))
}

func newSystemBottlenecksCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var hours, limit int
	cmd := r.command(&cobra.Command{
		Use: "bottlenecks", Short: "Say what took long of late, and what to do about it", Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		found, err := c.FindBottlenecks(ctx, hours, limit)
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{
			{title: "template"}, {title: "step"}, {title: "runs", right: true}, {title: "failed", right: true}, {title: "mean", right: true}, {title: "95 %", right: true},
		}}
		for _, spots := range [][]apiclient.SlowSpot{found.Steps, found.Tasks} {
			for i := range spots {
				s := &spots[i]
				t.add(s.Namespace+"/"+s.Name+" "+s.Version, s.Step, strconv.Itoa(s.Executions), fmt.Sprintf("%.0f %%", 100*s.ErrorRate), span(&s.Mean), span(&s.P95))
			}
		}
		return view{raw: found.JSON, lines: func(s *screen) []string {
			lines := t.lines(s)
			if len(found.Recommendations) > 0 {
				lines = append(lines, "")
			}
			return append(lines, found.Recommendations...)
		}}, nil
	})
	cmd.Flags().IntVar(&hours, "hours", 24, "how far back to look, 1 to 720")
	cmd.Flags().IntVar(&limit, "limit", 10, "how many steps and how many templates at most, 1 to 100")
	return cmd
}
