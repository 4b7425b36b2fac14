package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
	"github.com/tasker-systems/tasker-go/internal/common/cron"
)

func newScheduleCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Create tasks at the times of a cron expression",
		Long: "Create tasks at the times of a cron expression, through the HTTP API of an orchestrator.\n" +
			"docs/schedules.md says what happens when clocks are set, runs overlap or are missed.",
	}
	cmd.AddCommand(
		newScheduleCreateCommand(env),
		newScheduleUpdateCommand(env),
		newScheduleListCommand(env),
		newScheduleActionCommand(env, "show NAME", "Print a schedule with its next times", (*apiclient.Client).FindSchedule),
		newScheduleRunsCommand(env),
		newScheduleActionCommand(env, "pause NAME", "Pause a schedule", (*apiclient.Client).PauseSchedule),
		newScheduleActionCommand(env, "resume NAME", "Resume a schedule; what it missed is not made up for", (*apiclient.Client).ResumeSchedule),
		newScheduleTriggerCommand(env),
		newScheduleDeleteCommand(env),
		newSchedulePreviewCommand(env),
	)
	return cmd
}

// A scheduleAsk does something with a schedule and returns it.
type scheduleAsk func(ctx context.Context, c *apiclient.Client, args []string) (*apiclient.Schedule, error)

// newScheduleAskCommand completes a command that prints a schedule.
func newScheduleAskCommand(env Env, cmd *cobra.Command, do scheduleAsk) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(cmd, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		schedule, err := do(ctx, c, args)
		if err != nil {
			return view{}, err
		}
		return view{raw: schedule.JSON, lines: func(*screen) []string { return scheduleLines(schedule) }}, nil
	}), scheduleWords)
}

// scheduleFlags are the flags of create and update, by the field of the API that
// they set.
type scheduleFlags struct {
	input                 string
	timeField, cron, zone string
	overlap, catchUp      string
	priority, catchUpMax  int
	catchUpWindow         time.Duration
	tags                  []string
	paused                bool
	template              string // NAMESPACE/NAME[@VERSION]
}

func (f *scheduleFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.cron, "cron", "", `when, as "30 2 * * *" (minute, hour, day, month, weekday) or @daily`)
	flags.StringVar(&f.zone, "time-zone", "UTC", "where, as Europe/Berlin")
	flags.StringVar(&f.input, "context", "{}", "input of each task: a JSON object, @FILE, or - for standard input")
	flags.StringVar(&f.timeField, "time-field", "", "field of the context that gets the scheduled time")
	flags.IntVar(&f.priority, "priority", 0, "of each task, -100 to 100, higher first")
	flags.StringSliceVar(&f.tags, "tag", nil, "of each task; may be given several times")
	flags.StringVar(&f.overlap, "overlap", "skip", "while the last task has not ended: skip, allow, buffer_one or cancel_other")
	flags.StringVar(&f.catchUp, "catch-up", "last", "of the times missed start none, the last or all")
	flags.IntVar(&f.catchUpMax, "catch-up-max", 10, "how many runs all starts at most, 1 to 100")
	flags.DurationVar(&f.catchUpWindow, "catch-up-window", 24*time.Hour, "how late all starts a run, 1m to 744h")
	flags.BoolVar(&f.paused, "paused", false, "create it paused")
}

// fields are those of the flags that were given.
func (f *scheduleFlags) fields(env Env, cmd *cobra.Command) (apiclient.Fields, error) {
	fields := apiclient.Fields{}
	for flag, value := range map[string]struct {
		field string
		value any
	}{
		"cron":            {"cron", f.cron},
		"time-zone":       {"time_zone", f.zone},
		"time-field":      {"time_field", f.timeField},
		"priority":        {"priority", f.priority},
		"tag":             {"tags", f.tags},
		"overlap":         {"overlap", f.overlap},
		"catch-up":        {"catch_up", f.catchUp},
		"catch-up-max":    {"catch_up_max", f.catchUpMax},
		"catch-up-window": {"catch_up_window_seconds", int(f.catchUpWindow.Seconds())},
		"paused":          {"paused", f.paused},
	} {
		if cmd.Flags().Changed(flag) {
			fields[value.field] = value.value
		}
	}
	if cmd.Flags().Changed("context") {
		raw, err := readContext(env, f.input)
		if err != nil {
			return nil, err
		}
		fields["context"] = raw
	}
	return fields, nil
}

// setTemplate sets the fields that name the template.
func setTemplate(fields apiclient.Fields, text string) error {
	name, err := parseTemplateName(text)
	if err != nil {
		return err
	}
	fields["namespace"], fields["template"], fields["version"] = name.Namespace, name.Name, name.Version
	return nil
}

func newScheduleCreateCommand(env Env) *cobra.Command {
	f := scheduleFlags{}
	cmd := &cobra.Command{
		Use:     "create NAME NAMESPACE/TEMPLATE[@VERSION] --cron EXPRESSION",
		Short:   "Create a schedule and print it with its next times",
		Example: `  tasker-cli schedule create nightly reports/daily --cron "30 2 * * *" --time-zone Europe/Berlin`,
		Args:    cobra.ExactArgs(2),
	}
	f.add(cmd)
	return newScheduleAskCommand(env, cmd, func(ctx context.Context, c *apiclient.Client, args []string) (*apiclient.Schedule, error) {
		if f.cron == "" {
			return nil, withHint(usage(errors.New("--cron is missing")), "tasker-cli schedule preview shows what an expression means")
		}
		fields, err := f.fields(env, cmd)
		if err != nil {
			return nil, err
		}
		if err := setTemplate(fields, args[1]); err != nil {
			return nil, err
		}
		fields["name"] = args[0]
		return c.CreateSchedule(ctx, fields)
	})
}

func newScheduleUpdateCommand(env Env) *cobra.Command {
	f := scheduleFlags{}
	cmd := &cobra.Command{
		Use:   "update NAME",
		Short: "Change what the flags name of a schedule and print it",
		Args:  cobra.ExactArgs(1),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.template, "template", "", "NAMESPACE/TEMPLATE[@VERSION]")
	return newScheduleAskCommand(env, cmd, func(ctx context.Context, c *apiclient.Client, args []string) (*apiclient.Schedule, error) {
		fields, err := f.fields(env, cmd)
		if err != nil {
			return nil, err
		}
		if cmd.Flags().Changed("template") {
			if err := setTemplate(fields, f.template); err != nil {
				return nil, err
			}
		}
		return c.UpdateSchedule(ctx, args[0], fields)
	})
}

// newScheduleActionCommand returns a command that does something with a schedule
// that exists.
func newScheduleActionCommand(
	env Env, use, short string, do func(*apiclient.Client, context.Context, string) (*apiclient.Schedule, error),
) *cobra.Command {
	return newScheduleAskCommand(env, &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)},
		func(ctx context.Context, c *apiclient.Client, args []string) (*apiclient.Schedule, error) {
			return do(c, ctx, args[0])
		})
}

func newScheduleTriggerCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use:   "trigger NAME",
		Short: "Create a task of a schedule now and print its id",
		Long:  "Create a task of a schedule now and print its id, paused or not, whatever its overlap\npolicy says. Its times stay as they are.",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		id, err := c.TriggerSchedule(ctx, args[0])
		return view{raw: map[string]string{"task_uuid": id}, lines: said("%s", id)}, err
	}), scheduleWords)
}

func newScheduleDeleteCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "delete NAME", Short: "Delete a schedule and its history, not its tasks", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		return nothing, c.DeleteSchedule(ctx, args[0])
	}), scheduleWords)
}

// mostPreviewed bounds what preview prints.
const mostPreviewed = 1000

func newSchedulePreviewCommand(env Env) *cobra.Command {
	var zone, from string
	var count int
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "preview EXPRESSION",
		Short:   "Print the next times of a cron expression, without a server",
		Example: `  tasker-cli schedule preview "30 2 * * sun" --time-zone Europe/Berlin --from 2026-10-20T00:00:00Z`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			times, err := cron.Parse(args[0], zone)
			if err != nil {
				return usage(err)
			}
			if count < 1 || count > mostPreviewed {
				return usage(fmt.Errorf("--count is %d; it must be 1 to %d", count, mostPreviewed))
			}
			start := time.Now()
			if from != "" {
				if start, err = time.Parse(time.RFC3339, from); err != nil {
					return usage(fmt.Errorf("--from %q is no time like 2026-10-20T00:00:00Z", from))
				}
			}
			upcoming := times.Upcoming(start, count)
			if asJSON {
				return printJSON(env, upcoming)
			}
			for _, at := range upcoming {
				fmt.Fprintln(env.Stdout, at.Format(scheduleLayout))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&zone, "time-zone", "UTC", "where, as Europe/Berlin")
	flags.StringVar(&from, "from", "", "the time to look from (default: now)")
	flags.IntVar(&count, "count", 5, "how many")
	jsonFlag(cmd, &asJSON)
	return cmd
}
