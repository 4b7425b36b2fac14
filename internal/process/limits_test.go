package process

import (
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/liveness"
)

// TestLimit: what the Go runtime is told. It changes the process, so nothing runs
// beside it.
func TestLimit(t *testing.T) {
	liveness.Covers(t, "common.system.max_memory_mb", "common.system.max_cpu_percent")
	memory, processors := debug.SetMemoryLimit(-1), runtime.GOMAXPROCS(0)
	t.Cleanup(func() {
		debug.SetMemoryLimit(memory)
		runtime.GOMAXPROCS(processors)
	})
	of := func(share float64) int { return min(processors, int(math.Ceil(share*float64(runtime.NumCPU())))) }
	tests := []struct {
		name       string
		change     func(cfg *config.Config)
		memory     int64 // MB
		processors int
	}{
		{"as it was", func(*config.Config) {}, 2000, processors},
		{"max_memory_mb", func(cfg *config.Config) { cfg.Common.System.MaxMemory = 300 }, 300, processors},
		{"max_cpu_percent", func(cfg *config.Config) { cfg.Common.System.MaxCPU = 1 }, 2000, 1},
		{"max_cpu_percent", func(cfg *config.Config) { cfg.Common.System.MaxCPU = 51 }, 2000, of(0.51)},
		{"of a worker", func(cfg *config.Config) {
			cfg.Worker = &config.Worker{}
			cfg.Worker.System.ResourceLimits.MaxMemory, cfg.Worker.EventSystem.Metadata.ResourceLimits.MaxMemory = 700, 600
		}, 600, processors},
	}
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOMAXPROCS") != "" {
		t.Skip("the environment says what the runtime may use")
	}
	for _, tt := range tests {
		runtime.GOMAXPROCS(processors)
		cfg := &config.Config{}
		cfg.Common.System.MaxMemory, cfg.Common.System.MaxCPU = 2000, 100
		tt.change(cfg)
		Limit(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if got := debug.SetMemoryLimit(-1) >> 20; got != tt.memory {
			t.Errorf("%s: %d MB, want %d", tt.name, got, tt.memory)
		}
		if got := runtime.GOMAXPROCS(0); got != tt.processors {
			t.Errorf("%s: %d processors, want %d", tt.name, got, tt.processors)
		}
	}
	t.Setenv("GOMEMLIMIT", "500MiB")
	t.Setenv("GOMAXPROCS", "2")
	cfg := &config.Config{}
	cfg.Common.System.MaxMemory, cfg.Common.System.MaxCPU = 300, 1
	runtime.GOMAXPROCS(processors)
	before := debug.SetMemoryLimit(-1)
	Limit(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if got := debug.SetMemoryLimit(-1); got != before || runtime.GOMAXPROCS(0) != processors {
		t.Errorf("the environment does not win: %d bytes, %d processors", got, runtime.GOMAXPROCS(0))
	}
}
