// The config-validator command checks configuration files in every context and
// environment.
package main

import (
	"os"

	"github.com/tasker-systems/tasker-go/internal/cli"
)

func main() {
	env := cli.Env{Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv}
	os.Exit(cli.ValidatorMain(env, os.Args[1:]))
}
