// Package config holds the settings of Tasker as Go types, and loads and checks
// the TOML layers they come from.
//
// A load always runs in one order: parse the files of a context, merge the
// environment's overlay onto the base, fill in variables, decode strictly,
// check. Every problem of every file is reported at once. There are no defaults
// in Go save the tags of the few keys that extend the proposal's tree.
//
// Start with [Load]; [Common], [Orchestration] and [Worker] mirror the files in
// tasker/base key for key. The package does not watch files and does not act on
// any setting.
package config

import (
	"fmt"
	"slices"
	"strings"
)

// Config is everything a process is told. Common is always present, the other
// two as the context asks.
type Config struct {
	// Common is what every process needs: database, queues, telemetry.
	Common Common `toml:"common"`

	// Orchestration is what an orchestrator needs, nil in other processes.
	Orchestration *Orchestration `toml:"orchestration"`

	// Worker is what a worker needs, nil in other processes.
	Worker *Worker `toml:"worker"`
}

// A SectionError reports that a role was given a configuration without the
// section it needs. There is no default for a missing section.
type SectionError struct {
	// Section is the missing table: "orchestration" or "worker".
	Section string
}

func (e *SectionError) Error() string {
	return fmt.Sprintf("%s section required: load the configuration with context %s or complete", e.Section, e.Section)
}

// NeedOrchestration returns the orchestration section, or a [*SectionError].
func (c *Config) NeedOrchestration() (*Orchestration, error) {
	if c.Orchestration == nil {
		return nil, &SectionError{Section: "orchestration"}
	}
	return c.Orchestration, nil
}

// NeedWorker returns the worker section, or a [*SectionError].
func (c *Config) NeedWorker() (*Worker, error) {
	if c.Worker == nil {
		return nil, &SectionError{Section: "worker"}
	}
	return c.Worker, nil
}

// A Context says which sections a process needs, and so which files are read.
type Context string

// The contexts, by what they hold besides common.
const (
	ContextCommon        Context = "common"        // nothing: tests and tools
	ContextOrchestration Context = "orchestration" // orchestration
	ContextWorker        Context = "worker"        // worker
	ContextComplete      Context = "complete"      // both; "combined" is another name for it
)

// Contexts lists every context in the order of the documents.
func Contexts() []Context {
	return []Context{ContextCommon, ContextOrchestration, ContextWorker, ContextComplete}
}

// ParseContext returns the context of that name. It accepts combined for
// complete, and no other spelling.
func ParseContext(name string) (Context, error) {
	if name == "combined" {
		return ContextComplete, nil
	}
	if c := Context(name); slices.Contains(Contexts(), c) {
		return c, nil
	}
	return "", fmt.Errorf("unknown context %q; want common, orchestration, worker, complete or combined", name)
}

// sections returns the top-level tables of the context, which are also the
// names of its files.
func (c Context) sections() []string {
	switch c {
	case ContextCommon:
		return []string{"common"}
	case ContextOrchestration:
		return []string{"common", "orchestration"}
	case ContextWorker:
		return []string{"common", "worker"}
	default:
		return []string{"common", "orchestration", "worker"}
	}
}

// An Environment is where a process runs; it chooses the overlay.
type Environment string

// The environments.
const (
	Test        Environment = "test"
	Development Environment = "development"
	Production  Environment = "production"
)

// Environments lists every environment.
func Environments() []Environment { return []Environment{Test, Development, Production} }

// ParseEnvironment returns the environment of that name. Names are exact: prod
// and Production are errors, because a process that silently runs with another
// environment's values is worse than one that does not start.
func ParseEnvironment(name string) (Environment, error) {
	if e := Environment(name); slices.Contains(Environments(), e) {
		return e, nil
	}
	names := make([]string, 0, len(Environments()))
	for _, e := range Environments() {
		names = append(names, string(e))
	}
	return "", fmt.Errorf("unknown environment %q; want %s", name, strings.Join(names, ", "))
}
