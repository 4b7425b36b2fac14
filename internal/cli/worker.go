package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
)

func newWorkerCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "See which processes run, and what they run",
		Long: "See which processes run, orchestrators too: what they serve, on which version, how busy\n" +
			"they are and when they were last heard of.",
	}
	cmd.AddCommand(newWorkerListCommand(env), newWorkerShowCommand(env))
	return cmd
}

func newWorkerListCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	var f apiclient.WorkerFilter
	cmd := r.command(&cobra.Command{
		Use:   "list",
		Short: "List the processes, those first that started last",
		Long: "List the processes, those first that started last. Those that have stopped in good\n" +
			"order show with --state stopped; one that was silent for three heartbeats is gone.",
		Args: cobra.NoArgs,
	}, func(ctx context.Context, c *apiclient.Client, _ []string) (view, error) {
		page, err := c.ListWorkers(ctx, f)
		if err != nil {
			return view{}, err
		}
		t := table{columns: []column{
			{title: "process"},
			{title: "role"},
			{title: "state"},
			{title: "worker"},
			{title: "host"},
			{title: "busy", right: true},
			{title: "version"},
			{title: "namespaces"},
			{title: "last seen"},
		}}
		for i := range page.Workers {
			w := &page.Workers[i]
			t.add(w.ID, w.Role, w.State, w.WorkerID, fmt.Sprintf("%s:%d", w.Host, w.PID), busy(w.Running, w.Capacity), w.Version,
				strings.Join(w.Namespaces, ","), w.LastSeenAt.Local().Format(time.DateTime))
		}
		return view{raw: page.JSON, lines: tabled(&t), next: page.Next}, nil
	})
	flags := cmd.Flags()
	flags.StringVar(&f.Role, "role", "", "only processes with this role: orchestration, worker or combined")
	flags.StringVar(&f.State, "state", "", "only processes in this state: running, draining, gone or stopped")
	flags.StringVar(&f.Namespace, "namespace", "", "only processes that run steps of this namespace")
	flags.StringVar(&f.After, "after", "", "only processes older than the one with this id")
	flags.IntVar(&f.Limit, "limit", 100, "how many at most, 1 to 1000")
	completeFlag(cmd, "role", func(*cobra.Command) []string { return []string{"orchestration", "worker", "combined"} })
	completeFlag(cmd, "state", func(*cobra.Command) []string { return []string{"running", "draining", "gone", "stopped"} })
	r.watchFlag(cmd)
	return cmd
}

// busy says how many of the steps that may run do.
func busy(running, capacity int) string {
	if capacity == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", running, capacity)
}

func newWorkerShowCommand(env Env) *cobra.Command {
	r := &remote{env: env}
	return r.completes(r.command(&cobra.Command{
		Use: "show PROCESS", Short: "Print a process with its handlers and templates", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *apiclient.Client, args []string) (view, error) {
		w, err := c.FindWorker(ctx, args[0])
		if err != nil {
			return view{}, err
		}
		return view{raw: w.JSON, lines: func(s *screen) []string {
			return factLines(s, []fact{
				{"process", w.ID},
				{"role", w.Role},
				{"state", w.State},
				{"worker", strings.TrimSpace(w.WorkerID + " " + w.WorkerType)},
				{"name", w.ProcessName},
				{"host", fmt.Sprintf("%s, process %d", w.Host, w.PID)},
				{"version", fmt.Sprintf("%s, schema %d", w.Version, w.Schema)},
				{"busy", busy(w.Running, w.Capacity)},
				{"started", shownTime(&w.StartedAt)},
				{"last seen", shownTime(&w.LastSeenAt)},
				{"stopped", shownTime(w.StoppedAt)},
				{"namespaces", strings.Join(w.Namespaces, ", ")},
				{"templates", strings.Join(w.Templates, ", ")},
				{"handlers", strings.Join(w.Handlers, ", ")},
			})
		}}, nil
	}), workerIDs)
}
