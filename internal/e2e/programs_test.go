package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/tasker-systems/tasker-go/combined"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/cli"
	"github.com/tasker-systems/tasker-go/internal/demo"
	"github.com/tasker-systems/tasker-go/internal/process"
	"github.com/tasker-systems/tasker-go/orchestration"
	"github.com/tasker-systems/tasker-go/worker"
)

// A program is what a copy of the test binary runs when it is started under the
// program's name.
type program string

// The programs: those of cmd, then two that run the handlers of these tests as
// a user's own program would.
const (
	orchestrationServer program = "orchestration-server"
	workerServer        program = "worker-server"
	taskerCLI           program = "tasker-cli"
	ownWorker           program = "worker"
	ownCombined         program = "combined"
)

// mains has the main function of each program.
var mains = map[program]func(){
	orchestrationServer: func() {
		process.Main(string(orchestrationServer), func(ctx context.Context, log *slog.Logger) error {
			cfg, err := process.LoadConfig(ctx, config.ContextOrchestration, log)
			if err != nil {
				return err
			}
			return orchestration.Run(ctx, cfg, log)
		})
	},
	workerServer: func() {
		process.Main(string(workerServer), func(ctx context.Context, log *slog.Logger) error {
			cfg, err := process.LoadConfig(ctx, config.ContextWorker, log)
			if err != nil {
				return err
			}
			return worker.Run(ctx, cfg, demo.Handlers(), log, worker.WithTemplates(demo.Templates()))
		})
	},
	taskerCLI: func() {
		ctx, stop := process.Signals(context.Background())
		code := cli.Main(ctx, cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv}, os.Args[1:])
		stop()
		os.Exit(code)
	},
	ownWorker: func() { worker.Main(handlers(), worker.WithTemplates(templates())) },
	ownCombined: func() {
		process.Main(string(ownCombined), func(ctx context.Context, log *slog.Logger) error {
			cfg, err := process.LoadConfig(ctx, config.ContextComplete, log)
			if err != nil {
				return err
			}
			return combined.Run(ctx, cfg, log, combined.Options{
				Handlers: handlers(), Templates: templates(), Ready: func(orchestration, worker string) {
					log.InfoContext(ctx, "ready", "role", "orchestration", "address", orchestration)
					log.InfoContext(ctx, "ready", "role", "worker", "address", worker)
				},
			})
		})
	},
}

// context says which sections of the configuration the program loads.
func (p program) context() config.Context {
	switch p {
	case orchestrationServer:
		return config.ContextOrchestration
	case workerServer, ownWorker:
		return config.ContextWorker
	default:
		return config.ContextComplete
	}
}

// TestMain runs a program where the binary was started under the name of one,
// else the tests.
func TestMain(m *testing.M) {
	if run, ok := mains[program(filepath.Base(os.Args[0]))]; ok {
		go endWithParent()
		run()
		return
	}
	// The private server of package testdb has no end of its own.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"))
}

// endWithParent ends the process when its standard input does, which is a pipe
// from the tests: even if these are killed, nothing is left behind.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin) // an error is an end too
	fmt.Fprintln(os.Stderr, "the tests are gone")
	os.Exit(process.ExitFailed)
}
