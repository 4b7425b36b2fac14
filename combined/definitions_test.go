package combined_test

import (
	"context"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/combined"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
)

// TestDefinitionsInGo runs a workflow that no YAML describes.
func TestDefinitionsInGo(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{Deployment: enginetest.None})
	handlers := tasker.NewHandlers()
	handlers.Add("ok", tasker.HandlerFunc(ok))
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- combined.Run(ctx, e.Config, e.Log, combined.Options{
			Handlers: handlers, Ready: func(string, string) { close(ready) },
			Definitions: []tasker.Template{{
				Namespace: enginetest.Namespace, Name: "in_go",
				Steps: []tasker.StepDefinition{{Name: "first", Handler: "ok"}, {Name: "second", Handler: "ok", DependsOn: []string{"first"}}},
			}},
		})
	}()
	enginetest.Receive(t, ready)
	if task := e.Run("in_go", nil); task.State != tasker.TaskComplete || len(task.Steps) != 2 {
		t.Errorf("the task is %s with %d steps", task.State, len(task.Steps))
	}
	stop()
	if err := enginetest.Receive(t, ended); err != nil {
		t.Error(err)
	}
}
