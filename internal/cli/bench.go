package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/loadgen"
	"github.com/tasker-systems/tasker-go/internal/privatepg"
	"github.com/tasker-systems/tasker-go/internal/privaterabbit"
)

// These hand the URLs of the servers to the processes of the split mode.
const (
	databaseVariable = "DATABASE_URL"
	rabbitmqVariable = "RABBITMQ_URL" // empty: the queues are in the database
)

// benchFlags are what `bench` was asked for.
type benchFlags struct {
	databaseURL string
	rabbitmqURL string
	modes       []string
	backends    []string
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
it runs on a private PostgreSQL with fsync on, without --rabbitmq-url on a private
RabbitMQ. Both should be nobody else's meanwhile.

Each workload is measured in every mode and on every backend asked for, one right
after the other. With more than one of them the ratios follow the table.`,
		Example: `  tasker-cli bench --workload W2 --backend pgmq,rabbitmq --latency-samples 0`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runBench(cmd.Context(), env, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.databaseURL, "database-url", "", "a database to use in place of a private PostgreSQL")
	flags.StringVar(&f.rabbitmqURL, "rabbitmq-url", "", "a virtual host of RabbitMQ to use in place of a private RabbitMQ")
	flags.StringSliceVar(&f.backends, "backend", []string{"pgmq"}, "what carries the messages: pgmq, rabbitmq")
	flags.StringSliceVar(&f.modes, "mode", []string{"combined", "split"}, "where the roles run: combined, split")
	flags.StringSliceVar(&f.workloads, "workload", []string{"W1", "W2", "W3", "W4"}, "what to run")
	flags.IntVar(&f.repetitions, "repetitions", 3, "repetitions of each measurement")
	flags.Float64Var(&f.seconds, "seconds", 3, "seconds one throughput run should take; 0 leaves throughput out")
	flags.IntVar(&f.samples, "latency-samples", 100, "workflows per latency measurement, within 3 s; 0 leaves latency out")
	flags.BoolVar(&f.json, "json", false, "print a JSON line per measurement")
	return cmd
}

func runBench(ctx context.Context, env Env, f benchFlags) (err error) {
	for _, mode := range f.modes {
		if m := loadgen.Mode(mode); m != loadgen.Combined && m != loadgen.Split {
			return usage(fmt.Errorf("unknown mode %q; there are combined and split", mode))
		}
	}
	for _, backend := range f.backends {
		if b := config.Backend(backend); b != config.BackendPGMQ && b != config.BackendRabbitMQ {
			return usage(fmt.Errorf("unknown backend %q; there are pgmq and rabbitmq", backend))
		}
	}
	m := measurer{env: env, flags: f}
	defer func() { err = errors.Join(err, m.close()) }()
	var results []loadgen.Result
	report := func(r loadgen.Result) { results = append(results, r) }
	if f.json {
		lines := json.NewEncoder(env.Stdout)
		report = func(r loadgen.Result) { _ = lines.Encode(r) } // a closed pipe ends the process
	}
	for _, w := range f.workloads {
		for _, mode := range f.modes {
			for _, backend := range f.backends {
				opts := loadgen.Options{
					Mode: loadgen.Mode(mode), Workload: strings.ToUpper(w), Repetitions: f.repetitions,
					Seconds: f.seconds, LatencySamples: f.samples, Progress: env.Stderr, Log: warnings(env),
				}
				if err := m.measure(ctx, opts, config.Backend(backend), report); err != nil {
					return fmt.Errorf("bench %s %s %s: %w", mode, backend, w, err)
				}
			}
		}
	}
	if f.json {
		return nil
	}
	return printBench(env.Stdout, results)
}

// A measurer measures, on servers of its own unless told which.
type measurer struct {
	env    Env
	flags  benchFlags
	broker *privaterabbit.Server // started when it is first needed
	hosts  int                   // virtual hosts made there
}

// measure measures one workload, on a fresh database and virtual host unless told
// which.
func (m *measurer) measure(ctx context.Context, opts loadgen.Options, backend config.Backend, report func(loadgen.Result)) (err error) {
	opts.DatabaseURL = m.flags.databaseURL
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
	if backend == config.BackendRabbitMQ {
		if opts.RabbitMQURL, err = m.virtualHost(ctx); err != nil {
			return err
		}
	}
	opts.StartRole = roleStarter(m.env, opts.Servers)
	return loadgen.Run(ctx, opts, report)
}

// virtualHost returns the URL of an empty virtual host, or of the one that the
// user named.
func (m *measurer) virtualHost(ctx context.Context) (string, error) {
	if m.flags.rabbitmqURL != "" {
		return m.flags.rabbitmqURL, nil
	}
	if m.broker == nil {
		broker, err := privaterabbit.Start(ctx)
		if err != nil {
			return "", err
		}
		m.broker = broker
	}
	m.hosts++
	name := fmt.Sprintf("bench%d", m.hosts)
	if err := privaterabbit.Do(ctx, m.broker.ManagementURL(), http.MethodPut, "api/vhosts/"+name); err != nil {
		return "", fmt.Errorf("create a virtual host: %w", err)
	}
	return m.broker.URL(name), nil
}

func (m *measurer) close() error {
	if m.broker == nil {
		return nil
	}
	return m.broker.Close()
}

// warnings is a log of what should not happen.
func warnings(env Env) *slog.Logger {
	return slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// roleStarter starts this very program again to play one role.
func roleStarter(env Env, on loadgen.Servers) func(ctx context.Context, role string) (func() error, error) {
	return func(ctx context.Context, role string) (func() error, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, self, "bench-role", role) //nolint:gosec // this program
		cmd.Env = append(os.Environ(),                            //nolint:forbidigo // handed on; a URL in the arguments would show its password
			databaseVariable+"="+on.DatabaseURL, rabbitmqVariable+"="+on.RabbitMQURL)
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
			on := loadgen.Servers{DatabaseURL: env.variable(databaseVariable), RabbitMQURL: env.variable(rabbitmqVariable)}
			return loadgen.RunRole(cmd.Context(), args[0], on, warnings(env))
		},
	}
}
