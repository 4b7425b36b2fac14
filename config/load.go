package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"sync"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// Options say where a configuration comes from. The zero Options mean: from
// where the environment of the process says.
type Options struct {
	// Environment chooses the overlay: test, development or production. Empty
	// means what TASKER_ENV says, else development.
	Environment string

	// Path is one file with everything in it, as [Generate] writes them. No
	// other file is read then.
	Path string

	// Root is the directory that holds base and environments, or the one above
	// with these in tasker. It is looked at if Path is empty.
	Root string

	// FS is read instead of the directory Root, which only names it then.
	FS fs.FS

	// Overlay is TOML to lay over everything else. In problems it is called
	// overlay.
	Overlay []byte

	// LookupEnv stands for the environment of the process; nil means
	// [os.LookupEnv].
	LookupEnv func(name string) (string, bool)

	// OnLegacy is called with what was converted, once per load of files that
	// have the v1 layout. It may be nil.
	OnLegacy func(notes []Note)

	// Offline judges the files and not this machine, to validate, never to run:
	// variables that are not set are listed in [Loaded.Unset] and their fields
	// stay zero, directories are not looked for, and TASKER_ENV plays no part.
	Offline bool

	layout layoutChoice
}

// A Report lists the problems of a configuration, each with its key, file, line
// and column. As an error it means that there is no usable configuration.
type Report = tomltree.Report

// A Problem is one entry of a [Report].
type Problem = tomltree.Problem

// Unset is a variable that a file demands and the environment does not have.
type Unset = tomltree.Unset

// Loaded is a configuration with what there is to say about it.
type Loaded struct {
	Config *Config

	// Context is what it was loaded for.
	Context Context

	// Sources are the files, each laid over the ones before it.
	Sources []string

	// Warnings are problems that do not keep the configuration from being used.
	Warnings *Report

	// Unset lists the variables that are missing; only an offline load has any.
	Unset []Unset

	// Notes say what was converted; only files of the v1 layout have any.
	Notes []Note

	tree *tomltree.Value // expanded
}

// Load returns the configuration of a context. It opens only the files that the
// context needs.
//
// Where Options name no file and no directory, TASKER_CONFIG_PATH does (one
// file), else TASKER_CONFIG_ROOT (a directory), else the tree that is built in.
//
// An invalid configuration gives a [*Report] of everything that is wrong, files
// that cannot be read a [*ReadError] each. Calls may run concurrently.
func Load(c Context, opts Options) (*Config, error) {
	arena, _ := arenas.Get().(*tomltree.Arena)
	defer arenas.Put(arena)
	defer arena.Reset() // only the configuration is kept
	loaded, err := resolveIn(arena, c, opts)
	if err != nil {
		return nil, err
	}
	return loaded.Config, nil
}

// LoadForOrchestration returns what an orchestrator needs; see [Load].
func LoadForOrchestration(opts Options) (*Config, error) { return Load(ContextOrchestration, opts) }

// LoadForWorker returns what a worker needs; see [Load].
func LoadForWorker(opts Options) (*Config, error) { return Load(ContextWorker, opts) }

// LoadCombined returns what both roles in one process need; see [Load].
func LoadCombined(opts Options) (*Config, error) { return Load(ContextComplete, opts) }

// arenas keep the memory of trees for the next [Load].
var arenas = sync.Pool{New: func() any { return new(tomltree.Arena) }}

// Resolve is [Load] with all there is to say about the result.
func Resolve(c Context, opts Options) (*Loaded, error) {
	return resolveIn(new(tomltree.Arena), c, opts)
}

// resolveIn is Resolve with the memory of an arena for the tree.
func resolveIn(arena *tomltree.Arena, c Context, opts Options) (*Loaded, error) {
	opts = opts.withDefaults()
	from, err := findSource(opts)
	if err != nil {
		return nil, err
	}
	l, err := newLoader(c, opts, from)
	if err != nil {
		return nil, err
	}
	l.arena = arena
	merged, err := l.merge()
	if err != nil {
		return nil, err
	}
	return l.decode(merged)
}

// schema is the table of all fields, made from the Go types at first use.
var schema = sync.OnceValue(func() *tomltree.Schema {
	return tomltree.NewSchema(reflect.TypeFor[Config](), formats)
})

// Fields lists every key of the configuration with what the tags say of it.
func Fields() []tomltree.Field { return schema().Fields() }

// loader is one load in progress.
type loader struct {
	context     Context
	environment Environment // of the overlay; "" if a single file decides
	from        source
	opts        Options
	arena       *tomltree.Arena
	report      Report
	sources     []string
	secrets     []string
	broken      bool              // a file has parts that could not be read
	repeated    []*tomltree.Value // top-level environment in role files
	layout
}

func (o Options) withDefaults() Options {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	return o
}

func newLoader(c Context, opts Options, from source) (*loader, error) {
	l := &loader{context: c, opts: opts, arena: new(tomltree.Arena), from: from, secrets: schema().Secrets()}
	name, key := opts.Environment, "environment"
	if name == "" && !opts.Offline {
		name, _ = opts.LookupEnv("TASKER_ENV")
		key = "TASKER_ENV"
	}
	if name == "" && from.single == "" {
		name = string(Development)
	}
	if name == "" {
		return l, nil
	}
	var err error
	if l.environment, err = ParseEnvironment(name); err != nil {
		return nil, &Report{Problems: []Problem{{Code: "unknown-environment", Key: key, Message: "cannot be used: " + err.Error()}}}
	}
	return l, nil
}

// merge reads the files and lays them over each other. The result still has its
// placeholders.
func (l *loader) merge() (*tomltree.Value, error) {
	var merged *tomltree.Value
	var err error
	if l.from.single != "" {
		merged, err = l.singleFile()
	} else {
		merged, err = l.tree()
	}
	if err == nil {
		merged, err = l.settle(merged)
	}
	if err == nil && l.opts.Overlay != nil {
		merged = l.lay(merged, "overlay", "", slices.Clone(l.opts.Overlay)) // the tree shares its memory
	}
	return merged, err
}

func (l *loader) singleFile() (*tomltree.Value, error) {
	data, err := l.from.text, error(nil)
	if data == nil {
		data, err = os.ReadFile(l.from.single)
	}
	if err != nil {
		return nil, readError(l.from.single, err)
	}
	return l.lay(nil, l.from.single, "", data), nil
}

// tree merges base and overlay of each section. It reports every file that
// cannot be read.
func (l *loader) tree() (*tomltree.Value, error) {
	merged, err := l.decisionPoints()
	if err != nil {
		return nil, err
	}
	var errs []error
	overlays := 0
	for _, section := range l.context.sections() {
		for _, layer := range []string{"base", "environments/" + string(l.environment)} {
			name := layer + "/" + section + ".toml"
			data, err := fs.ReadFile(l.from.files, l.from.prefix+name)
			switch {
			case err == nil:
			case errors.Is(err, fs.ErrNotExist) && layer != "base":
				continue
			default:
				errs = append(errs, readError(l.from.shown+name, err))
				continue
			}
			if layer != "base" {
				overlays++
			}
			merged = l.lay(merged, l.from.shown+name, section, data)
		}
	}
	if overlays == 0 && len(errs) == 0 {
		l.missingOverlays()
	}
	return merged, errors.Join(errs...)
}

// lay parses one file and lays it over what there is so far, nil standing for
// nothing.
func (l *loader) lay(merged *tomltree.Value, name, section string, data []byte) *tomltree.Value {
	l.sources = append(l.sources, name)
	tree := l.parse(name, section, data)
	if merged == nil {
		return tree
	}
	merged, problems := l.arena.Merge(merged, tree)
	l.report.Add(problems...)
	return merged
}

// missingOverlays warns if the directory of the environment does not exist.
func (l *loader) missingOverlays() {
	dir := "environments/" + string(l.environment)
	if _, err := fs.Stat(l.from.files, l.from.prefix+dir); errors.Is(err, fs.ErrNotExist) {
		l.report.Add(Problem{
			Severity: tomltree.Warning, Code: "no-overlay", Key: "environment",
			Message: fmt.Sprintf("is %s and there is no directory %s: the values of base apply", l.environment, l.from.shown+dir),
		})
	}
}

// parse reads one file of a section, "" standing for any, and returns it in the
// canonical form: its own sections only, and environment below common.
func (l *loader) parse(name, section string, data []byte) *tomltree.Value {
	tree, problems := l.arena.Parse(name, data, l.secrets...)
	l.report.Add(problems...)
	l.broken = l.broken || len(problems) > 0
	if converted, ok := l.convert(tree, section); ok {
		return l.liftEnvironment(converted, section)
	}
	allowed := l.context.sections()
	for _, key := range tree.Keys() {
		if !slices.Contains(ContextComplete.sections(), key) || key == section || section == "" && slices.Contains(allowed, key) {
			continue
		}
		problem := Problem{Code: "wrong-file", Key: key, Pos: tree.KeyPos(key), Message: "belongs in " + key + ".toml"}
		if section == "" {
			problem.Code = "X23"
			problem.Message = fmt.Sprintf("has no place in context %s", l.context)
			problem.Fix = fmt.Sprintf("generate the file for context %s", l.context)
		}
		l.report.Add(problem)
		tree = tree.Without(key)
	}
	return l.liftEnvironment(tree, section)
}

// liftEnvironment moves a top-level environment, as the proposal writes it, to
// common.environment. In the files of the roles it may only repeat it.
func (l *loader) liftEnvironment(tree *tomltree.Value, section string) *tomltree.Value {
	outer := tree.Lookup("environment")
	if outer == nil {
		return tree
	}
	at := tree.KeyPos("environment")
	tree = tree.Without("environment")
	if section != "" && section != "common" {
		l.repeated = append(l.repeated, outer)
		return tree
	}
	inner := tree.Lookup("common", "environment")
	if inner == nil {
		lifted, problems := l.arena.Merge(outer.Nest("common", "environment"), tree)
		l.report.Add(problems...)
		return lifted
	}
	if inner.Text() != outer.Text() {
		l.report.Add(Problem{
			Code: "environment-conflict", Key: "environment", Pos: at, Message: "differs from common.environment in the same file",
			Fix: "keep common.environment only", Also: []tomltree.Place{{Pos: inner.Pos(), Note: "common.environment"}},
		})
	}
	return tree
}

// decode turns the merged tree into a configuration and checks it.
func (l *loader) decode(merged *tomltree.Value) (*Loaded, error) {
	tree, unset, problems := tomltree.Expand(schema().AddPlaceholders(merged), tomltree.Variables{
		Lookup: l.opts.LookupEnv, Allowed: AllowedVariables(), Secret: schema().IsSecret, ReadFile: os.ReadFile,
	})
	l.report.Add(problems...)
	cfg := &Config{}
	unsure, problems := schema().Decode(tree, cfg)
	for _, p := range problems {
		if p.Code != "missing-key" || !l.broken { // a broken file misses keys that are there
			l.report.Add(p)
		}
	}
	if !l.opts.Offline {
		l.demand(unset)
		unset = nil
	}
	if !l.broken {
		c := &checker{cfg: cfg, tree: tree, unsure: unsure, report: &l.report, offline: l.opts.Offline}
		c.run(l.context)
		l.checkEnvironment(c)
	}
	finish(&l.report)
	if err := l.report.Err(); err != nil {
		return nil, err
	}
	if l.opts.OnLegacy != nil && len(l.notes) > 0 {
		l.opts.OnLegacy(l.notes)
	}
	return &Loaded{
		Config: cfg, Context: l.context, Sources: l.sources,
		Warnings: l.report.Warnings(), Unset: unset, Notes: l.notes, tree: tree,
	}, nil
}

// demand reports variables that have no value.
func (l *loader) demand(unset []Unset) {
	for _, u := range unset {
		p := Problem{
			Code: "unset-variable", Key: u.Key, Pos: u.Pos,
			Message: fmt.Sprintf("needs the variable %s, which is not set", u.Variable),
			Fix:     fmt.Sprintf("set %s, or give a default: ${%s:-default}", u.Variable, u.Variable),
		}
		if u.Message != "" {
			p.Message = fmt.Sprintf("needs the variable %s: %s", u.Variable, u.Message)
		}
		if u.Secret {
			p.Fix = fmt.Sprintf("set %s, or let %s_FILE name a file that holds it", u.Variable, u.Variable)
		}
		l.report.Add(p)
	}
}

// checkEnvironment compares what was asked for with what the files say (X15).
func (l *loader) checkEnvironment(c *checker) {
	got := c.cfg.Common.Environment
	if c.isUnsure("common.environment") {
		return
	}
	if l.environment != "" && got != l.environment {
		c.at("common").fail("X15", "environment", "is %q, and the process runs as %q; set TASKER_ENV or the file right", got, l.environment)
	}
	for _, v := range l.repeated {
		if v.Text() != string(got) {
			l.report.Add(Problem{
				Code: "environment-conflict", Key: "environment", Pos: v.Pos(),
				Message: fmt.Sprintf("differs from common.environment, which is %q", got), Fix: "remove it here",
			})
		}
	}
}
