package combined_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// randomTemplate draws a graph of up to nine steps, each of which succeeds, fails
// a number of times first, or fails for good.
func randomTemplate(random *rand.Rand, name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nnamespace: test\nsteps:\n", name)
	for i := range 1 + random.IntN(9) {
		var dependencies []string
		for parent := range i {
			if random.IntN(3) == 0 {
				dependencies = append(dependencies, fmt.Sprintf("s%d", parent))
			}
		}
		failures := max(0, random.IntN(9)-5) // mostly none, up to as many as there are attempts
		fmt.Fprintf(&b, "  - {name: s%d, dependencies: [%s], retry: {max_attempts: 3, backoff: none}, "+
			"handler: {callable: act, initialization: {failures: %d, permanent: %t}}}\n",
			i, strings.Join(dependencies, ", "), failures, random.IntN(12) == 0)
	}
	return b.String()
}

// act does what the template says of its step. Its result tells all the results
// it was given.
func act(_ context.Context, s *tasker.Step) (any, error) {
	var is struct {
		Failures  int
		Permanent bool
	}
	if err := json.Unmarshal(s.Config, &is); err != nil {
		return nil, err
	}
	switch {
	case is.Permanent:
		return nil, tasker.Permanent(errors.New("never"))
	case s.Attempt <= is.Failures:
		return nil, fmt.Errorf("attempt %d", s.Attempt)
	}
	given := ""
	for _, name := range slices.Sorted(maps.Keys(s.Results)) {
		var result string
		if err := s.Result(name, &result); err != nil {
			return nil, err
		}
		given += result
	}
	return s.Name + "(" + given + ")", nil
}

// TestLikeInMemory runs random workflows in the engine and in memory, one step
// after the other: both come to the same end.
func TestLikeInMemory(t *testing.T) {
	t.Parallel()
	const workflows, tasks = 60, 3
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	handlers := tasker.NewHandlers()
	handlers.Add("act", tasker.HandlerFunc(act))
	documents := make([]string, workflows)
	inMemory := make([]*taskertest.Outcome, workflows)
	for i := range documents {
		name := fmt.Sprintf("random%d", i)
		documents[i] = randomTemplate(random, name)
		inMemory[i] = taskertest.RunWorkflow(t, handlers, taskertest.YAML(documents[i]), "test/"+name, nil)
	}
	enginetest.Each(t, func(t *testing.T, d enginetest.Deployment) {
		e := enginetest.Start(t, enginetest.Options{Deployment: d, Templates: taskertest.YAML(documents...), Handlers: enginetest.Handlers{"act": act}})
		ids := make([]string, workflows*tasks)
		for i := range ids {
			ids[i] = e.Create(fmt.Sprintf("random%d", i%workflows), nil)
		}
		for i, id := range ids {
			name, want, got := fmt.Sprintf("random%d", i%workflows), inMemory[i%workflows], e.Wait(id)
			if got.State != want.State {
				t.Errorf("%s is %s, in memory %s\n%s", name, got.State, want.State, documents[i%workflows])
			}
			for stepName, w := range want.Steps {
				g := got.Step(stepName)
				if g.State != w.State || g.Attempt != w.Attempts || string(g.Result) != string(w.Result) {
					t.Errorf("%s: step %s is %s after %d attempts with %s, in memory %s after %d with %s\n%s", name, stepName,
						g.State, g.Attempt, g.Result, w.State, w.Attempts, w.Result, documents[i%workflows])
				}
			}
		}
	})
}
