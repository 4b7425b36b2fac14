// Package process is the edge of a process: signals, logging, exit codes and
// the configuration the environment names. Nothing else ends the process or
// reads the environment, save package config.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// The exit codes of all programs.
const (
	ExitFailed = 1  // it could not do what was asked
	ExitUsage  = 2  // it was asked wrongly
	ExitIO     = 3  // a file could not be read or written
	ExitConfig = 78 // the configuration is invalid (EX_CONFIG of sysexits.h)
)

// Main runs a server until it ends or a signal asks it to: SIGINT and SIGTERM
// stop it in good order, a second one at once. It prints the error, if any, and
// exits with its code.
func Main(name string, run func(ctx context.Context, log *slog.Logger) error) {
	ctx, stop := Signals(context.Background())
	err := run(ctx, Logger(os.Stderr, os.Getenv("LOG_LEVEL"), os.Getenv("LOG_FORMAT")))
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(ExitCode(err))
	}
}

// Signals returns a context that ends with the first SIGINT or SIGTERM. The
// second one ends the process.
func Signals(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	received := make(chan os.Signal, 2)
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-received:
			cancel()
		case <-ctx.Done():
			signal.Stop(received)
			return
		}
		second := <-received
		fmt.Fprintln(os.Stderr, "second signal: stopping at once")
		code := ExitFailed
		if number, ok := second.(syscall.Signal); ok {
			code = 128 + int(number)
		}
		os.Exit(code)
	}()
	return ctx, cancel
}

// ExitCode is the exit code for an error: that of the first error in its chain
// that has a method ExitCode, save a program that this one ran, whose code says
// nothing of ours; ExitFailed for everything else.
func ExitCode(err error) int {
	coded, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err)
	if !ok {
		return ExitFailed
	}
	if _, foreign := coded.(*exec.ExitError); foreign {
		return ExitFailed
	}
	return coded.ExitCode()
}

// Logger writes structured text to w, or JSON where the format is json, a line a
// record, from the given level up: debug, info, warn or error; empty is info.
func Logger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		l = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: l}
	if strings.EqualFold(format, "json") {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
