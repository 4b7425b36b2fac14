package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/loadgen"
	"github.com/tasker-systems/tasker-go/internal/privatepg"
)

// databaseVariable hands the URL of the database to the processes of the split
// mode.
const databaseVariable = "DATABASE_URL"

// benchFlags are what `bench` was asked for.
type benchFlags struct {
	databaseURL string
	modes       []string
	workloads   []string
	repetitions int
	seconds     float64
	samples     int
	json        bool
}

func newBenchCommand(env Env) *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput and idle latency",
		Long: `Measure throughput and idle latency.

Workloads: W1 single step, W2 linear 4, W3 diamond 4, W4 fan-out 1→100→1, W5 single
step under a limit of 5 at once for each of 1,000 keys, all with trivial handlers.
Throughput counts from before the first insert until the last workflow is seen
complete; latency is that of one workflow on an idle engine. Without --database-url
it runs on a private PostgreSQL with fsync on. The database should be nobody else's
meanwhile.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBench(cmd.Context(), env, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.databaseURL, "database-url", "", "a database to use in place of a private PostgreSQL")
	flags.StringSliceVar(&f.modes, "mode", []string{"combined", "split"}, "where the roles run: combined, split")
	flags.StringSliceVar(&f.workloads, "workload", []string{"W1", "W2", "W3", "W4"}, "what to run")
	flags.IntVar(&f.repetitions, "repetitions", 3, "repetitions of each measurement")
	flags.Float64Var(&f.seconds, "seconds", 3, "seconds one throughput run should take; 0 leaves throughput out")
	flags.IntVar(&f.samples, "latency-samples", 100, "workflows per latency measurement, within 3 s; 0 leaves latency out")
	flags.BoolVar(&f.json, "json", false, "print a JSON line per measurement")
	return cmd
}

func runBench(ctx context.Context, env Env, f benchFlags) error {
	for _, mode := range f.modes {
		if m := loadgen.Mode(mode); m != loadgen.Combined && m != loadgen.Split {
			return usage(fmt.Errorf("unknown mode %q; there are combined and split", mode))
		}
	}
	var results []loadgen.Result
	report := func(r loadgen.Result) { results = append(results, r) }
	if f.json {
		lines := json.NewEncoder(env.Stdout)
		report = func(r loadgen.Result) { _ = lines.Encode(r) } // a closed pipe ends the process
	}
	for _, mode := range f.modes {
		for _, w := range f.workloads {
			opts := loadgen.Options{
				DatabaseURL: f.databaseURL, Mode: loadgen.Mode(mode), Workload: strings.ToUpper(w), Repetitions: f.repetitions,
				Seconds: f.seconds, LatencySamples: f.samples, Progress: env.Stderr, Log: warnings(env),
			}
			if err := benchOne(ctx, env, opts, report); err != nil {
				return fmt.Errorf("bench %s %s: %w", mode, w, err)
			}
		}
	}
	if f.json {
		return nil
	}
	return printBench(env.Stdout, results)
}

// benchOne measures one workload, on a server of its own unless told which.
func benchOne(ctx context.Context, env Env, opts loadgen.Options, report func(loadgen.Result)) (err error) {
	if opts.DatabaseURL == "" {
		server, err := privatepg.Start(ctx, privatepg.Options{Durable: true, Settings: map[string]string{
			"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min",
		}})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		opts.DatabaseURL = server.URL(privatepg.Database)
	}
	opts.StartRole = roleStarter(env, opts.DatabaseURL)
	return loadgen.Run(ctx, opts, report)
}

// warnings is a log of what should not happen.
func warnings(env Env) *slog.Logger {
	return slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// roleStarter starts this very program again to play one role.
func roleStarter(env Env, databaseURL string) func(ctx context.Context, role string) (func() error, error) {
	return func(ctx context.Context, role string) (func() error, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, self, "bench-role", role)        //nolint:gosec // this program
		cmd.Env = append(os.Environ(), databaseVariable+"="+databaseURL) //nolint:forbidigo // handed on; a URL in the arguments would show its password
		cmd.Stderr = env.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 20 * time.Second
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return func() error {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				return err
			}
			return cmd.Wait()
		}, nil
	}
}

// newBenchRoleCommand is what the processes of the split mode run.
func newBenchRoleCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use:    "bench-role ROLE",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			databaseURL, _ := env.LookupEnv(databaseVariable)
			return loadgen.RunRole(cmd.Context(), args[0], databaseURL, warnings(env))
		},
	}
}

// printBench prints the medians of each workload.
func printBench(w io.Writer, results []loadgen.Result) error {
	type key struct {
		mode     loadgen.Mode
		workload string
	}
	cells := map[key][]loadgen.Result{}
	var order []key
	for _, r := range results {
		k := key{r.Mode, r.Workload}
		if cells[k] == nil {
			order = append(order, k)
		}
		cells[k] = append(cells[k], r)
	}
	if _, err := fmt.Fprintf(w, "%-9s %-9s %14s %14s %10s %10s\n", "mode", "workload", "workflows/s", "steps/s", "idle p50", "idle p99"); err != nil {
		return err
	}
	for _, k := range order {
		rs := cells[k]
		_, err := fmt.Fprintf(w, "%-9s %-9s %14.0f %14.0f %7.1f ms %7.1f ms\n", k.mode, k.workload,
			median(rs, func(r loadgen.Result) float64 { return r.WorkflowsPerSecond }),
			median(rs, func(r loadgen.Result) float64 { return r.StepsPerSecond }),
			median(rs, func(r loadgen.Result) float64 { return r.P50 }),
			median(rs, func(r loadgen.Result) float64 { return r.P99 }))
		if err != nil {
			return err
		}
	}
	return nil
}

// median of a figure over the results that have it; 0 when none does.
func median(results []loadgen.Result, figure func(loadgen.Result) float64) float64 {
	var values []float64
	for _, r := range results {
		if v := figure(r); v > 0 {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}
