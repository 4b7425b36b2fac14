package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/loadgen"
)

// A benchRow is what was measured of a workload in a mode and on a backend.
type benchRow struct {
	workload string
	mode     loadgen.Mode
	backend  config.Backend
}

func rowOf(r loadgen.Result) benchRow { return benchRow{r.Workload, r.Mode, r.Backend} }

// printBench prints the medians of each row, then how they compare.
func printBench(w io.Writer, results []loadgen.Result) error {
	cells := map[benchRow][]loadgen.Result{}
	var order []benchRow
	for _, r := range results {
		if cells[rowOf(r)] == nil {
			order = append(order, rowOf(r))
		}
		cells[rowOf(r)] = append(cells[rowOf(r)], r)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%-9s %-9s %-9s %14s %14s %10s %10s\n", "workload", "mode", "backend", "workflows/s", "steps/s", "idle p50", "idle p99")
	throughput := map[benchRow]float64{}
	for _, row := range order {
		rs := cells[row]
		throughput[row] = median(rs, func(r loadgen.Result) float64 { return r.WorkflowsPerSecond })
		fmt.Fprintf(&out, "%-9s %-9s %-9s %14.0f %14.0f %7.1f ms %7.1f ms\n", row.workload, row.mode, row.backend, throughput[row],
			median(rs, func(r loadgen.Result) float64 { return r.StepsPerSecond }),
			median(rs, func(r loadgen.Result) float64 { return r.P50 }),
			median(rs, func(r loadgen.Result) float64 { return r.P99 }))
	}
	for _, line := range ratios(order, throughput) {
		fmt.Fprintln(&out, line)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// ratios says how split compares with combined on the same backend, and RabbitMQ
// with pgmq in the same mode, for whatever pairs were measured.
func ratios(rows []benchRow, throughput map[benchRow]float64) []string {
	var lines []string
	compare := func(row, with benchRow, what string) {
		if throughput[row] > 0 && throughput[with] > 0 {
			lines = append(lines, fmt.Sprintf("%-9s %-28s %4.0f %%", row.workload, what, 100*throughput[row]/throughput[with]))
		}
	}
	for _, row := range rows {
		if row.mode == loadgen.Split {
			compare(row, benchRow{row.workload, loadgen.Combined, row.backend}, fmt.Sprintf("split ÷ combined, %s", row.backend))
		}
		if row.backend == config.BackendRabbitMQ {
			compare(row, benchRow{row.workload, row.mode, config.BackendPGMQ}, fmt.Sprintf("rabbitmq ÷ pgmq, %s", row.mode))
		}
	}
	if len(lines) > 0 {
		lines = append([]string{""}, lines...)
	}
	return lines
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
