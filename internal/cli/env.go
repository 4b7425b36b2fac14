// Package cli holds the commands of tasker-cli, a file each, and what they
// share. A command gets its whole surroundings as an [Env] and returns an error;
// it neither prints that error nor ends the process.
package cli

import "io"

// Env is what a command sees of its process.
type Env struct {
	// Stdout takes what was asked for, Stderr everything else.
	Stdout, Stderr io.Writer

	// LookupEnv is [os.LookupEnv], or stands for it.
	LookupEnv func(name string) (string, bool)
}

// The exit codes of all commands.
const (
	ExitFailed = 1  // it could not do what was asked
	ExitUsage  = 2  // it was asked wrongly
	ExitIO     = 3  // a file could not be read or written
	ExitConfig = 78 // the configuration is invalid (EX_CONFIG of sysexits.h)
)

// An ExitError ends a command with an exit code of its own. A nil Err means
// that everything is said already.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode returns the code.
func (e *ExitError) ExitCode() int { return e.Code }

// usage reports that a command was asked wrongly.
func usage(err error) error { return &ExitError{Code: ExitUsage, Err: err} }
