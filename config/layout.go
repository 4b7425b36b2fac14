package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/config/legacy"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// A Note says what became of a key of the v1 layout; see [legacy.Note].
type Note = legacy.Note

// A layoutChoice says which layouts a load takes.
type layoutChoice uint8

const (
	anyLayout layoutChoice = iota
	onlyPresent
	onlyV1
)

// LoadV2 is [Load] for files of the present layout only: files of the v1 layout
// are an error and not converted.
func LoadV2(c Context, opts Options) (*Config, error) {
	opts.layout = onlyPresent
	return Load(c, opts)
}

// LoadLegacy is [Load] for files of the v1 layout only. It logs one warning per
// load that lists what was converted.
//
// Deprecated: rewrite the files with tasker-cli config migrate; [Load] takes
// both layouts until then.
func LoadLegacy(c Context, opts Options, log *slog.Logger) (*Config, error) {
	opts.layout = onlyV1
	told := opts.OnLegacy
	opts.OnLegacy = func(notes []Note) {
		lines := make([]string, len(notes))
		for i, n := range notes {
			lines[i] = n.String()
		}
		log.Warn("configuration has the v1 layout; rewrite it with tasker-cli config migrate", slog.Any("notes", lines))
		if told != nil {
			told(notes)
		}
	}
	return Load(c, opts)
}

// layout is what a load knows of the layout of its files.
type layout struct {
	evidence  legacy.Evidence
	notes     []Note
	converted bool // at least one file was of the v1 layout
	settled   bool // what comes now is of the present layout
}

// convert returns a file of the v1 layout in the present one. It reports false
// for other files.
func (l *loader) convert(tree *tomltree.Value, section string) (*tomltree.Value, bool) {
	if l.settled {
		return tree, false
	}
	l.evidence.Add(tree)
	if l.evidence.Shape() != legacy.IsV1 {
		return tree, false
	}
	l.converted = true
	// v1 had an environment in each file. Those of base were out of date in all
	// environments but one.
	if v := tree.Lookup("environment"); v != nil && section != "" && section != "common" && strings.Contains(v.Pos().File(), "environments/") {
		l.repeated = append(l.repeated, v)
	}
	scope := legacy.Scope{File: section, Sections: l.context.sections()}
	if section == "" {
		there := legacy.SectionsOf(tree)
		scope.Sections = slices.DeleteFunc(slices.Clone(scope.Sections), func(s string) bool { return !slices.Contains(there, s) })
	}
	tree, notes, problems := legacy.Convert(tree, scope)
	l.report.Add(problems...)
	l.notes = append(l.notes, notes...)
	return tree, true
}

// decisionPoints returns what v1 kept in a file of its own, below common.toml,
// or nil. In a tree of the present layout the file is an error.
func (l *loader) decisionPoints() (*tomltree.Value, error) {
	const name = "base/decision_points.toml"
	if !slices.Contains(l.context.sections(), "orchestration") {
		return nil, nil
	}
	data, err := fs.ReadFile(l.from.files, l.from.prefix+name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, readError(l.from.shown+name, err)
	default:
		return l.lay(nil, l.from.shown+name, "decision_points", data), nil
	}
}

// settle judges the layout of the files as a whole, and completes what came from
// v1. A layout that the load does not take is an error.
func (l *loader) settle(merged *tomltree.Value) (*tomltree.Value, error) {
	l.settled = true
	shape := l.evidence.Shape()
	problem := Problem{Code: "legacy-layout", Pos: l.evidence.V1.Pos}
	switch {
	case shape == legacy.IsLanded:
		l.report.Add(l.evidence.LandedProblems()...)
	case shape == legacy.IsMixture && l.converted:
		problem.Code, problem.Key, problem.Message = "mixed-layout", l.evidence.V1.Key, "has the v1 layout, and other files have the present one"
		problem.Also = []tomltree.Place{{Pos: l.evidence.Later.Pos, Note: l.evidence.Later.Key + " has the present one"}}
		l.report.Add(problem)
	case shape == legacy.IsV1 && l.opts.layout == onlyPresent:
		problem.Key, problem.Message = l.evidence.V1.Key, "has the v1 layout (legacy), which this loader does not take"
		l.report.Add(problem)
	case shape == legacy.Present && l.opts.layout == onlyV1:
		problem.Message, problem.Fix = "the files have the present layout, which this loader does not take", "use Load"
		l.report.Add(problem)
	case shape == legacy.IsV1:
		return l.complete(merged), nil
	default:
		return merged, nil
	}
	finish(&l.report)
	return nil, &l.report
}

// complete finishes the conversion of a merged tree: it lists the routes, adds
// what v1 did not have, and says that the files are old.
func (l *loader) complete(merged *tomltree.Value) *tomltree.Value {
	l.notes = append(l.notes, legacy.Overruled(merged)...)
	merged, problems := legacy.ListRoutes(merged)
	l.report.Add(problems...)
	for _, n := range missing(merged) {
		merged = withNew(merged, n)
		l.notes = append(l.notes, defaulted(n))
	}
	l.noteDefaults(merged)
	legacy.Sort(l.notes)
	count := map[legacy.Action]int{}
	for _, n := range l.notes {
		count[n.Action]++
	}
	l.report.Add(Problem{
		Severity: tomltree.Warning, Code: "legacy-layout", Pos: l.evidence.V1.Pos,
		Message: fmt.Sprintf("the files have the v1 layout and were converted (keys and tables: %d moved, %d removed, %d defaulted, %d in conflict)",
			count[legacy.Moved], count[legacy.Removed], count[legacy.Defaulted], count[legacy.Conflict]),
	})
	return merged
}

// noteDefaults notes the keys whose default is in their tag and which the files
// do not set.
func (l *loader) noteDefaults(merged *tomltree.Value) {
	noted := map[string]bool{}
	for _, f := range Fields() {
		path := strings.Split(f.Key, ".")
		if f.Default == "" || merged.Lookup(path[0]) == nil || merged.Lookup(path...) != nil {
			continue
		}
		for len(path) > 2 && merged.Lookup(path[:len(path)-1]...) == nil {
			path = path[:len(path)-1]
		}
		if key := strings.Join(path, "."); !noted[key] {
			noted[key] = true
			l.notes = append(l.notes, Note{Level: legacy.Info, Action: legacy.Defaulted, Target: key, Why: "the v1 files do not have it"})
		}
	}
}

// missing lists what a tree lacks of the sections that it has, with the values
// of the shipped base. Where the database is and which environment it is, only
// the files can say.
func missing(tree *tomltree.Value) []legacy.New {
	var list []legacy.New
	for _, section := range tree.Keys() {
		if base := shippedBase(section); base != nil {
			list = append(list, missingBelow([]string{section}, tree.Lookup(section), base.Lookup(section))...)
		}
	}
	return list
}

func missingBelow(path []string, tree, base *tomltree.Value) []legacy.New {
	var list []legacy.New
	for _, key := range base.Keys() {
		at := append(slices.Clip(path), key)
		full := strings.Join(at, ".")
		there, value := tree.Lookup(key), base.Lookup(key)
		switch {
		case slices.Contains([]string{"common.environment", "common.database.url", "common.queues.rabbitmq"}, full):
		case there == nil && full == "common.database": // all but the URL
			list = append(list, legacy.New{Path: at, Value: value.Without("url")})
		case there == nil:
			list = append(list, legacy.New{Path: at, Value: value})
		case full == "common.circuit_breakers.component_configs", full == "orchestration.backoff.default_backoff_seconds":
		case there.Kind() == tomltree.Table && value.Kind() == tomltree.Table:
			list = append(list, missingBelow(at, there, value)...)
		}
	}
	return list
}

func defaulted(n legacy.New) Note {
	return Note{Level: legacy.Warning, Action: legacy.Defaulted, Target: tomltree.DottedKey(n.Path...), Why: "the v1 files do not have it"}
}

// withNew adds what is missing.
func withNew(tree *tomltree.Value, n legacy.New) *tomltree.Value {
	merged, _ := tomltree.Merge(tree, n.Value.Nest(n.Path...)) // never clashes: it was missing
	return merged
}

// shippedBase returns the built-in base of a section, nil if there is none.
func shippedBase(section string) *tomltree.Value {
	data, err := embedded.ReadFile("tasker/base/" + section + ".toml")
	if err != nil {
		return nil
	}
	tree, _ := tomltree.Parse("built-in/base/"+section+".toml", data)
	return tree
}
