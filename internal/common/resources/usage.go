package resources

import (
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"
)

// Memory is how much memory of the system the process uses for Go, in bytes.
func Memory() int64 {
	used := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(used)
	return int64(used[0].Value.Uint64() - used[1].Value.Uint64()) //nolint:gosec // far from overflow
}

// MemoryAbove returns how much memory the process uses if that is more than most
// bytes, else zero. Garbage is no use of memory: it is given back first.
func MemoryAbove(most int64) int64 {
	if Memory() <= most {
		return 0
	}
	debug.FreeOSMemory()
	if used := Memory(); used > most {
		return used
	}
	return 0
}

// ProcessorTime is how much processor time the process has used.
func ProcessorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // it cannot fail for the process itself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// samples is how many samples the use of processors is averaged over.
const samples = 5

// Processors measures the use of processors over the last few calls of Sample.
// It is not safe for concurrent use.
type Processors struct {
	times []processorTime
}

type processorTime struct {
	at   time.Time
	used time.Duration
}

// Sample measures and returns the use, in percent of so many processors. The
// first sample returns zero.
func (p *Processors) Sample(processors int) float64 {
	p.times = append(p.times, processorTime{time.Now(), ProcessorTime()})
	if extra := len(p.times) - samples; extra > 0 {
		p.times = p.times[extra:]
	}
	first, last := p.times[0], p.times[len(p.times)-1]
	wall := last.at.Sub(first.at)
	if wall <= 0 {
		return 0
	}
	return 100 * float64(last.used-first.used) / (float64(wall) * float64(processors))
}
