// The orchestration-server command decides which steps of which tasks run next.
// The environment says where its configuration is: TASKER_ENV,
// TASKER_CONFIG_ROOT or TASKER_CONFIG_PATH, and DATABASE_URL.
package main

import (
	"context"
	"log/slog"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/process"
	"github.com/tasker-systems/tasker-go/orchestration"
)

func main() { process.Main("orchestration-server", run) }

func run(ctx context.Context, log *slog.Logger) error {
	cfg, err := process.LoadConfig(ctx, config.ContextOrchestration, log)
	if err != nil {
		return err
	}
	return orchestration.Run(ctx, cfg, log)
}
