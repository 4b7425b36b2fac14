package config

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// extensions is how many keys extend the proposal's tree of 222: seven each of
// decision points, web auth and webhooks, one of the web API, three of RabbitMQ,
// ten more of web auth, nineteen of the same for the worker, and three of TLS for
// each server.
const extensions = 7 + 7 + 7 + 1 + 3 + 10 + 19 + 2*3

func TestFieldCount(t *testing.T) {
	t.Parallel()
	defaults := 0
	for _, f := range Fields() {
		if f.Default != "" {
			defaults++
		}
	}
	if got := len(Fields()); got != 222+extensions || defaults != extensions {
		t.Errorf("there are %d fields, %d of them with a default; want %d and %d", got, defaults, 222+extensions, extensions)
	}
}

// TestUnits checks that the suffix of a key and the Go type agree, both ways.
func TestUnits(t *testing.T) {
	t.Parallel()
	units := []struct {
		suffix string
		types  []reflect.Type
	}{
		{"_ms", []reflect.Type{reflect.TypeFor[Milliseconds]()}},
		{"_seconds", []reflect.Type{reflect.TypeFor[Seconds](), reflect.TypeFor[DecimalSeconds](), reflect.TypeFor[[]Seconds]()}},
		{"_minutes", []reflect.Type{reflect.TypeFor[Minutes]()}},
		{"_hours", []reflect.Type{reflect.TypeFor[Hours]()}},
		{"_days", []reflect.Type{reflect.TypeFor[Days]()}},
		{"_mb", []reflect.Type{reflect.TypeFor[Megabytes]()}},
		{"_percent", []reflect.Type{reflect.TypeFor[Percent]()}},
	}
	// The proposal names these otherwise; what they hold is in their comments.
	exceptions := map[string]reflect.Type{
		"statement_timeout":     reflect.TypeFor[Milliseconds](),
		"health_check_interval": reflect.TypeFor[Seconds](),
		"jitter_percent":        reflect.TypeFor[Fraction](),
	}
	for _, f := range Fields() {
		name := f.Key[strings.LastIndexByte(f.Key, '.')+1:]
		if typ, ok := exceptions[name]; ok {
			if f.Type != typ {
				t.Errorf("%s is %s, want %s", f.Key, f.Type, typ)
			}
			continue
		}
		if strings.HasPrefix(f.Key, "orchestration.backoff.reenqueue_delays.") {
			if f.Type != reflect.TypeFor[Seconds]() {
				t.Errorf("%s is %s, want Seconds", f.Key, f.Type)
			}
			continue
		}
		for _, u := range units {
			if strings.HasSuffix(name, u.suffix) != slices.Contains(u.types, f.Type) {
				t.Errorf("%s is %s, and its suffix is not", f.Key, f.Type)
			}
		}
	}
}

// TestGoNames checks that a Go field is named for its key, without the unit.
func TestGoNames(t *testing.T) {
	t.Parallel()
	var walk func(typ reflect.Type)
	seen := map[reflect.Type]bool{}
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Map || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		for f := range typ.Fields() {
			walk(f.Type)
			if key := f.Tag.Get("toml"); f.Name != "_" && !f.Anonymous && !strings.HasPrefix(key, strings.ToLower(f.Name)) {
				squeezed := strings.ReplaceAll(key, "_", "")
				if !strings.HasPrefix(squeezed, strings.ToLower(f.Name)) && key != "mpsc_channels" {
					t.Errorf("%s.%s has key %s", typ.Name(), f.Name, key)
				}
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}

// TestTags checks that every number has bounds and nothing else has.
func TestTags(t *testing.T) {
	t.Parallel()
	for _, f := range Fields() {
		typ := f.Type
		if typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		number := typ.Kind() == reflect.Int || typ.Kind() == reflect.Float64
		if number != (f.Range != "") {
			t.Errorf("%s is %s with range %q", f.Key, f.Type, f.Range)
		}
	}
	want := []string{"url", "jwt_private_key", "jwt_public_key", "api_key"}
	if got := schema().Secrets(); !slices.Equal(got, want) {
		t.Errorf("secrets are %v, want %v", got, want)
	}
}

// TestComments checks that every field of the tree is described next to it.
func TestComments(t *testing.T) {
	t.Parallel()
	fset := token.NewFileSet()
	for _, name := range []string{"config.go", "common.go", "eventsystem.go", "web.go", "orchestration.go", "worker.go"} {
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			f, ok := n.(*ast.Field)
			if !ok || f.Tag == nil || f.Names[0].Name == "_" {
				return true
			}
			if !strings.HasPrefix(f.Doc.Text(), f.Names[0].Name+" ") {
				t.Errorf("%s: the comment of %s does not begin with its name", fset.Position(f.Pos()), f.Names[0].Name)
			}
			return true
		})
	}
}

// TestBaseIsTheProposal compares the shipped base with the keys and values
// extracted from the proposal, where these are at hand.
func TestBaseIsTheProposal(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../shared/spec/fields.json")
	if err != nil {
		t.Skip("the extracted keys are not here: ", err)
	}
	var fields []struct {
		File, Key string
		Value     any
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range fields {
		known[f.Key] = true
		data, err := embedded.ReadFile("tasker/" + f.File)
		if err != nil {
			t.Fatal(err)
		}
		tree, problems := tomltree.Parse(f.File, data)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		v := tree.Lookup(strings.Split(f.Key, ".")...)
		if v == nil {
			t.Errorf("%s lacks %s", f.File, f.Key)
			continue
		}
		if got := plain(t, v); !reflect.DeepEqual(got, f.Value) {
			t.Errorf("%s is %v, want %v", f.Key, got, f.Value)
		}
	}
	for _, section := range ContextComplete.sections() {
		data, err := embedded.ReadFile("tasker/base/" + section + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		tree, _ := tomltree.Parse(section, data)
		tomltree.Leaves(tree, func(key string, _ *tomltree.Value) {
			if !known[key] {
				t.Errorf("base/%s.toml has %s, which the proposal has not", section, key)
			}
		})
	}
}

// plain returns a scalar or array as the JSON decoder would.
func plain(t *testing.T, v *tomltree.Value) any {
	text := string(tomltree.Encode(v.Nest("v")))
	text = strings.TrimSpace(strings.TrimPrefix(text, "v = "))
	var out any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}
