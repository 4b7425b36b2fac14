// The tasker-cli command runs workflows, looks at them, and checks what they
// are configured with.
package main

import (
	"context"
	"os"

	"github.com/tasker-systems/tasker-go/internal/cli"
	"github.com/tasker-systems/tasker-go/internal/process"
)

func main() {
	ctx, stop := process.Signals(context.Background())
	env := cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv}
	code := cli.Main(ctx, env, os.Args[1:])
	stop()
	os.Exit(code)
}
