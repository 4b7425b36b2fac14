package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/apiclient"
	"github.com/tasker-systems/tasker-go/internal/common/intake"
)

// TestReadContextLimit: a context of exactly the limit passes, one more byte
// does not, and no more than that is read.
func TestReadContextLimit(t *testing.T) {
	t.Parallel()
	const frame = len(`{"a":""}`)
	largest := `{"a":"` + strings.Repeat("x", intake.MaxContext-frame) + `"}`
	for _, c := range []struct {
		name, input string
		fine        bool
	}{
		{"largest", largest, true},
		{"too large", largest + " ", false},
		{"far too large", largest + largest, false},
	} {
		env := Env{Stdin: strings.NewReader(c.input)}
		if _, err := readContext(env, "-"); (err == nil) != c.fine {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestSeenStates feeds watch three looks at a task.
func TestSeenStates(t *testing.T) {
	t.Parallel()
	seen := seenStates{}
	look := func(task *apiclient.Task) string {
		var lines []string
		for _, c := range seen.update(task) {
			_, text, _ := strings.Cut(c.String(), "  ")
			lines = append(lines, text)
		}
		return strings.Join(lines, "\n")
	}
	task := &apiclient.Task{State: tasker.TaskStepsInProcess, Steps: []apiclient.Step{
		{Name: "a", State: tasker.StepInProgress, Attempts: 1},
		{Name: "b", State: tasker.StepPending},
	}}
	if got, want := look(task), "step a in_progress\nstep b pending\ntask steps_in_process"; got != want {
		t.Errorf("first look:\n%s\nwant:\n%s", got, want)
	}
	if got := look(task); got != "" {
		t.Errorf("nothing changed, but:\n%s", got)
	}
	task.State = tasker.TaskWaitingForRetry
	task.Steps[0] = apiclient.Step{
		Name: "a", State: tasker.StepWaitingForRetry, Attempts: 2, Error: &apiclient.StepError{Message: "away"},
	}
	if got, want := look(task), "step a waiting_for_retry, attempt 2: away\ntask waiting_for_retry"; got != want {
		t.Errorf("third look:\n%s\nwant:\n%s", got, want)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for state, want := range map[tasker.TaskState]string{
		tasker.TaskComplete:          "",
		tasker.TaskResolvedManually:  "",
		tasker.TaskCancelled:         "task 1 is in state cancelled: step a: away",
		tasker.TaskBlockedByFailures: "task 1 is in state blocked_by_failures: step a: away",
	} {
		got := ""
		steps := []apiclient.Step{{Name: "a", State: tasker.StepError, Error: &apiclient.StepError{Message: "away"}}}
		if err := verdict(&apiclient.Task{ID: "1", State: state, Steps: steps}); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", state, got, want)
		}
	}
}

func TestOutcomeOf(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("ä", 100) + `"`
	for _, c := range []struct {
		step apiclient.Step
		want string
	}{
		{apiclient.Step{}, ""},
		{apiclient.Step{Results: json.RawMessage("{\n  \"a\": 1\n}")}, `{ "a": 1 }`},
		{apiclient.Step{Results: json.RawMessage(long)}, `"` + strings.Repeat("ä", 78) + "…"},
		{apiclient.Step{Error: &apiclient.StepError{Message: "no\nway"}}, "no way"},
	} {
		if got := outcomeOf(&c.step); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{thousands(0), "0"},
		{thousands(999), "999"},
		{thousands(1000), "1,000"},
		{thousands(1234567), "1,234,567"},
		{counted(1, "step"), "1 step"},
		{counted(4000, "step"), "4,000 steps"},
		{milliseconds(1234 * time.Microsecond), "1.2 ms"},
		{milliseconds(1250 * time.Millisecond), "1.25 s"},
		{fmt.Sprint(inMilliseconds(1234567 * time.Nanosecond)), "1.23"},
		{bar(1, 2), "██████████░░░░░░░░░░"},
		{reachable("[::]:8080"), "http://127.0.0.1:8080"},
		{reachable("192.0.2.1:80"), "http://192.0.2.1:80"},
		{reachable(""), ""},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
