// The withpg command runs another one with a private PostgreSQL and a private
// RabbitMQ behind it, for all its tests to share: go run ./scripts/withpg go test ./...
//
// The command finds their URLs in TASKER_TEST_DATABASE_URL and
// TASKER_TEST_RABBITMQ_URL. What is set already is used as it is. Without RabbitMQ on
// the machine the command runs all the same.
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
	"github.com/tasker-systems/tasker-go/internal/privaterabbit"
)

// What packages testdb and testbroker read.
const (
	serverVar     = "TASKER_TEST_DATABASE_URL"
	brokerVar     = "TASKER_TEST_RABBITMQ_URL"
	managementVar = "TASKER_TEST_RABBITMQ_MANAGEMENT_URL"
)

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
	cmd.Env = os.Environ()
	closing := func() error { return nil }
	if os.Getenv(brokerVar) == "" {
		broker, err := privaterabbit.Start(ctx)
		if _, missing := errors.AsType[*privaterabbit.NotFoundError](err); err != nil && !missing {
			return err
		}
		if err == nil {
			closing = broker.Close
			cmd.Env = append(cmd.Env, brokerVar+"="+broker.URL("/"), managementVar+"="+broker.ManagementURL())
		}
	}
	if os.Getenv(serverVar) == "" {
		server, err := privatepg.Start(ctx, privatepg.Options{
			Settings: map[string]string{"max_connections": "400"}, // many packages at once
		})
		if err != nil {
			return errors.Join(err, closing())
		}
		closeBroker := closing
		closing = func() error { return errors.Join(server.Close(), closeBroker()) }
		cmd.Env = append(cmd.Env, serverVar+"="+server.URL("postgres"))
	}
	return errors.Join(cmd.Run(), closing())
}
