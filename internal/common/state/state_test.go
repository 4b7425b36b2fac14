package state_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/state"
	"github.com/tasker-systems/tasker-go/internal/golden"
)

// taskStates and stepStates are all states there are, with what they mean.
var (
	taskStates = []struct {
		state tasker.TaskState
		means string
	}{
		{tasker.TaskPending, "accepted; its time (`run_at`) has not come"},
		{tasker.TaskInitializing, "accepted from the request queue; its steps do not exist yet"},
		{tasker.TaskEnqueuingSteps, "no step runs, and a limit holds a ready one back"},
		{tasker.TaskStepsInProcess, "steps wait on queues or run"},
		{tasker.TaskEvaluatingResults, "results are reported and not applied yet"},
		{tasker.TaskWaitingForDependencies, "nothing can run until a signal comes or the task is resumed"},
		{tasker.TaskWaitingForRetry, "whatever could run waits for its next attempt"},
		{tasker.TaskBlockedByFailures, "steps wait on one that failed for good: an operator decides"},
		{tasker.TaskComplete, "every step is complete or resolved"},
		{tasker.TaskError, "a step failed for good and none waits on it"},
		{tasker.TaskCancelled, "cancelled by an operator"},
		{tasker.TaskResolvedManually, "declared done by an operator"},
	}
	stepStates = []struct {
		state tasker.StepState
		means string
	}{
		{tasker.StepPending, "waits for its dependencies, at a gate, or for its task to be resumed"},
		{tasker.StepEnqueued, "waits on a queue for a worker"},
		{tasker.StepInProgress, "claimed by a worker"},
		{tasker.StepReported, "has a result that is not applied yet"},
		{tasker.StepReportedError, "has an error that is not applied yet"},
		{tasker.StepWaitingForRetry, "failed and waits for its next attempt"},
		{tasker.StepComplete, "has a result; those that depend on it may run"},
		{tasker.StepError, "failed for good; an operator may retry, resolve or complete it"},
		{tasker.StepCancelled, "cancelled, with its task or as one of a batch that failed"},
		{tasker.StepResolvedManually, "declared done by an operator; those that depend on it may run"},
	}
)

// TestOneMovePerEvent: what an event does to a state is never in doubt, every
// move is between states that exist, and nobody makes the same move twice.
func TestOneMovePerEvent(t *testing.T) {
	t.Parallel()
	var tasks, steps []string
	for _, s := range taskStates {
		tasks = append(tasks, string(s.state))
	}
	for _, s := range stepStates {
		steps = append(steps, string(s.state))
	}
	if len(tasks) != 12 || len(steps) != 10 {
		t.Errorf("%d states of tasks and %d of steps", len(tasks), len(steps))
	}
	for _, problem := range slices.Concat(check("task", state.Tasks, tasks), check("step", state.Steps, steps)) {
		t.Error(problem)
	}
}

func check[S, E ~string](what string, table state.Table[S, E], states []string) []string {
	var problems []string
	known := func(s S) bool { return slices.Contains(states, string(s)) }
	moves := map[string]bool{}
	reached := map[string]bool{}
	for _, m := range table {
		from := m.From
		if from == nil {
			from = []S{""}
		}
		for _, s := range from {
			key := fmt.Sprintf("%s in state %q: event %s", what, s, m.Event)
			if moves[key] {
				problems = append(problems, key+" has two moves")
			}
			moves[key] = true
			if s != "" && !known(s) || m.To != "" && !known(m.To) {
				problems = append(problems, key+" concerns a state that does not exist")
			}
		}
		if m.By == "" || m.When == "" || m.Event == "" {
			problems = append(problems, fmt.Sprintf("%s: a move to %q lacks actor, guard or event", what, m.To))
		}
		reached[string(m.To)] = true
	}
	for _, s := range states {
		if !reached[s] {
			problems = append(problems, what+": nothing leads to "+s)
		}
	}
	return problems
}

// TestFinalStates: the tables agree with Terminal. What an operator may still do
// about a failure is listed here by name.
func TestFinalStates(t *testing.T) {
	t.Parallel()
	for _, s := range taskStates {
		events := slices.Concat(state.Tasks.Events(s.state, state.Orchestrator), state.Tasks.Events(s.state, state.Worker))
		if s.state.Terminal() != (len(events) == 0) {
			t.Errorf("task %s: final is %t, and by itself happens %v", s.state, s.state.Terminal(), events)
		}
		after := state.Tasks.Events(s.state, state.Operator)
		want := map[tasker.TaskState][]state.TaskEvent{tasker.TaskError: {state.TaskRetry, state.TaskResolve}}[s.state]
		if s.state.Terminal() && !slices.Equal(after, want) {
			t.Errorf("task %s: an operator can %v; want %v", s.state, after, want)
		}
	}
	for _, s := range stepStates {
		events := slices.Concat(state.Steps.Events(s.state, state.Orchestrator), state.Steps.Events(s.state, state.Worker))
		if s.state.Terminal() != (len(events) == 0) {
			t.Errorf("step %s: final is %t, and by itself happens %v", s.state, s.state.Terminal(), events)
		}
	}
}

// TestLookUps asks the tables what the engine asks them.
func TestLookUps(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from  tasker.TaskState
		event state.TaskEvent
		to    tasker.TaskState
		ok    bool
	}{
		{tasker.TaskStepsInProcess, state.TaskCancel, tasker.TaskCancelled, true},
		{tasker.TaskComplete, state.TaskCancel, "", false},
		{tasker.TaskError, state.TaskRetry, tasker.TaskEvaluatingResults, true},
		{tasker.TaskWaitingForRetry, state.TaskPause, tasker.TaskWaitingForRetry, true},
		{tasker.TaskStepsInProcess, state.TaskResolve, "", false},
	} {
		if to, ok := state.Tasks.Next(tt.from, tt.event); to != tt.to || ok != tt.ok {
			t.Errorf("%s of %s leads to %q, %t", tt.event, tt.from, to, ok)
		}
	}
	pairs := state.Steps.Pairs()
	for pair, want := range map[state.Pair]bool{
		{From: "", To: "enqueued"}:               true,
		{From: "in_progress", To: "complete"}:    true,
		{From: "complete", To: "pending"}:        false,
		{From: "in_progress", To: "in_progress"}: false,
	} {
		if slices.Contains(pairs, pair) != want {
			t.Errorf("%s: want %t", pair, want)
		}
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]*state.Error{
		"task 1 is complete, so cancel is not possible; nothing can be done to it any more":     {What: "task 1", State: "complete", Asked: "cancel"},
		"task 1 is error, so cancel is not possible; possible: retry, resolve":                  {What: "task 1", State: "error", Asked: "cancel", Possible: []string{"retry", "resolve"}},
		"step a of task 1 is in_progress, so fail for now is not possible; possible: give back": {What: "step a of task 1", State: "in_progress", Asked: "fail_for_now", Possible: []string{"give_back"}},
	} {
		if err.Error() != want || !errors.Is(err, state.ErrRefused) {
			t.Errorf("%s\nwant\n%s", err, want)
		}
	}
}

// TestDocument prints the tables into docs/states.md.
func TestDocument(t *testing.T) {
	t.Parallel()
	const name = "../../../docs/states.md"
	if _, err := os.Stat(name); err != nil && os.Getenv("UPDATE_GOLDEN") == "" {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`# The states of tasks and steps

Printed from the tables in ` + "`internal/common/state`" + ` by its test; change those, not this file. What is not a row here is
refused. In the tests every engine watches its database for moves that have no row.

Each move is a compare-and-set: it happens if the row is in one of the states under *from* and, for steps, still has the
claim number that the mover knows.

## Tasks

`)
	b.WriteString("| state | means |\n|---|---|\n")
	for _, s := range taskStates {
		fmt.Fprintf(&b, "| `%s` | %s |\n", s.state, s.means)
	}
	b.WriteString(`
A task is settled, by the transaction that moved one of its steps, to the first of these that holds. *Open* stands for
every state that is not final. A paused task keeps its state and says since when it is paused.

`)
	printMoves(&b, state.Tasks, state.Open())
	b.WriteString("\n## Steps\n\n| state | means |\n|---|---|\n")
	for _, s := range stepStates {
		fmt.Fprintf(&b, "| `%s` | %s |\n", s.state, s.means)
	}
	b.WriteString("\n")
	printMoves(&b, state.Steps, state.Movable())
	golden.File(t, name, b.String())
}

// printMoves prints a table as a diagram and as a table. A move out of every
// open state, or of all but the one it leads to, is drawn from all of them at
// once.
func printMoves[S, E ~string](b *strings.Builder, table state.Table[S, E], open []S) {
	b.WriteString("```mermaid\nstateDiagram-v2\n    state open {\n")
	for _, s := range open {
		fmt.Fprintf(b, "        %s\n", s)
	}
	b.WriteString("    }\n")
	for _, m := range table {
		if m.To == "" {
			continue
		}
		for _, from := range sources(m.From, m.To, open) {
			fmt.Fprintf(b, "    %s --> %s: %s\n", from, m.To, strings.ReplaceAll(string(m.Event), "_", " "))
		}
	}
	b.WriteString("```\n\n| from | event | to | by | when |\n|---|---|---|---|---|\n")
	for _, m := range table {
		from := sources(m.From, m.To, open)
		for i, s := range from {
			from[i] = map[string]string{"[*]": "—", "open": "*open*"}[s]
			if from[i] == "" {
				from[i] = "`" + s + "`"
			}
		}
		to := "`" + string(m.To) + "`"
		if m.To == "" {
			to = "as it is"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", strings.Join(from, ", "), strings.ReplaceAll(string(m.Event), "_", " "), to, m.By, m.When)
	}
}

// sources are the states that a move is drawn from.
func sources[S ~string](from []S, to S, open []S) []string {
	if from == nil {
		return []string{"[*]"}
	}
	var names []string
	rest := slices.DeleteFunc(slices.Clone(open), func(s S) bool { return s == to })
	all := !slices.ContainsFunc(rest, func(s S) bool { return !slices.Contains(from, s) })
	if all {
		names = append(names, "open")
	}
	for _, s := range from {
		if !all || !slices.Contains(open, s) {
			names = append(names, string(s))
		}
	}
	return names
}
