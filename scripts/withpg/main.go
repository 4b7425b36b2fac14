// The withpg command runs another one with a private PostgreSQL behind it, for
// all its tests to share: go run ./scripts/withpg go test ./...
//
// The command finds the server's URL in TASKER_TEST_DATABASE_URL. Where that is
// set already, it is used as it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/tasker-systems/tasker-go/internal/privatepg"
)

// serverVar is the variable that package testdb reads.
const serverVar = "TASKER_TEST_DATABASE_URL"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(max(exit.ExitCode(), 1))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpg:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which command to run?")
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if os.Getenv(serverVar) != "" {
		return cmd.Run()
	}
	server, err := privatepg.Start(ctx, privatepg.Options{
		Settings: map[string]string{"max_connections": "400"}, // many packages at once
	})
	if err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), serverVar+"="+server.URL("postgres"))
	return errors.Join(cmd.Run(), server.Close())
}
