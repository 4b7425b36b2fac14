package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

// taskLines shows a task with its steps.
func taskLines(s *screen, task *apiclient.Task) []string {
	lines := []string{
		"task      " + task.ID,
		"template  " + templateOf(task),
		"state     " + s.paintState(string(task.State)),
		"created   " + task.CreatedAt.Local().Format(time.DateTime),
	}
	if task.CompletedAt != nil {
		lines = append(lines, "took      "+milliseconds(task.CompletedAt.Sub(task.CreatedAt)))
	}
	if len(task.Steps) == 0 {
		return lines
	}
	return append(append(lines, ""), stepTable(task.Steps).lines(s)...)
}

func stepTable(steps []apiclient.Step) *table {
	t := table{columns: []column{
		{title: "step"}, {title: "state"}, {title: "attempt", right: true}, {title: "took", right: true}, {title: "result"},
	}}
	for i := range steps {
		step := &steps[i]
		t.add(step.Name, string(step.State), attempts(step), took(step), outcomeOf(step))
	}
	return &t
}

func templateOf(task *apiclient.Task) string {
	return task.Namespace + "/" + task.Name + " " + task.Version
}

// attempts says how many of its attempts a step has begun.
func attempts(step *apiclient.Step) string {
	return fmt.Sprintf("%d/%d", step.Attempts, step.MaxAttempts)
}

// took is how long the last attempt took, once it is over.
func took(step *apiclient.Step) string {
	if step.StartedAt == nil || step.CompletedAt == nil || step.CompletedAt.Before(*step.StartedAt) {
		return ""
	}
	return milliseconds(step.CompletedAt.Sub(*step.StartedAt))
}

// longestOutcome is how much of a result a table shows, in characters.
const longestOutcome = 80

// outcomeOf is what a step returned or why it failed last, in one line.
func outcomeOf(step *apiclient.Step) string {
	text := string(step.Results)
	if len(step.Results) == 0 && step.Error != nil {
		text = step.Error.Message
	}
	return oneLine(text)
}

// oneLine shortens a text to what a table shows.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > longestOutcome {
		text = string(runes[:longestOutcome-1]) + "…"
	}
	return text
}

// pageLines shows a page of tasks.
func pageLines(page *apiclient.TaskPage) func(*screen) []string {
	t := table{columns: []column{
		{title: "task"}, {title: "template"}, {title: "state"}, {title: "steps", right: true}, {title: "created"},
	}}
	for i := range page.Tasks {
		task := &page.Tasks[i]
		t.add(task.ID, templateOf(task), string(task.State), fmt.Sprintf("%d/%d", task.CompletedSteps, task.TotalSteps),
			task.CreatedAt.Local().Format(time.DateTime))
	}
	return tabled(&t)
}
