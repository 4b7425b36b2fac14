package worker

import (
	"context"
	"log/slog"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/process"
)

// Main is the main function of a worker: it loads the worker context of the
// configuration that the environment names (TASKER_ENV, TASKER_CONFIG_ROOT,
// TASKER_CONFIG_PATH, else the one built in), runs the handlers until SIGINT or
// SIGTERM, and ends the process.
func Main(handlers *tasker.Handlers, opts ...Option) {
	process.Main("worker", func(ctx context.Context, log *slog.Logger) error {
		cfg, err := process.LoadConfig(ctx, config.ContextWorker, log)
		if err != nil {
			return err
		}
		return Run(ctx, cfg, handlers, log, opts...)
	})
}
