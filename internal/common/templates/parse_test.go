package templates

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestProblems parses every *.yaml of testdata/problems_*.txtar and compares
// the report with the last section.
func TestProblems(t *testing.T) {
	t.Parallel()
	golden(t, "testdata/problems_*.txtar", func(t *testing.T, inputs []txtar.File) []txtar.File {
		var report strings.Builder
		for _, in := range inputs {
			_, err := Parse(in.Name, in.Data)
			if _, ok := errors.AsType[Problems](err); !ok {
				t.Fatalf("%s: got error %v, want Problems", in.Name, err)
			}
			fmt.Fprintln(&report, err)
		}
		return []txtar.File{{Name: "report", Data: []byte(report.String())}}
	})
}

// TestDefinition shows what becomes of the template in each
// testdata/definition_*.txtar: its canonical form, the same in the test
// environment, and its graph.
func TestDefinition(t *testing.T) {
	t.Parallel()
	golden(t, "testdata/definition_*.txtar", func(t *testing.T, inputs []txtar.File) []txtar.File {
		tmpl := mustParse(t, inputs[0].Name, inputs[0].Data)
		checkRoundTrip(t, tmpl)
		outputs := []txtar.File{
			{Name: "definition.json", Data: indented(t, tmpl)},
			{Name: "graph", Data: fmt.Appendf(nil, "%sinitial: %v\n", Outline(tmpl), tmpl.Graph().Initial)},
			{Name: "mermaid", Data: []byte(Mermaid(tmpl))},
		}
		if len(tmpl.Environments) > 0 {
			inTest := tmpl.ForEnvironment("test")
			outputs = append(outputs, txtar.File{Name: "test.json", Data: indented(t, inTest)})
			checkRoundTrip(t, inTest)
			if again := inTest.ForEnvironment("test"); !reflect.DeepEqual(again, inTest) {
				t.Error("applying the overrides again changed the template")
			}
			checkRoundTrip(t, tmpl) // it must not have changed
		}
		return outputs
	})
}

// indented returns the canonical definition for people.
func indented(t *testing.T, tmpl *Template) []byte {
	t.Helper()
	data, err := json.MarshalIndent(tmpl, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

func mustParse(t testing.TB, file string, data []byte) *Template {
	t.Helper()
	tmpl, err := Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

// checkRoundTrip checks that the canonical definition reads back as it was,
// also after any JSON store has put its keys into another order.
func checkRoundTrip(t testing.TB, tmpl *Template) {
	t.Helper()
	data, err := json.Marshal(tmpl)
	if err != nil {
		t.Fatal(err)
	}
	var stored Object
	if err := json.Unmarshal(data, &stored); err != nil {
		t.Fatal(err)
	}
	reordered, err := json.MarshalIndent(stored, " ", "\t")
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(reordered)
	if err != nil {
		t.Fatalf("%v\nof %s", err, data)
	}
	if !reflect.DeepEqual(back, tmpl) {
		t.Errorf("read back differently:\n got %+v\nwant %+v", back, tmpl)
	}
	if back.Digest() != tmpl.Digest() {
		t.Error("read back with another digest")
	}
}

// TestSharedTemplates loads the templates users of the original have, as they
// are.
func TestSharedTemplates(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "..", "..", "shared", "data", "templates")
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Skipf("no templates in %s", dir)
	}
	ts, err := LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(ts) != len(files) {
		t.Errorf("got %d templates from %d files", len(ts), len(files))
	}
	initial := map[string]int{ // of those that don't begin with all their steps
		"csv_product_inventory_analyzer":   1,
		"approval_routing":                 2,
		"diamond_decision_batch_processor": 4,
	}
	for _, tmpl := range ts {
		checkRoundTrip(t, tmpl)
		for env := range tmpl.Environments {
			checkRoundTrip(t, tmpl.ForEnvironment(env))
		}
		want := len(tmpl.Steps)
		if n, ok := initial[tmpl.Name]; ok {
			want = n
		}
		if got := len(tmpl.Graph().Initial); got != want {
			t.Errorf("%s begins with %d steps, want %d", tmpl.Name, got, want)
		}
	}
}

// TestBounds checks the limits on what one document may ask for.
func TestBounds(t *testing.T) {
	t.Parallel()
	head := "name: n\nnamespace_name: test\nsteps:\n- {name: a, handler: {callable: c}}\n"
	bomb := head + "metadata:\n  a0: &a0 [" + strings.Repeat("x, ", 10) + "]\n"
	for i := range 12 {
		bomb += fmt.Sprintf("  a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
	}
	long := strings.Repeat("long ", 2000)
	tests := []struct{ name, data, want string }{
		{"bytes", head + "# " + strings.Repeat("x", MaxBytes), "a template may have 1048576"},
		{"aliases", bomb, "the template is too large with its aliases expanded"},
		{"long alias", head + "metadata: {a: &a \"" + long + "\", b: [" + strings.Repeat("*a, ", 500) + "]}", "too large with its aliases expanded"},
		{"alias of itself", head + "metadata: &m {a: *m}", "nested more than 64 deep"},
		{"depth", head + "metadata: {a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "nested more than 64 deep"},
		{"key", head + "metadata: {? " + strings.Repeat("k", 1025) + " : 1}", "a key is longer than 1024 bytes"},
		{"steps", head + strings.Repeat("- {name: a, handler: {callable: c}}\n", MaxSteps), "has 10001 steps, a template may have 10000"},
		{"problems", head + strings.Repeat("- {name: a}\n", 200), "has more than 100 problems; the rest is not shown"},
		{"UTF-8", "name: n\nother: é\xff", "x.yaml:2:9: is not valid UTF-8 here"},
		{"control", "name: \x1b[0m", "x.yaml:1:7: control character U+001B is not allowed; write it as an escape in double quotes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("x.yaml", []byte(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if problems, _ := errors.AsType[Problems](err); len(problems) > maxProblems+1 {
				t.Errorf("got %d problems", len(problems))
			}
		})
	}
}

// TestDecodeRefuses checks that a damaged or newer definition is not run.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{"name": "n", "steps": [{"name": "a", "waits_for_moon": true}]}`: `decode template definition: json: unknown field "waits_for_moon"`,
		`{"name": "n", "steps": [{"name": "a", "dependencies": ["b"]}]}`:  `decode template definition: n: steps[0].dependencies[0]: step "a" depends on unknown step "b"`,
		`{"name": "n", "steps": [{"name": "a", "dependencies": ["a"]}]}`:  `decode template definition: n: steps[0].dependencies: step "a" depends on itself`,
		`{"name": "n"}`: `decode template definition: n: steps: must have at least one step`,
		`[]`:            `decode template definition: json: cannot unmarshal array into Go value of type templates.Template`,
	} {
		if _, err := Decode([]byte(data)); err == nil || err.Error() != want {
			t.Errorf("Decode(%s):\n got %v\nwant %s", data, err, want)
		}
	}
}

// TestLoadFS checks which files are read and that problems of all of them are
// reported.
func TestLoadFS(t *testing.T) {
	t.Parallel()
	template := func(name, version string) *fstest.MapFile {
		return &fstest.MapFile{Data: fmt.Appendf(nil,
			"name: %s\nnamespace_name: test\nversion: %s\nsteps: [{name: a, handler: {callable: c}}]\n", name, version)}
	}
	good := fstest.MapFS{
		"b.yml":           template("b", "1.0.0"),
		"a.yaml":          template("a", "1.0.0"),
		"a2.yaml":         template("a", "1.1.0"),
		"README":          {Data: []byte("not: [a template")},
		"deeper/c.yaml":   {Data: []byte("not: [a template")},
		"folder.yaml/x.y": {Data: []byte("not: [a template")},
	}
	ts, err := LoadFS(good)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tmpl := range ts {
		got = append(got, tmpl.Name+" "+tmpl.Version)
	}
	if want := []string{"a 1.0.0", "a 1.1.0", "b 1.0.0"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	bad := fstest.MapFS{
		"a.yaml": template("a", "1.0.0"),
		"b.yaml": template("b", "one"),
		"c.yaml": {Mode: fs.ModeIrregular, Data: []byte("name: [")},
		"d.yaml": template("a", "1.0.0"),
	}
	_, err = LoadFS(bad)
	want := `load templates: b.yaml:3:10: version: is "one", must be a semantic version such as 1.0.0, at most 16 characters
c.yaml:1: is not YAML: did not find expected node content
d.yaml:1:7: name: template test/a version 1.0.0 is already defined in a.yaml:1; change the version or remove one`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if problems, ok := errors.AsType[Problems](err); !ok || len(problems) != 3 || problems[2].Line != 1 {
		t.Errorf("got %v, want three Problems with positions", problems)
	}
}

// TestLoadDir checks how files and a missing folder are named.
func TestLoadDir(t *testing.T) {
	t.Parallel()
	if ts, err := LoadDir(t.TempDir()); len(ts) != 0 || err != nil {
		t.Errorf("empty folder: got %v, %v", ts, err)
	}
	if _, err := LoadDir("testdata/nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: got %v, want fs.ErrNotExist", err)
	}
}
