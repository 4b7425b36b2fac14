// Package loadgen runs the workloads of `tasker-cli bench`: how many workflows
// a second from the first insert to the last completion, and how long one takes
// on an idle engine. Roles run in this process (combined) or in processes of
// their own (split), over a database that is nobody else's meanwhile.
package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/combined"
	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/demo"
	"github.com/tasker-systems/tasker-go/migrations"
	"github.com/tasker-systems/tasker-go/orchestration"
	"github.com/tasker-systems/tasker-go/worker"
)

// A Mode says where the roles run.
type Mode string

// The modes.
const (
	Combined Mode = "combined" // both in this process, with local hand-off
	Split    Mode = "split"    // a process each
)

// Servers are what the roles run on.
type Servers struct {
	DatabaseURL string // migrated when it is not
	RabbitMQURL string // of a virtual host that is nobody else's; empty: the queues are in the database
}

// Backend is what carries the messages.
func (s Servers) Backend() config.Backend {
	if s.RabbitMQURL != "" {
		return config.BackendRabbitMQ
	}
	return config.BackendPGMQ
}

// Options say what to measure.
type Options struct {
	Servers

	Mode           Mode
	Workload       string  // W1 to W5
	Repetitions    int     // of each measurement
	Seconds        float64 // that one throughput run should take; 0 leaves throughput out
	LatencySamples int     // per repetition, bounded by three seconds; 0 leaves latency out
	// StartRole starts a role in a process of its own, for the split mode, and
	// returns what stops it. See [RunRole].
	StartRole func(ctx context.Context, role string) (stop func() error, err error)
	// Progress takes a line per thing done; nil discards them.
	Progress io.Writer
	Log      *slog.Logger
}

// String names what is measured, for people.
func (o Options) String() string { return fmt.Sprintf("%s %s %s", o.Mode, o.Backend(), o.Workload) }

// A Result is one measurement: throughput when WorkflowsPerSecond is set, idle
// latency when Samples is.
type Result struct {
	Peer               string         `json:"peer"`
	Mode               Mode           `json:"mode"`
	Backend            config.Backend `json:"backend"`
	Workload           string         `json:"workload"`
	Repetition         int            `json:"rep"`
	N                  int            `json:"n,omitempty"`
	Seconds            float64        `json:"seconds,omitempty"`
	WorkflowsPerSecond float64        `json:"wf_per_s,omitempty"`
	StepsPerSecond     float64        `json:"steps_per_s,omitempty"`
	Samples            int            `json:"samples,omitempty"`
	P50                float64        `json:"p50_ms,omitempty"`
	P99                float64        `json:"p99_ms,omitempty"`
}

// What a benchmark changes in the layered configuration, by section: room to
// fill the machine with, no API, nobody else to coordinate with.
const (
	commonOverlay = `
[common.database]
url = '''%s'''
[common.database.pool]
max_connections = 20
min_connections = 4
[common.database.variables]
statement_timeout = 60000
`
	rabbitmqOverlay = `
[common.queues]
backend = "rabbitmq"
[common.queues.rabbitmq]
url = '%s'
`
	orchestrationOverlay = `
[orchestration.system]
mode = "distributed"
[orchestration.system.web]
enabled = false
`
	workerOverlay = `
[worker.system.web]
enabled = false
[worker.system.step_processing]
max_concurrent_steps = 2000
[worker.system.resource_limits]
max_cpu_percent = 100
max_memory_mb = 65536
[worker.event_system.metadata.resource_limits]
max_cpu_percent = 100
max_memory_mb = 65536
`
)

// Config is the configuration of a benchmark.
func Config(c config.Context, on Servers) (*config.Config, error) {
	text := fmt.Sprintf(commonOverlay, on.DatabaseURL)
	if on.Backend() == config.BackendRabbitMQ {
		text += fmt.Sprintf(rabbitmqOverlay, on.RabbitMQURL)
	}
	if c == config.ContextOrchestration || c == config.ContextComplete {
		text += orchestrationOverlay
	}
	if c == config.ContextWorker || c == config.ContextComplete {
		text += workerOverlay
	}
	return config.Load(c, config.Options{Overlay: []byte(text)})
}

// Run measures one workload and hands each result to report as it comes.
func Run(ctx context.Context, opts Options, report func(Result)) error {
	w, err := workload(opts.Workload)
	if err != nil {
		return err
	}
	if _, err := migrations.Apply(ctx, opts.DatabaseURL); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop, err := start(ctx, opts)
	if err != nil {
		return err
	}
	b := &bench{opts: opts, workload: w, report: report}
	err = b.run(ctx)
	return errors.Join(err, stop())
}

func workload(name string) (demo.Workflow, error) {
	for _, w := range demo.Benchmarks() {
		if strings.EqualFold(w.Name, name) {
			return w, nil
		}
	}
	return demo.Workflow{}, fmt.Errorf("unknown workload %q; there are W1 single step, W2 linear 4, W3 diamond 4, W4 1→100→1 and W5 single step of 1,000 limited keys", name)
}

// start starts the roles and returns what stops them.
func start(ctx context.Context, opts Options) (stop func() error, err error) {
	if opts.Mode == Split {
		return startSplit(ctx, opts)
	}
	cfg, err := Config(config.ContextComplete, opts.Servers)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- combined.Run(ctx, cfg, opts.Log, combined.Options{
			Handlers: demo.Handlers(), Templates: demo.Templates(), Ready: func(string, string) { close(ready) },
		})
	}()
	select {
	case <-ready:
		return func() error { cancel(); return <-ended }, nil
	case err := <-ended:
		cancel()
		return nil, err
	}
}

func startSplit(ctx context.Context, opts Options) (func() error, error) {
	var stops []func() error
	stop := func() error {
		var errs []error
		for _, s := range stops {
			errs = append(errs, s())
		}
		return errors.Join(errs...)
	}
	for _, role := range []string{"orchestration", "worker"} {
		s, err := opts.StartRole(ctx, role)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start the %s process: %w", role, err), stop())
		}
		stops = append(stops, s)
	}
	return stop, nil
}

// RunRole is what a process started by StartRole does: it plays the role until
// ctx ends.
func RunRole(ctx context.Context, role string, on Servers, log *slog.Logger) error {
	switch role {
	case "orchestration":
		cfg, err := Config(config.ContextOrchestration, on)
		if err != nil {
			return err
		}
		return orchestration.Run(ctx, cfg, log)
	case "worker":
		cfg, err := Config(config.ContextWorker, on)
		if err != nil {
			return err
		}
		return worker.Run(ctx, cfg, demo.Handlers(), log, worker.WithTemplates(demo.Templates()))
	}
	return fmt.Errorf("unknown role %q", role)
}

// bench is one workload under measurement.
type bench struct {
	opts     Options
	workload demo.Workflow
	report   func(Result)
	client   *client.Client
	conn     *pgx.Conn // looks on
	asked    int       // requests made so far
}

func (b *bench) run(ctx context.Context) error {
	cfg, err := Config(config.ContextCommon, b.opts.Servers)
	if err != nil {
		return err
	}
	if b.client, err = client.Open(ctx, cfg.Common); err != nil {
		return err
	}
	defer b.client.Close()
	if b.conn, err = pgx.Connect(ctx, b.opts.DatabaseURL); err != nil {
		return errors.New("connect to the database to look on")
	}
	defer func() { _ = b.conn.Close(context.WithoutCancel(ctx)) }()
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	if b.opts.Seconds > 0 {
		if err := b.throughput(ctx); err != nil {
			return err
		}
	}
	if b.opts.LatencySamples > 0 {
		return b.latency(ctx)
	}
	return nil
}

// warmUp waits until the roles have registered their templates and runs a few
// workflows.
func (b *bench) warmUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for done := 0; done < 3; {
		_, err := b.one(ctx)
		switch {
		case err == nil:
			done++
		case !errors.Is(err, client.ErrUnknownTemplate) || ctx.Err() != nil:
			return fmt.Errorf("warm up: %w", err)
		default:
			pause(ctx, 10*time.Millisecond)
		}
	}
	return nil
}

// throughput finds out how many workflows take about the wanted time, then
// measures that many.
func (b *bench) throughput(ctx context.Context) error {
	n, least := 100, 100 // fewer would measure latency
	if b.workload.Steps > 4 {
		n, least = 8, 8
	}
	const most = 200_000
	for {
		d, err := b.many(ctx, n)
		if err != nil {
			return err
		}
		perSecond := float64(n) / d.Seconds()
		if d.Seconds() > 0.6*b.opts.Seconds || n >= most {
			n = min(max(least, int(perSecond*b.opts.Seconds)), most)
			break
		}
		n = min(int(float64(n)*math.Min(4, b.opts.Seconds/d.Seconds()))+1, most)
	}
	for rep := range b.opts.Repetitions {
		b.settle(ctx)
		d, err := b.many(ctx, n)
		if err != nil {
			return err
		}
		perSecond := float64(n) / d.Seconds()
		b.report(Result{
			Peer: "tasker", Mode: b.opts.Mode, Backend: b.opts.Backend(), Workload: b.opts.Workload, Repetition: rep, N: n, Seconds: d.Seconds(),
			WorkflowsPerSecond: perSecond, StepsPerSecond: perSecond * float64(b.workload.Steps),
		})
		b.progress("%s: %d workflows in %.2f s, %.0f/s", b.opts, n, d.Seconds(), perSecond)
	}
	return nil
}

// many submits n workflows the fastest way there is and returns how long it
// took from before the first insert until all were seen complete.
func (b *bench) many(ctx context.Context, n int) (time.Duration, error) {
	const rows = 8000 // steps per call
	requests := make([]client.Request, min(n, max(1, rows/b.workload.Steps), 1000))
	for i := range requests {
		requests[i] = b.request()
	}
	began := time.Now()
	for left := n; left > 0; {
		k := min(left, len(requests))
		if _, err := b.client.CreateTasks(ctx, requests[:k]); err != nil {
			return 0, err
		}
		left -= k
	}
	err := b.until(ctx, 5*time.Millisecond, `select not exists (
		select from tasker.tasks where state not in ('complete', 'error', 'cancelled', 'resolved_manually'))`)
	return time.Since(began), err
}

// latency runs single workflows on the idle engine.
func (b *bench) latency(ctx context.Context) error {
	for rep := range b.opts.Repetitions {
		b.settle(ctx)
		var samples []time.Duration
		for end := time.Now().Add(3 * time.Second); len(samples) < b.opts.LatencySamples && (time.Now().Before(end) || len(samples) < 5); {
			d, err := b.one(ctx)
			if err != nil {
				return err
			}
			samples = append(samples, d)
			pause(ctx, 5*time.Millisecond)
		}
		r := Result{
			Peer: "tasker", Mode: b.opts.Mode, Backend: b.opts.Backend(), Workload: b.opts.Workload, Repetition: rep,
			Samples: len(samples), P50: percentile(samples, 0.5), P99: percentile(samples, 0.99),
		}
		b.report(r)
		b.progress("%s: idle p50 %.1f ms, p99 %.1f ms", b.opts, r.P50, r.P99)
	}
	return nil
}

// one runs a workflow and returns how long it took until it was seen complete.
func (b *bench) one(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	id, err := b.client.CreateTask(ctx, b.request())
	if err != nil {
		return 0, err
	}
	err = b.until(ctx, 500*time.Microsecond, `select state = 'complete' from tasker.tasks where task_id = $1`, id)
	return time.Since(began), err
}

func (b *bench) request() client.Request {
	r := client.Request{Namespace: b.workload.Namespace, Template: b.workload.Name}
	if b.workload.Keys > 0 {
		r.Context = map[string]int{"key": b.asked % b.workload.Keys}
	}
	b.asked++
	return r
}

// until asks again and again until the answer is true.
func (b *bench) until(ctx context.Context, every time.Duration, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var done bool
		if err := b.conn.QueryRow(ctx, sql, args...).Scan(&done); err != nil {
			return fmt.Errorf("look whether the workflows are complete: %w", err)
		}
		if done {
			return nil
		}
		pause(ctx, every)
	}
}

// settle lets a run start from a vacuumed, flushed server; without the rights
// for that it starts from what there is.
func (b *bench) settle(ctx context.Context) {
	for _, sql := range []string{"vacuum analyze", "checkpoint"} {
		if _, err := b.conn.Exec(ctx, sql); err != nil {
			b.progress("%s: %v", sql, err)
		}
	}
	pause(ctx, 100*time.Millisecond)
}

func (b *bench) progress(format string, args ...any) {
	if b.opts.Progress != nil {
		_, _ = fmt.Fprintf(b.opts.Progress, format+"\n", args...) // progress that nobody reads harms nobody
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// percentile of samples, in milliseconds.
func percentile(samples []time.Duration, q float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	slices.Sort(samples)
	return float64(samples[int(q*float64(len(samples)-1)+0.5)]) / float64(time.Millisecond)
}
