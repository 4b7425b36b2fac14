package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/apiclient"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
)

func newTaskCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "task",
		Short: "Create tasks, follow them and change their course",
		Long:  "Create tasks, follow them and change their course, through the HTTP API of an\norchestrator.",
	}
	cmd.AddCommand(
		newTaskCreateCommand(env),
		newTaskGetCommand(env),
		newTaskListCommand(env),
		newTaskWaitCommand(env),
		newTaskWatchCommand(env),
		newTaskVisualizeCommand(env),
	)
	cmd.AddCommand(operatorCommands(env)...)
	return cmd
}

// A waiter waits for the end of tasks.
type waiter struct {
	remote

	timeout time.Duration
}

func (w *waiter) timeoutFlag(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&w.timeout, "timeout", 0, "how long to wait at most, as 30s or 5m (default: for ever)")
}

// viewOf shows a task with its steps.
func viewOf(task *apiclient.Task, err error) (view, error) {
	if err != nil {
		return view{}, err
	}
	return view{raw: task.JSON, lines: func(s *screen) []string { return taskLines(s, task) }}, nil
}

func newTaskCreateCommand(env Env) *cobra.Command {
	w := &waiter{remote: remote{env: env}}
	var input, at, key string
	var in time.Duration
	var priority int
	var wait bool
	cmd := w.command(&cobra.Command{
		Use:   "create NAMESPACE/NAME[@VERSION]",
		Short: "Create a task and print its id",
		Long: "Create a task and print its id. With --wait, wait for its end and print it as task\n" +
			"get does; the exit code says how it ended.",
		Example: `  tasker-cli task create demo/linear --context '{"number": 6}' --wait
  tasker-cli task create orders/fulfilment@2.1.0 --context @order.json`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		request, err := parseTemplateName(args[0])
		if err != nil {
			return view{}, err
		}
		if request.Context, err = readContext(env, input); err != nil {
			return view{}, err
		}
		request.Priority, request.IdempotencyKey = priority, key
		if request.RunAt, err = startTime(at, in); err != nil {
			return view{}, err
		}
		created, err := c.CreateTask(ctx, request)
		switch {
		case err != nil:
			return view{}, err
		case wait:
			return w.await(ctx, c, created.ID)
		}
		return view{raw: created.JSON, lines: said("%s", created.ID)}, nil
	})
	cmd.Flags().StringVar(&input, "context", "{}", "input of the task: a JSON object, @FILE, or - for standard input")
	cmd.Flags().IntVar(&priority, "priority", 0, "-100 to 100; steps of a higher priority run first")
	cmd.Flags().StringVar(&key, "idempotency-key", "", "a name for the task: where one with it exists already, that one is the answer")
	cmd.Flags().StringVar(&at, "at", "", "when the first steps may start, as 2030-01-31T08:00:00Z (default: at once)")
	cmd.Flags().DurationVar(&in, "in", 0, "how long from now the first steps may start, as 90s or 12h")
	cmd.MarkFlagsMutuallyExclusive("at", "in")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the end of the task")
	w.timeoutFlag(cmd)
	return w.completes(cmd, templateWords)
}

// startTime is when a task may start: at a time, in a while, or, zero, at once.
func startTime(at string, in time.Duration) (time.Time, error) {
	switch {
	case in < 0:
		return time.Time{}, usage(fmt.Errorf("--in %s lies in the past", in))
	case in > 0:
		return time.Now().Add(in), nil
	case at == "":
		return time.Time{}, nil
	}
	when, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return time.Time{}, usage(fmt.Errorf("--at %q is no time; it looks like 2030-01-31T08:00:00Z", at))
	}
	return when, nil
}

// parseTemplateName reads NAMESPACE/NAME[@VERSION].
func parseTemplateName(text string) (apiclient.TaskRequest, error) {
	full, version, versioned := strings.Cut(text, "@")
	namespace, name, ok := strings.Cut(full, "/")
	if !ok || namespace == "" || name == "" || versioned && version == "" {
		return apiclient.TaskRequest{}, usage(fmt.Errorf("%q names no template; want NAMESPACE/NAME or NAMESPACE/NAME@VERSION", text))
	}
	return apiclient.TaskRequest{Namespace: namespace, Name: name, Version: version}, nil
}

// readContext returns the context that an argument means: itself, or the
// content of what it names. What the server would refuse is not sent.
func readContext(env Env, input string) (json.RawMessage, error) {
	raw, from := []byte(input), "--context"
	if file, ok := strings.CutPrefix(input, "@"); ok || input == "-" {
		var err error
		if raw, err = readInput(env, file); err != nil {
			return nil, &ExitError{Code: ExitIO, Err: fmt.Errorf("read the context: %w", err)}
		}
		if from = file; input == "-" {
			from = "standard input"
		}
	}
	if len(raw) > intake.MaxContext {
		return nil, usage(fmt.Errorf("context too large: %s has more than the %s bytes that are allowed", from, thousands(intake.MaxContext)))
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, usage(fmt.Errorf("invalid JSON in %s, byte %d: %w", from, syntax.Offset, err))
		}
		return nil, usage(fmt.Errorf("%s is no JSON object: the context looks like {\"number\": 6}", from))
	}
	return raw, nil
}

// readInput reads a file, or standard input where the name is "-", but not much
// more than a context may have.
func readInput(env Env, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(env.Stdin, intake.MaxContext+1))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, intake.MaxContext+1))
}

func newTaskGetCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "get ID", Short: "Print a task with its steps", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		return viewOf(c.FindTask(ctx, args[0], 0))
	}), taskIDs)
}

func newTaskListCommand(env Env) *cobra.Command {
	var search searchFlags
	cmd := newTaskPageCommand(env, &cobra.Command{
		Use: "list", Aliases: []string{"search"}, Short: "List tasks, newest first, or search for some",
		Example: `  tasker-cli task list --state error,blocked_by_failures --created-after 24h --watch
  tasker-cli task list --namespace orders --context '$.customer.id == 42' --tag urgent`,
	}, func(c *apiclient.Client, ctx context.Context, f apiclient.Filter) (*apiclient.TaskPage, error) {
		var err error
		if f.Search, err = search.read(); err != nil {
			return nil, err
		}
		return c.ListTasks(ctx, f)
	})
	search.add(cmd)
	return cmd
}

// searchFlags are the flags of task list that the archive does not have.
type searchFlags struct {
	apiclient.Search

	times map[string]*string // by flag
}

func (s *searchFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&s.Tags, "tag", nil, "only tasks with all of these tags")
	flags.StringVar(&s.Context, "context", "", "only tasks in whose context this SQL/JSON path finds something, as '$.total > 100'")
	flags.StringVar(&s.Initiator, "initiator", "", "only tasks that this one asked for")
	flags.StringVar(&s.SourceSystem, "source-system", "", "only tasks that come from there")
	flags.StringVar(&s.Correlation, "correlation-id", "", "only tasks with this id")
	s.times = map[string]*string{}
	for flag, says := range map[string]string{
		"created-after":    "only tasks created then or later, as 2026-01-31T08:00:00Z, or so long ago, as 24h",
		"created-before":   "only tasks created before, likewise",
		"completed-after":  "only tasks that completed then or later, likewise",
		"completed-before": "only tasks that completed before, likewise",
	} {
		s.times[flag] = flags.String(flag, "", says)
	}
}

func (s *searchFlags) read() (apiclient.Search, error) {
	search := s.Search
	for flag, field := range map[string]**time.Time{
		"created-after": &search.CreatedAfter, "created-before": &search.CreatedBefore,
		"completed-after": &search.CompletedAfter, "completed-before": &search.CompletedBefore,
	} {
		at, err := moment("--"+flag, *s.times[flag])
		if err != nil {
			return search, err
		}
		*field = at
	}
	return search, nil
}

// newTaskPageCommand completes a command that prints a page of tasks.
func newTaskPageCommand(
	env Env, cmd *cobra.Command, list func(*apiclient.Client, context.Context, apiclient.Filter) (*apiclient.TaskPage, error),
) *cobra.Command {
	r := &remote{env: env}
	var f apiclient.Filter
	cmd.Args = cobra.NoArgs
	r.command(cmd, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		page, err := list(c, ctx, f)
		if err != nil {
			return view{}, err
		}
		return view{raw: page.JSON, lines: pageLines(page), next: page.Next}, nil
	})
	flags := cmd.Flags()
	flags.StringVar(&f.Namespace, "namespace", "", "only tasks of templates in this namespace")
	flags.StringVar(&f.Name, "name", "", "only tasks of templates of this name")
	flags.StringSliceVar(&f.States, "state", nil, "only tasks in one of these states, such as complete or blocked_by_failures")
	flags.StringVar(&f.After, "after", "", "only tasks older than the one with this id")
	flags.IntVar(&f.Limit, "limit", 25, "how many at most, 1 to 100")
	completeFlag(cmd, "state", func(*cobra.Command) []string { return taskStates })
	r.watchFlag(cmd)
	return cmd
}

// taskStates are the states of tasks, for completion.
var taskStates = []string{
	string(tasker.TaskPending), string(tasker.TaskStepsInProcess), string(tasker.TaskWaitingForRetry), string(tasker.TaskBlockedByFailures),
	string(tasker.TaskComplete), string(tasker.TaskError), string(tasker.TaskCancelled), string(tasker.TaskResolvedManually),
}

func newTaskWaitCommand(env Env) *cobra.Command {
	w := &waiter{remote: remote{env: env}}
	cmd := w.command(&cobra.Command{
		Use:   "wait ID",
		Short: "Wait for the end of a task and print it",
		Long: "Wait until a task is in a final state, or blocked by failures and so waiting for an\n" +
			"operator, and print it. The exit code is 0 when it completed or was resolved, 4 when it\n" +
			"failed, 5 when it is blocked, 6 when it was cancelled, 7 when --timeout was over.",
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		return w.await(ctx, c, args[0])
	})
	w.timeoutFlag(cmd)
	return w.completes(cmd, taskIDs)
}

// look is how long one request waits for the end of a task, and so how late a
// task is noticed that only an operator can move.
const look = time.Second

// await waits until nothing more happens to a task by itself.
func (w *waiter) await(ctx context.Context, c *apiclient.Client, id string) (view, error) {
	ctx, cancel := w.limit(ctx)
	defer cancel()
	for {
		task, err := c.FindTask(ctx, id, look)
		if err != nil {
			return view{}, w.outOfTime(ctx, id, err)
		}
		if settled(task) {
			shown, err := viewOf(task, nil)
			shown.err = verdict(task)
			return shown, err
		}
	}
}

// limit gives the command the time of --timeout.
func (w *waiter) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.timeout > 0 {
		return context.WithTimeout(ctx, w.timeout)
	}
	return context.WithCancel(ctx)
}

// outOfTime puts an error that comes from --timeout into words.
func (w *waiter) outOfTime(ctx context.Context, id string, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &ExitError{Code: ExitTimeout, Err: fmt.Errorf("task %s has not ended after %s", id, w.timeout)}
	}
	return err
}

// settled reports whether nothing more happens to a task by itself.
func settled(task *apiclient.Task) bool {
	return task.State.Terminal() || task.State == tasker.TaskBlockedByFailures
}

// verdicts are the exit codes for tasks that did not complete.
var verdicts = map[tasker.TaskState]int{
	tasker.TaskError:             ExitTaskFailed,
	tasker.TaskBlockedByFailures: ExitTaskBlocked,
	tasker.TaskCancelled:         ExitTaskCancelled,
}

// verdict is an error unless the task completed.
func verdict(task *apiclient.Task) error {
	code, failed := verdicts[task.State]
	if !failed {
		return nil
	}
	err := fmt.Errorf("task %s is in state %s", task.ID, task.State)
	for i := range task.Steps {
		if s := &task.Steps[i]; s.State == tasker.StepError && s.Error != nil {
			err = fmt.Errorf("%w: step %s: %s", err, s.Name, s.Error.Message)
		}
	}
	return &ExitError{Code: code, Err: err}
}
