package process

import (
	"context"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/tasker-systems/tasker-go/config"
)

// Limit has the Go runtime heed the limits of the configuration: the garbage
// collector works harder towards max_memory_mb, that of the process and, where
// the process is a worker, those of the worker; and no more processors run Go
// code than max_cpu_percent of the machine's, rounded up. GOMEMLIMIT and
// GOMAXPROCS in the environment win.
func Limit(ctx context.Context, cfg *config.Config, log *slog.Logger) {
	memory := cfg.Common.System.MaxMemory
	if w := cfg.Worker; w != nil {
		memory = min(memory, w.System.ResourceLimits.MaxMemory, w.EventSystem.Metadata.ResourceLimits.MaxMemory)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory.Bytes())
	}
	if os.Getenv("GOMAXPROCS") == "" {
		share := float64(cfg.Common.System.MaxCPU) / 100
		if most := int(math.Ceil(share * float64(runtime.NumCPU()))); most < runtime.GOMAXPROCS(0) {
			runtime.GOMAXPROCS(most)
		}
	}
	log.InfoContext(ctx, "limits of the process", "memory_mb", debug.SetMemoryLimit(-1)>>20, "processors", runtime.GOMAXPROCS(0))
}
