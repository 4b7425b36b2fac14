// The worker-server command is the stock worker: it registers the templates of
// the demo and the bench, built in, and runs their handlers. A worker of your
// own is a program of this size around worker.Main; see examples/orders.
//
// The environment says where its configuration is: TASKER_ENV,
// TASKER_CONFIG_ROOT or TASKER_CONFIG_PATH, and DATABASE_URL.
package main

import (
	"context"
	"log/slog"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/demo"
	"github.com/tasker-systems/tasker-go/internal/process"
	"github.com/tasker-systems/tasker-go/worker"
)

func main() { process.Main("worker-server", run) }

func run(ctx context.Context, log *slog.Logger) error {
	cfg, err := process.LoadConfig(ctx, config.ContextWorker, log)
	if err != nil {
		return err
	}
	return worker.Run(ctx, cfg, demo.Handlers(), log, worker.WithTemplates(demo.Templates()))
}
