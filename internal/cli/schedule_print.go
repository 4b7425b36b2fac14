package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

// scheduleLayout shows a time with its day of the week and its zone.
const scheduleLayout = "Mon 2006-01-02 15:04:05 -07:00"

// scheduleLines shows a schedule with its next times.
func scheduleLines(schedule *apiclient.Schedule) []string {
	var lines []string
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, fmt.Sprintf("%-11s%s", name, value))
		}
	}
	add("schedule", schedule.Name)
	add("template", scheduledTemplate(schedule))
	add("cron", schedule.Cron+", "+schedule.TimeZone)
	add("overlap", schedule.Overlap)
	add("catch up", catchUp(schedule))
	add("context", string(schedule.Context))
	add("last run", shownTime(schedule.LastRunAt))
	add("last task", schedule.LastTaskID)
	add("waits", shownTime(schedule.BufferedFor))
	add("last error", schedule.LastError)
	switch {
	case schedule.Paused:
		lines = append(lines, "paused")
	case len(schedule.Upcoming) == 0:
		lines = append(lines, "no time is left")
	}
	for _, at := range schedule.Upcoming {
		add("next", at.Format(scheduleLayout))
	}
	return lines
}

func scheduledTemplate(s *apiclient.Schedule) string {
	name := s.Namespace + "/" + s.Template
	if s.Version != "" {
		name += "@" + s.Version
	}
	return name
}

func catchUp(s *apiclient.Schedule) string {
	if s.CatchUp != "all" {
		return s.CatchUp
	}
	return fmt.Sprintf("all, at most %d, within %s", s.CatchUpMax, time.Duration(s.CatchUpWindow)*time.Second)
}

// shownTime is a time in the zone of the reader; nothing when there is none.
func shownTime(at *time.Time) string {
	if at == nil {
		return ""
	}
	return at.Local().Format(time.DateTime)
}

func newScheduleListCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var after string
	var limit int
	cmd := r.command(&cobra.Command{
		Use: "list", Short: "List schedules by name", Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		page, err := c.ListSchedules(ctx, after, limit)
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{{title: "schedule"}, {title: "template"}, {title: "cron"}, {title: "zone"}, {title: "next"}, {title: "last error"}}}
		for i := range page.Schedules {
			s := &page.Schedules[i]
			next := shownTime(s.NextRunAt)
			if s.Paused {
				next = "paused"
			}
			t.add(s.Name, scheduledTemplate(s), s.Cron, s.TimeZone, next, s.LastError)
		}
		return view{raw: page.JSON, lines: tabled(&t), next: page.Next}, nil
	})
	cmd.Flags().StringVar(&after, "after", "", "only schedules after this name")
	cmd.Flags().IntVar(&limit, "limit", 25, "how many at most, 1 to 100")
	r.watchFlag(cmd)
	return cmd
}

func newScheduleRunsCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var limit int
	cmd := r.command(&cobra.Command{
		Use: "runs NAME", Short: "List what became of the last times of a schedule, newest first", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		runs, err := c.ListScheduleRuns(ctx, args[0], limit)
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{{title: "scheduled for"}, {title: "outcome"}, {title: "task or reason"}}}
		for _, run := range runs.Runs {
			outcome := run.Outcome
			if run.Manual {
				outcome += " by hand"
			}
			t.add(run.ScheduledFor.Local().Format(time.DateTime), outcome, run.TaskID+run.Reason)
		}
		return view{raw: runs.JSON, lines: tabled(&t)}, nil
	})
	cmd.Flags().IntVar(&limit, "limit", 25, "how many at most, 1 to 100")
	return r.completes(cmd, scheduleWords)
}
