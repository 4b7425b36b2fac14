package templates

import (
	"maps"
	"slices"

	"github.com/tasker-systems/tasker-go/config"
)

// AllSteps is the name by which an override means every step of the template.
const AllSteps = "ALL"

// environmentNames are the environments that exist; an override for another
// would never apply.
var environmentNames = []string{"development", "production", "test"}

// An Environment holds what is different in one environment.
type Environment struct {
	TaskHandler HandlerOverride `json:"task_handler,omitzero"`
	Steps       []StepOverride  `json:"steps,omitempty"`
}

// A StepOverride changes one step, or all when its name is [AllSteps].
type StepOverride struct {
	Name    string          `json:"name" required:"true"`
	Handler HandlerOverride `json:"handler,omitzero"`
	Retry   Retry           `json:"retry,omitzero"`
	Timeout config.Seconds  `json:"timeout_seconds,omitempty" range:"1..2592000"`
}

// A HandlerOverride adds to what a handler is given.
type HandlerOverride struct {
	Initialization Object `json:"initialization,omitempty"`
}

// ForEnvironment returns the template as it is in the environment env, without
// its overrides. Overrides of all steps come first, so that those of a single
// step win. Initialization is merged, mapping by mapping; a retry replaces the
// step's whole retry; a timeout replaces the timeout. An env without overrides
// changes nothing. The result shares what did not change with t.
func (t *Template) ForEnvironment(env string) *Template {
	out := *t
	out.Environments = nil
	overrides := t.Environments[env]
	out.TaskHandler.Initialization = merge(t.TaskHandler.Initialization, overrides.TaskHandler.Initialization)
	out.Steps = slices.Clone(t.Steps)
	for i := range out.Steps {
		for _, name := range []string{AllSteps, out.Steps[i].Name} {
			for _, o := range overrides.Steps {
				if o.Name == name {
					out.Steps[i].apply(o)
				}
			}
		}
	}
	return &out
}

// apply changes s as o says.
func (s *Step) apply(o StepOverride) {
	s.Handler.Initialization = merge(s.Handler.Initialization, o.Handler.Initialization)
	if o.Retry != (Retry{}) {
		s.Retry = o.Retry
	}
	if o.Timeout != 0 {
		s.Timeout = o.Timeout
	}
}

// merge lays over onto base and returns the result; neither is changed.
// Mappings merge, everything else replaces.
func merge[M ~map[string]any](base, over M) M {
	if len(over) == 0 {
		return base
	}
	out := maps.Clone(base)
	if out == nil {
		out = M{}
	}
	for key, value := range over {
		below, isMap := out[key].(map[string]any)
		if above, ok := value.(map[string]any); ok && isMap {
			value = merge(below, above)
		}
		out[key] = value
	}
	return out
}
