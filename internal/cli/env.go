package cli

import (
	"io"

	"github.com/tasker-systems/tasker-go/internal/process"
)

// Env is what a command sees of its process.
type Env struct {
	// Stdin is what a command reads where it is given "-".
	Stdin io.Reader

	// Stdout takes what was asked for, Stderr everything else.
	Stdout, Stderr io.Writer

	// LookupEnv is [os.LookupEnv], or stands for it.
	LookupEnv func(name string) (string, bool)
}

// variable returns a variable of the environment, "" when it is not set.
func (e Env) variable(name string) string {
	value, _ := e.LookupEnv(name)
	return value
}

// The exit codes of all commands.
const (
	ExitFailed = process.ExitFailed // it could not do what was asked
	ExitUsage  = process.ExitUsage  // it was asked wrongly
	ExitIO     = process.ExitIO     // a file could not be read or written
	ExitConfig = process.ExitConfig // the configuration or a template is invalid

	ExitTaskFailed    = 4 // the task that was waited for is in error
	ExitTaskBlocked   = 5 // it is blocked by failures
	ExitTaskCancelled = 6 // it was cancelled
	ExitTimeout       = 7 // the time of --timeout is over
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

// A hintError is an error with what to do about it.
type hintError struct {
	error

	hint string
}

func (e *hintError) Unwrap() error { return e.error }

// withHint says what to do about an error; nil stays nil.
func withHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hintError{err, hint}
}
