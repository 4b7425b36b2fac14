package legacy

import (
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// A Shape is a layout that files have.
type Shape uint8

// The shapes. Files that show nothing of their layout count as Present.
const (
	Present   Shape = iota // common, orchestration, worker
	IsV1                   // v1 or its second phase
	IsLanded               // the v2 that the first Tasker shipped
	IsMixture              // keys of v1 and of a later layout, which nobody can have meant
)

// A Sign is a key that speaks for a layout.
type Sign struct {
	Key string
	Pos tomltree.Pos // of the key
}

// Evidence collects, file by file, what keys say of the layout of a tree. The
// zero Evidence knows no file.
type Evidence struct {
	V1    Sign // the first key of the v1 layout, if any
	Later Sign // the first key that no v1 file has, if any

	landed  bool // there are keys of the landed layout
	present bool // there are keys that only the present layout has
	trees   []*tomltree.Value
}

// Add takes a file into account.
func (e *Evidence) Add(tree *tomltree.Value) {
	e.trees = append(e.trees, tree)
	for _, key := range tree.Keys() {
		at := Sign{key, tree.KeyPos(key)}
		switch {
		case key == "common":
			first(&e.Later, at)
			e.present = e.present || tree.Lookup("environment") != nil
			e.addBelow(key, tree.Lookup(key))
		case key == "orchestration" || key == "worker":
			e.addBelow(key, tree.Lookup(key))
		case rootsOfV1[key]:
			first(&e.V1, at)
		}
	}
}

// addBelow looks at the keys of a table that several layouts have.
func (e *Evidence) addBelow(section string, table *tomltree.Value) {
	for _, key := range table.Keys() {
		shape := keysBelow[section][key]
		if key == "dlq" && table.Lookup(key, "staleness_detection") != nil {
			shape = ofLanded
		}
		switch shape {
		case ofLanded:
			e.landed = true
		case ofPresent:
			e.present = true
			fallthrough
		case ofBoth:
			if e.Later.Key == "" {
				e.Later = Sign{section + "." + key, table.KeyPos(key)}
			}
		}
	}
}

// Shape returns what the files are, all in all. Keys of the landed layout among
// those of the present one are mistakes for the decoder to name.
func (e *Evidence) Shape() Shape {
	switch {
	case e.V1.Key != "" && e.Later.Key != "":
		return IsMixture
	case e.V1.Key != "":
		return IsV1
	case e.landed && !e.present:
		return IsLanded
	default:
		return Present
	}
}

func first(s *Sign, at Sign) {
	if s.Key == "" {
		*s = at
	}
}

// ownership says which of the later layouts has a key.
type ownership uint8

const (
	ofPresent ownership = iota + 1
	ofLanded
	ofBoth
)

// keysBelow are the keys by which the later layouts are told apart. Those of
// the landed layout below orchestration and worker also are those of the second
// phase of v1, in files that have other tables of v1.
var keysBelow = map[string]map[string]ownership{
	"common": {"environment": ofPresent, "execution": ofLanded, "backoff": ofLanded},
	"orchestration": {
		"backoff": ofPresent, "system": ofPresent, "staleness_detection": ofPresent, "archive": ofPresent,
		"mpsc_channels": ofBoth, "event_systems": ofBoth, "dlq": ofBoth, "decision_points": ofBoth,
		"mode": ofLanded, "web": ofLanded, "enable_performance_logging": ofLanded,
	},
	"worker": {
		"system": ofPresent, "event_system": ofPresent, "mpsc_channels": ofBoth,
		"worker_id": ofLanded, "worker_type": ofLanded, "event_systems": ofLanded, "step_processing": ofLanded,
		"health_monitoring": ofLanded, "web": ofLanded, "orchestration_client": ofLanded,
	},
}

// rootsOfV1 are the top-level tables of v1.
var rootsOfV1 = func() map[string]bool {
	roots := map[string]bool{}
	for _, f := range formers {
		if root, _, _ := strings.Cut(f.Key, "."); f.Layout != Landed && root != "environment" {
			roots[root] = true
		}
	}
	return roots
}()

// LandedProblems says for every group of keys of the landed layout where it is
// now, and what else there is to do.
func (e *Evidence) LandedProblems() []tomltree.Problem {
	fixes := map[string]string{}
	var keys []string
	for _, f := range formers {
		key, fix := f.Key, "write it as "+f.Now
		if f.Layout != Landed {
			key = f.wouldBe()
		}
		if f.Now == "" {
			fix = "remove it: " + f.Why
		}
		if f.Layout == Landed || f.Now == "" && fixes[key] == "" {
			fixes[key] = fix
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var problems []tomltree.Problem
	for _, key := range slices.Compact(keys) {
		parts := strings.Split(key, ".")
		last := len(parts) - 1
		for _, tree := range e.trees {
			if table := tree.Lookup(parts[:last]...); table != nil && table.Lookup(parts[last]) != nil {
				problems = append(problems, tomltree.Problem{
					Code: "landed-layout", Key: key, Pos: table.KeyPos(parts[last]), Fix: fixes[key],
					Message: "belongs to the layout that the first Tasker shipped as its v2",
				})
			}
		}
	}
	return append(problems, tomltree.Problem{
		Code: "landed-layout", Message: "files of the landed layout lack " + lackingInLanded,
		Fix: "carry values over by the fixes above; tasker-cli config migrate rewrites files of v1 only",
	})
}

// lackingInLanded are the groups of keys that landed files do not have.
const lackingInLanded = "orchestration.archive, orchestration.mpsc_channels.task_readiness, common.task_templates, " +
	"common.telemetry.metrics, common.telemetry.tracing, and of worker.system event_driven, fallback_poller, " +
	"listener, queue_config and resource_limits"
