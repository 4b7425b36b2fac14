package tasker

import (
	"encoding/json"
	"time"
)

// A Template is a task template in Go, for those who would rather not write
// YAML: the same keys, the same checks, the same definition. What has no field
// here goes into Extra, under its key in YAML.
type Template struct {
	Namespace   string
	Name        string
	Version     string // empty: 1.0.0
	Description string
	// IdentityStrategy is strict, caller_provided or always_unique; empty: strict.
	IdentityStrategy string
	// InputSchema is the JSON Schema of the context; nil allows all.
	InputSchema map[string]any
	Steps       []StepDefinition
	Extra       map[string]any // such as lifecycle, limits, domain_events
}

// A StepDefinition is a step of a [Template].
type StepDefinition struct {
	Name string
	// Type is standard, decision, deferred_convergence, batchable, batch_worker
	// or wait_for_signal; empty: standard.
	Type string
	// Handler is the name its handler is added under; none for wait_for_signal.
	Handler   string
	Config    map[string]any // handler.initialization
	DependsOn []string
	// MaxAttempts counts all attempts; 0 leaves it to the default.
	MaxAttempts int
	// Backoff is none, linear, exponential or fibonacci; empty leaves it to the
	// configuration. Base and Most are the first wait and the longest; 0: likewise.
	Backoff    string
	Base, Most time.Duration
	Timeout    time.Duration  // of an attempt, or of the wait for a signal; 0: by default
	Extra      map[string]any // such as batch_config, publishes_events, signal
}

// MarshalJSON writes the template as a YAML file would have it.
func (t Template) MarshalJSON() ([]byte, error) {
	steps := make([]map[string]any, len(t.Steps))
	for i := range t.Steps {
		steps[i] = t.Steps[i].document()
	}
	document := with(t.Extra, map[string]any{"namespace_name": t.Namespace, "name": t.Name, "steps": steps})
	put(document, "version", t.Version)
	put(document, "description", t.Description)
	put(document, "identity_strategy", t.IdentityStrategy)
	if t.InputSchema != nil {
		document["input_schema"] = t.InputSchema
	}
	return json.Marshal(document)
}

func (s *StepDefinition) document() map[string]any {
	document := with(s.Extra, map[string]any{"name": s.Name})
	put(document, "type", s.Type)
	if s.Handler != "" {
		handler := map[string]any{"callable": s.Handler}
		if s.Config != nil {
			handler["initialization"] = s.Config
		}
		document["handler"] = handler
	}
	if s.DependsOn != nil {
		document["dependencies"] = s.DependsOn
	}
	retry := map[string]any{}
	put(retry, "max_attempts", s.MaxAttempts)
	put(retry, "backoff", s.Backoff)
	put(retry, "backoff_base_ms", s.Base.Milliseconds())
	put(retry, "max_backoff_ms", s.Most.Milliseconds())
	if len(retry) > 0 {
		document["retry"] = retry
	}
	put(document, "timeout_seconds", int64(s.Timeout.Seconds()))
	return document
}

// put sets a key unless the value is zero.
func put[V comparable](document map[string]any, key string, value V) {
	var zero V
	if value != zero {
		document[key] = value
	}
}

// with lays the keys of a document over those that have no field.
func with(extra, document map[string]any) map[string]any {
	for key, value := range extra {
		if _, taken := document[key]; !taken {
			document[key] = value
		}
	}
	return document
}
