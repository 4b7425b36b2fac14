package config

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/golden"
)

// TestTexts compares fields_gen.json with the comments in the Go code.
func TestTexts(t *testing.T) {
	t.Parallel()
	g := newTextGenerator(t)
	g.table(reflect.TypeFor[Config](), "")
	data, err := json.MarshalIndent(g.texts, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	golden.File(t, "fields_gen.json", string(data))
}

// TestReference checks that there is something to say of every key.
func TestReference(t *testing.T) {
	t.Parallel()
	Reference().Walk(func(e *Entry) {
		if e.Key != "" && !strings.HasSuffix(e.Key, "*") && e.Doc == "" {
			t.Errorf("%s has no description", e.Key)
		}
		if !e.IsTable() && e.Component == "" {
			t.Errorf("nothing is said to read %s", e.Key)
		}
		for _, c := range e.Choices {
			if len(e.Choices) > 1 && c.Doc == "" && e.Name() != "method" && e.Name() != "environment" && e.Name() != "processable_states" {
				t.Errorf("%s does not say what %s means", e.Key, c.Text)
			}
		}
	})
}

// textGenerator takes the comments of fields and constants from Go code.
type textGenerator struct {
	fields map[string]string            // by Type.Field
	values map[string]map[string]string // by type and text of a constant
	texts  map[string]text
}

func newTextGenerator(t *testing.T) *textGenerator {
	t.Helper()
	g := &textGenerator{fields: map[string]string{}, values: map[string]map[string]string{}, texts: map[string]text{}}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, "../state.go") {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				g.addType(n)
			case *ast.ValueSpec:
				g.addConstant(n)
			}
			return true
		})
	}
	return g
}

func (g *textGenerator) addType(spec *ast.TypeSpec) {
	typ, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range typ.Fields.List {
		for _, name := range f.Names {
			g.fields[spec.Name.Name+"."+name.Name] = strings.TrimSpace(f.Doc.Text())
		}
	}
}

func (g *textGenerator) addConstant(spec *ast.ValueSpec) {
	typ, named := spec.Type.(*ast.Ident)
	if !named || len(spec.Values) != 1 {
		return
	}
	lit, ok := spec.Values[0].(*ast.BasicLit)
	if !ok {
		return
	}
	value, err := strconv.Unquote(lit.Value)
	if err != nil {
		return
	}
	if g.values[typ.Name] == nil {
		g.values[typ.Name] = map[string]string{}
	}
	g.values[typ.Name][value] = strings.TrimSpace(spec.Comment.Text())
}

// table adds the texts of the fields of t, which is the table path. Of two
// fields with one key, the outer counts.
func (g *textGenerator) table(t reflect.Type, path string) {
	var embedded []reflect.Type
	keys := map[string]string{}
	for f := range t.Fields() {
		keys[f.Name] = f.Tag.Get("toml")
	}
	for f := range t.Fields() {
		if f.Anonymous {
			embedded = append(embedded, f.Type)
			continue
		}
		key := strings.TrimPrefix(path+"."+f.Tag.Get("toml"), ".")
		if _, known := g.texts[key]; known || f.Name == "_" {
			continue
		}
		g.texts[key] = text{Doc: inKeys(g.fields[t.Name()+"."+f.Name], keys), Values: g.choices(f)}
		elem := f.Type
		for elem.Kind() == reflect.Pointer || elem.Kind() == reflect.Map || elem.Kind() == reflect.Slice {
			if elem.Kind() != reflect.Pointer && elem.Elem().Kind() == reflect.Struct {
				key += ".*"
			}
			elem = elem.Elem()
		}
		if elem.Kind() == reflect.Struct {
			g.table(elem, key)
		}
	}
	for _, e := range embedded {
		g.table(e, path)
	}
}

// choices returns what the texts that f allows mean.
func (g *textGenerator) choices(f reflect.StructField) map[string]string {
	typ := f.Type
	if typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	out := map[string]string{}
	for choice := range strings.SplitSeq(f.Tag.Get("enum"), "|") {
		if doc := g.values[typ.Name()][choice]; doc != "" {
			out[choice] = doc
		}
	}
	return out
}

var goNames = regexp.MustCompile(`\b[A-Z][A-Za-z]*[a-z][A-Z][A-Za-z]*\b|^[A-Z]\w*`)

// inKeys returns a comment with the Go names in it, its first word and others of
// several words, as the keys they have.
func inKeys(comment string, keys map[string]string) string {
	comment = goNames.ReplaceAllStringFunc(comment, func(name string) string {
		if key := keys[name]; key != "" {
			return key
		}
		return name
	})
	paragraphs := strings.Split(comment, "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}
