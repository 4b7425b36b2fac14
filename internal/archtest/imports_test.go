package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// module is the path that our own imports begin with.
const module = "github.com/tasker-systems/tasker-go"

// policy says what each package may import, of this module and of others, a
// package per line; "." is the module's root. A name that ends in /* also stands for
// all below it, and ! takes back what an earlier name gave. The first line whose
// package matches counts; a package that none matches is an error. The standard
// library is open to all. "test" is what test files may import besides.
//
// A new package gets a new line, in its place. Do not relax a line to make a
// build pass.
const policy = `
# Words and settings.
.                                 :
internal/tomltree                 : github.com/pelletier/go-toml/v2/*
config/legacy                     : internal/tomltree
config                            : . config/legacy internal/common/permission internal/common/signingkey internal/tomltree
migrations                        : github.com/jackc/pgx/v5/* github.com/pressly/goose/v3/*

# What both roles stand on, from the bottom up.
internal/common/taskid            : github.com/google/uuid
internal/common/state             : .
internal/common/cron              :
internal/common/templates         : . config go.yaml.in/yaml/v3 github.com/santhosh-tekuri/jsonschema/v6
internal/common/expansion         : . config internal/common/taskid internal/common/templates
internal/common/backoff           : . config internal/common/templates
internal/common/health            : . config
internal/common/telemetry         : . config github.com/prometheus/client_golang/* go.opentelemetry.io/* google.golang.org/protobuf/*
internal/common/channels          : . config
internal/common/breakers          : config internal/common/health internal/common/telemetry github.com/sony/gobreaker/v2
internal/common/depth             : internal/common/health internal/common/postgres
internal/common/resources         : config internal/common/channels internal/common/health internal/common/telemetry
internal/common/publisher         : . config internal/common/channels
internal/common/postgres          : . config migrations internal/common/taskid github.com/google/uuid github.com/jackc/pgx/v5/*
internal/common/messaging         : . config
internal/common/messaging/rabbitmq: config internal/common/health internal/common/messaging github.com/rabbitmq/amqp091-go
internal/common/eventsystem       : . config internal/common/backoff internal/common/breakers internal/common/health internal/common/messaging internal/common/postgres github.com/jackc/pgx/v5/*
internal/common/outcome           : . config internal/common/postgres
internal/common/executor          : . internal/common/outcome
internal/common/handoff           : . config internal/common/outcome internal/common/postgres
internal/common/catalog           : . config internal/common/messaging internal/common/postgres internal/common/templates github.com/google/uuid
internal/common/events            : . internal/common/catalog internal/common/outcome internal/common/postgres internal/common/publisher internal/common/templates github.com/google/uuid
internal/common/intake            : . config internal/common/catalog internal/common/messaging internal/common/postgres internal/common/taskid internal/common/templates github.com/google/uuid internal/common/telemetry go.opentelemetry.io/otel/*
internal/common/operate           : . internal/common/catalog internal/common/eventsystem internal/common/expansion internal/common/messaging internal/common/postgres internal/common/state internal/common/taskid github.com/google/uuid
internal/common/schedules         : internal/common/catalog internal/common/cron internal/common/intake internal/common/postgres github.com/google/uuid
internal/common/await             : . internal/common/eventsystem internal/common/postgres github.com/google/uuid
internal/common/registry          : internal/common/postgres
internal/common/publicnet         :
internal/common/webhook           : internal/common/publicnet
internal/common/permission        :
internal/common/signingkey        :
internal/common/auth              : config internal/common/permission internal/common/publicnet internal/common/signingkey github.com/golang-jwt/jwt/v5
internal/common/web               : . config internal/common/auth internal/common/breakers internal/common/health internal/common/permission internal/common/telemetry github.com/danielgtaylor/huma/v2/* github.com/rs/cors
internal/common/describe          : internal/common/catalog internal/common/postgres internal/common/web github.com/google/uuid
internal/common/system            : . config migrations internal/common/* github.com/google/uuid github.com/jackc/pgx/v5/*

# The roles. Only the assemblies see the system, and neither role sees the other.
orchestration/internal/web/*      : . config migrations internal/common/* !internal/common/system github.com/google/uuid github.com/danielgtaylor/huma/v2/*
orchestration/internal/*          : . config internal/common/* !internal/common/system github.com/google/uuid
orchestration                     : . config internal/common/* orchestration/internal/* github.com/google/uuid golang.org/x/sync/* go.opentelemetry.io/otel/*
worker/internal/*                 : . config internal/common/* !internal/common/system github.com/google/uuid
worker                            : . config internal/common/* internal/process worker/internal/* github.com/google/uuid golang.org/x/sync/* go.opentelemetry.io/otel/*
combined                          : . config internal/common/* orchestration worker golang.org/x/sync/*

# What users and their tests call. client is the one public package that names pgx.
client                            : . config internal/common/* !internal/common/system github.com/google/uuid github.com/jackc/pgx/v5/*
taskertest                        : . client combined config migrations worker internal/common/* internal/privatepg

# Programs and what only they need.
internal/privatepg                :
internal/privaterabbit            :
internal/apiclient                : .
internal/process                  : . config golang.org/x/term
internal/demo                     : . client config internal/common/templates
internal/loadgen                  : . client combined config migrations orchestration worker internal/common/* internal/demo internal/privatepg internal/process github.com/jackc/pgx/v5/* golang.org/x/sync/*
internal/cli                      : . client combined config migrations orchestration worker internal/* !internal/testdb !internal/golden github.com/google/uuid github.com/jackc/pgx/v5/* github.com/spf13/cobra go.yaml.in/yaml/v3 golang.org/x/sync/* golang.org/x/term
cmd/*                             : . combined config orchestration worker internal/cli internal/demo internal/process
examples/*                        : . client worker
scripts/*                         : internal/privatepg internal/privaterabbit
deploy                            :

# Tests.
internal/archtest                 :
internal/eventtest                : config internal/common/eventsystem internal/common/health github.com/jackc/pgx/v5/*
internal/oteltest                 : go.opentelemetry.io/proto/otlp/* google.golang.org/protobuf/*
internal/contract                 : github.com/santhosh-tekuri/jsonschema/v6
internal/golden                   : github.com/rogpeppe/go-internal/*
internal/enginetest               : . client combined config orchestration worker internal/common/* internal/demo internal/testbroker internal/testdb github.com/google/uuid github.com/jackc/pgx/v5/*
internal/e2e                      : orchestration worker
internal/scenarios                :
internal/testcert                 :
internal/testdb                   : migrations internal/privatepg github.com/jackc/pgx/v5/*
internal/testbroker               : internal/privaterabbit
internal/liveness                 : . config golang.org/x/tools/*
test                              : . client combined config migrations taskertest internal/* github.com/BurntSushi/toml github.com/google/uuid github.com/jackc/pgx/v5/* github.com/pelletier/go-toml/v2/* github.com/rabbitmq/amqp091-go github.com/rogpeppe/go-internal/* github.com/santhosh-tekuri/jsonschema/v6 github.com/toml-lang/toml-test/v2 go.opentelemetry.io/* go.uber.org/goleak go.yaml.in/yaml/v3 pgregory.net/rapid golang.org/x/sync/*
`

// TestImports holds the module to the policy.
func TestImports(t *testing.T) {
	t.Parallel()
	rules, err := parsePolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	problems, err := check(os.DirFS("../.."), rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// A rule is a line of the policy.
type rule struct {
	packages string
	imports  []string
}

func parsePolicy(text string) ([]rule, error) {
	var rules []rule
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		packages, imports, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("policy line without a colon: %s", line)
		}
		rules = append(rules, rule{strings.TrimSpace(packages), strings.Fields(imports)})
	}
	return rules, nil
}

// find returns the rule for a package.
func find(rules []rule, pkg string) (rule, bool) {
	i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.packages, pkg) })
	if i < 0 {
		return rule{}, false
	}
	return rules[i], true
}

// allows reports whether the rule lets a package import name.
func (r rule) allows(name string) bool {
	allowed := false
	for _, pattern := range r.imports {
		if denied, ok := strings.CutPrefix(pattern, "!"); ok {
			allowed = allowed && !matches(denied, name)
		} else {
			allowed = allowed || matches(pattern, name)
		}
	}
	return allowed
}

func matches(pattern, name string) bool {
	if base, ok := strings.CutSuffix(pattern, "/*"); ok {
		return name == base || strings.HasPrefix(name, base+"/")
	}
	return name == pattern
}

// check returns what in the module breaks the rules. It reads the files
// itself: a go list in a child process would be hidden from the cache of test results.
func check(root fs.FS, rules []rule) ([]string, error) {
	problems := map[string]bool{}
	tests, ok := find(rules, "test")
	if !ok {
		return nil, fmt.Errorf("the policy has no line for tests")
	}
	err := walk(root, func(file string) error {
		pkg := path.Dir(file)
		r, ok := find(rules, pkg)
		if !ok {
			problems[pkg+": no line in the policy; add one, in its place"] = true
			return nil
		}
		imports, err := importsOf(root, file)
		for _, name := range imports {
			inTest := strings.HasSuffix(file, "_test.go") && (tests.allows(name) || name == pkg)
			if !inTest && !r.allows(name) {
				problems[pkg+" must not import "+name+" ("+path.Base(file)+")"] = true
			}
		}
		return err
	})
	return slices.Sorted(maps.Keys(problems)), err
}

// walk calls do for every Go file of the module.
func walk(root fs.FS, do func(file string) error) error {
	return fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && ignored(root, name) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) == ".go" {
			return do(name)
		}
		return nil
	})
}

// ignored reports whether the go command, too, would pass over the folder.
func ignored(root fs.FS, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || base == "bin" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(root, path.Join(dir, "go.mod"))
	return err == nil // another module
}

// importsOf returns the imports of a file, without the standard library's and
// without the module's own prefix.
func importsOf(root fs.FS, file string) ([]string, error) {
	src, err := fs.ReadFile(root, file)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var imports []string
	for _, spec := range parsed.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		own, isOwn := strings.CutPrefix(name, module+"/")
		first, _, _ := strings.Cut(name, "/")
		switch {
		case name == module:
			imports = append(imports, ".")
		case isOwn:
			imports = append(imports, own)
		case strings.Contains(first, "."):
			imports = append(imports, name)
		}
	}
	return imports, nil
}

// TestCheck has the check judge a small module.
func TestCheck(t *testing.T) {
	t.Parallel()
	file := func(imports ...string) *fstest.MapFile {
		src := "package p\n"
		for _, name := range imports {
			src += "import " + strconv.Quote(name) + "\n"
		}
		return &fstest.MapFile{Data: []byte(src)}
	}
	root := fstest.MapFS{
		"state.go":                  file("time"),
		"store/store.go":            file(module, "example.com/db/pool", "example.com/dbx"),
		"roles/a/a.go":              file(module+"/store", module+"/roles/b", module+"/store/secret"),
		"roles/a/a_test.go":         file(module+"/roles/a", module+"/kit", module+"/roles/b"),
		"roles/a/testdata/x/x.go":   file(module + "/roles/b"),
		"tools/go.mod":              {},
		"tools/tools.go":            file("example.com/linter"),
		"internal/util/strings.go":  file(),
		"internal/util/integers.go": file(),
	}
	rules, err := parsePolicy(`
.       :
store/* : . example.com/db/*
roles/* : . store/* !store/secret
test    : kit
`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := check(root, rules)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"internal/util: no line in the policy; add one, in its place",
		"roles/a must not import roles/b (a.go)",
		"roles/a must not import roles/b (a_test.go)",
		"roles/a must not import store/secret (a.go)",
		"store must not import example.com/dbx (store.go)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
