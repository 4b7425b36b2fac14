package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newTaskWatchCommand(env Env) *cobra.Command {
	w := &waiter{remote: remote{env: env}}
	cmd := &cobra.Command{
		Use:   "watch ID",
		Short: "Show how a task moves, until its end",
		Long: "Show how a task moves, until it is in a final state or blocked by failures: on a\n" +
			"terminal as a table that changes, in a pipe as a line for every change. With --json\n" +
			"a line is an object, with --yaml a document. The exit code is that of task wait.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := w.client()
			if err != nil {
				return err
			}
			task, err := w.follow(cmd.Context(), c, args[0])
			if err != nil {
				return w.explain(err)
			}
			return verdict(task)
		},
	}
	w.flags(cmd)
	w.timeoutFlag(cmd)
	return w.completes(cmd, taskIDs)
}

// glance is how often watch looks at a task.
const glance = 250 * time.Millisecond

// follow shows every change of a task until nothing more happens to it by
// itself.
func (w *waiter) follow(ctx context.Context, c *apiclient.Client, id string) (*apiclient.Task, error) {
	ctx, cancel := w.limit(ctx)
	defer cancel()
	s := newScreen(w.env, w.env.Stdout)
	seen := seenStates{}
	for {
		task, err := c.FindTask(ctx, id, 0)
		if err != nil {
			return nil, w.outOfTime(ctx, id, err)
		}
		switch changes := seen.update(task); {
		case w.forPrograms() || !s.live():
			err = w.showChanges(changes)
		default:
			s.draw(taskLines(s, task)...)
		}
		if err != nil || settled(task) {
			return task, err
		}
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			return nil, w.outOfTime(ctx, id, ctx.Err())
		}
	}
}

// A change is a new state of a step or, where Step is empty, of the task.
type change struct {
	Time    time.Time `json:"time"` // when it was noticed
	Step    string    `json:"step,omitempty"`
	State   string    `json:"state"`
	Attempt int       `json:"attempt,omitempty"` // begun
	Error   string    `json:"error,omitempty"`   // why the last attempt failed
}

func (c change) String() string {
	text := c.Time.Format("15:04:05.000") + "  "
	if c.Step == "" {
		return text + "task " + c.State
	}
	text += "step " + c.Step + " " + c.State
	if c.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", c.Attempt)
	}
	if c.Error != "" {
		text += ": " + c.Error
	}
	return text
}

func (w *waiter) showChanges(changes []change) error {
	for _, c := range changes {
		var err error
		switch w.form {
		case "json":
			err = printJSONLine(w.env, c)
		case "yaml":
			if _, err = fmt.Fprintln(w.env.Stdout, "---"); err == nil {
				err = printYAML(w.env, c)
			}
		default:
			_, err = fmt.Fprintln(w.env.Stdout, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// seenStates remembers what was seen of a task, by the names of steps; "" is
// the task itself.
type seenStates map[string]change

// update returns what changed since the last call, the task itself last.
func (seen seenStates) update(task *apiclient.Task) []change {
	now := time.Now()
	var changes []change
	note := func(c change) {
		if c != seen[c.Step] {
			seen[c.Step] = c
			c.Time = now
			changes = append(changes, c)
		}
	}
	for i := range task.Steps {
		s := &task.Steps[i]
		c := change{Step: s.Name, State: string(s.State), Attempt: s.Attempts}
		if s.Error != nil && (s.State == tasker.StepError || s.State == tasker.StepWaitingForRetry) {
			c.Error = s.Error.Message
		}
		note(c)
	}
	note(change{State: string(task.State)})
	return changes
}
