package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

// A server is the one that a command talks to over HTTP.
type server struct{ url string }

// serverVar names the variable with the URL of the server.
const serverVar = "TASKER_ORCHESTRATION_URL"

// flag adds --server.
func (s *server) flag(env Env, cmd *cobra.Command) {
	url := env.variable(serverVar)
	if url == "" {
		url = "http://127.0.0.1:8080"
	}
	cmd.Flags().StringVar(&s.url, "server", url, "URL of an orchestrator, or "+serverVar)
}

func (s *server) client() (*apiclient.Client, error) {
	c, err := apiclient.New(s.url)
	if err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// explain says what to do about what went wrong in a call.
func (s *server) explain(err error) error {
	if _, ok := errors.AsType[*apiclient.UnreachableError](err); ok {
		return withHint(err, "tasker-cli dev starts a server; --server or "+serverVar+" names another")
	}
	if refused, ok := errors.AsType[*apiclient.Error](err); ok {
		switch refused.Code {
		case apiclient.CodeUnknownTemplate:
			return withHint(err, "tasker-cli template list shows what is registered")
		case apiclient.CodeDuplicateTask:
			return withHint(err, "--idempotency-key tells tasks with the same context apart")
		case "":
			return withHint(err, "--server or "+serverVar+" names the server")
		}
	}
	return err
}
