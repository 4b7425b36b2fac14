package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

// scheduleLayout shows a time with its day of the week and its zone.
const scheduleLayout = "Mon 2006-01-02 15:04:05 -07:00"

// print prints a schedule with its next times.
func (s *scheduleCommand) print(schedule *apiclient.Schedule) error {
	if s.json {
		return printJSON(s.env, schedule.JSON)
	}
	lines := []struct{ name, value string }{
		{"schedule", schedule.Name},
		{"template", scheduledTemplate(schedule)},
		{"cron", schedule.Cron + ", " + schedule.TimeZone},
		{"overlap", schedule.Overlap},
		{"catch up", catchUp(schedule)},
		{"context", string(schedule.Context)},
		{"last run", shownTime(schedule.LastRunAt)},
		{"last task", schedule.LastTaskID},
		{"last error", schedule.LastError},
	}
	for _, line := range lines {
		if line.value != "" {
			fmt.Fprintf(s.env.Stdout, "%-11s%s\n", line.name, line.value)
		}
	}
	switch {
	case schedule.Paused:
		fmt.Fprintln(s.env.Stdout, "paused")
	case len(schedule.Upcoming) == 0:
		fmt.Fprintln(s.env.Stdout, "no time is left")
	}
	for _, at := range schedule.Upcoming {
		fmt.Fprintf(s.env.Stdout, "%-11s%s\n", "next", at.Format(scheduleLayout))
	}
	return nil
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
	s := scheduleCommand{env: env}
	var after string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List schedules by name",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.server.client()
			if err != nil {
				return err
			}
			page, err := c.ListSchedules(cmd.Context(), after, limit)
			if err != nil {
				return s.server.explain(err)
			}
			if s.json {
				return printJSON(env, page.JSON)
			}
			printSchedules(env, page)
			return nil
		},
	}
	cmd.Flags().StringVar(&after, "after", "", "only schedules after this name")
	cmd.Flags().IntVar(&limit, "limit", 25, "how many at most, 1 to 100")
	s.flags(cmd)
	return cmd
}

func printSchedules(env Env, page *apiclient.SchedulePage) {
	t := table{columns: []column{{title: "schedule"}, {title: "template"}, {title: "cron"}, {title: "zone"}, {title: "next"}, {title: "last error"}}}
	for i := range page.Schedules {
		s := &page.Schedules[i]
		next := shownTime(s.NextRunAt)
		if s.Paused {
			next = "paused"
		}
		t.add(s.Name, scheduledTemplate(s), s.Cron, s.TimeZone, next, s.LastError)
	}
	printTable(env, &t)
	if page.Next != "" {
		fmt.Fprintf(env.Stderr, "there are more; go on with --after %s\n", page.Next)
	}
}

func newScheduleRunsCommand(env Env) *cobra.Command {
	s := scheduleCommand{env: env}
	var limit int
	cmd := &cobra.Command{
		Use:   "runs NAME",
		Short: "List what became of the last times of a schedule, newest first",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.server.client()
			if err != nil {
				return err
			}
			runs, err := c.ListScheduleRuns(cmd.Context(), args[0], limit)
			if err != nil {
				return s.server.explain(err)
			}
			if s.json {
				return printJSON(env, runs.JSON)
			}
			t := table{columns: []column{{title: "scheduled for"}, {title: "outcome"}, {title: "task or reason"}}}
			for _, r := range runs.Runs {
				outcome := r.Outcome
				if r.Manual {
					outcome += " by hand"
				}
				t.add(r.ScheduledFor.Local().Format(time.DateTime), outcome, r.TaskID+r.Reason)
			}
			printTable(env, &t)
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 25, "how many at most, 1 to 100")
	s.flags(cmd)
	return cmd
}
