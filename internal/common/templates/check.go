package templates

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// check reports what the rules of single keys cannot see: names that must
// exist or differ, and the order of the steps.
func check(t *Template, r *report) {
	if len(t.Steps) == 0 {
		r.addf("steps", "must have at least one step")
		return
	}
	if len(t.Steps) > MaxSteps {
		r.addf("steps", "has %d steps, a template may have %d", len(t.Steps), MaxSteps)
		return
	}
	names := make([]string, len(t.Steps))
	for i, s := range t.Steps {
		names[i] = s.Name
	}
	if slices.Contains(names, "") {
		return // reported already; what follows would only repeat it
	}
	l := linksOf(t.Steps)
	checkNames(t, l, r)
	checkDependencies(t, l, names, r)
	checkCycles(t, l, r)
	checkHandlers(t, r)
	checkBatches(t, r)
	checkLimits(t, r)
	checkEnvironments(t, l, names, r)
}

// checkNames reports steps that share a name or take a reserved one.
func checkNames(t *Template, l links, r *report) {
	for i, s := range t.Steps {
		path := fmt.Sprintf("steps[%d].name", i)
		if first := l.ordinals[s.Name]; first != i {
			r.addf(path, "step %q already exists: steps[%d]%s", s.Name, first, onLine(r.position(fmt.Sprintf("steps[%d].name", first))))
		}
		if s.Name == AllSteps {
			r.addf(path, "%q is reserved: overrides mean every step by it", AllSteps)
		}
	}
}

// onLine says where something stands, if that is known.
func onLine(pos position) string {
	if pos.line == 0 {
		return ""
	}
	return fmt.Sprintf(" on line %d", pos.line)
}

// checkDependencies reports dependencies that do not exist or stand twice.
func checkDependencies(t *Template, l links, names []string, r *report) {
	for i, s := range t.Steps {
		seen := make(map[string]bool, len(s.Dependencies))
		for j, name := range s.Dependencies {
			path := fmt.Sprintf("steps[%d].dependencies[%d]", i, j)
			_, known := l.ordinals[name]
			switch {
			case r.full():
				return
			case seen[name]:
				r.addf(path, "step %q names its dependency %q twice", s.Name, name)
			case !known:
				r.addf(path, "step %q depends on unknown step %q%s", s.Name, name, didYouMean(name, names))
			}
			seen[name] = true
		}
	}
}

// checkCycles reports each cycle by its path. Of cycles that share steps it
// reports one; the others show once that is broken.
func checkCycles(t *Template, l links, r *report) {
	if len(l.order()) == len(t.Steps) {
		return
	}
	for _, cycle := range l.cycles() {
		first := t.Steps[cycle[0]].Name
		path := fmt.Sprintf("steps[%d].dependencies", cycle[0])
		if len(cycle) == 1 {
			r.addf(path, "step %q depends on itself", first)
			continue
		}
		var b strings.Builder
		for _, i := range cycle {
			b.WriteString(t.Steps[i].Name + " → ")
		}
		r.addf(path, "steps wait for each other: %s%s (→ depends on)", b.String(), first)
	}
}

// checkHandlers reports what steps without a handler cannot have, and what only
// they have.
func checkHandlers(t *Template, r *report) {
	for i := range t.Steps {
		s, path := &t.Steps[i], fmt.Sprintf("steps[%d]", i)
		waits := s.Type == StepWaitForSignal
		switch {
		case r.full():
			return
		case !waits && s.Signal != "":
			r.addf(path+".signal", "step %q has type %s; only wait_for_signal waits for one", s.Name, s.Type)
		case waits && s.Handler.Callable != "":
			r.addf(path+".handler", "step %q waits for a signal and runs no handler", s.Name)
		case waits && s.Retry != (Retry{}):
			r.addf(path+".retry", "step %q waits for a signal once; give it a longer timeout_seconds", s.Name)
		}
	}
}

// checkBatches reports batch settings that no batch would follow.
func checkBatches(t *Template, r *report) {
	var workers []string
	for _, s := range t.Steps {
		if s.Type == StepBatchWorker {
			workers = append(workers, s.Name)
		}
	}
	for i, s := range t.Steps {
		if s.BatchConfig == nil {
			continue
		}
		path := fmt.Sprintf("steps[%d].batch_config", i)
		if s.Type != StepBatchable && s.Type != StepBatchWorker {
			r.addf(path, "step %q has type %s; only batchable and batch_worker have batches", s.Name, s.Type)
		}
		if name := s.BatchConfig.WorkerTemplate; name != "" && !slices.Contains(workers, name) {
			r.addf(path+".worker_template", "%q is not a step of type batch_worker%s", name, didYouMean(name, workers))
		}
	}
}

// checkEnvironments reports overrides that would never apply, or twice.
func checkEnvironments(t *Template, l links, names []string, r *report) {
	for _, env := range slices.Sorted(maps.Keys(t.Environments)) {
		path := "environments." + env
		if !slices.Contains(environmentNames, env) {
			r.addf(path, "unknown environment, must be one of %s%s",
				strings.Join(environmentNames, ", "), didYouMean(env, environmentNames))
		}
		seen := map[string]bool{}
		for i, o := range t.Environments[env].Steps {
			path := fmt.Sprintf("%s.steps[%d].name", path, i)
			_, known := l.ordinals[o.Name]
			switch {
			case r.full():
				return
			case o.Name == "": // reported already
			case seen[o.Name]:
				r.addf(path, "step %q is overridden twice; put the overrides together", o.Name)
			case !known && o.Name != AllSteps:
				r.addf(path, "unknown step %q%s", o.Name, didYouMean(o.Name, append(names, AllSteps)))
			}
			seen[o.Name] = true
		}
	}
}
